"""Make a virtual environment with sdsnn (editable), its development tools and Lava: `python scripts/install.py DIR`.

Standard library only, since it runs before anything is installed. Prints a line per stage and keeps what pip says in a
log, whose end is shown if it fails. The stamp file, by which make knows a complete environment, is written last: an
interrupted or failed installation leaves none, and the next run starts over.
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
SHOWN_LINES = 25  # of the log, when a stage fails


def run(stage: str, log: Path, *command: str | Path) -> None:
    """Run `command` in the repository's root, its output added to `log`; end the program with a message if it fails."""
    words = [str(word) for word in command]
    print(f"install: {stage} ...", flush=True)
    with log.open("a", encoding="utf-8") as output:
        output.write(f"+ {' '.join(words)}\n")
        output.flush()
        status = subprocess.run(words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
        sys.exit(
            "\n".join(tail) + f"\ninstall: {stage}: failed with status {status}; all that was said is in {log}."
            " The environment is incomplete; the next `make` starts over."
        )


def install(folder: Path, stamp: Path) -> None:
    """Build the environment in `folder` from nothing and write `stamp` when all of it works."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(
            f"install: got Python {sys.version.split()[0]}, allowed 3.10 to 3.13; name one, as in"
            " `make .venv PYTHON=python3.12`"
        )
    start = time.monotonic()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    log = folder / "install.log"
    run(f"environment of Python {sys.version.split()[0]} in {folder.name}", log, sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off")
    run("pip and setuptools", log, *pip, "--upgrade", "pip>=24", "setuptools>=77")
    # On Python 3.10 the `lava` extra holds lava-nc and lava-dl themselves, above it only what they truly need.
    constraints = ("--constraint", ROOT / "constraints.txt")
    wanted = f"{ROOT}[dev,lava]"
    run("sdsnn, PyTorch and what they need (minutes)", log, *pip, *constraints, "--editable", wanted)
    if sys.version_info >= (3, 11):
        # Their metadata allow Python 3.10, numpy < 2 and torch < 2.4 only; sdsnn_core/lava/compat.py lifts that.
        run("Lava", log, *pip, "--no-deps", "--ignore-requires-python", *LAVA)
    imports = "from sdsnn_core.lava.compat import import_netx, import_slayer; import_slayer(); import_netx()"
    run("importing Lava", log, python, "-c", imports)
    stamp.write_text(f"{sys.version}\n")
    print(f"install: done in {time.monotonic() - start:.0f} s; pip's words are in {log}", flush=True)


def main() -> None:
    """Read the arguments and install."""
    parser = argparse.ArgumentParser(description="Make a virtual environment with sdsnn, its tools and Lava.")
    parser.add_argument("folder", type=Path, help="where; an existing folder is replaced")
    parser.add_argument("--stamp", type=Path, help="file to write when all is done (default FOLDER/.complete)")
    given = parser.parse_args()
    folder = given.folder.absolute()
    try:
        install(folder, (given.stamp or folder / ".complete").absolute())
    except KeyboardInterrupt:
        sys.exit("install: interrupted; the environment is incomplete, and the next `make` starts over")


if __name__ == "__main__":
    main()
