"""A block's synapses and neurons together, some steps at a time, so that what passes between them stays in cache.

For tensors with time outermost in memory: the currents of some steps, then those steps of the neurons, which carry
their states on; back in the same way. The currents of all steps never exist at once.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from . import buffers
from .kernels.neuron import Constants, Keeps, States, chunk_backward, chunk_forward
from .kernels.threads import run_rows
from .sums.currents import Sums

Tensor = torch.Tensor
CHUNK_BYTES = 2**22  # of currents at a time: they fit a core's share of the last cache, with their inputs


class Chunked:
    """One pass of a block: what its two directions share."""

    def __init__(self, sums: Sums, decays: tuple[Tensor, Tensor], constants: Constants, shifted: bool) -> None:
        self.sums, self.constants, self.shifted = sums, constants, int(shifted)
        self.decays = [decay.detach() for decay in decays]
        self.shape: tuple[int, ...] = ()  # of the currents of one image

    def forward(self, x: Tensor, weight: Tensor, learn: bool) -> tuple[Tensor, Tensor] | None:
        """Run over x (steps, batch, ..., channels); return spikes and voltages (steps, neurons), None if not exact.

        The voltages are those of the steps that were run, empty unless `learn`.
        """
        steps = x.shape[0] - self.shifted  # shifted, the spikes of the last step go nowhere
        keeps = integer_keeps(self.decays)
        if keeps is None or steps < 1:
            return None
        self.shape = self.sums.shape(x, weight)
        neurons = x.shape[1] * math.prod(self.shape)
        states = States(np.zeros(neurons, np.int32), np.zeros(neurons, np.int32))
        spikes = buffers.empty((x.shape[0], neurons))
        spikes[: self.shifted] = 0
        voltage = buffers.empty((steps, neurons)) if learn else x.new_empty(0, 0)
        size = max(1, CHUNK_BYTES // (4 * neurons))
        for begin in range(0, steps, size):
            end = min(begin + size, steps)
            z = self.sums.forward(x[begin:end].flatten(0, 1), weight, begin * x.shape[1]).view(-1, neurons)
            outside = run_rows(
                chunk_forward, neurons, z.numel(), z.numpy(), keeps, states, self.constants,
                voltage[begin:end].numpy(), spikes[begin + self.shifted : end + self.shifted].numpy(),
            )  # fmt: skip
            if any(outside):
                return None
        return (spikes, voltage) if self.sums.were_exact() else None

    def backward(
        self, gradient: Tensor, x: Tensor, weight: Tensor, voltage: Tensor, needed: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of x and weight, where needed, from that of the spikes (steps, neurons)."""
        steps, neurons = voltage.shape
        keeps = Keeps(*((1 - decay / 4096).numpy() for decay in self.decays))
        carries = States(np.zeros(neurons, np.float32), np.zeros(neurons, np.float32))
        size = min(max(1, CHUNK_BYTES // (4 * neurons)), steps)
        scratch = gradient.new_empty(size, neurons)
        to_x = buffers.empty(x.shape) if needed[0] else None
        to_weight: Tensor | None = None
        for end in range(steps, 0, -size):
            begin = max(end - size, 0)
            out = scratch[: end - begin]
            run_rows(
                chunk_backward, neurons, out.numel(), gradient[begin + self.shifted : end + self.shifted].numpy(),
                voltage[begin:end].numpy(), keeps, carries, self.constants, out.numpy(),
            )  # fmt: skip
            images = x[begin:end].flatten(0, 1)
            part = self.sums.backward(
                images, weight, out.view(images.shape[0], *self.shape),
                None if to_x is None else to_x[begin:end].view(images.shape), needed[1], begin * x.shape[1],
            )  # fmt: skip
            if part is not None:
                to_weight = part if to_weight is None else to_weight.add_(part)
        if to_x is not None:
            to_x[steps:] = 0
        return to_x, to_weight


def integer_keeps(decays: Any) -> Keeps | None:
    """Return 4096 - decay of current and voltage as int32, None where a decay is outside 0..4096."""
    keeps = [4096 - decay.detach().to(torch.int64).numpy() for decay in decays]
    in_range = all(((keep >= 0) & (keep <= 4096)).all() for keep in keeps)
    return Keeps(*(keep.astype(np.int32) for keep in keeps)) if in_range else None


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, chunked: Chunked, results: tuple[Tensor, Tensor]) -> Tensor:
        """Return the spikes of the results of `chunked`."""
        ctx.chunked = chunked
        ctx.save_for_backward(x, weight, results[1])
        return results[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and weight."""
        x, weight, voltage = ctx.saved_tensors
        needed = ctx.needs_input_grad[:2]
        return *ctx.chunked.backward(buffers.packed(gradients[0]), x, weight, voltage, needed), None, None


_apply: Callable[..., Tensor] = _Pass.apply  # torch does not type `apply`


def run_chunked(x: Tensor, weight: Tensor, chunked: Chunked) -> Tensor | None:
    """Return the spikes (steps * batch, ..., units) of a block, or None where only SLAYER's own passes are exact.

    x: (steps, batch, ..., channels) float32, contiguous. Neurons start from rest. weight: as `chunked.sums` has it.
    """
    learn = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    results = chunked.forward(x.detach(), weight.detach(), learn)
    if results is None:
        return None
    spikes = _apply(x, weight, chunked, results) if learn else results[0]
    return spikes.view(-1, *chunked.shape)
