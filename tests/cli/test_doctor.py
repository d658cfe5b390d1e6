"""`sdsnn doctor`: what it says of this environment, and of broken ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn.deploy.loihi2.target import EXTENSION
from sdsnn.doctor import checks as doctor_checks
from sdsnn.doctor import diagnosis
from sdsnn.doctor import lava as doctor_lava
from sdsnn.doctor import probe as doctor_probe
from sdsnn.doctor.checks import Finding
from sdsnn.doctor.diagnosis import Diagnosis, examine
from sdsnn.export.lava import run as lava_run
from sdsnn_core import reference
from sdsnn_core.activity import Activity
from sdsnn_core.errors import BackendError
from sdsnn_core.lava import child as lava_child
from sdsnn_core.lava.compat import lava_available
from sdsnn_core.lava.shims import SHIMS
from sdsnn_core.network import Network

needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
MACHINE = {
    "python": "3.12.1", "interpreter": "/somewhere/python", "system": "Linux x86_64", "cores": 2,
    "thread_variables": {"OMP_NUM_THREADS": "1"},
}  # fmt: skip


@needs_lava
def test_this_environment_is_ready_and_says_what_it_holds() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "sdsnn", "doctor", "--json"],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    report = json.loads(answer.stdout.splitlines()[-1])
    assert report["ready"] is True
    assert report["python"] == ".".join(map(str, sys.version_info[:3]))
    parts = {finding["part"]: finding for finding in report["findings"]}
    assert {"numpy", "torch", "numba", "nir", "tonic", "lava-nc", "lava-dl", "Loihi hardware"} <= parts.keys()
    assert parts["lava-nc"]["detail"] == "0.10.0"
    assert "thread" in parts["torch"]["detail"]
    assert parts["SLAYER"]["state"] == parts["Lava in fixed point"]["state"] == "works"
    assert "300 bins equal to the reference" in parts["Lava in fixed point"]["detail"]
    applied, _, idle = parts["shims of Lava"]["detail"].partition("; not needed: ")
    for shim in SHIMS:
        assert (shim.name in applied) != (shim.name in idle), shim.name
    assert ("hashable ByteEncoder" in applied) == (sys.version_info >= (3, 11))
    assert "wide convolution" in applied


def test_it_knows_every_package_that_sdsnn_needs() -> None:
    needed = doctor_checks.requirements()
    assert set(needed) == set(doctor_checks.PACKAGES) - ({"tomli"} if sys.version_info >= (3, 11) else set())
    assert needed["nir"] == SpecifierSet(">=1.0.8,<2")


def test_each_extra_adds_its_packages_only() -> None:
    assert set(doctor_checks.requirements("aedat")) == {"aedat"}
    assert {"pytest", "ruff"} <= set(doctor_checks.requirements("dev"))
    assert not {"numpy", "sdsnn", "aedat"} & set(doctor_checks.requirements("dev"))


@pytest.mark.parametrize(
    ("versions", "version", "expected"),
    [
        (">=1.26", "1.26.4", True),
        (">=1.26", "1.9.3", False),
        (">=1.0.8,<2", "2.0", False),
        ("<2,>=1.0.8", "1.0.8", True),
        (">=2.3.1", "2.13.0+cpu", True),
        (">=1.0", "1", True),
        ("==0.10.0", "0.10", True),
        ("", "0.0.1", True),
    ],
)
def test_versions_are_held_against_their_ranges(
    versions: str, version: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_checks, "requirements", lambda: {"numpy": SpecifierSet(versions)})
    monkeypatch.setattr(doctor_checks, "version_of", lambda name: version)
    monkeypatch.setattr(doctor_checks, "probe", lambda modules: dict.fromkeys(modules, doctor_probe.Probe()))
    (finding,), _ = doctor_checks.check_packages()
    assert (finding.state == "works") is expected


def test_a_package_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {
        "good_of_test": "print('probed by nobody')",
        "raises_of_test": "raise SystemError('a library\\nof another version')",
        "dies_of_test": "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
        "last_of_test": "",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor_probe.probe([*files, "no_such_module_of_test"])
    assert found["good_of_test"].failure == found["last_of_test"].failure == ""
    assert found["raises_of_test"].failure == "of another version"
    assert found["dies_of_test"].failure == "the import ended Python with status -4"
    assert found["no_such_module_of_test"].failure.startswith("ModuleNotFoundError: ")
    assert capfd.readouterr() == ("", "")


def test_a_package_that_hangs_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hangs_of_test.py").write_text("import time; time.sleep(100)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert doctor_probe.probe(["hangs_of_test"], limit_s=2)["hangs_of_test"].failure == "took longer than 2 s"


def test_packages_missing_broken_and_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"numpy": "1.20.0", "torch": "2.4.0", "numba": None}
    monkeypatch.setattr(doctor_checks, "version_of", lambda name: versions.get(name, "99"))
    answers = {"numpy": doctor_probe.Probe({}), "torch": doctor_probe.Probe(failure="OSError: libtorch.so")}
    monkeypatch.setattr(
        doctor_checks, "probe", lambda modules: {m: answers.get(m, doctor_probe.Probe({})) for m in modules}
    )
    monkeypatch.setattr(
        doctor_checks,
        "requirements",
        lambda: {
            name: SpecifierSet(versions)
            for name, versions in {"numpy": ">=1.26", "torch": ">=2.3.1", "numba": ">=0.59", "rich": ""}.items()
        },
    )
    findings, gpu = doctor_checks.check_packages()
    parts = {finding.part: finding for finding in findings}
    assert not gpu
    assert (parts["numpy"].state, parts["numpy"].detail) == ("broken", "expected >=1.26, got 1.20.0")
    assert (parts["torch"].state, parts["torch"].detail) == ("broken", "2.4.0: OSError: libtorch.so")
    assert parts["torch"].command.endswith('-m pip install --force-reinstall "torch>=2.3.1"')
    assert parts["numba"].state == "missing"
    assert parts["numba"].command.endswith('-m pip install "numba>=0.59"')
    assert parts["numba"].costs == "no event engine and no fused neurons"
    assert parts["rich"].state == "works"


def test_without_lava_the_command_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_lava, "version_of", lambda name: None if name == "lava-dl" else "0.10.0")
    monkeypatch.setattr(doctor_lava, "missing", lambda: ["lava-dl"])
    parts = {finding.part: finding for finding in doctor_lava.check_lava()}
    assert parts["lava-nc"].state == "works"
    for part in ("lava-dl", "SLAYER", "Lava in fixed point"):
        assert parts[part].state == "missing"
        assert parts[part].command.endswith("lava-nc==0.10.0 lava-dl==0.6.0")
        assert parts[part].costs.startswith("no ")


def test_another_version_of_lava_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_lava, "version_of", lambda name: "0.5.1")
    monkeypatch.setattr(doctor_lava, "missing", lambda: ["lava-nc"])
    first = next(iter(doctor_lava.check_lava()))
    assert (first.state, first.detail) == ("broken", "expected 0.10.0, got 0.5.1")


def test_lava_that_fails_or_differs_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(function: str, payload: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        raise BackendError("lava_probe:slayer: ImportError: no symbol")

    def silent(network: Network, spikes: Any, timeout_s: float) -> Activity:
        activity = reference.run(network, spikes)
        return replace(activity, spikes={name: train * 0 for name, train in activity.spikes.items()})

    monkeypatch.setattr(lava_child, "run_in_child", fail)
    monkeypatch.setattr(lava_run, "run_lava", silent)
    monkeypatch.setattr(doctor_lava, "missing", list)
    parts = {finding.part: finding for finding in doctor_lava.check_lava()}
    assert parts["SLAYER"].state == "broken"
    assert parts["SLAYER"].detail == "lava_probe:slayer: ImportError: no symbol"
    assert "shims of Lava" not in parts
    assert parts["Lava in fixed point"].state == "broken"
    n_differing, _, rest = parts["Lava in fixed point"].detail.partition(" of 300 bins differ")
    assert int(n_differing) > 0
    assert rest == " from the reference"


def test_the_extension_for_the_chip_is_recognised(tmp_path: Path) -> None:
    """Stand-ins beside Lava, whose packages are namespaces, for the modules that Intel's extension brings.

    In children: finding a module imports its parents, and a namespace package found once stays in its process.
    """
    code = (
        "from sdsnn.doctor.checks import check_optional\n"
        "print(*(f.state for f in check_optional(gpu=False) if f.part == 'Loihi hardware'))"
    )

    def state(**more: str) -> str:
        environment = {**os.environ, **more}
        command = [sys.executable, "-c", code]
        answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)
        return answer.stdout.strip()

    assert state() == "absent"
    for module in EXTENSION:
        file = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    assert state(PYTHONPATH=str(tmp_path)) == "works"


def test_optional_tools_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "version_of", lambda name: None if name == "ruff" else "1")
    monkeypatch.setattr(doctor_checks, "_has_program", lambda name: name != "nvcc")
    parts = {finding.part: finding for finding in doctor_checks.check_optional(gpu=True)}
    assert (parts["SLAYER's CUDA kernels"].state, parts["SLAYER's CUDA kernels"].command) == ("absent", "")
    assert "nvcc" in parts["SLAYER's CUDA kernels"].detail
    assert parts["development tools"].detail == "not installed: ruff"
    assert parts["development tools"].command.endswith('-m pip install "ruff>=0.8"')


def test_what_is_needed_decides_the_status_and_the_text_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [
        Finding("numpy", "works", "2.4.6"),
        Finding("numba", "missing", "not installed", "no event engine", "python -m pip install numba"),
        Finding("Loihi hardware", "absent", "the extension is not installed", "no runs on the chip"),
    ]
    sick = Diagnosis("0.1.0", MACHINE, findings)
    monkeypatch.setattr(diagnosis, "examine", lambda progress: sick)
    answer = CliRunner().invoke(app, ["doctor"])
    assert answer.exit_code == 1
    lines = answer.output.splitlines()
    assert lines[0] == "sdsnn 0.1.0, Python 3.12.1, Linux x86_64, 2 cores, OMP_NUM_THREADS=1"
    assert "missing  numba           not installed" in lines
    assert lines[lines.index("numba is missing: no event engine.") + 1] == "    python -m pip install numba"
    assert "Loihi hardware is absent: no runs on the chip." in lines
    assert lines[-1] == "Not ready: numba."
    as_json = CliRunner().invoke(app, ["doctor", "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.output)["findings"][1]["command"] == "python -m pip install numba"
    well = Diagnosis("0.1.0", MACHINE, [findings[0], findings[2]])
    monkeypatch.setattr(diagnosis, "examine", lambda progress: well)
    answer = CliRunner().invoke(app, ["doctor"])
    assert answer.exit_code == 0
    assert answer.output.splitlines()[-1] == "Ready: every required part works."


def test_long_details_are_wrapped_and_commands_are_not() -> None:
    command = "python -m pip install " + "x" * 100
    sick = Diagnosis("0.1.0", MACHINE, [Finding("part", "missing", "word " * 40, "cost " * 40, command)])
    lines = sick.as_text(60).splitlines()
    assert f"    {command}" in lines
    assert max(len(line) for line in lines if command not in line) <= 60


def test_progress_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "check_packages", lambda: ([], False))
    monkeypatch.setattr(diagnosis, "check_lava", lambda: iter(()))
    said: list[str] = []
    examine(said.append)
    assert said == ["importing the packages", "running Lava"]
