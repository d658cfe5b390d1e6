"""A block's synapses and neurons together, some steps at a time, so that what passes between them stays in cache.

For the usual neuron (steps.py) and tensors with steps outermost: sums over some steps, then those steps of the neurons,
which carry their state on; back in the same way. The sums of all steps never exist at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from . import buffers
from .backward import spread
from .functions import Constants
from .rows import BLOCK, check, check_decays, compiled, run_rows
from .steps import is_power_of_two, step_back, step_forward, whole
from .sums import Sums

Tensor = torch.Tensor
CHUNK_BYTES = 2**22  # of sums at a time: what a core's share of the last cache holds, with what it is made of
_LOG2E = np.float32(1.4426950408889634)
_F1 = np.float32(1.0)
_I0 = np.int32(0)


@compiled
def chunk_forward(
    first: int, last: int, z: Any, keep_a: Any, keep_b: Any, rows_a: Any, rows_b: Any, reset: Any, threshold: Any,
    scale: Any, states_i: Any, states_v: Any, voltage: Any, spikes: Any, left: Any,
) -> None:  # fmt: skip
    """Take all steps of z (steps, neurons) for neurons first..last, from the states and into them.

    keep_a, keep_b: int64 4096 - decay, per decay; rows_a, rows_b: (stride, count) as in forward.py. states_i, states_v:
    int32 (neurons). voltage (z's shape, or empty: not wanted) and spikes: results. left (1) int32 becomes other than 0
    if a value left the range where this is SLAYER's arithmetic. Raises ValueError for arrays of other shapes.
    """
    steps, neurons = z.shape
    check(first, last, neurons, steps, z.shape, voltage.shape, spikes.shape, z.shape)
    check_decays(keep_a.size, rows_a)
    check_decays(keep_b.size, rows_b)
    if not (states_i.size == states_v.size == neurons and spikes.size and left.size and keep_a.size and keep_b.size):
        raise ValueError("fused kernel: an array that this pass needs is of another size")
    fire_at, reset_at = whole(np.float64(threshold) * np.float64(scale)), whole(np.float64(reset))
    unit = _F1 / scale
    ka, kb, volts = np.zeros(BLOCK, np.int32), np.zeros(BLOCK, np.int32), np.zeros(BLOCK, np.float32)
    for begin in range(first, last, BLOCK):
        n = min(BLOCK, last - begin)
        end = begin + n
        if begin == first or rows_a[1] > 1:
            spread(keep_a, rows_a, begin, ka)
        if begin == first or rows_b[1] > 1:
            spread(keep_b, rows_b, begin, kb)
        outside = _I0
        for t in range(steps):
            target = voltage[t, begin:end] if voltage.size else volts[:n]
            outside |= step_forward(
                z[t, begin:end], ka[:n], kb[:n], states_i[begin:end], states_v[begin:end], scale, unit, fire_at,
                reset_at, target, spikes[t, begin:end],
            )  # fmt: skip
        if outside:
            left[0] = 1


@compiled
def chunk_backward(
    first: int, last: int, gradient: Any, voltage: Any, keep_a: Any, keep_b: Any, rows_a: Any, rows_b: Any,
    threshold: Any, width: Any, height: Any, carry_a: Any, carry_b: Any, out: Any,
) -> None:  # fmt: skip
    """Take all steps back, from the gradient of the spikes (steps, neurons) to that of z, into out.

    keep_a, keep_b float32: 1 - decay/4096, per decay. carry_a, carry_b (neurons): as in backward.py, carried on.
    Raises ValueError for arrays of other shapes.
    """
    steps, neurons = gradient.shape
    check(first, last, neurons, steps, gradient.shape, voltage.shape, out.shape, out.shape)
    check_decays(keep_a.size, rows_a)
    check_decays(keep_b.size, rows_b)
    if not (carry_a.size == carry_b.size == neurons and voltage.size and out.size and keep_a.size and keep_b.size):
        raise ValueError("fused kernel: an array that this pass needs is of another size")
    ka, kb = np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    for begin in range(first, last, BLOCK):
        n = min(BLOCK, last - begin)
        end = begin + n
        if begin == first or rows_a[1] > 1:
            spread(keep_a, rows_a, begin, ka)
        if begin == first or rows_b[1] > 1:
            spread(keep_b, rows_b, begin, kb)
        for t in range(steps - 1, -1, -1):
            step_back(
                gradient[t, begin:end], voltage[t, begin:end], ka[:n], kb[:n], carry_a[begin:end], carry_b[begin:end],
                threshold, _LOG2E / width, height, out[t, begin:end],
            )  # fmt: skip


class Through:
    """One pass of a block: what its two directions share.

    sums: the synapses. decays: of current and voltage, rounded, one or one per unit. constants: of the usual neuron.
    """

    spikes: Tensor | None = None  # what the forward pass leaves for autograd to pick up
    voltage: Tensor | None = None

    def __init__(self, sums: Sums, decays: tuple[Tensor, Tensor], constants: Constants) -> None:
        self.sums, self.constants = sums, constants
        self.decays = [decay.detach() for decay in decays]
        self.rows = [(1, 1) if decay.numel() == 1 else (1, decay.numel()) for decay in decays]
        self.shape: tuple[int, ...] = ()  # of the sums of one image

    def run(self, x: Tensor, weight: Tensor, learn: bool) -> bool:
        """Run forward over x (steps, batch, ..., channels); False, and nothing is left, where this would not do.

        Leaves spikes (steps, neurons), which come a step late, and if `learn` the voltages of all steps but the last.
        """
        constants, steps = self.constants, x.shape[0]
        keeps = [4096 - decay.to(torch.int64).numpy() for decay in self.decays]
        in_range = all(((keep >= 0) & (keep <= 4096)).all() for keep in keeps)
        if not in_range or steps < 2 or not is_power_of_two(np.float32(constants.scale)):
            return False
        left, done = np.zeros(1, np.int32), 0
        self.shape = self.sums.shape(x, weight)
        neurons = x.shape[1] * math.prod(self.shape)
        size = max(1, CHUNK_BYTES // (4 * neurons))
        states = np.zeros(neurons, np.int32), np.zeros(neurons, np.int32)
        spikes = buffers.empty((steps, neurons))
        spikes[0] = 0
        voltage = buffers.empty((steps - 1, neurons)) if learn else x.new_empty(0, 0)
        while done < steps - 1:  # the spikes of the last step go nowhere
            end = min(done + size, steps - 1)
            z = self.sums.forward(x[done:end].flatten(0, 1), weight, done * x.shape[1]).view(end - done, neurons)
            run_rows(
                chunk_forward, neurons, z.numel(), z.numpy(), *keeps, *self.rows, constants.reset,
                np.float32(constants.threshold), np.float32(constants.scale), *states, voltage[done:end].numpy(),
                spikes[done + 1 : end + 1].numpy(), left,
            )  # fmt: skip
            if left[0]:
                return False
            done = end
        if not self.sums.were_exact():
            return False
        self.spikes, self.voltage = spikes, voltage
        return True

    def back(
        self, gradient: Tensor, x: Tensor, weight: Tensor, voltage: Tensor, to_x: bool, to_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of x and weight, as asked for, from that of the spikes (steps, neurons)."""
        steps, neurons = gradient.shape
        constants = self.constants
        keeps = [(1 - decay / 4096).numpy() for decay in self.decays]
        carries = np.zeros(neurons, np.float32), np.zeros(neurons, np.float32)
        size = min(max(1, CHUNK_BYTES // (4 * neurons)), steps - 1)
        room = gradient.new_empty(size, neurons)
        whole_x = buffers.empty(x.shape) if to_x else None
        total: Tensor | None = None
        for end in range(steps - 1, 0, -size):
            begin = max(end - size, 0)
            out = room[: end - begin]
            run_rows(
                chunk_backward, neurons, out.numel(), gradient[begin + 1 : end + 1].numpy(),
                voltage[begin:end].numpy(), *keeps, *self.rows, np.float32(constants.threshold),
                np.float32(constants.width), constants.slope_height, *carries, out.numpy(),
            )  # fmt: skip
            part = x[begin:end].flatten(0, 1)
            back = None if whole_x is None else whole_x[begin:end].view(part.shape)
            shaped, at = out.view(part.shape[0], *self.shape), begin * x.shape[1]
            found = self.sums.backward(part, weight, shaped, back, to_weight, at)
            if found is not None:
                total = found if total is None else total.add_(found)
        if whole_x is not None:
            whole_x[-1] = 0
        return whole_x, total


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, through: Through) -> Tensor:
        """Return the spikes that `through` has found."""
        spikes, voltage = through.spikes, through.voltage
        assert spikes is not None
        assert voltage is not None
        through.spikes = through.voltage = None  # autograd's now: nothing is held longer than it holds it
        ctx.through = through
        ctx.save_for_backward(x, weight, voltage)
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and weight."""
        x, weight, voltage = ctx.saved_tensors
        found = ctx.through.back(buffers.packed(gradients[0]), x, weight, voltage, *ctx.needs_input_grad[:2])
        return *found, None


_apply: Callable[[Tensor, Tensor, Through], Tensor] = _Pass.apply  # torch does not type `apply`


def through(
    x: Tensor, weight: Tensor, sums: Sums, decays: tuple[Tensor, Tensor], constants: Constants
) -> Tensor | None:
    """Return the spikes (steps * batch, ..., units) of a block, a step late, or None where this way would not do.

    x: (steps, batch, ..., channels) float32, contiguous. Neurons start from rest. weight: as `sums` has it.
    """
    learn = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    this = Through(sums, decays, constants)
    if not this.run(x.detach(), weight.detach(), learn):
        return None
    spikes = _apply(x, weight, this) if learn else this.spikes
    assert spikes is not None
    return spikes.view(-1, *this.shape)
