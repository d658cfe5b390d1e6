"""A block's synapses and neurons together, some steps at a time, so that what passes between them stays in cache.

For tensors with time outermost in memory: the currents of some steps, then those steps of the neurons, which carry
their states on; back in the same way. The currents of all steps never exist at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from . import buffers
from .kernels.neuron import Constants, Keeps, States, chunk_backward, chunk_forward
from .kernels.pooling import Layer, back_through_pool
from .kernels.threads import run_rows
from .layout import node_behind
from .sums.currents import PoolSums, Sums

Tensor = torch.Tensor
# Gives the gradient of the currents of steps begin..end, until it is called again; from the last chunk to the first.
Source = Callable[[int, int], Tensor]
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
        states = States(buffers.zeros(neurons, np.int32), buffers.zeros(neurons, np.int32))
        spikes = buffers.empty((x.shape[0], neurons))
        spikes[: self.shifted] = 0
        voltage = buffers.empty((steps, neurons)) if learn else x.new_empty(0, 0)
        size, images, batch = _steps_at_once(steps, neurons), x.flatten(0, 1), x.shape[1]
        volts, fired, sums = voltage.numpy(), spikes[self.shifted :].numpy(), self.sums.prepared(weight)
        for begin in range(0, steps, size):
            end = min(begin + size, steps)
            z = sums.forward(images[begin * batch : end * batch], weight, begin * batch)
            outside = run_rows(
                chunk_forward, neurons, z.numel(), z.view(-1, neurons).numpy(), keeps, states, self.constants,
                volts[begin:end], fired[begin:end],
            )  # fmt: skip
            if any(outside):
                return None
        return (spikes, voltage) if self.sums.were_exact() else None

    def backward(
        self, currents: Source, x: Tensor, weight: Tensor, steps: int, needed: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of x and weight, where needed, from that of the currents of so many steps."""
        batch = x.shape[1]
        size = _steps_at_once(steps, batch * math.prod(self.shape))
        images, to_x = x.flatten(0, 1), buffers.empty(x.shape) if needed[0] else None
        to_images = None if to_x is None else to_x.flatten(0, 1)
        to_weight: Tensor | None = None
        for end in range(steps, 0, -size):
            begin = max(end - size, 0)
            some = slice(begin * batch, end * batch)
            part = self.sums.backward(
                images[some], weight, currents(begin, end).view(-1, *self.shape),
                None if to_images is None else to_images[some], needed[1], some.start,
            )  # fmt: skip
            if part is not None:
                to_weight = part if to_weight is None else to_weight.add_(part)
        if to_x is not None:
            to_x[steps:] = 0
        return to_x, to_weight

    def currents_back(self, spikes: Tensor, voltage: Tensor) -> Source:
        """Return the gradient of the currents, from that of the spikes and the voltages (steps, neurons)."""
        neurons, keeps, carries = voltage.shape[1], self._keeps(), _carries(voltage.shape[1])
        rows, volts = spikes[self.shifted :].numpy(), voltage.numpy()
        scratch = buffers.empty((_steps_at_once(*voltage.shape), neurons))

        def back(begin: int, end: int) -> Tensor:
            out = scratch[: end - begin]
            run_rows(
                chunk_backward, neurons, out.numel(), rows[begin:end], volts[begin:end], keeps, carries,
                self.constants, out.numpy(),
            )  # fmt: skip
            return out

        return back

    def currents_back_through(self, pooling: Chunked, spikes: Tensor, voltages: tuple[Tensor, Tensor]) -> Source:
        """Return the gradient of this block's currents, from that of the spikes of the pooling block behind it.

        voltages: this block's and the pooling block's.
        """
        assert isinstance(pooling.sums, PoolSums)
        kernel, weight, channels = pooling.sums.kernel, np.float32(pooling.sums.weight.view(-1)[0]), self.shape[-1]
        batch = voltages[0].shape[1] // math.prod(self.shape)
        sizes = [(-1, batch, shape[0], shape[1] * channels) for shape in (self.shape, pooling.shape)]
        rows = spikes[pooling.shifted :].numpy().reshape(sizes[1])
        volts, pooled_volts = (voltage.numpy().reshape(size) for voltage, size in zip(voltages, sizes, strict=True))
        carries, pooled_carries = (
            States(*(carry.reshape(size[1:]) for carry in _carries(math.prod(size[1:])))) for size in sizes
        )
        keeps, pooled_keeps = self._keeps(), pooling._keeps()

        scratch = buffers.empty((_steps_at_once(*voltages[0].shape), *volts.shape[1:]))

        def back(begin: int, end: int) -> Tensor:
            out = scratch[: end - begin]
            some = slice(begin + self.shifted, end + self.shifted)  # shifted, the spikes of the last step go nowhere
            run_rows(
                back_through_pool, batch, out.numel(), rows[some],
                Layer(pooled_volts[some], pooled_keeps, pooled_carries, pooling.constants),
                Layer(volts[begin:end], keeps, carries, self.constants), kernel, channels, weight, out.numpy(),
                share=1,
            )  # fmt: skip
            return out

        return back

    def _keeps(self) -> Keeps:
        return Keeps(*((1 - decay / 4096).numpy() for decay in self.decays))


def _steps_at_once(steps: int, neurons: int) -> int:
    """Return how many of all steps a chunk has."""
    return min(max(1, CHUNK_BYTES // (4 * neurons)), steps)


def _carries(neurons: int) -> States:
    return States(buffers.zeros(neurons, np.float32), buffers.zeros(neurons, np.float32))


def integer_keeps(decays: Any) -> Keeps | None:
    """Return 4096 - decay of current and voltage as int32, None where a decay is outside 0..4096."""
    keeps = [4096 - decay.detach().to(torch.int64).numpy() for decay in decays]
    in_range = all(((keep >= 0) & (keep <= 4096)).all() for keep in keeps)
    return Keeps(*(keep.astype(np.int32) for keep in keeps)) if in_range else None


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, chunked: Chunked, results: tuple[Tensor, Tensor]) -> Tensor:
        """Return the spikes of the results of `chunked`."""
        ctx.chunked, ctx.address = chunked, results[0].data_ptr()
        ctx.save_for_backward(x, weight, results[1])
        return results[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and weight."""
        x, weight, voltage = ctx.saved_tensors
        currents = ctx.chunked.currents_back(buffers.packed(gradients[0]), voltage)
        return *ctx.chunked.backward(currents, x, weight, len(voltage), ctx.needs_input_grad[:2]), None, None


class _PooledPass(torch.autograd.Function):
    """A block and the pooling block behind it: the gradient of the spikes between exists only a chunk at a time."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, voltage: Tensor, passes: tuple[Chunked, Chunked],
        results: tuple[Tensor, Tensor],
    ) -> Tensor:  # fmt: skip
        """Return the spikes of the pooling block; x, weight and voltage are the first block's."""
        ctx.passes = passes
        ctx.save_for_backward(x, weight, voltage, results[1])
        return results[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the first block's x and weight."""
        x, weight, *voltages = ctx.saved_tensors
        first, pooling = ctx.passes
        currents = first.currents_back_through(pooling, buffers.packed(gradients[0]), voltages)
        return *first.backward(currents, x, weight, len(voltages[0]), ctx.needs_input_grad[:2]), None, None, None


_apply: Callable[..., Tensor] = _Pass.apply  # torch does not type `apply`
_apply_pooled: Callable[..., Tensor] = _PooledPass.apply


def pass_before(x: Tensor) -> Any:
    """Return the pass whose spikes a tensor is, as autograd keeps it; None if nobody may skip the tensor's gradient."""
    node = node_behind(x)
    ours: bool = isinstance(node, _Pass._backward_cls)
    if not ours or len(node.chunked.shape) != 3 or node.address != x.data_ptr():
        return None
    try:
        return node if node.saved_tensors else None
    except RuntimeError:  # a backward pass freed them already
        return None


def run_chunked(x: Tensor, weight: Tensor, chunked: Chunked) -> Tensor | None:
    """Return the spikes (steps * batch, ..., units) of a block, or None where only SLAYER's own passes are exact.

    x: (steps, batch, ..., channels) float32, contiguous. Neurons start from rest. weight: as `chunked.sums` has it.
    """
    learn = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    results = chunked.forward(x.detach(), weight.detach(), learn)
    if results is None:
        return None
    spikes, before = results[0], None
    if isinstance(chunked.sums, PoolSums):  # the pass is let go, or its voltages would outlive the way back
        before, chunked.sums.before = chunked.sums.before, None
    if learn and before is not None:
        spikes = _apply_pooled(*before.saved_tensors, (before.chunked, chunked), results)
    elif learn:
        spikes = _apply(x, weight, chunked, results)
    return spikes.view(-1, *chunked.shape)
