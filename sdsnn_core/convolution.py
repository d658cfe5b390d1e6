"""Geometry of convolutions: what shape they make, and the point-to-point synapses that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .errors import NetworkError

if TYPE_CHECKING:
    from .network import Convolution, Shape, Synapses


def convolution_output_shape(
    source_shape: Shape,
    kernel_shape: Shape,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Shape:
    """Return (C_out, H_out, W_out) of a cross-correlation, as torch.nn.functional.conv2d makes it.

    source_shape: (C_in, H, W). kernel_shape: (C_out, C_in / groups, kh, kw). Raises NetworkError if they do not fit.
    """
    if len(source_shape) != 3 or source_shape[0] != kernel_shape[1] * groups:
        raise NetworkError(
            f"source of shape {source_shape} does not have the {kernel_shape[1] * groups} channels "
            "that the kernel takes"
        )
    made = tuple(
        (size + 2 * pad - gap * (kernel - 1) - 1) // step + 1
        for size, kernel, step, pad, gap in zip(
            source_shape[1:], kernel_shape[2:], stride, padding, dilation, strict=True
        )
    )
    if min(made) < 1:
        raise NetworkError(f"source of shape {source_shape} is smaller than the kernel {kernel_shape[2:]}")
    return (kernel_shape[0], *made)


def expand(convolution: Convolution, source_shape: Shape) -> Synapses:
    """Return the synapses that `convolution` stands for, one per non-zero kernel weight and place it lands on.

    This is what a convolution means: every back end must deliver the same sums as this expansion.
    """
    from .network import Synapses

    _, height, width = source_shape
    c_out, h_out, w_out = convolution.output_shape(source_shape)
    per_group_out = c_out // convolution.groups
    per_group_in = convolution.kernel.shape[1]
    out, cin, ky, kx = np.nonzero(convolution.kernel)
    channel = out // per_group_out * per_group_in + cin
    y = (
        np.arange(h_out)[None, :] * convolution.stride[0]
        - convolution.padding[0]
        + ky[:, None] * convolution.dilation[0]
    )
    x = (
        np.arange(w_out)[None, :] * convolution.stride[1]
        - convolution.padding[1]
        + kx[:, None] * convolution.dilation[1]
    )
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    k, oy, ox = np.nonzero(inside)
    pre = (channel[k] * height + y[k, oy]) * width + x[k, ox]
    post = (out[k] * h_out + oy) * w_out + ox
    order = np.lexsort((post, pre))
    delay = convolution.delay if convolution.delay.ndim == 0 else convolution.delay[channel[k]][order]
    weight = convolution.kernel[out, cin, ky, kx][k][order]
    return Synapses(
        convolution.source, convolution.target, pre[order], post[order], weight, delay, convolution.weight_exp
    )
