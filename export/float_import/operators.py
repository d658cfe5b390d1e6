"""Linear operators between two nodes of a float graph: identity, convolution, matrix; composed without expanding them.

A chain of linear nodes stays one small operator where one exists: a pool in front of a convolution is a larger
convolution, a scale per channel is part of the kernel. Only what has no such form becomes a matrix.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sdsnn_core.errors import NetworkError
from sdsnn_core.geometry import Pair, Shape, Window, connections, output_shape, taps

Floats = npt.NDArray[np.float64]
MATRIX_LIMIT = 2**27  # stored weights of one matrix: 2 GiB of float64 values and indices


@final
@dataclass(frozen=True, eq=False)
class Identity:
    """What arrives passes unchanged."""

    shape: Shape

    @property
    def out_shape(self) -> Shape:
        """Shape of what leaves it."""
        return self.shape

    def apply(self, x: Floats) -> Floats:
        """Return x, (batch, size)."""
        return x


@final
@dataclass(frozen=True, eq=False)
class Convolved:
    """A convolution as torch.nn.functional.conv2d: kernel (C_out, C_in / groups, kh, kw), moved by `window`."""

    shape: Shape
    kernel: Floats
    window: Window

    @property
    def out_shape(self) -> Shape:
        """Shape of what leaves it, (C_out, H_out, W_out)."""
        return output_shape(self.shape, self.kernel.shape, self.window)

    def apply(self, x: Floats) -> Floats:
        """Return the convolution of x (batch, size of shape), as (batch, size of out_shape)."""
        n, groups, out = len(x), self.window.groups, self.out_shape
        images = x.reshape(n, groups, self.shape[0] // groups, *self.shape[1:])
        result = np.zeros((n, groups, out[0] // groups, *out[1:]))
        kernel = self.kernel.reshape(groups, out[0] // groups, *self.kernel.shape[1:])
        rows, columns = taps(self.shape, self.kernel.shape, self.window)
        for ky, y in enumerate(rows):
            for kx, x_at in enumerate(columns):
                to_y, to_x = np.flatnonzero(y >= 0), np.flatnonzero(x_at >= 0)
                if not (to_y.size and to_x.size and kernel[..., ky, kx].any()):
                    continue
                patch = images[:, :, :, y[to_y][:, None], x_at[to_x]]
                sums = np.matmul(kernel[None, ..., ky, kx], patch.reshape(*patch.shape[:3], -1))
                to = np.ix_(np.arange(n), np.arange(groups), np.arange(out[0] // groups), to_y, to_x)
                result[to] += sums.reshape(n, groups, -1, to_y.size, to_x.size)
        return result.reshape(n, -1)


@final
@dataclass(frozen=True, eq=False)
class Matrix:
    """Single weights: a scipy.sparse.csr_matrix (size of out_shape, size of shape) float64."""

    shape: Shape
    out_shape: Shape
    weights: Any

    def apply(self, x: Floats) -> Floats:
        """Return the product with x (batch, size of shape), as (batch, size of out_shape)."""
        return np.ascontiguousarray((self.weights @ x.T).T)


Operator = Identity | Convolved | Matrix


def matrix_of(operator: Operator, where: str) -> Any:
    """Return an operator as csr_matrix. Raises NetworkError where it would have more than MATRIX_LIMIT weights."""
    size, size_out = int(np.prod(operator.shape)), int(np.prod(operator.out_shape))
    if isinstance(operator, Matrix):
        return operator.weights
    if isinstance(operator, Identity):
        return sparse.identity(size, format="csr")
    places = math.prod(operator.out_shape[1:])
    if np.count_nonzero(operator.kernel) * places > MATRIX_LIMIT:
        raise NetworkError(
            f"{where}: expected a chain that folds into one convolution or at most {MATRIX_LIMIT} single weights, "
            f"got about {np.count_nonzero(operator.kernel) * places}"
        )
    pre, post, entry = connections(operator.shape, operator.kernel, operator.window)
    return sparse.csr_matrix((operator.kernel[entry], (post, pre)), shape=(size_out, size))


def scaled(operator: Operator, factor: Floats, where: str) -> Operator:
    """Return `operator` with its output multiplied by `factor` (size of out_shape)."""
    if (factor == 1).all():
        return operator
    shape = operator.out_shape
    per_channel = factor.reshape(shape[0], -1)
    if (per_channel == per_channel[:, :1]).all():
        if isinstance(operator, Identity) and len(shape) == 3:
            return Convolved(shape, per_channel[:, :1, None, None].copy(), Window(groups=shape[0]))
        if isinstance(operator, Convolved):
            return replace(operator, kernel=operator.kernel * per_channel[:, :1, None, None])
    return Matrix(operator.shape, shape, sparse.csr_matrix(sparse.diags(factor) @ matrix_of(operator, where)))


def composed(first: Operator, then: Operator, where: str) -> Operator:
    """Return `then` after `first`, as one convolution where that is exact, else as a matrix."""
    if isinstance(then, Identity):
        return first
    if isinstance(first, Identity):
        return then if first.shape == then.shape else replace(then, shape=first.shape)
    folded = None
    if isinstance(first, Convolved) and isinstance(then, Convolved) and first.out_shape == then.shape:
        folded = _folded(first, then)
    if folded is not None:
        return folded
    product = matrix_of(then, where) @ matrix_of(first, where)
    return Matrix(first.shape, then.out_shape, sparse.csr_matrix(product))


def added(first: Operator, second: Operator, where: str) -> Operator:
    """Return the sum of two operators between the same two nodes."""
    if isinstance(first, Convolved) and isinstance(second, Convolved) and _alike(first, second):
        return replace(first, kernel=first.kernel + second.kernel)
    total = matrix_of(first, where) + matrix_of(second, where)
    return Matrix(first.shape, first.out_shape, sparse.csr_matrix(total))


def _alike(first: Convolved, second: Convolved) -> bool:
    """Return whether two convolutions differ in the values of their kernels at most."""
    return first.shape == second.shape and first.window == second.window and first.kernel.shape == second.kernel.shape


def _folded(first: Convolved, then: Convolved) -> Convolved | None:
    """Return two convolutions as one, None where the border between them would make a difference.

    Tap k2 of `then` at output place y reads place m = y s2 - p2 + k2 d2 of `first`, whose tap k1 reads
    m s1 - p1 + k1 d1: together a kernel with stride s1 s2, padding p1 + p2 s1 and taps at k2 d2 s1 + k1 d1.
    A place m outside the middle image counts as zero, so no tap behind it may reach an input place.
    """
    one, two, sizes = first.window, then.window, []
    for axis, middle in enumerate(taps(then.shape, then.kernel.shape, then.window)):
        k1, (k2, n_out) = first.kernel.shape[2 + axis], middle.shape
        s1, s2, d2 = one.stride[axis], two.stride[axis], two.dilation[axis]
        place = np.arange(n_out) * s2 - two.padding[axis] + np.arange(k2)[:, None] * d2
        reached = place[middle < 0][:, None] * s1 - one.padding[axis] + np.arange(k1) * one.dilation[axis]
        if ((reached >= 0) & (reached < first.shape[1 + axis])).any():
            return None
        sizes.append((k2 - 1) * d2 * s1 + (k1 - 1) * one.dilation[axis] + 1)
    kernel, groups = _folded_kernel(first, then, (sizes[0], sizes[1]))
    stride = (one.stride[0] * two.stride[0], one.stride[1] * two.stride[1])
    padding = (one.padding[0] + two.padding[0] * one.stride[0], one.padding[1] + two.padding[1] * one.stride[1])
    return Convolved(first.shape, kernel, Window(stride, padding, (1, 1), groups))


def _folded_kernel(first: Convolved, then: Convolved, size: Pair) -> tuple[Floats, int]:
    """Return the kernel of two convolutions as one, (C_out, C_in / groups, *size), and its groups."""
    depthwise = first.window.groups == first.shape[0] == first.kernel.shape[0]
    if depthwise:  # one input channel for each middle channel: the groups of `then` remain
        groups, n_in = then.window.groups, then.kernel.shape[1]
        one, two = first.kernel[:, 0], then.kernel
    else:
        groups, n_in = 1, first.shape[0]
        one, two = _ungrouped(first), _ungrouped(then)
    kernel = np.zeros((then.kernel.shape[0], n_in, *size))
    per_group = then.kernel.shape[0] // groups
    for ky2, kx2 in np.ndindex(*then.kernel.shape[2:]):
        for ky1, kx1 in np.ndindex(*first.kernel.shape[2:]):
            y = ky2 * then.window.dilation[0] * first.window.stride[0] + ky1 * first.window.dilation[0]
            x = kx2 * then.window.dilation[1] * first.window.stride[1] + kx1 * first.window.dilation[1]
            if depthwise:
                for group in range(groups):
                    rows = slice(group * per_group, (group + 1) * per_group)
                    channels = one[group * n_in : (group + 1) * n_in, ky1, kx1]
                    kernel[rows, :, y, x] += two[rows, :, ky2, kx2] * channels
            else:
                kernel[:, :, y, x] += two[:, :, ky2, kx2] @ one[:, :, ky1, kx1]
    return kernel, groups


def _ungrouped(conv: Convolved) -> Floats:
    """Return the kernel as if all channels met all: (C_out, C_in, kh, kw), zeros between groups."""
    groups = conv.window.groups
    if groups == 1:
        return conv.kernel
    n_out, n_in = conv.kernel.shape[0] // groups, conv.kernel.shape[1]
    kernel = np.zeros((conv.kernel.shape[0], conv.shape[0], *conv.kernel.shape[2:]))
    for group in range(groups):
        rows = slice(group * n_out, (group + 1) * n_out)
        kernel[rows, group * n_in : (group + 1) * n_in] = conv.kernel[rows]
    return kernel
