"""Training steps of a masked multilayer perceptron, with its few synapses multiplied alone and as whole matrices.

    python benchmarks/train_sparse.py [--threads N] [--rounds N] [--hidden 2048 512] [--channels]

784 inputs of which 10 % spike, 8 steps, batch 128, random masks of the same share in all layers but the readout. The
two ways take turns step by step in one process, on the same weights and spikes, and must give the same first loss.
Seconds are of forward, loss, backward and optimiser; ratios are of medians.

--channels measures instead the second convolution of recipe mnist_conv (14x14x32 to 7x7x64, 12 steps, batch 128) where
masks leave only some channels on both sides: the whole convolution, and gathering those channels for a smaller one.
CPU seconds of one forward and backward call; medians of both taking turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from sdsnn.train.development.masks import attach_masks
from sdsnn.train.fused import fuse
from sdsnn.train.fused.sums import sparse
from sdsnn.train.fused.sums.currents import ConvSums
from sdsnn.train.run.config import load_config
from sdsnn.train.run.parts.optimiser import adam
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn.train.slayer.models import build_model


def measure(share: float, hidden: list[int], rounds: int) -> tuple[float, float]:
    """Return the median seconds of a step: whole matrices, and only what is there."""
    torch.manual_seed(0)
    config = load_config("mnist_mlp", [f"model.hidden={hidden}"])
    x = (torch.rand(128, 784, 8) < 0.1).float()
    labels = torch.randint(0, 10, (128,))
    models, optimisers = [], []
    for _ in range(2):
        torch.manual_seed(1)
        model = build_model(config.model, (784,), 10)
        fuse(model)
        for layer in attach_masks(model)[:-1]:
            layer.set_mask(torch.rand(layer.mask.shape) < share)
        models.append(model)
        optimisers.append(adam(model.parameters(), config.optimiser.learning_rate, config.optimiser.weight_decay))
    seconds: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        losses = []
        for way, (model, optimiser) in enumerate(zip(models, optimisers, strict=True)):
            sparse.SPARSE = 1.0 if way else -1.0
            started = time.perf_counter()
            reset_state(model)
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x).sum(-1) * config.optimiser.gain, labels)
            torch.autograd.backward(loss)
            optimiser.step()
            if turn:
                seconds[way].append(time.perf_counter() - started)
            losses.append(float(loss.detach()))
        if turn == 0 and losses[0] != losses[1]:
            raise SystemExit(f"the two ways give losses of {losses}")
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def measure_channels(share: float, rounds: int) -> tuple[float, float]:
    """Return the median CPU seconds of a whole convolution, and of one of a share of its channels with its copies."""
    torch.manual_seed(0)
    sums = ConvSums((2, 2), (1, 1), (1, 1), 1)
    x, weight = (torch.rand(1536, 14, 14, 32) < 0.25).float(), torch.randint(-100, 100, (64, 32, 3, 3)).float()
    inputs, units = torch.arange(int(32 * share)), torch.arange(int(64 * share))
    present = torch.zeros_like(weight)
    present[units[:, None], inputs] = weight[units[:, None], inputs]
    gradient, to_x = torch.randn(1536, 7, 7, 64), torch.zeros_like(x)
    results: list[Any] = [None, None]

    def whole() -> None:
        results[0] = sums.forward(x, present)
        sums.backward(x, present, gradient, to_x, to_weight=True)

    def gathered() -> None:
        small = x.index_select(3, inputs), weight[units][:, inputs].contiguous()
        results[1] = torch.zeros_like(gradient)
        results[1][..., units] = sums.forward(*small)
        part = torch.empty_like(small[0])
        to_weight = sums.backward(*small, gradient.index_select(3, units), part, to_weight=True)
        to_x[..., inputs] = part
        torch.zeros_like(weight)[units[:, None], inputs] = to_weight

    seconds: dict[Any, list[float]] = {whole: [], gathered: []}
    for _ in range(rounds):
        for way, times in seconds.items():
            started = time.process_time()
            way()
            times.append(time.process_time() - started)
    if not torch.equal(*results):
        raise SystemExit("the two ways give different sums")
    return statistics.median(seconds[whole]), statistics.median(seconds[gathered])


def main() -> None:
    """Print a row of a Markdown table for each share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--hidden", type=int, nargs="+", default=[2048, 512])
    parser.add_argument("--channels", action="store_true", help="measure a convolution of few channels")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.channels:
        print("| channels present | whole convolution, ms | present channels only, ms | ratio |\n|---|---|---|---|")
        for share in (0.1, 0.25, 0.5, 0.75):
            whole, few = measure_channels(share, args.rounds)
            print(f"| {share:.0%} | {whole * 1e3:.1f} | {few * 1e3:.1f} | {whole / few:.2f} |", flush=True)
        return
    print("| synapses present | whole matrices, ms | present synapses only, ms | ratio |\n|---|---|---|---|")
    for share in (0.01, 0.02, 0.05, 0.1, 0.2):
        whole, few = measure(share, args.hidden, args.rounds)
        print(f"| {share:.0%} | {whole * 1e3:.1f} | {few * 1e3:.1f} | {whole / few:.2f} |", flush=True)


if __name__ == "__main__":
    main()
