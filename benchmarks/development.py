"""What development costs: its share of an epoch of training, for networks and numbers of samples as of N-MNIST.

    python benchmarks/development.py [--quick] [--json] [--rounds N] [--threads N] [--device cpu|cuda]

The networks are those of the recipes nmnist_mlp and nmnist_conv, fused, on random events of 50 steps, batch 32. Steps
of the optimiser without masks, with them (half of the synapses absent) and with them and the gradients of the absent
summed up alternate; costs are medians, of processor time on a CPU. `after_epoch` is timed in every phase of a run, all
layers developing. The share is the mean over a run of the recipe's 30 epochs: each epoch's steps with what they do in
it, and what follows it, against the same steps without masks. An epoch has 1,875 steps (the 60,000 samples of the
training set); the share for 1,000 samples stands beside it. --json: last line is one JSON object.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

STEPS, BATCH, FULL, SUBSET, EPOCHS = 50, 32, 60_000, 1_000, 30


def build(recipe: str, device: str) -> tuple[Any, Any]:
    """Return (model, its [development] section with every mechanism on)."""
    import torch

    from sdsnn.train.fused import fuse
    from sdsnn.train.run.config import load_config
    from sdsnn.train.slayer.models import build_model

    torch.manual_seed(0)
    config = load_config(recipe)
    model = build_model(config.model, (2, 34, 34), 10)
    fuse(model)
    return model.to(device), replace(config.development, protect_first=False, synapse_stage=True)


def stepper(model: Any, x: Any, labels: Any, device: str) -> tuple[Any, Callable[[], float]]:
    """Return the trainer's optimiser and a function that takes one step and returns its seconds of processor time."""
    import torch

    from sdsnn.train.run.parts.optimiser import adam

    optimiser = adam(model.parameters(), 1e-4)

    def step() -> None:
        optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(model(x).sum(-1), labels))
        optimiser.step()

    return optimiser, lambda: timed(step, device)


def timed(work: Callable[[], object], device: str) -> float:
    """Return the seconds that `work` takes: of this process on a CPU, of the clock on a GPU."""
    import torch

    clock = time.perf_counter if device == "cuda" else time.process_time
    if device == "cuda":
        torch.cuda.synchronize()
    started = clock()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def weights_of(model: Any, name: str) -> list[Any]:
    """Return the weights of a block of the network without masks."""
    from sdsnn.train.development.masks import synapses_of

    return [synapse.weight for synapse in synapses_of(model.get_submodule(name)).values()]


def measure(recipe: str, rounds: int, device: str) -> dict[str, Any]:
    """Return seconds and shares of one network."""
    import torch

    from sdsnn.train.development.developer import Developer

    plain, config = build(recipe, device)
    developing = copy.deepcopy(plain)
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(BATCH, 2, 34, 34, STEPS, generator=generator) < 0.03).float().to(device)
    labels = torch.randint(0, 10, (BATCH,), generator=generator).to(device)
    developer = Developer(developing, x[:1, ..., :1], EPOCHS, config)
    optimiser, step = stepper(developing, x, labels, device)
    _, plain_step = stepper(plain, x, labels, device)
    step()
    plain_step()
    ends, states = [], []
    for epoch in range(EPOCHS):  # gradients of one step stand for those of an epoch: the rules cost the same
        hooks = [synapse.hook for layer in developer.layers for synapse in layer.synapses]
        states.append("score" if any(h.accumulates for h in hooks) else "masked" if not all(h.mask.all() for h in hooks)
                      else "plain")  # fmt: skip
        if epoch % 3 == 0:
            step()
        ends.append(timed(lambda: developer.epoch_end(optimiser), device))
    generator = torch.Generator().manual_seed(2)
    for layer in developer.layers:
        masks = [(torch.rand(s.mask.shape, generator=generator) < 0.5).to(device) for s in layer.synapses]
        layer.set_masks(masks, optimiser)
        plain_weights = weights_of(plain, layer.name)
        for synapse, weight in zip(layer.synapses, plain_weights, strict=True):
            with torch.no_grad():
                weight.copy_(synapse.float_weight)  # the same spikes in both
    costs: dict[str, list[float]] = {"plain": [], "masked": [], "score": []}
    for _ in range(rounds):
        costs["plain"].append(plain_step())
        for state in ("masked", "score"):
            for layer in developer.layers:
                for synapse in layer.synapses:
                    synapse.hook.accumulates = state == "score"
            costs[state].append(step())
    seconds = {state: statistics.median(values) for state, values in costs.items()}
    result: dict[str, Any] = {
        "network": recipe,
        "synapses": sum(s.mask.numel() for layer in developer.layers for s in layer.synapses),
        "step_s": seconds,
        "after_epoch_s": statistics.mean(ends),
        "after_epoch_worst_s": max(ends),
        "epochs_by_state": {state: states.count(state) for state in costs},
    }
    for name, samples in (("full", FULL), ("subset", SUBSET)):
        steps = samples / BATCH
        more = sum((seconds[state] - seconds["plain"]) * steps for state in states) + sum(ends)
        result[f"share_{name}"] = more / (seconds["plain"] * steps * EPOCHS)
    return result


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--json", action="store_true", help="last line: one JSON object")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    args = parser.parse_args()
    import torch

    import sdsnn.train  # noqa: F401  (sets torch's memory up before it allocates)

    torch.set_num_threads(args.threads)
    results = [measure(name, 3 if args.quick else args.rounds, args.device) for name in ("nmnist_mlp", "nmnist_conv")]
    for line in results:
        step = line["step_s"]
        print(f"{line['network']}: {line['synapses']:,} synapses; step {1e3 * step['plain']:.1f} ms, with masks "
              f"{step['masked'] / step['plain'] - 1:+.1%}, with gradients of the absent "
              f"{step['score'] / step['plain'] - 1:+.1%}; after_epoch {1e3 * line['after_epoch_s']:.1f} ms (worst "
              f"{1e3 * line['after_epoch_worst_s']:.1f}); mean share of an epoch of 60,000 samples "
              f"{line['share_full']:.2%}, of 1,000 samples {line['share_subset']:.2%}")  # fmt: skip
    if args.json:
        worst = max(line["share_full"] for line in results)
        print(json.dumps({"development_share": worst, "threads": args.threads, "device": args.device,
                          "rounds": args.rounds, "results": results}))  # fmt: skip


if __name__ == "__main__":
    main()
