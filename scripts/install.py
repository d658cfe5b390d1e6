"""Make a virtual environment with sdsnn (editable), its development tools and Lava: `python scripts/install.py DIR`.

Uses the standard library only, since it runs before anything is installed. Prints one line per stage and writes pip's
output to a log; if a stage fails, it prints the end of the log. The stamp file marks a complete environment for make
and is written last: an interrupted or failed installation leaves none, and the next run starts over.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 10), (3, 13)
LAVA = ("lava-nc==0.10.0", "lava-dl==0.6.0")
SHOWN_LINES = 25  # lines of the log to print when a stage fails


def run(stage: str, log: Path, *command: str | Path) -> None:
    """Run `command` in the repository's root, append its output to `log`, and exit with a message if it fails."""
    words = [str(word) for word in command]
    print(f"install: {stage} ...", flush=True)
    with log.open("a", encoding="utf-8") as output:
        output.write(f"+ {' '.join(words)}\n")
        output.flush()
        status = subprocess.run(words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
        sys.exit(
            "\n".join(tail) + f"\ninstall: {stage}: failed with status {status}; the full output is in {log}."
            " The environment is incomplete; the next `make` starts over."
        )


def install(folder: Path, stamp: Path) -> None:
    """Build the environment in `folder` anew and write `stamp` when Lava imports in it."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(
            f"install: expected Python 3.10 to 3.13, got {sys.version.split()[0]}; choose one with"
            " `make .venv PYTHON=python3.12`"
        )
    start = time.monotonic()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    log = folder / "install.log"
    run(f"environment of Python {sys.version.split()[0]} in {folder.name}", log, sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    lock = ROOT / "locks" / "py{}{}.txt".format(*sys.version_info[:2])
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "--constraint", lock)
    run("pip and setuptools", log, *pip, "--upgrade", "pip>=24", "setuptools>=77")
    # On Python 3.10 the extra `lava` holds lava-nc and lava-dl themselves, on later versions only their dependencies.
    run("sdsnn, PyTorch and their dependencies (minutes)", log, *pip, "--editable", f"{ROOT}[dev,lava]")
    if sys.version_info >= (3, 11):
        # Their metadata ask for Python 3.10, numpy < 2 and torch < 2.4; sdsnn_core/lava/compat.py lifts these limits.
        run("Lava", log, *pip, "--no-deps", "--ignore-requires-python", *LAVA)
    imports = "from sdsnn_core.lava.compat import import_netx, import_slayer; import_slayer(); import_netx()"
    run("importing Lava", log, python, "-c", imports)
    stamp.write_text(f"{sys.version}\n")
    print(f"install: done in {time.monotonic() - start:.0f} s; pip's output is in {log}", flush=True)


def main() -> None:
    """Read the arguments and install."""
    parser = argparse.ArgumentParser(description="Make a virtual environment with sdsnn, its tools and Lava.")
    parser.add_argument("folder", type=Path, help="folder of the environment; replaced if it exists")
    parser.add_argument("--stamp", type=Path, help="file to write at the end (default FOLDER/.complete)")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    try:
        install(folder, (arguments.stamp or folder / ".complete").absolute())
    except KeyboardInterrupt:
        sys.exit("install: interrupted; the environment is incomplete, and the next `make` starts over")


if __name__ == "__main__":
    main()
