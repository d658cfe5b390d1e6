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
from .chunked import integer_keeps
from .kernels.loop import Feedback, Results, loop_backward, loop_forward
from .kernels.neuron import STATE_LIMIT, Constants, Keeps, States
from .kernels.threads import run_rows
from .sums.exactness import sums_are_exact
from .sums.onednn import product

Tensor = torch.Tensor


def _integer_state(state: Tensor, scale: float) -> Any:
    """Return a neuron's state as int32, or None where it leaves the range."""
    scaled = state.detach().double() * scale
    fits = not scaled.numel() or bool((scaled.abs() < STATE_LIMIT).all())
    return scaled.to(torch.int32).contiguous().numpy() if fits else None


class Loop:
    """Forward pass of a recurrent block; keeps the spikes and voltages for the backward pass."""

    def __init__(self, constants: Constants, decays: tuple[Tensor, Tensor], gate: Tensor | None) -> None:
        self.constants, self.decays, self.gate = constants, decays, gate
        self.spikes: Tensor | None = None
        self.voltage: Tensor | None = None

    def run(self, z: Tensor, r: Tensor, states: tuple[Tensor, Tensor], learn: bool) -> tuple[Tensor, Tensor] | None:
        """Run over z (steps, samples, units) with r (to, from).

        Returns the last states, or None, leaving nothing, where only SLAYER's loop is exact.
        """
        scale, units = float(self.constants.scale), z.shape[2]
        current, voltage_state = (_integer_state(state, scale) for state in states)
        keeps = integer_keeps(self.decays)
        if current is None or voltage_state is None or keeps is None or not sums_are_exact(r, 1):
            return None
        gate = np.ones(units, np.float32) if self.gate is None else self.gate.to(torch.float32).numpy()
        spikes = buffers.empty(z.shape)
        voltage = buffers.empty(z.shape) if learn else z.new_empty(0, 0, 0)
        outside = run_rows(
            loop_forward, z.shape[1], z.numel(), z.numpy(), Feedback(r.t().contiguous().numpy(), gate),
            Keeps(*(np.broadcast_to(keep, (units,)).copy() for keep in keeps)), States(current, voltage_state),
            # a spike resets, whatever the threshold: SLAYER's loop keeps states from call to call
            self.constants._replace(reset_at=self.constants.fire_at), Results(voltage.numpy(), spikes.numpy()),
        )  # fmt: skip
        if any(outside):
            return None
        self.spikes, self.voltage = spikes, voltage
        last = [torch.from_numpy(state).to(torch.float32) / scale for state in (current, voltage_state)]
        return last[0], last[1]


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, r: Tensor, loop: Loop) -> Tensor:
        """Return the spikes that `loop` computed."""
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
        gradient = buffers.packed(gradients[0])
        out = buffers.empty(gradient.shape)
        run_rows(
            loop_backward, gradient.shape[1], gradient.numel(), gradient.numpy(), r.detach().contiguous().numpy(),
            ctx.constants, voltage.numpy(), out.numpy(),
        )  # fmt: skip
        to_r = None
        if ctx.needs_input_grad[1]:
            after, before = out[1:].flatten(0, 1), spikes[:-1].flatten(0, 1)
            to_r = product(after.t().contiguous(), before.t().contiguous())
        return out, to_r, None


# torch does not type `apply`
finish: Callable[[Tensor, Tensor, Loop], Tensor] = _Loop.apply
