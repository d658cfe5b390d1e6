"""The fused passes on tensors of a GPU, with the arguments and results of functions.run_forward and run_backward."""

from __future__ import annotations

import contextlib
import functools
from importlib import metadata
from typing import Any

import torch

from ..layout import Layout

Tensor = torch.Tensor


@functools.lru_cache
def usable() -> bool:
    """Return whether Triton 3 is installed; it comes with torch's CUDA builds for Linux from 2.4 on."""
    try:
        return int(metadata.version("triton").split(".")[0]) >= 3
    except (metadata.PackageNotFoundError, ValueError):
        return False


def _keep(decay: Tensor | None, like: Tensor) -> Tensor:
    if decay is None:
        return like.new_empty(0, dtype=torch.int64)
    return 4096 - decay.detach().to(like.device, torch.int64)


def _keep32(decay: Tensor | None, like: Tensor) -> Tensor:
    return like.new_empty(0) if decay is None else (1 - decay.detach() / 4096).to(like)


def _sharing(layout: Layout, decays: tuple[Tensor | None, Tensor | None]) -> list[int]:
    return [n for decay in decays for n in ((1, 1) if decay is None else layout.channels(decay.numel()))]


def _strides(layout: Layout) -> tuple[int, int]:
    return (1, layout.neurons) if layout.by_step else (layout.steps, 1)


def run_forward(
    x: Tensor, layout: Layout, decays: tuple[Tensor | None, Tensor | None], states: tuple[Tensor, Tensor],
    constants: Any, *, current: bool = False, voltage: bool = False, spikes: bool = False, late: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Do what functions.run_forward does, `late` in any layout."""
    from .kernels import BLOCK, forward_kernel

    empty = x.new_empty(0)
    wanted = [layout.new(x) if want else empty for want in (current, voltage, spikes)]
    last_i, last_v = x.new_empty(layout.neurons), x.new_empty(layout.neurons)
    if x.numel():
        with _device_of(x):
            forward_kernel[(-(-layout.neurons // BLOCK),)](
                x.detach(), *wanted, *(_keep(decay, x) for decay in decays),
                *(layout.flat_state(state.to(x)) for state in states), last_i, last_v,
                layout.neurons, layout.steps, *_strides(layout), *_sharing(layout, decays),
                float(constants.reset), float("inf") if constants.threshold is None else float(constants.threshold),
                float(constants.scale),
                HAS_A=decays[0] is not None, HAS_B=decays[1] is not None, CURRENT=current, VOLTAGE=voltage,
                SPIKES=spikes, GRADED=constants.graded, LATE=late, BLOCK=BLOCK, enable_fp_fusion=False,
            )  # fmt: skip
    return wanted[0], wanted[1], wanted[2], layout.unflat_state(last_i), layout.unflat_state(last_v)


def run_backward(
    gradient: Tensor, layout: Layout, decays: tuple[Tensor | None, Tensor | None], constants: Any,
    current: Tensor, voltage: Tensor, *, from_spikes: bool, decay_gradients: tuple[bool, bool], late: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """Do what functions.run_backward does."""
    from .kernels import BLOCK, backward_kernel

    gradient = layout.fit(gradient)
    out = layout.new(gradient)
    sums = [gradient.new_zeros(layout.neurons if want else 0, dtype=torch.float64) for want in decay_gradients]
    if gradient.numel():
        with _device_of(gradient):
            backward_kernel[(-(-layout.neurons // BLOCK),)](
                gradient, current, voltage, out, *(_keep32(decay, gradient) for decay in decays), *sums,
                layout.neurons, layout.steps, *_strides(layout), *_sharing(layout, decays),
                0.0 if constants.threshold is None else float(constants.threshold), float(constants.width),
                float(constants.slope_height),
                HAS_A=decays[0] is not None, HAS_B=decays[1] is not None,
                SUM_A=decay_gradients[0] and decays[0] is not None, SUM_B=decay_gradients[1] and decays[1] is not None,
                SPIKES=from_spikes, GRADED=constants.graded, LATE=late, BLOCK=BLOCK, enable_fp_fusion=False,
            )  # fmt: skip
    grads = [
        None if decay is None or not want else _per_decay(share, layout, decay)
        for decay, want, share in zip(decays, decay_gradients, sums, strict=True)
    ]
    return out, grads[0], grads[1]


def _device_of(tensor: Tensor) -> Any:
    """Return the context in which kernels start on the tensor's own GPU."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _per_decay(sums: Tensor, layout: Layout, decay: Tensor) -> Tensor:
    shares = layout.unflat_state(sums)
    if decay.numel() == 1:
        return shares.sum().reshape(1).to(decay)
    return shares.transpose(0, 1).flatten(1).sum(1).to(decay)
