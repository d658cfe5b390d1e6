"""Try every public `.nir` and `.net` file of a folder and print the table of docs/formats.md.

    python scripts/public_files.py FOLDER

FOLDER (default: `public_files` in SDSNN_DATA) holds a folder OWNER+NAME for each public repository: the files, each
under the short hash of the commit that brought it (HASH/path/in/the/repository), LICENSE, and COMMIT with the commit at
which it was looked at. Without the folder nothing is tried, and that is said.

A file is read (imported, if its floats stand for no integers), written as NIR, read back, and run on random input in
the engine and the reference, whose spikes must be equal. All of it happens in a child with limits of time and memory.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

LIMITS: Final = (120.0, 4 * 2**30)  # seconds of CPU time, bytes of memory
SAMPLES, STEPS = 2, 24
LONGEST: Final = 150  # characters of a verdict
# What the text of a repository says of its files: a part of their path -> step in seconds, writer, largest input.
SETTINGS: Final = (
    ("lif_norse", 1e-3, None, None),
    ("cnn_sinabs", 1e-4, "nir", None),
    ("scnn_mnist", 1e-4, "sinabs", None),
    ("spyx", 1.0, "spyx", None),
    ("lif_rockpool", 1e-4, "rockpool", None),
    ("nir2fpga", 1.0, "nir", None),
)
LICENCES: Final = ("BSD 3-Clause", "MIT", "Apache", "GNU AFFERO", "GNU GENERAL")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("SDSNN_DATA", ".")) / "public_files"
    parser.add_argument("folder", type=Path, nargs="?", default=default, help="a folder for each repository")
    folder = parser.parse_args().folder
    if not folder.is_dir():
        sys.exit(f"{folder}: no such folder; nothing was tried")
    names = ("sdsnn", "numpy", "h5py", "nir")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"Tried on {date.today().isoformat()} with {versions}.\n")
    print("| file | source | licence | verdict |\n|---|---|---|---|")
    tally: dict[str, int] = {}
    for path, source, licence in files_of(folder):
        kind, verdict = tried(path)
        tally[kind] = tally.get(kind, 0) + 1
        print(
            f"| {path.relative_to(folder).as_posix().split('/', 1)[1]} | {source} | {licence} | {verdict} |", flush=True
        )
    print("\n" + ", ".join(f"{number} {kind}" for kind, number in sorted(tally.items())))


def files_of(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield every file once, with its source and licence."""
    contents: set[bytes] = set()
    for repository in sorted(path for path in folder.iterdir() if path.is_dir()):
        commit = (repository / "COMMIT").read_text().split()[0][:8] if (repository / "COMMIT").is_file() else "?"
        text = (repository / "LICENSE").read_text() if (repository / "LICENSE").is_file() else ""
        licence = next((name for name in LICENCES if name.lower() in text.lower()), "none" if not text else "other")
        for path in sorted(repository.rglob("*")):
            if path.suffix in (".nir", ".net", ".hdf5") and (content := path.read_bytes()) not in contents:
                contents.add(content)
                yield path, f"{repository.name.replace('+', '/')} ({commit})", licence


def tried(path: Path) -> tuple[str, str]:
    """Return what became of a file, in one word and in one line."""
    from sdsnn_core.errors import FileError
    from sdsnn_core.system.contained import Limits, contained

    start = time.monotonic()
    try:
        with contained(lambda: lambda _: list(verdict(path)), Limits(*LIMITS)) as ask:
            kind, line = ask(None)
    except FileError as error:
        kind, line = "failed", f"**{error}**"
    line = line.replace(str(path), path.name).replace("|", "/")
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
    return kind, f"{line} ({time.monotonic() - start:.1f} s)"


def verdict(path: Path) -> tuple[str, str]:
    """Read a file, write it, read it back and run it."""
    from sdsnn.export.float_import.read import import_file
    from sdsnn.export.netx.reader import read_netx
    from sdsnn_core.errors import FileError, SdsnnError

    try:
        if path.suffix == ".net":
            network, how = read_netx(path), "read"
        else:
            dt, writer, largest = next(
                (tuple(rest) for part, *rest in SETTINGS if part in str(path)), (1e-4, None, None)
            )
            imported = import_file(path, dt, writer=writer, input_max=largest, force=True)
            network, how = imported.network, "read exactly" if imported.exact else _imported(imported)
    except FileError as error:
        return "broken", f"broken: {_short(error, path)}"
    except SdsnnError as error:
        return "refused", f"refused: {_short(error, path)}"
    return ("imported" if how.startswith("imported") else "read"), f"{how}; {checked(network)}"


def _short(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _imported(imported: Any) -> str:
    worst = max((report.differing for report in imported.reports), default=0.0)
    problems = f", problems: {'; '.join(imported.problems)}" if imported.problems else ""
    return f"imported as {imported.writer}, {worst:.2%} of bins differ at most from its floats{problems}"


def checked(network: Any) -> str:
    """Return how many bins the engine and the reference agreed on; raise where they do not."""
    import numpy as np

    from sdsnn.deploy.engine.engine import run
    from sdsnn.export.nir_format.reader import read_nir
    from sdsnn.export.nir_format.writer import write_nir
    from sdsnn_core import reference
    from sdsnn_core.activity import random_spikes
    from sdsnn_core.errors import SdsnnError

    written = ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            again = read_nir(write_nir(network, Path(folder) / "a.nir"))
        except SdsnnError as error:
            again, written = network, f", not as NIR ({error})"
    if again.digest() != network.digest():
        raise AssertionError("the file written from it reads back as another network")
    inputs = random_spikes(np.random.default_rng(0), network, SAMPLES, STEPS)
    expected, got = reference.run(network, inputs), run(network, inputs)
    bins = 0
    for name, train in expected.spikes.items():
        np.testing.assert_array_equal(got.spikes[name], train)
        bins += train.size
    neurons = sum(population.size for population in network.populations.values())
    return f"{neurons} neurons, {bins} bins equal{written}"


if __name__ == "__main__":
    main()
