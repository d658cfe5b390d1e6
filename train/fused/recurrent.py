"""SLAYER's recurrent block: all steps of its loop in one pass, and back in one pass.

lava-dl's utils/recurrent.py calls the neuron once per step, with what the block's spikes of the step before add to the
input. A call hands its states to the next one without gradients, so these go back through the recurrent weights R only:

    gz[t] = slope(v[t]) (gx[t] + R^T gz[t+1])          dR = sum gz[t+1] x[t]^T
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from . import buffers
from .chunked import integer_keeps
from .kernels.loop import Feedback, Results, loop_backward, loop_forward
from .kernels.neuron import STATE_LIMIT, Constants, Keeps, States
from .kernels.threads import run_rows
from .sums.currents import product
from .sums.exactness import sums_are_exact

Tensor = torch.Tensor


def _integer_state(state: Tensor, scale: float) -> Any:
    """Return a neuron's state as int32, or None where it leaves the range."""
    scaled = state.detach().double() * scale
    fits = not scaled.numel() or bool((scaled.abs() < STATE_LIMIT).all())
    return scaled.to(torch.int32).contiguous().numpy() if fits else None


class Neurons(NamedTuple):
    """The neurons of a recurrent block: their numbers, rounded decays, and gate (units,) or None."""

    constants: Constants
    decays: tuple[Tensor, Tensor]
    gate: Tensor | None


def run_loop(
    z: Tensor, r: Tensor, neurons: Neurons, states: tuple[Tensor, Tensor]
) -> tuple[Tensor, list[Tensor]] | None:
    """Return the spikes over z (steps, samples, units) with r (to, from), and the last current and voltage.

    None where only SLAYER's loop is exact.
    """
    learn = torch.is_grad_enabled() and (z.requires_grad or r.requires_grad)
    inputs, weights, constants, units = z.detach(), r.detach(), neurons.constants, z.shape[2]
    scale = float(constants.scale)
    current, voltage_state = (_integer_state(state, scale) for state in states)
    keeps = integer_keeps(neurons.decays)
    if current is None or voltage_state is None or keeps is None or not sums_are_exact(weights, 1):
        return None
    gate = np.ones(units, np.float32) if neurons.gate is None else neurons.gate.to(torch.float32).numpy()
    spikes = buffers.empty(z.shape)
    voltage = buffers.empty(z.shape) if learn else z.new_empty(0, 0, 0)
    outside = run_rows(
        loop_forward, z.shape[1], z.numel(), inputs.numpy(), Feedback(weights.t().contiguous().numpy(), gate),
        Keeps(*(np.broadcast_to(keep, (units,)).copy() for keep in keeps)), States(current, voltage_state),
        # a spike resets, whatever the threshold: SLAYER's loop keeps states from call to call
        constants._replace(reset_at=constants.fire_at), Results(voltage.numpy(), spikes.numpy()),
    )  # fmt: skip
    if any(outside):
        return None
    last = [torch.from_numpy(state).to(torch.float32) / scale for state in (current, voltage_state)]
    return _finish(z, r, constants, (spikes, voltage)) if learn else spikes, last


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, r: Tensor, constants: Constants, results: tuple[Tensor, Tensor]) -> Tensor:
        """Return the spikes of the results (spikes, voltages) of a loop."""
        ctx.constants = constants
        ctx.save_for_backward(r, *results)
        return results[0]

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
        return out, to_r, None, None


_finish: Callable[..., Tensor] = _Loop.apply  # torch does not type `apply`
