"""What development towards a chip adds to an epoch: searches, measurements and prices of synapses.

    SDSNN_DATA=... python benchmarks/chip_target.py [--recipe mnist_mlp] [--epochs 4] [--set KEY=VALUE ...]

Processor seconds of three epochs in which the stage ends: the first, which searches twice, a later one, and the one of
the last search, to within 1 %. With few epochs no epoch of the stage is without a search, so these are the dearest.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections import Counter
from typing import Any

from sdsnn.deploy.placement.objective.cost import chip_cost
from sdsnn.train.development.chip_target import ChipTarget
from sdsnn.train.development.sparsifier import Sparsifier
from sdsnn.train.run.config import load_config
from sdsnn.train.run.parts.build import group_of, trainer_for
from sdsnn.train.run.trainer import NoProgress

PARTS = ((ChipTarget, "search"), (ChipTarget, "update"), (Sparsifier, "_drop_scores"))


def timed(owner: type, name: str, seconds: Counter[str]) -> None:
    """Add the processor time of a method to `seconds`."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def call(*args: Any, **keys: Any) -> Any:
        started = time.process_time()
        try:
            return method(*args, **keys)
        finally:
            seconds[name] += time.process_time() - started

    setattr(owner, name, call)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="mnist_mlp")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    keys = ["threads=1", f"optimiser.epochs={args.epochs}", "development.chip=loihi2", "development.stop_cores=3"]
    config = load_config(args.recipe, [*keys, *args.set])
    trainer = trainer_for(config, group_of(config), chip_cost=chip_cost)
    seconds: Counter[str] = Counter()
    for owner, name in PARTS:
        timed(owner, name, seconds)
    print("| epoch | CPU s | searches | measurements | prices | all | cores after it |\n|---|---|---|---|---|---|---|")
    while trainer.epochs_done <= trainer.developer.schedule.synapse_last:
        seconds.clear()
        started = time.process_time()
        line = trainer.run_epoch(NoProgress())
        total = time.process_time() - started
        shares = [seconds[name] / total for _, name in PARTS]
        cells = " | ".join(f"{share:.2%}" for share in [*shares, sum(shares)])
        print(f"| {line['epoch']} | {total:.0f} | {cells} | {line['chip']['cores']} |", flush=True)


if __name__ == "__main__":
    main()
