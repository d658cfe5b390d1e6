"""Install sdsnn and run its demo on every supported Python of this machine: `python scripts/try_pythons.py`.

Each Python gets a fresh clone of the committed state in a temporary folder, where `make demo` runs. They run one after
the other, since an environment takes up to 6 GB. Pythons on the path come first, then those of pyenv. Arguments such as
3.12 choose some. Prints the seconds of each Python and exits with status 1 if one failed or was not found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lock import PYTHONS, ROOT

SHOWN_LINES = 25  # lines of the log to print when a Python fails


def find(version: str) -> str | None:
    """Return the interpreter of a version such as '3.12', or None; a shim of pyenv whose version is not set fails."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python3")))]
    for path in filter(None, candidates):
        if subprocess.run([path, "-c", "import ssl, venv"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def try_python(path: str) -> bool:
    """Clone, install and run the demo with one interpreter; print the end of the log if that fails."""
    with tempfile.TemporaryDirectory() as folder:
        clone, log = Path(folder) / "sdsnn", Path(folder) / "log"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        with log.open("w", encoding="utf-8") as output:
            command = ["make", "demo", f"PYTHON={path}"]
            status = subprocess.run(command, cwd=clone, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        if status:
            print("\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]))
        return status == 0


def main() -> None:
    """Try the chosen Pythons and print one line for each."""
    parser = argparse.ArgumentParser(description="Install sdsnn and run its demo on several Pythons.")
    parser.add_argument("versions", nargs="*", default=PYTHONS, help="such as 3.12; all supported ones by default")
    failed = 0
    for version in parser.parse_args().versions:
        start, path = time.monotonic(), find(version)
        works = path is not None and try_python(path)
        failed += not works
        result = "not found" if path is None else f"{'works' if works else 'fails'}, {time.monotonic() - start:.0f} s"
        print(f"Python {version}: {result}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
