"""The package as it is installed: every folder in the wheel, data too, the versions in step, one console script."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sdsnn_core.lava.compat import LAVA_VERSIONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "sdsnn": "sdsnn",
    "sdsnn_core": "sdsnn_core",
    "train": "sdsnn.train",
    "export": "sdsnn.export",
    "deploy": "sdsnn.deploy",
}
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
needs_build = pytest.mark.skipif(
    importlib.util.find_spec("build") is None, reason="the package `build` is not installed"
)


def files_of_the_rooms() -> dict[str, Path]:
    """Return every file that belongs to the package, by its path in the wheel."""
    found = {}
    for room, package in ROOMS.items():
        for path in sorted((ROOT / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                found[f"{package.replace('.', '/')}/{path.relative_to(ROOT / room).as_posix()}"] = path
    return found


def test_every_folder_is_listed() -> None:
    """Setuptools leaves a folder that is not listed out of the wheel, though an editable installation finds it."""
    folders = {name.rpartition("/")[0].replace("/", ".") for name in files_of_the_rooms()}
    assert folders == set(PROJECT["tool"]["setuptools"]["packages"])
    assert {package: room for room, package in ROOMS.items()} == PROJECT["tool"]["setuptools"]["package-dir"]


def test_every_kind_of_file_is_packed() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    for name, path in files_of_the_rooms().items():
        assert path.suffix == ".py" or any(path.match(pattern) for pattern in patterns), name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist of a copy of the tree, and the wheel from that sdist, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        tree.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    for room in (*ROOMS, "tests"):
        shutil.copytree(ROOT / room, tree / room, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(tree)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "importable" not in done.stdout + done.stderr, "setuptools warns of a folder that is not listed"
    assert list(folder.glob("sdsnn-*.tar.gz"))
    (made,) = folder.glob("sdsnn-*.whl")
    return made


@needs_build
def test_the_wheel_holds_every_file_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert packed == set(files_of_the_rooms())
        metadata = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("METADATA"))
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert "License-Expression: BSD-3-Clause" in metadata
    assert "Requires-Python: <3.14,>=3.10" in metadata


INSTALLED = """
import sys
from pathlib import Path
import sdsnn_core.network, sdsnn.train.run.config, sdsnn.export.nir_format.reader
import sdsnn.deploy.placement.chip, sdsnn.deploy.energy.prices
modules = (sdsnn_core.network, sdsnn.train.run.config, sdsnn.export.nir_format.reader, sdsnn.deploy.placement.chip)
for module in modules:
    assert Path(module.__file__).is_relative_to(sys.argv[1]), module.__file__
config = sdsnn.train.run.config.load_config("digits", [])
print(config.seed)
"""


@needs_build
def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = ["-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, *install, "--target", str(target), str(wheel)], check=True, timeout=200)
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(sys.executable, "-c", INSTALLED, str(target)).strip() == "0"
    by_script, by_module = (
        run(str(target / "bin" / "sdsnn"), "--help"),
        run(sys.executable, "-m", "sdsnn", "--help"),
    )
    assert by_script == by_module
    assert "doctor" in by_script


def test_one_console_script() -> None:
    scripts = importlib.metadata.distribution("sdsnn").entry_points.select(group="console_scripts")
    assert {script.name: script.value for script in scripts} == {"sdsnn": "sdsnn.cli.app:main"}


def lock_of(python: str) -> Path:
    return ROOT / "locks" / f"py{python.replace('.', '')}.txt"


def pins(python: str) -> dict[str, str]:
    """Return what the lock of a Python such as '3.10' pins."""
    found: dict[str, str] = {}
    for line in lock_of(python).read_text().splitlines():
        if not line.startswith("#"):
            name, version = re.fullmatch(r"([a-z0-9-]+)==(\d[\w.]*)", line).groups()  # type: ignore[union-attr]
            assert name not in found, f"{name} is pinned twice"
            found[name] = version
    return found


def test_each_python_has_its_lock() -> None:
    named = [word.rpartition(" ")[2] for word in PROJECT["project"]["classifiers"] if " :: 3." in word]
    assert named == list(PYTHONS)
    assert sorted(ROOT.glob("locks/*")) == [lock_of(python) for python in PYTHONS]


@pytest.mark.parametrize("python", PYTHONS)
def test_each_lock_fits_what_the_project_asks_for(python: str) -> None:
    """Every requirement, of the extras of CI too, has a pin within its range; marker by marker, for that Python."""
    pinned = pins(python)
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = ("dev", "lava", "neurobench", "readers", "aedat", "distributed", "tensorboard")
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in wanted for line in extras[extra])]
    for requirement in map(Requirement, lines):
        if requirement.name != "sdsnn" and (
            requirement.marker is None or requirement.marker.evaluate({"python_version": python})
        ):
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("python", PYTHONS)
def test_each_lock_pins_the_torch_that_its_lava_allows(python: str) -> None:
    """Without a local label such as +cpu, so that every build of the release fits."""
    pinned = pins(python)
    assert ("lava-nc" in pinned) == (python == "3.10")
    assert pinned["torch"] == ("2.3.1" if python == "3.10" else "2.13.0")
    assert pinned["numpy"].partition(".")[0] == ("1" if python == "3.10" else "2")


def needed_by(name: str, extras: set[str], found: set[str]) -> None:
    """Add what distribution `name` pulls in, and what that pulls in, to `found`."""
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        key = canonicalize_name(requirement.name)
        here = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if here and key not in found:
            found.add(key)
            needed_by(requirement.name, set(requirement.extras), found)


def test_every_package_that_comes_with_it_is_pinned() -> None:
    found: set[str] = set()
    needed_by("sdsnn", {"dev", "lava"}, found)
    assert {"torch", "numpy", "pytest", "networkx"} <= found
    installed = {name for name in found if is_installed(name)}
    assert (
        installed - set(pins("{}.{}".format(*sys.version_info[:2]))) - {"sdsnn"} == set()
    )  # its extras name one another


def is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_lava_has_one_version_everywhere() -> None:
    wanted = [f"{name}=={version}" for name, version in LAVA_VERSIONS.items()]
    extra = PROJECT["project"]["optional-dependencies"]["lava"]
    for item in wanted:
        assert f"{item}; python_version < '3.11'" in extra
        assert item in lock_of("3.10").read_text().splitlines()
        assert item in (ROOT / "scripts" / "install.py").read_text()
        assert item in (ROOT / "docs" / "installation.md").read_text()
