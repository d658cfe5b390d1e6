"""Random networks through every back end: `make fuzz N=1000`. Ends with 'networks N, bins B, mismatches M'."""

from __future__ import annotations

import argparse
import sys
import warnings
from functools import partial
from pathlib import Path

from sdsnn.deploy.engine import run as run_engine
from sdsnn_core.lava.compat import lava_available

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from fuzzing import Tally, fuzz


def main() -> int:
    """Parse the command line, fuzz, print; 1 if anything differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", type=int, help="how many networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first network")
    parser.add_argument("--lava-every", type=int, default=20, help="every how many networks one runs in Lava; 0: none")
    parser.add_argument("--traces", type=Path, help="folder for networks that differ and the traces around the place")
    arguments = parser.parse_args()
    every = arguments.lava_every
    if every and not lava_available():
        print("Lava is not installed: it takes no part")
        every = 0
    if arguments.traces is not None:
        arguments.traces.mkdir(parents=True, exist_ok=True)

    def progress(tally: Tally) -> None:
        print(f"... {tally.lines()[-1]}", file=sys.stderr, flush=True)

    warnings.filterwarnings("ignore", message=".*weight_norm")
    tally = fuzz(
        arguments.networks, seed=arguments.seed, first=arguments.first, lava_every=every,
        extra={"engine": partial(run_engine, n_threads=1)},
        folder=arguments.traces, progress=progress,
    )  # fmt: skip
    print("\n".join(tally.lines()))
    return 1 if tally.mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
