"""Import packages in another interpreter, so that one that crashes is a finding and does not end `sdsnn doctor`.

The child imports one module after the other and prints a JSON line for each. The first module without a line is the one
that failed; `probe` starts a new child behind it.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

_MARK = "probed: "


class Probe(NamedTuple):
    """Result of importing one module: facts about it, or the failure in one line."""

    facts: Mapping[str, Any] = MappingProxyType({})
    failure: str = ""


def probe(modules: list[str], limit_s: float = 300.0) -> dict[str, Probe]:
    """Import `modules` in one child process, and in another one after each failure; limit_s: seconds for each child."""
    probes: dict[str, Probe] = {}
    while remaining := [name for name in modules if name not in probes]:
        command = [sys.executable, "-m", __name__, *remaining]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            try:
                output, errors = child.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                child.kill()
                output, errors = child.communicate()[0], f"took longer than {limit_s:g} s"
        for line in output.splitlines():
            if line.startswith(_MARK):
                name, facts = json.loads(line.removeprefix(_MARK))
                probes[name] = Probe(facts)
        if failed := next((name for name in remaining if name not in probes), None):
            last_line = (errors.strip().splitlines() or [f"the import ended Python with status {child.returncode}"])[-1]
            probes[failed] = Probe(failure=last_line.strip())
    return probes


def _facts(name: str, module: Any) -> dict[str, Any]:
    """Return what to report of a module that imports: threads, GPU; numba compiles a function, to try LLVM too."""
    if name == "torch":
        gpu = module.cuda.get_device_name(0) if module.cuda.is_available() else None
        return {"threads": module.get_num_threads(), "gpu": gpu}
    if name == "numba":
        assert module.njit(lambda value: value + 1)(1) == 2
        # get_num_threads() would start them, and set OpenMP's number for torch too.
        return {"threads": module.config.NUMBA_NUM_THREADS}
    return {}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(_MARK + json.dumps([name, _facts(name, importlib.import_module(name))]), flush=True)  # noqa: T201
