"""What `sdsnn doctor` looks at: the packages, Lava in child processes, the machine and what is optional."""

from __future__ import annotations

import importlib.util
import operator
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, final

from sdsnn_core.errors import SdsnnError
from sdsnn_core.lava.compat import LAVA_VERSIONS, install_command, missing, pip_command
from sdsnn_core.lava.shims import SHIMS

from .probe import Probe, probe

State = Literal["works", "missing", "broken", "absent"]
LAVA_LIMIT_S = 180.0
# Modules that Intel's extension lava-loihi adds to lava-nc 0.10.0: lava/magma/compiler/compiler.py:21,
# lava/utils/loihi.py.
# Packages of the optional extras: package, extra, what is missing without it.
EXTRAS = (
    ("lightning-fabric", "distributed", "no training on GPUs, in several processes or in bf16-mixed"),
    ("tensorboard", "tensorboard", "no event files for TensorBoard"),
    ("aedat", "aedat", "no AEDAT 4 recordings, which CIFAR10-DVS comes in"),
)
LOIHI_MODULES = ("lava.magma.compiler.subcompilers.nc.ncproc_compiler", "lava.utils.loihi2_profiler")
# Distribution -> the module to import, and what is lost without it. The versions stand in the metadata of sdsnn.
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
    "pydantic": ("pydantic", "no configurations, so no training"),
    "tomli-w": ("tomli_w", "no run folders, so no training"),
    "typer": ("typer", "no command line"),
    "rich": ("rich.console", "no tables and progress bars"),
    "tomli": ("tomli", "no configurations and chip files"),
}
TOOLS = ("pytest", "pytest-timeout", "hypothesis", "mypy", "ruff", "build")


@final
@dataclass(frozen=True)
class Finding:
    """One part and how it is: it works; it is needed and missing, or there and broken; or it is optional and absent.

    detail: version and what was seen. costs: what is lost without it. command: one shell command that gets it, where
    there is one.
    """

    part: str
    state: State
    detail: str
    costs: str = ""
    command: str = ""


def machine() -> dict[str, Any]:
    """Return Python, system, processors that this process may use, and the variables that set threads."""
    try:
        n_cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        n_cores = os.cpu_count() or 1
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": n_cores,
        "thread_variables": {name: os.environ[name] for name in names if name in os.environ},
    }


def requirements() -> dict[str, str]:
    """Return the distributions that sdsnn itself needs on this Python, with their version ranges."""
    needed = {}
    for line in metadata.requires("sdsnn") or []:
        requirement, _, marker = line.partition(";")
        applies = "extra" not in marker and not ("python_version" in marker and sys.version_info >= (3, 11))
        parts = re.match(r"\s*([A-Za-z0-9._-]+)\s*(.*)", requirement)
        assert parts is not None, line
        if applies:
            needed[parts[1]] = parts[2].strip()
    return needed


def version_of(distribution: str) -> str | None:
    """Return the installed version, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def check_packages() -> tuple[list[Finding], bool]:
    """Import every package that sdsnn needs, in another interpreter. The second result: whether torch sees a GPU."""
    needed = requirements()
    probes = probe([PACKAGES[name][0] for name in needed if version_of(name)])
    findings = [_package(name, versions, probes.get(PACKAGES[name][0])) for name, versions in needed.items()]
    return findings, any(found.facts.get("gpu") for found in probes.values())


def _package(name: str, versions: str, found: Probe | None) -> Finding:
    version, costs = version_of(name), PACKAGES[name][1]
    command = f'{pip_command()} "{name}{versions}"'
    if version is None or found is None:
        return Finding(name, "missing", "not installed", costs, command)
    if found.failure:
        reinstall = command.replace(" install ", " install --force-reinstall ")
        return Finding(name, "broken", f"{version}: {found.failure}", costs, reinstall)
    if not allows(versions, version):
        return Finding(name, "broken", f"{version}, allowed {versions}", costs, command)
    told = [version]
    if threads := found.facts.get("threads"):
        told.append(f"{threads} thread{'s' if threads > 1 else ''}")
    if "gpu" in found.facts:
        told.append(f"GPU {found.facts['gpu']}" if found.facts["gpu"] else "no GPU")
    return Finding(name, "works", ", ".join(told))


def allows(versions: str, version: str) -> bool:
    """Tell whether a range as '>=1.0.8,<2' holds `version`, by its numbers: a pre-release counts as its release."""

    def numbers(text: str) -> list[int]:
        release = re.match(r"\d+(\.\d+)*", text)
        assert release is not None, text
        parts = [int(part) for part in release[0].split(".")]
        return parts + [0] * (6 - len(parts))

    compare = {">=": operator.ge, "<": operator.lt, "==": operator.eq}
    bounds = re.findall(r"(>=|<|==)\s*([\d.]+)", versions)
    return all(compare[sign](numbers(version), numbers(bound)) for sign, bound in bounds)


def check_lava() -> Iterator[Finding]:
    """Import SLAYER and netx, and run Lava's processes, each in a child process with a time limit."""
    for name, wanted in LAVA_VERSIONS.items():
        version = version_of(name)
        costs = "no training" if name == "lava-dl" else "no comparison with Lava's processes"
        if version == wanted:
            yield Finding(name, "works", version)
        elif version is None:
            yield Finding(name, "missing", "not installed", costs, install_command())
        else:
            yield Finding(name, "broken", f"{version}, but the shims are made for {wanted}", costs, install_command())
    if absent := missing():
        why = f"not tried: {', '.join(absent)} not installed"
        yield Finding("SLAYER", "missing", why, "no training, so no demo", install_command())
        yield Finding("Lava in fixed point", "missing", why, "no comparison with Lava's processes", install_command())
        return
    yield from _slayer()
    yield _fixed_point()


def _slayer() -> Iterator[Finding]:
    import numpy as np

    from sdsnn_core.lava.child import run_in_child

    spikes = (np.random.default_rng(0).random((1, 6, 20)) < 0.5).astype(np.int8)
    part, costs = "SLAYER", "no training, so no demo"
    try:
        result = run_in_child("sdsnn_core.lava.probe:slayer", {"spikes": spikes}, LAVA_LIMIT_S)
    except SdsnnError as error:
        yield Finding(part, "broken", str(error), costs, install_command())
        return
    if result["gradients"] and result["spikes"].any():
        yield Finding(part, "works", "a block ran forward and back")
    else:
        yield Finding(part, "broken", "a block gave no spikes or no gradients", costs)
    applied = result["shims"]
    idle = [shim.name for shim in SHIMS if shim.name not in applied]
    yield Finding(
        "shims of Lava", "works", f"applied: {', '.join(applied) or 'none'}; not needed: {', '.join(idle) or 'none'}"
    )


def _fixed_point() -> Finding:
    """Compare a small network on Lava's bit-accurate processes with the reference."""
    import numpy as np

    from sdsnn_core.lava.child import run_in_child
    from sdsnn_core.network import Input, Network, Output, Population, Synapses
    from sdsnn_core.reference import run

    part, costs = "Lava in fixed point", "no comparison with Lava's processes"
    rng = np.random.default_rng(0)
    weight, spikes = 2 * rng.integers(-100, 128, (10, 12)), (rng.random((30, 12)) < 0.4).astype(np.uint8)
    population = Population((10,), np.array(1024), np.array(128), np.array(80))
    network = Network(
        {"in": Input((12,)), "lif": population, "out": Output("lif")},
        {"w": Synapses.from_dense("in", "lif", weight)},
    )
    expected = run(network, spikes).spikes["lif"][0]
    payload = {
        "weight": weight, "spikes": spikes.astype(np.int64),
        "current_decay": 1024, "voltage_decay": 128, "threshold": 80,
    }  # fmt: skip
    try:
        received = run_in_child("sdsnn_core.lava.probe:fixed_point", payload, LAVA_LIMIT_S)["spikes"]
    except SdsnnError as error:
        return Finding(part, "broken", str(error), costs, install_command())
    differing = int((received != expected).sum())
    if differing:
        return Finding(part, "broken", f"{differing} of {expected.size} bins differ from the reference", costs)
    return Finding(part, "works", f"ran in a child process: {expected.size} bins equal to the reference")


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent package
        return False


def check_optional(*, gpu: bool) -> Iterator[Finding]:
    """Tell what no command needs: Loihi hardware, the compiler of SLAYER's CUDA kernels, the development tools."""
    extension = [module for module in LOIHI_MODULES if _found(module)]
    if len(extension) == len(LOIHI_MODULES):
        yield Finding("Loihi hardware", "works", "the extension lava-loihi is installed; no board was tried")
    else:
        yield Finding(
            "Loihi hardware", "absent", "the extension lava-loihi is not installed",
            "no runs on the chip, no measured energy; Intel gives it to members of its research community (INRC) only",
        )  # fmt: skip
    if gpu:
        absent = [tool for tool in ("ninja", "nvcc", "g++") if not _tool(tool)]
        if absent:
            yield Finding(
                "SLAYER's CUDA kernels", "absent", f"not on the path: {', '.join(absent)}",
                "SLAYER's own neurons do not run on the GPU",
                f"{pip_command()} ninja" if absent == ["ninja"] else "",
            )  # fmt: skip
        else:
            yield Finding("SLAYER's CUDA kernels", "works", "ninja, nvcc and g++ are there to compile them")
    for package, extra, without in EXTRAS:
        version = version_of(package)
        if version is None:
            yield Finding(package, "absent", "not installed", without, f"{pip_command()} 'sdsnn[{extra}]'")
        else:
            yield Finding(package, "works", version)
    absent = [tool for tool in TOOLS if version_of(tool) is None]
    if absent:
        yield Finding(
            "development tools", "absent", f"not installed: {', '.join(absent)}", "no tests and no linters",
            f"{pip_command()} {' '.join(absent)}",
        )  # fmt: skip
    else:
        yield Finding("development tools", "works", f"{', '.join(TOOLS)}")


def _tool(name: str) -> bool:
    """Tell whether a program is on the path or beside the interpreter."""
    return shutil.which(name) is not None or (Path(sys.executable).parent / name).exists()
