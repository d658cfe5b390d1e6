"""Check the packages that sdsnn requires and those that are optional."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sdsnn.deploy.loihi2.target import missing_modules
from sdsnn_core.files import version_of
from sdsnn_core.lava.compat import pip_command

from .probe import Probe, probe


class Finding(NamedTuple):
    """State of one part of the installation.

    state: 'works'; 'missing' (required, not installed); 'broken' (installed, fails); 'absent' (optional). costs: what
    does not work without the part. command: installs it, or ''.
    """

    part: str
    state: Literal["works", "missing", "broken", "absent"]
    detail: str
    costs: str = ""
    command: str = ""


# Required distribution -> module to import, what does not work without it. The version ranges are sdsnn's metadata.
PACKAGES = {
    "numpy": ("numpy", "nothing runs"),
    "scipy": ("scipy.sparse", "no reference simulator"),
    "h5py": ("h5py", "no .nir and .net files"),
    "nir": ("nir", "no .nir files"),
    "numba": ("numba", "no event engine and no fused neurons"),
    "torch": ("torch", "no training"),
    "scikit-learn": ("sklearn.datasets", "no handwritten digits, so no demo"),
    "tonic": ("tonic", "no event data sets"),
    "matplotlib": ("matplotlib", "no SLAYER, which imports it"),
    "jinja2": ("jinja2", "no reports"),
    "pydantic": ("pydantic", "no configurations, so no training"),
    "tomli-w": ("tomli_w", "no run folders, so no training"),
    "filelock": ("filelock", "no run folders, so no training"),
    "typer": ("typer", "no command line"),
    "rich": ("rich.console", "no tables and progress bars"),
    "packaging": ("packaging.requirements", "no diagnosis"),
    "tomli": ("tomli", "no configurations and chip files"),
}
# Part -> the extra of sdsnn that holds its packages, what does not work without them.
OPTIONAL = {
    "lightning-fabric": ("distributed", "no training on GPUs, in several processes or in bf16-mixed"),
    "tensorboard": ("tensorboard", "no event files for TensorBoard"),
    "aedat": ("aedat", "no AEDAT 4 recordings, the format of CIFAR10-DVS"),
    "development tools": ("dev", "no tests and no linters"),
}


def requirements(extra: str = "") -> dict[str, SpecifierSet]:
    """Return the distributions, with version ranges, that sdsnn requires on this Python, or that an extra adds."""
    ranges = {}
    for requirement in map(Requirement, metadata.requires("sdsnn") or []):
        marker = requirement.marker
        if ("extra" in str(marker)) == bool(extra) and (marker is None or marker.evaluate({"extra": extra})):
            ranges[requirement.name] = requirement.specifier
    ranges.pop("sdsnn", None)  # its extras name one another
    return ranges


def check_packages() -> tuple[list[Finding], bool]:
    """Import every required package in another interpreter; also return whether torch sees a GPU."""
    ranges = requirements()
    probes = probe([PACKAGES[name][0] for name in ranges if version_of(name)])
    findings = [_package(name, versions, probes.get(PACKAGES[name][0])) for name, versions in ranges.items()]
    return findings, any(result.facts.get("gpu") for result in probes.values())


def _package(name: str, versions: SpecifierSet, result: Probe | None) -> Finding:
    version, costs = version_of(name), PACKAGES[name][1]
    command = f'{pip_command()} "{name}{versions}"'
    if version is None or result is None:
        return Finding(name, "missing", "not installed", costs, command)
    if result.failure:
        reinstall = command.replace(" install ", " install --force-reinstall ")
        return Finding(name, "broken", f"{version}: {result.failure}", costs, reinstall)
    if not versions.contains(version, prereleases=True):
        return Finding(name, "broken", f"expected {versions}, got {version}", costs, command)
    details = [version]
    if threads := result.facts.get("threads"):
        details.append(f"{threads} thread{'s' if threads > 1 else ''}")
    if "gpu" in result.facts:
        details.append(f"GPU {result.facts['gpu']}" if result.facts["gpu"] else "no GPU")
    return Finding(name, "works", ", ".join(details))


def check_optional(*, gpu: bool) -> Iterator[Finding]:
    """Check what no command requires: Loihi hardware, the compiler of SLAYER's CUDA kernels, the optional packages."""
    if not missing_modules():
        yield Finding("Loihi hardware", "works", "the extension lava-loihi is installed; no board was tried")
    else:
        costs = "no runs on the chip, no measured energy; only members of Intel's research community get the extension"
        yield Finding("Loihi hardware", "absent", "the extension lava-loihi is not installed", costs)
    kernels = "SLAYER's CUDA kernels"
    if gpu and (absent := [tool for tool in ("ninja", "nvcc", "g++") if not _has_program(tool)]):
        costs, command = "SLAYER's own neurons do not run on the GPU", f"{pip_command()} ninja"
        detail = f"not on the path: {', '.join(absent)}"
        yield Finding(kernels, "absent", detail, costs, command if absent == ["ninja"] else "")
    elif gpu:
        yield Finding(kernels, "works", "ninja, nvcc and g++ are installed")
    for part, (extra, costs) in OPTIONAL.items():
        ranges = requirements(extra)
        if absent := [name for name in ranges if version_of(name) is None]:
            command = " ".join([pip_command(), *(f'"{name}{ranges[name]}"' for name in absent)])
            yield Finding(part, "absent", f"not installed: {', '.join(absent)}", costs, command)
        else:
            detail = ", ".join(f"{name} {version_of(name)}" for name in ranges)
            yield Finding(part, "works", detail.removeprefix(f"{part} "))


def _has_program(name: str) -> bool:
    """Return whether a program is on the path or beside the interpreter."""
    return shutil.which(name) is not None or (Path(sys.executable).parent / name).exists()
