"""Damaged files of every kind: `make fuzz-files N=1000 KIND=events`. Each must be read, or refused in one line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from file_fuzz.kinds import KINDS
from file_fuzz.runner import Tally, run


def main() -> int:
    """Parse the command line, fuzz, print; 1 if a file hung, crashed, or ended in anything but one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mutations", type=int, help="how many, of each kind")
    parser.add_argument("--kind", choices=KINDS, help="default: all of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    parser.add_argument("--keep", type=Path, help="folder for files whose reading failed")
    arguments = parser.parse_args()
    failed = 0
    for kind in [arguments.kind] if arguments.kind else KINDS:

        def progress(tally: Tally, kind: str = kind) -> None:
            done = tally.read + tally.refused + len(tally.failures)
            if sys.stderr.isatty():
                print(f"\r{kind}: {done} of {arguments.mutations}", end="", file=sys.stderr, flush=True)

        tally = run(
            kind, arguments.mutations, arguments.seed, arguments.first, arguments.jobs, arguments.keep, progress
        )
        print(f"{tally.line(kind)} (seed {arguments.seed})", flush=True)
        failed += len(tally.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
