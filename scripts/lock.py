"""Write `locks/py310.txt` to `locks/py313.txt`, the versions that CI tests, one file per Python: `make lock`.

uv resolves `pyproject.toml` with the extras below for each Python on x86-64 Linux. Versions already in a lock stay
while they fit; `--upgrade` takes the newest. A pin such as torch==2.13.0 also admits a local build, torch 2.13.0+cpu.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = ("dev", "docs", "lava", "neurobench", "readers")
OPTIONS = (
    "--python-platform",
    "x86_64-manylinux_2_28",
    "--strip-extras",
    "--no-annotate",
    "--no-emit-index-url",
    "--quiet",
    "--no-config",  # pip takes the metadata of Lava as they are, not those under [tool.uv]
)


def lock_of(python: str) -> Path:
    """Return the lock file of a Python version such as '3.10'."""
    return ROOT / "locks" / f"py{python.replace('.', '')}.txt"


def main() -> None:
    """Resolve and write the lock of every Python."""
    parser = argparse.ArgumentParser(description="Write one lock file per Python version with uv.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions instead of those locked")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    if not (uv := shutil.which("uv")):
        sys.exit("lock: expected the program uv on the path, got none; `pip install uv` brings it")
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    for python in PYTHONS:
        lock = lock_of(python)
        lock.parent.mkdir(exist_ok=True)
        command = [uv, "pip", "compile", "pyproject.toml", *extras, *OPTIONS, *upgrade]
        command += ["--python-version", python, "--output-file", str(lock), "--custom-compile-command", "make lock"]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        pins = [line for line in lock.read_text().splitlines() if "==" in line]
        print(f"lock: Python {python}: {len(pins)} packages in {lock.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
