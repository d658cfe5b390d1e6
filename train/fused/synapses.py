"""Synapses that take the place of lava-dl's: the same sums over tensors with steps outermost in memory.

Importing this module imports lava-dl. A synapse takes and returns (batch, channels, ..., steps), as SLAYER's does; in
memory its result is (steps, batch, ..., channels). Where sums are not exact in float32, it takes SLAYER's way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import conv2d, conv3d

from sdsnn_core.lava_compat import import_slayer

from .exact import input_bound, sums_are_exact
from .layout import steps_first, steps_last
from .linear import linear
from .pooling import pool

Tensor = torch.Tensor
_layer: Any = import_slayer().synapse.layer


def _fits(x: Tensor, weight: Tensor, dims: tuple[int, ...]) -> bool:
    """Return whether these are tensors that the fast ways take."""
    if x.device.type != "cpu" or weight.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    return x.dtype == weight.dtype == torch.float32 and x.dim() in dims and x.numel() > 0


def _quantised(synapse: Any) -> Tensor:
    """Return the weight that SLAYER would use: after the quantiser, or whatever hook the synapse has."""
    hook = synapse.pre_hook_fx
    weight: Tensor = synapse.weight if hook is None else hook(synapse.weight)
    return weight


class Conv(_layer.Conv):  # type: ignore[misc]
    """SLAYER's convolution: same arguments, attributes, parameters and results."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the sums of every step: (batch, channels, height, width, steps) float32."""
        weight = _quantised(self)
        stride, padding, dilation, groups = self.stride, self.padding, self.dilation, self.groups
        flat = weight.shape[4] == 1 and stride[2] == 1 and padding[2] == 0
        if flat and _fits(input, weight, (5,)):
            memory = steps_first(input)
            if sums_are_exact(weight, input_bound(memory)):
                images = memory.flatten(0, 1).permute(0, 3, 1, 2)
                kernel = weight.squeeze(-1)
                sums = conv2d(images, kernel, None, stride[:2], padding[:2], dilation[:2], groups)
                rows = sums.permute(0, 2, 3, 1).contiguous()
                return steps_last(rows.view(*memory.shape[:2], *rows.shape[1:]))
        return conv3d(input, weight, None, stride, padding, dilation, groups)


class Dense(_layer.Dense):  # type: ignore[misc]
    """SLAYER's dense synapses: same arguments, attributes, parameters and results."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the sums of every step: (batch, units, steps), or (batch, units, 1, 1, steps) for 5 dimensions."""
        weight = _quantised(self)
        whole = input.dim() == 3 or input.shape[1:4] == weight.shape[1:4]
        if whole and weight[0].numel() == input.shape[1:-1].numel() and _fits(input, weight, (3, 5)):
            memory = steps_first(input)
            if sums_are_exact(weight, input_bound(memory)):
                # a unit's weights in the order of its inputs in memory: channels innermost
                matrix = weight.squeeze(-1).permute(0, 2, 3, 1) if input.dim() == 5 else weight
                sums = linear(memory.flatten(0, 1).flatten(1), matrix.flatten(1)).view(*memory.shape[:2], -1)
                return steps_last(sums if input.dim() == 3 else sums[:, :, None, None])
        if input.dim() == 3:
            result = conv3d(input.reshape(input.shape[0], -1, 1, 1, input.shape[-1]), weight)
            return result.reshape(input.shape[0], -1, input.shape[-1])
        return conv3d(input, weight)


class Pool(_layer.Pool):  # type: ignore[misc]
    """SLAYER's pooling: same arguments, attributes, parameters and results. Squares that overlap go SLAYER's way."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the sums of every step: (batch, channels, height, width, steps) float32."""
        weight = _quantised(self)
        if self._is_plain(input, weight) and _fits(input, weight, (5,)):
            memory = steps_first(input)
            kernel = (weight.shape[2], weight.shape[3])
            out, bound = pool(memory.flatten(0, 1), float(weight.view(-1)[0]), kernel)
            if sums_are_exact(weight, bound):
                return steps_last(out.view(*memory.shape[:2], *out.shape[1:]))
        result: Tensor = super().forward(input)
        return result

    def _is_plain(self, input: Tensor, weight: Tensor) -> bool:
        """Return whether squares lie side by side, have one weight, and tile the image as SLAYER fills it up."""
        plain = self.stride == self.kernel_size and not any(self.padding) and all(d == 1 for d in self.dilation)
        if not plain or weight.requires_grad or weight.shape[4] != 1 or input.dim() != 5:
            return False
        # SLAYER adds size % kernel zeros, which makes a multiple of the kernel only in some cases
        tiled = all((n + n % k) % k == 0 for n, k in zip(input.shape[2:4], weight.shape[2:4], strict=True))
        return tiled and bool((weight == weight.view(-1)[0]).all())


SYNAPSES: dict[type, type] = {_layer.Conv: Conv, _layer.Dense: Dense, _layer.Pool: Pool}
