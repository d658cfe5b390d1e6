"""Training steps of masked networks: with what the masks leave multiplied alone, and as whole matrices and images.

    python benchmarks/train_sparse.py [--threads N] [--rounds N] [--hidden 2048 512] [--channels | --inputs]

784 inputs of which 10 % spike, 8 steps, batch 128, random masks of the same share in all layers but the readout.
--channels: recipe mnist_conv instead, 13 % of the pixels spike, 12 steps, batch 128, of whose two convolutions only a
share of the channels has synapses. --inputs: no masks; a share of the inputs spikes, and only their weights are added.

The two ways take turns step by step in one process, on the same weights and spikes, and must give the same first loss.
CPU seconds of forward, loss, backward and optimiser; ratios are of medians.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from sdsnn.train.development.masks import MaskedLayer, attach_masks
from sdsnn.train.fused import fuse
from sdsnn.train.fused.sums import channels, events, sparse
from sdsnn.train.run.config import RunConfig, load_config
from sdsnn.train.run.parts.optimiser import adam
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn.train.slayer.models import build_model

Prune = Callable[[Sequence[MaskedLayer], float], None]


def prune_synapses(layers: Sequence[MaskedLayer], share: float) -> None:
    """Leave a random share of the synapses of all layers but the readout."""
    for layer in layers[:-1]:
        layer.set_mask(torch.rand(layer.mask.shape) < share)


def prune_channels(layers: Sequence[MaskedLayer], share: float) -> None:
    """Leave a share of the channels of each convolution, and what they reach."""
    masks = [layer.mask.clone() for layer in layers]
    for mask, following in itertools.pairwise(masks[:3]):
        absent = torch.randperm(len(mask))[round(share * len(mask)) :]
        mask[absent] = False
        following[:, absent] = False  # a dense layer sees images of as many channels
    for layer, mask in zip(layers, masks, strict=True):
        layer.set_mask(mask)


def prune_nothing(layers: Sequence[MaskedLayer], share: float) -> None:
    """Leave all synapses."""


def measure(
    config: RunConfig, x: torch.Tensor, prune: Prune, share: float, rounds: int, switch: Callable[[int], None]
) -> tuple[float, float]:
    """Return the median CPU seconds of a step in both ways, between which `switch` changes."""
    labels = torch.randint(0, 10, (len(x),))
    models, optimisers = [], []
    for _ in range(2):
        torch.manual_seed(1)
        model = build_model(config.model, x.shape[1:-1], 10)
        fuse(model)
        prune(attach_masks(model), share)
        models.append(model)
        optimisers.append(adam(model.parameters(), config.optimiser.learning_rate, config.optimiser.weight_decay))
    seconds: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        losses = []
        for way, (model, optimiser) in enumerate(zip(models, optimisers, strict=True)):
            switch(way)
            started = time.process_time()
            reset_state(model)
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x).sum(-1) * config.optimiser.gain, labels)
            torch.autograd.backward(loss)
            optimiser.step()
            if turn:
                seconds[way].append(time.process_time() - started)
            losses.append(float(loss.detach()))
        if turn == 0 and losses[0] != losses[1]:
            raise SystemExit(f"the two ways give losses of {losses}")
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def switch_synapses(way: int) -> None:
    """0: whole matrices; 1: only present synapses."""
    sparse.SPARSE = float(way) or -1.0


def switch_channels(way: int) -> None:
    """0: whole images; 1: only channels with synapses."""
    channels.FEW = float(way)


def switch_inputs(way: int) -> None:
    """0: matrix products; 1: sums of the weights of the inputs that spike."""
    events.SPARSE = float(way) or -1.0


def main() -> None:
    """Print a row of a Markdown table for each share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--hidden", type=int, nargs="+", default=[2048, 512])
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--channels", action="store_true", help="convolutions of few channels")
    way.add_argument("--inputs", action="store_true", help="few inputs that spike")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dense = load_config("mnist_mlp", [f"model.hidden={args.hidden}"])
    given: Callable[[float], tuple[RunConfig, torch.Tensor, Prune]]
    if args.channels:
        what, shares, switch = "channels present", (0.1, 0.25, 0.5, 0.75, 1.0), switch_channels
        images = (torch.rand(128, 1, 28, 28, 12) < 0.13).float()
        given = lambda share: (load_config("mnist_conv"), images, prune_channels)  # noqa: E731
    elif args.inputs:
        what, shares, switch = "inputs that spike", (0.02, 0.05, 0.1, 0.15, 0.2, 0.3), switch_inputs
        given = lambda share: (dense, (torch.rand(128, 784, 8) < share).float(), prune_nothing)  # noqa: E731
    else:
        what, shares, switch = "synapses present", (0.01, 0.02, 0.05, 0.1, 0.2), switch_synapses
        spikes = (torch.rand(128, 784, 8) < 0.1).float()
        given = lambda share: (dense, spikes, prune_synapses)  # noqa: E731
    print(f"| {what} | all, ms | only those, ms | ratio |\n|---|---|---|---|")
    for share in shares:
        whole, few = measure(*given(share), share, args.rounds, switch)
        print(f"| {share:.0%} | {whole * 1e3:.1f} | {few * 1e3:.1f} | {whole / few:.2f} |", flush=True)


if __name__ == "__main__":
    main()
