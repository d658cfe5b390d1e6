"""The fused neuron on tensors of a GPU."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch

from sdsnn_core.files import version_of

from ..layout import time_last, time_major

Tensor = torch.Tensor


@functools.lru_cache
def usable() -> bool:
    """Return whether Triton 3 is installed; it comes with torch's CUDA builds for Linux from 2.4 on."""
    return int((version_of("triton") or "0").split(".")[0]) >= 3


class _Fire(torch.autograd.Function):
    """Spikes (steps, batch, ..., channels) of currents of that shape, and the states after the last step."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, decays: tuple[Tensor, Tensor], states: tuple[Tensor, Tensor], constants: Any, learn: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return spikes, current and voltage."""
        from .kernels import BLOCK, forward_kernel

        neurons = x[0].numel()
        keeps = [4096 - decay.detach().to(x.device, torch.int64) for decay in decays]
        after = [torch.empty_like(x[0]).copy_(state.detach()) for state in states]
        learn = learn and ctx.needs_input_grad[0]
        spikes, voltage = torch.empty_like(x), torch.empty_like(x) if learn else x.new_empty(0)
        with _device_of(x):
            forward_kernel[(-(-neurons // BLOCK),)](
                x, voltage, spikes, *keeps, *after, neurons, x.shape[0], *(keep.numel() for keep in keeps),
                float(constants.reset), float(constants.threshold), float(constants.scale), VOLTAGE=learn, BLOCK=BLOCK,
                enable_fp_fusion=False,
            )  # fmt: skip
        ctx.constants, ctx.decays = constants, [decay.detach() for decay in decays]
        ctx.save_for_backward(voltage)
        ctx.mark_non_differentiable(*after)
        return spikes, after[0], after[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of x."""
        from .kernels import BLOCK, backward_kernel

        (voltage,), constants = ctx.saved_tensors, ctx.constants
        gradient = gradients[0].contiguous()
        neurons, out = gradient[0].numel(), torch.empty_like(gradient)
        keeps = [(1 - decay / 4096).to(gradient) for decay in ctx.decays]
        with _device_of(gradient):
            backward_kernel[(-(-neurons // BLOCK),)](
                gradient, voltage, out, *keeps, neurons, gradient.shape[0], *(keep.numel() for keep in keeps),
                float(constants.threshold), float(constants.rate), float(constants.height), BLOCK=BLOCK,
                enable_fp_fusion=False,
            )  # fmt: skip
        return out, None, None, None, None


_fire: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Fire.apply  # torch does not type `apply`


def fire(
    z: Tensor, decays: tuple[Tensor, Tensor], states: tuple[Tensor, Tensor], constants: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the spikes of currents z (batch, channels, ..., steps), and the last step's states before reset.

    decays: of current and voltage, rounded: one, or one per channel. states: current and voltage (batch, channels, ...)
    before the first step, in SLAYER's units. constants: kernels.neuron.Constants.
    """
    ours = [state.movedim(1, -1) for state in states]
    spikes, current, voltage = _fire(time_major(z), decays, ours, constants, torch.is_grad_enabled())
    return time_last(spikes), current.movedim(-1, 1), voltage.movedim(-1, 1)


def _device_of(tensor: Tensor) -> Any:
    """Return the context in which kernels start on the tensor's own GPU."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
