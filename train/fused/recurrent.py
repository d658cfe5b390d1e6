"""SLAYER's recurrent block: all steps of its loop in one pass, and back in one pass.

lava-dl's utils/recurrent.py calls the neuron once per step, with what the block's spikes of the step before add to the
input. A call hands its states to the next one without gradients, so these go back through the recurrent weights R only:

    gz[t] = slope(v[t]) (gx[t] + R^T gz[t+1])          dR = sum gz[t+1] x[t]^T
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from . import buffers
from .exact import sums_are_exact
from .functions import Constants
from .linear import product
from .rows import compiled, contracted, run_rows
from .steps import is_power_of_two, step_back, step_forward, whole

Tensor = torch.Tensor
_F0 = np.float32(0.0)
_F1 = np.float32(1.0)
_I0 = np.int32(0)
_LOG2E = np.float32(1.4426950408889634)
_STATE_LIMIT = 2**24


@compiled
def _check(first: int, last: int, z: Any, r: Any, a: Any, b: Any) -> None:
    """Raise ValueError unless first..last are samples and a and b have z's shape (b: or are empty)."""
    _steps, samples, units = z.shape
    if not (0 <= first <= last <= samples) or r.shape[0] != units or r.shape[1] != units:
        raise ValueError("fused kernel: these samples or units do not exist")
    if a.shape != z.shape or (b.size and b.shape != z.shape):
        raise ValueError("fused kernel: arrays differ in shape")


@compiled
def loop_forward(
    first: int, last: int, z: Any, r: Any, keep_a: Any, keep_b: Any, gate: Any, threshold: Any, scale: Any,
    states_i: Any, states_v: Any, voltage: Any, spikes: Any, left: Any,
) -> None:  # fmt: skip
    """Run samples first..last over all steps.

    z (steps, samples, units): the input's sums. r[j]: unit j's weights onto all units. keep_a, keep_b: int32 4096 -
    decay, per unit. gate: 1, or 0 for a unit that is silenced, per unit. states_i, states_v int32 (samples, units):
    carried on. voltage (or empty: not wanted) and spikes: results. left (1) int32 becomes other than 0 if a value left
    the range where this is SLAYER's arithmetic. Raises ValueError for arrays of other shapes.
    """
    _check(first, last, z, r, spikes, voltage)
    steps, _samples, units = z.shape
    if not (keep_a.size == keep_b.size == gate.size == units and states_i.shape == states_v.shape == z.shape[1:]):
        raise ValueError("fused kernel: states do not have one value per unit")
    fire_at, unit = whole(np.float64(threshold) * np.float64(scale)), _F1 / scale
    drive, volts = np.zeros(units, np.float32), np.zeros(units, np.float32)
    outside = _I0
    for sample in range(first, last):
        drive[:] = _F0
        for t in range(steps):
            for i in range(units):
                drive[i] += z[t, sample, i]
            target = voltage[t, sample] if voltage.size else volts
            fired = spikes[t, sample]
            outside |= step_forward(
                drive, keep_a, keep_b, states_i[sample], states_v[sample], scale, unit, fire_at, fire_at, target, fired
            )
            drive[:] = _F0
            for j in range(units):
                fired[j] *= gate[j]
                if fired[j] > _F0:
                    weights = r[j]
                    for i in range(units):
                        drive[i] += weights[i]
    if outside:
        left[0] = 1


@contracted
def _add_scaled(source: Any, factor: Any, out: Any) -> None:
    """out += factor * source."""
    for i in range(out.size):
        out[i] += factor * source[i]


@compiled
def loop_backward(
    first: int, last: int, gradient: Any, r: Any, threshold: Any, width: Any, height: Any, voltage: Any, out: Any
) -> None:
    """Write the gradient of z, from that of the spikes (steps, samples, units); r[i]: weights onto unit i."""
    _check(first, last, gradient, r, out, voltage)
    steps, _, units = gradient.shape
    if not voltage.size:
        raise ValueError("fused kernel: an array that this pass needs is empty")
    none = np.zeros(units, np.float32)
    carry_a, carry_b, total = np.zeros(units, np.float32), np.zeros(units, np.float32), np.zeros(units, np.float32)
    for sample in range(first, last):
        total[:] = _F0
        for t in range(steps - 1, -1, -1):
            for i in range(units):
                total[i] += gradient[t, sample, i]
            carry_a[:] = _F0
            carry_b[:] = _F0
            result = out[t, sample]
            step_back(
                total, voltage[t, sample], none, none, carry_a, carry_b, threshold, _LOG2E / width, height, result
            )
            total[:] = _F0
            for i in range(units):
                if result[i] != _F0:
                    _add_scaled(r[i], result[i], total)


def states_of(state: Tensor, scale: int) -> Any:
    """Return a neuron's state as int32, or None where it leaves the range."""
    scaled = state.detach().double() * scale
    fits = not scaled.numel() or bool((scaled.abs() < _STATE_LIMIT).all())
    return scaled.to(torch.int32).contiguous().numpy() if fits else None


class Loop:
    """One pass of a recurrent block; what it leaves: spikes, voltages, and the last states."""

    def __init__(self, constants: Constants, decays: tuple[Tensor, Tensor], gate: Tensor | None) -> None:
        self.constants, self.decays, self.gate = constants, decays, gate
        self.spikes: Tensor | None = None
        self.voltage: Tensor | None = None

    def run(self, z: Tensor, r: Tensor, states: tuple[Tensor, Tensor], learn: bool) -> tuple[Tensor, Tensor] | None:
        """Run over z (steps, samples, units) with r (to, from); return the last states, or None: it would not do."""
        scale, units = self.constants.scale, z.shape[2]
        kept = [states_of(state, scale) for state in states]
        keeps = [4096 - decay.detach().to(torch.int64).numpy() for decay in self.decays]
        if any(state is None for state in kept) or not all(((keep >= 0) & (keep <= 4096)).all() for keep in keeps):
            return None
        if not is_power_of_two(np.float32(scale)) or not sums_are_exact(r, 1):
            return None
        gate = np.ones(units, np.float32) if self.gate is None else self.gate.to(torch.float32).numpy()
        left = np.zeros(1, np.int32)
        spikes = buffers.empty(z.shape)
        voltage = buffers.empty(z.shape) if learn else z.new_empty(0, 0, 0)
        wide = [np.broadcast_to(keep.astype(np.int32), (units,)).copy() for keep in keeps]
        run_rows(
            loop_forward, z.shape[1], z.numel(), z.numpy(), r.t().contiguous().numpy(), *wide, gate,
            np.float32(self.constants.threshold), np.float32(scale), *kept, voltage.numpy(), spikes.numpy(), left,
        )  # fmt: skip
        if left[0]:
            return None
        self.spikes, self.voltage = spikes, voltage
        last = [torch.from_numpy(state).to(torch.float32) / scale for state in kept]
        return last[0], last[1]


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, r: Tensor, loop: Loop) -> Tensor:
        """Return the spikes that `loop` has found."""
        spikes, voltage = loop.spikes, loop.voltage
        assert spikes is not None
        assert voltage is not None
        loop.spikes = loop.voltage = None
        ctx.constants = loop.constants
        ctx.save_for_backward(r, spikes, voltage)
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of z and r."""
        r, spikes, voltage = ctx.saved_tensors
        constants, gradient = ctx.constants, buffers.packed(gradients[0])
        out = buffers.empty(gradient.shape)
        run_rows(
            loop_backward, gradient.shape[1], gradient.numel(), gradient.numpy(), r.detach().contiguous().numpy(),
            np.float32(constants.threshold), np.float32(constants.width), constants.slope_height, voltage.numpy(),
            out.numpy(),
        )  # fmt: skip
        to_r = None
        if ctx.needs_input_grad[1]:
            after, before = out[1:].flatten(0, 1), spikes[:-1].flatten(0, 1)
            to_r = product(after.t().contiguous(), before.t().contiguous())
        return out, to_r, None


# torch does not type `apply`
finish: Callable[[Tensor, Tensor, Loop], Tensor] = _Loop.apply
