"""Make a virtual environment with sdsnn (editable), its development tools and Lava: `python scripts/install.py DIR`.

Standard library only, since it runs before anything is installed. The stamp file, by which make knows a complete
environment, is written last: an interrupted or failed installation leaves none, and the next run starts over.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 10), (3, 13)
LAVA = ("lava-nc==0.10.0", "lava-dl==0.6.0")


def run(*command: str | Path) -> None:
    """Run `command` in the repository's root, shown; end the program with its status if it fails."""
    words = [str(word) for word in command]
    print("+", " ".join(words), flush=True)
    status = subprocess.run(words, cwd=ROOT, check=False).returncode
    if status:
        sys.exit(f"install: `{' '.join(words)}` failed with status {status}; the environment is incomplete")


def install(folder: Path, stamp: Path) -> None:
    """Build the environment in `folder` from nothing and write `stamp` when all of it works."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(
            f"install: got Python {sys.version.split()[0]}, allowed 3.10 to 3.13; name one, as in"
            " `make .venv PYTHON=python3.12`"
        )
    if folder.exists():
        shutil.rmtree(folder)
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet")
    run(*pip, "--upgrade", "pip>=24", "setuptools>=77")
    # On Python 3.10 the `lava` extra holds lava-nc and lava-dl themselves, above it only what they truly need.
    run(*pip, "--constraint", ROOT / "constraints.txt", "--editable", f"{ROOT}[dev,lava]")
    if sys.version_info >= (3, 11):
        # Their metadata allow Python 3.10, numpy < 2 and torch < 2.4 only; sdsnn_core/lava_compat.py lifts that.
        run(*pip, "--no-deps", "--ignore-requires-python", *LAVA)
    run(python, "-c", "from sdsnn_core.lava_compat import import_netx, import_slayer; import_slayer(); import_netx()")
    stamp.write_text(f"{sys.version}\n")


def main() -> None:
    """Read the arguments and install."""
    parser = argparse.ArgumentParser(description="Make a virtual environment with sdsnn, its tools and Lava.")
    parser.add_argument("folder", type=Path, help="where; an existing folder is replaced")
    parser.add_argument("--stamp", type=Path, help="file to write when all is done (default FOLDER/.complete)")
    given = parser.parse_args()
    folder = given.folder.absolute()
    install(folder, (given.stamp or folder / ".complete").absolute())


if __name__ == "__main__":
    main()
