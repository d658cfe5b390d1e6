"""The fused passes as autograd functions, on CPU and on CUDA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .layout import Layout, settle
from .rows import run_rows
from .triton import passes as triton_passes

Tensor = torch.Tensor
_NO_ROWS = np.zeros((0, 0), np.float32)
_NO_SUMS = np.zeros(0, np.float64)
_NO_KEEP = np.zeros(0, np.int64)
_NO_KEEP32 = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Constants:
    """What a pass needs besides tensors.

    scale: SLAYER's s_scale. threshold: with SLAYER's threshold_eps, slayer units; None: an integrator that never
    resets. width, height: of the surrogate gradient, as Spike.apply gets them as tau_rho and scale_rho.
    """

    scale: int
    threshold: float | None
    width: float = 1.0
    height: float = 1.0
    graded: bool = False

    @property
    def reset(self) -> Any:
        """float32(threshold scale): SLAYER compares the integer state with it in float32."""
        scaled = -1.0 if self.threshold is None else self.threshold * self.scale
        return np.float32(scaled if scaled > 0 else np.inf)  # SLAYER resets only at a positive threshold

    @property
    def slope_height(self) -> Any:
        """height / 2 / width of a binary spike in SLAYER's order of float32 operations; height of a graded one."""
        height = np.float32(self.height)
        return height if self.graded else np.float32(np.float32(height / np.float32(2)) / np.float32(self.width))


def _keep(decay: Tensor | None) -> Any:
    """4096 - decay as SLAYER takes it: the rounded decay cut to an integer."""
    return _NO_KEEP if decay is None else 4096 - decay.detach().to(torch.int64).numpy()


def _keep32(decay: Tensor | None) -> Any:
    return _NO_KEEP32 if decay is None else (1 - decay.detach() / 4096).numpy()


def _sharing(layout: Layout, decay: Tensor | None) -> tuple[int, int]:
    return (1, 1) if decay is None else layout.channels(decay.numel())


def _per_decay(sums: Any, layout: Layout, decay: Tensor) -> Tensor:
    """Add the neurons' shares of a decay's gradient."""
    shares = layout.unflat_state(torch.from_numpy(sums))
    if decay.numel() == 1:
        return shares.sum().reshape(1).to(decay.dtype)
    return shares.transpose(0, 1).flatten(1).sum(1).to(decay.dtype)


def run_forward(
    x: Tensor, layout: Layout, decays: tuple[Tensor | None, Tensor | None], states: tuple[Tensor, Tensor],
    constants: Constants, *, current: bool = False, voltage: bool = False, spikes: bool = False, late: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Run the forward pass; return current, voltage, spikes (each empty if not wanted) and the last two states.

    x (batch, channels, ..., steps) float32, in `layout`, as the results are. decays: of current and voltage, rounded;
    None leaves that integrator out. states: (batch, channels, ...) before the first step. late: spikes come a step
    late, with none in the first; the layout must be by_step.
    """
    if x.is_cuda:
        return triton_passes.run_forward(
            x, layout, decays, states, constants, current=current, voltage=voltage, spikes=spikes, late=late
        )
    from .forward import forward

    empty = x.new_empty(0)
    wanted = [layout.new(x) if want else empty for want in (current, voltage, spikes)]
    rows = [layout.flat(tensor).numpy() if tensor.numel() else _NO_ROWS for tensor in wanted]
    if late:  # a step more, of which the kernel writes the last ones and the caller sees the first
        longer = layout.with_steps(layout.steps + 1)
        buffer = longer.new(x)
        buffer[..., 0] = 0
        rows[2], wanted[2] = longer.flat(buffer)[1:].numpy(), buffer[..., :-1]
    last_i, last_v = x.new_empty(layout.neurons), x.new_empty(layout.neurons)
    if x.numel():
        run_rows(
            forward, layout.neurons, x.numel(),
            layout.flat(x).numpy(), layout.by_step, *(_keep(decay) for decay in decays),
            *(_sharing(layout, decay) for decay in decays), *(layout.flat_state(state).numpy() for state in states),
            constants.reset, np.float32(np.inf if constants.threshold is None else constants.threshold),
            np.float32(constants.scale), constants.graded,
            *rows, last_i.numpy(), last_v.numpy(),
        )  # fmt: skip
    return wanted[0], wanted[1], wanted[2], layout.unflat_state(last_i), layout.unflat_state(last_v)


def run_backward(
    gradient: Tensor, layout: Layout, decays: tuple[Tensor | None, Tensor | None], constants: Constants,
    current: Tensor, voltage: Tensor, *, from_spikes: bool, decay_gradients: tuple[bool, bool], late: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """Run the backward pass; return the gradients of x and of both decays (None if not wanted).

    late: `gradient` is that of spikes which came a step late.
    """
    if gradient.is_cuda:
        return triton_passes.run_backward(
            gradient, layout, decays, constants, current, voltage,
            from_spikes=from_spikes, decay_gradients=decay_gradients, late=late,
        )  # fmt: skip
    from .backward import backward

    gradient = layout.fit(gradient)
    out = layout.new(gradient)
    rows = [layout.flat(tensor).numpy() if tensor.numel() else _NO_ROWS for tensor in (gradient, current, voltage, out)]
    if late:  # the last step's spikes went nowhere
        out[..., -1] = 0
        rows = [rows[0][1:], *(row[:-1] if row.size else row for row in rows[1:])]
    sums = [np.zeros(layout.neurons) if want else _NO_SUMS for want in decay_gradients]
    if rows[0].size:
        run_rows(
            backward, layout.neurons, gradient.numel(), rows[0], layout.by_step, *(_keep32(decay) for decay in decays),
            *(_sharing(layout, decay) for decay in decays),
            np.float32(0 if constants.threshold is None else constants.threshold), np.float32(constants.width),
            constants.slope_height, constants.graded,
            rows[1], rows[2], from_spikes, rows[3], *sums,
        )  # fmt: skip
    grads = [
        None if decay is None or not want else _per_decay(share, layout, decay)
        for decay, want, share in zip(decays, decay_gradients, sums, strict=True)
    ]
    return out, grads[0], grads[1]


class _Integrate(torch.autograd.Function):
    """One leaky integrator: what SLAYER's leaky_integrator.dynamics is. With a threshold it resets."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, decay: Tensor, state: Tensor, constants: Constants) -> Tensor:
        """Return the integrator's value after every step, before reset."""
        x, layout = settle(x)
        _, out, *_ = run_forward(x, layout, (None, decay), (state, state), constants, voltage=True)
        ctx.constants, ctx.layout = constants, layout
        ctx.save_for_backward(out if ctx.needs_input_grad[1] else out.new_empty(0), decay)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and decay."""
        out, decay = ctx.saved_tensors
        gx, _, gd = run_backward(
            gradients[0], ctx.layout, (None, decay), ctx.constants, out.new_empty(0), out,
            from_spikes=False, decay_gradients=(False, ctx.needs_input_grad[1]),
        )  # fmt: skip
        return gx, gd, None, None


class _Fire(torch.autograd.Function):
    """The whole neuron: current, voltage, spike and reset in one pass, and back in one pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, current_decay: Tensor | None, voltage_decay: Tensor, current_state: Tensor,
        voltage_state: Tensor, constants: Constants, learn: bool, late: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Return spikes, and the last step's current and voltage before reset.

        current_decay None: x is the current already, for a norm stands between the two integrators. learn: gradients
        are enabled where this is called (within forward, torch says they never are); without them nothing is kept.
        late: spikes come a step late, which needs x with steps outermost in memory.
        """
        decays = (current_decay, voltage_decay)
        learn = learn and any(ctx.needs_input_grad[:3])
        x, layout = settle(x, by_step=late)
        current, voltage, spikes, last_i, last_v = run_forward(
            x, layout, decays, (current_state, voltage_state), constants,
            current=learn and ctx.needs_input_grad[1], voltage=learn, spikes=True, late=late,
        )  # fmt: skip
        ctx.constants, ctx.layout, ctx.late = constants, layout, late
        ctx.save_for_backward(current, voltage, current_decay, voltage_decay)
        ctx.mark_non_differentiable(last_i, last_v)
        return spikes, last_i, last_v

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of both decays."""
        current, voltage, current_decay, voltage_decay = ctx.saved_tensors
        gx, ga, gb = run_backward(
            gradients[0], ctx.layout, (current_decay, voltage_decay), ctx.constants, current, voltage,
            from_spikes=True, decay_gradients=(ctx.needs_input_grad[1], ctx.needs_input_grad[2]), late=ctx.late,
        )  # fmt: skip
        return gx, ga, gb, None, None, None, None, None


class _Shift(torch.autograd.Function):
    """One step later, layout kept: the first step is silent, the last one lost."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return x shifted."""
        return _shifted(x, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the gradient shifted back."""
        return _shifted(gradients[0], -1)


def _shifted(x: Tensor, by: int) -> Tensor:
    out = torch.empty_like(x)  # strides are kept, for x is dense
    if by > 0:
        out[..., 1:] = x[..., :-1]
        out[..., 0] = 0
    else:
        out[..., :-1] = x[..., 1:]
        out[..., -1] = 0
    return out


# torch does not type `apply`
integrate: Callable[..., Tensor] = _Integrate.apply
fire: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Fire.apply
shift: Callable[[Tensor], Tensor] = _Shift.apply
