"""Train the networks of docs/results.md, and write its tables and figures.

    SDSNN_DATA=... python benchmarks/results.py --list
    SDSNN_DATA=... python benchmarks/results.py --run digits evtouch --jobs 2 [--device cuda]
    python benchmarks/results.py --table --figures

`study/plan.py` lists the runs: a study (data set and recipe), a row (what it changes) and a seed. A finished run is one
line of benchmarks/results.jsonl and is not repeated. A run that was interrupted goes on from its last epoch, since run
folders stay in --keep. Several commands may work on one list at a time: a lock in --keep marks a run that is under way.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from study.plan import Run, planned

OUT = Path(__file__).parent / "results.jsonl"


def read(path: Path) -> list[dict[str, Any]]:
    """Return the results so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def remaining(path: Path, patterns: Sequence[str]) -> list[Run]:
    """Return the planned runs that have no line yet, in the order of the patterns that they match."""
    done = {(r["study"], r["row"], r["seed"], tuple(r["overrides"])) for r in read(path) if "study" in r}
    runs = [run for run in planned() if run.key not in done]
    if not patterns:
        return runs
    return list(dict.fromkeys(run for pattern in patterns for run in runs if matches(run, pattern)))


def matches(run: Run, pattern: str) -> bool:
    """Return True if a pattern names the run: a study, "study/row" or "study/row/seed", with wildcards."""
    return fnmatch(run.title, pattern) or fnmatch(run.title, f"{pattern}/*")


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold the lock of a run folder; False where another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def run_next(out: Path, keep: Path, patterns: Sequence[str], device: str = "cpu") -> bool:
    """Train the first remaining run that no other process trains; False if there is none."""
    from study.measure import measure

    for run in remaining(out, patterns):
        if not {earlier for _, earlier in run.earlier}.isdisjoint(remaining(out, [])):
            continue  # another process may train it
        with claimed(keep / f"{run.folder}.lock") as mine:
            if not mine or run not in remaining(out, patterns):
                continue
            line = measure(run, keep / run.folder, device)
            with out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{run.study}, {run.row}, seed {run.seed}: {line['test']:.2%}, {line['connection_sparsity']:.1%} "
                  f"absent, {line['synapses']:,} synapses, {line['seconds']:.0f} s", flush=True)  # fmt: skip
            return True
    return False


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", nargs="*", metavar="PATTERN", help="print the remaining runs")
    parser.add_argument(
        "--run", nargs="*", metavar="PATTERN", help='train them: study, "study/row" or "study/row/seed"'
    )
    parser.add_argument("--most", type=int, metavar="N", help="end after N runs")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that train, one run each at a time")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what trains")
    parser.add_argument("--out", type=Path, default=OUT, help="where results are (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "sdsnn-results", metavar="DIR")
    parser.add_argument("--table", action="store_true", help="write the tables into docs/")
    parser.add_argument("--figures", action="store_true", help="draw the figures into docs/")
    args = parser.parse_args()
    if args.list is not None:
        for run in remaining(args.out, args.list):
            print(run.title)
    if args.run is not None:
        one = [sys.executable, __file__, *sys.argv[1:], "--jobs=1"]  # the last --jobs counts
        started = [subprocess.Popen(one) for _ in range(args.jobs - 1)]
        left = args.most
        while left != 0 and run_next(args.out, args.keep, args.run, args.device):
            left = None if left is None else left - 1
        if sum(process.wait() for process in started):
            sys.exit(1)
    if args.table or args.figures:
        from study import figures, tables

        lines = read(args.out)
        if args.table:
            for page in tables.PAGES:
                tables.write(lines, page)
        if args.figures:
            figures.draw(lines)
            figures.draw_chip(lines)


if __name__ == "__main__":
    main()
