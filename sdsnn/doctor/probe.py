"""Imports packages one after the other, with a JSON line for each; `sdsnn doctor` runs it in another interpreter.

A package that fails ends the interpreter, by an exception or by a signal, and so names itself: it is the first without
a line. `probe` starts again behind it.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

_SAID = "probed: "


@final
@dataclass(frozen=True)
class Probe:
    """What came of importing one module: its `facts`, or the `failure` in one line."""

    facts: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


def probe(modules: list[str], limit_s: float = 300.0) -> dict[str, Probe]:
    """Import each of `modules`, all in one interpreter if none fails; limit_s: seconds for one interpreter."""
    found: dict[str, Probe] = {}
    while remaining := [name for name in modules if name not in found]:
        command = [sys.executable, "-m", __name__, *remaining]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
            output, errors, status = done.stdout, done.stderr, done.returncode
        except subprocess.TimeoutExpired as expired:
            output, errors, status = _text(expired.stdout), f"took longer than {limit_s:g} s", -1
        for line in output.splitlines():
            if line.startswith(_SAID):
                name, facts = json.loads(line.removeprefix(_SAID))
                found[name] = Probe(facts)
        unanswered = [name for name in remaining if name not in found]
        if unanswered:
            found[unanswered[0]] = Probe(failure=_last_line(errors) or f"the import ended Python with status {status}")
    return found


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _facts(name: str, module: Any) -> Mapping[str, Any]:
    """Return what is worth telling of a module beyond that it imports."""
    if name == "torch":
        there = module.cuda.is_available()
        return {"threads": module.get_num_threads(), "gpu": module.cuda.get_device_name(0) if there else None}
    if name == "numba":
        assert module.njit(lambda value: value + 1)(1) == 2  # compiles, so that LLVM is tried too
        # get_num_threads() would start them, and set OpenMP's number for torch too.
        return {"threads": module.config.NUMBA_NUM_THREADS}
    return {}


def main(names: list[str]) -> None:
    """Import `names` and tell of each."""
    for name in names:
        facts = _facts(name, importlib.import_module(name))
        print(_SAID + json.dumps([name, facts]), flush=True)  # noqa: T201 -- this is what the module is for


if __name__ == "__main__":
    main(sys.argv[1:])
