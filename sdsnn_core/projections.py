"""Projections of a network: they carry spikes from a node to a population."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np
import numpy.typing as npt

from .errors import NetworkError
from .geometry import Ints, Pair, Shape, Window, connections, output_shape, taps
from .nodes import DELAY_MAX, LATER, WEIGHT_EXP_MAX, WEIGHT_MAX, WEIGHT_MIN, IntArray, frozen, in_range


@final
@dataclass(frozen=True, eq=False)
class Synapses:
    """Sparse point-to-point projection: only synapses that exist are stored, in order of (pre, post).

    Args:
        source: Name of the input or population that sends.
        target: Name of the population that receives.
        pre: (n,) int32 indices into the flattened source.
        post: (n,) int32 indices into the flattened target.
        weight: (n,) int16 in -256..255, never 0.
        delay: () or (n,) uint8, 0..62 steps beyond the one step of transport.
        weight_exp: 0..7; the sum of the weights of the spikes that arrive together is multiplied by 2**weight_exp.
        imaginary: Whether the weights are the imaginary part of those of a Resonator.

    Raises:
        NetworkError: A value outside its range, lengths that differ, or synapses out of order.

    Examples:
        >>> synapses = Synapses.from_dense("input", "a", [[10, 0], [-4, 6]])
        >>> synapses.pre, synapses.post, synapses.weight
        (array([0, 0, 1], dtype=int32), array([0, 1, 1], dtype=int32), array([10, -4,  6], dtype=int16))
    """

    source: str
    target: str
    pre: IntArray
    post: IntArray
    weight: IntArray
    delay: IntArray = field(default_factory=lambda: np.zeros((), np.uint8))
    weight_exp: int = 0
    imaginary: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        where = f"Synapses {self.source} -> {self.target}"
        for name, dtype in (("pre", np.int32), ("post", np.int32), ("weight", np.int16), ("delay", np.uint8)):
            object.__setattr__(self, name, frozen(getattr(self, name), dtype, f"{where} {name}"))
        n = self.weight.shape
        if len(n) != 1 or self.pre.shape != n or self.post.shape != n or self.delay.shape not in ((), n):
            raise NetworkError(
                f"{where}: expected vectors of one length (delay: or one value), got pre {self.pre.shape}, "
                f"post {self.post.shape}, weight {n} and delay {self.delay.shape}"
            )
        in_range(self.weight, WEIGHT_MIN, WEIGHT_MAX, f"{where} weight")
        in_range(self.delay, 0, DELAY_MAX, f"{where} delay")
        if not 0 <= self.weight_exp <= WEIGHT_EXP_MAX:
            raise NetworkError(f"{where} weight_exp: expected 0..{WEIGHT_EXP_MAX}, got {self.weight_exp}")
        if not self.weight.all():
            zeros = int((self.weight == 0).sum())
            raise NetworkError(
                f"{where} weight: expected none of 0, since only present synapses are stored, got {zeros}"
            )
        if n[0] > 1:
            step = np.diff(self.pre)
            if (step < 0).any() or (np.diff(self.post)[step == 0] <= 0).any():
                raise NetworkError(
                    f"{where}: expected synapses in order of (pre, post), each pair once, got another order"
                )

    @classmethod
    def from_dense(
        cls,
        source: str,
        target: str,
        weight: npt.ArrayLike,
        delay: npt.ArrayLike = 0,
        weight_exp: int = 0,
        imaginary: bool = False,
    ) -> Synapses:
        """Build from a matrix (n_post, n_pre) of integers; zeros are absent.

        delay: scalar, (n_pre,) or (n_post, n_pre).
        """
        matrix = np.asarray(weight)
        pre, post = np.nonzero(matrix.T)
        delays = np.asarray(delay)
        if delays.ndim:
            delays = np.broadcast_to(delays, matrix.shape)[post, pre]
        return cls(source, target, pre, post, matrix[post, pre], delays, weight_exp, imaginary)

    def to_dense(self, n_post: int, n_pre: int) -> npt.NDArray[np.int64]:
        """Return the weights as a matrix (n_post, n_pre) int64, 0 where no synapse is."""
        matrix = np.zeros((n_post, n_pre), np.int64)
        matrix[self.post, self.pre] = self.weight
        return matrix

    def synapses(self, source_shape: Shape) -> Synapses:
        """Return itself."""
        return self

    def n_dense(self, source: Shape, target: Shape) -> int:
        """Return how many weights it has without a zero among them."""
        return math.prod(source) * math.prod(target)

    def check_ends(self, source: Shape, target: Shape) -> None:
        """Raise NetworkError unless every index lies inside shapes `source` and `target`."""
        in_range(self.pre, 0, math.prod(source) - 1, f"pre index into {self.source!r}")
        in_range(self.post, 0, math.prod(target) - 1, f"post index into {self.target!r}")

    @property
    def n_weights(self) -> int:
        """Number of stored weights (equal to the number of synapses)."""
        return int(self.weight.size)


@final
@dataclass(frozen=True, eq=False)
class Convolution:
    """Cross-correlation of a (C, H, W) source with a kernel shared over places, as torch.nn.functional.conv2d.

    Args:
        source: Name of the input or population that sends.
        target: Name of the population that receives.
        kernel: (C_out, C_in / groups, kh, kw) int16 in -256..255; zeros are absent.
        stride: (y, x), at least 1.
        padding: (y, x), at least 0.
        dilation: (y, x), at least 1.
        groups: Number of groups of channels.
        delay: () or (C_in,) uint8, 0..62 steps, one per source channel (an axonal delay).
        weight_exp: 0..7, as of `Synapses`.
        imaginary: As of `Synapses`.

    Raises:
        NetworkError: A value outside its range, or groups that do not divide the channels.

    Examples:
        >>> convolution = Convolution("input", "a", np.ones((4, 2, 3, 3), int), stride=(2, 2))
        >>> convolution.output_shape((2, 9, 9)), convolution.synapses((2, 9, 9)).n_weights
        ((4, 4, 4), 1152)
    """

    source: str
    target: str
    kernel: IntArray
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    delay: IntArray = field(default_factory=lambda: np.zeros((), np.uint8))
    weight_exp: int = 0
    imaginary: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        where = f"Convolution {self.source} -> {self.target}"
        object.__setattr__(self, "kernel", frozen(self.kernel, np.int16, f"{where} kernel"))
        object.__setattr__(self, "delay", frozen(self.delay, np.uint8, f"{where} delay"))
        if self.kernel.ndim != 4:
            raise NetworkError(f"{where} kernel: expected (C_out, C_in/groups, kh, kw), got shape {self.kernel.shape}")
        in_range(self.kernel, WEIGHT_MIN, WEIGHT_MAX, f"{where} kernel")
        for name, low in (("stride", 1), ("padding", 0), ("dilation", 1)):
            pair = tuple(int(value) for value in getattr(self, name))
            if len(pair) != 2 or min(pair) < low:
                raise NetworkError(f"{where} {name}: expected two integers of at least {low}, got {pair}")
            object.__setattr__(self, name, pair)
        if self.groups < 1 or self.kernel.shape[0] % self.groups:
            raise NetworkError(
                f"{where} groups: expected a divisor of {self.kernel.shape[0]} output channels, got {self.groups}"
            )
        channels = self.kernel.shape[1] * self.groups
        if self.delay.shape not in ((), (channels,)):
            raise NetworkError(f"{where} delay: expected one value or ({channels},), got shape {self.delay.shape}")
        in_range(self.delay, 0, DELAY_MAX, f"{where} delay")
        if not 0 <= self.weight_exp <= WEIGHT_EXP_MAX:
            raise NetworkError(f"{where} weight_exp: expected 0..{WEIGHT_EXP_MAX}, got {self.weight_exp}")

    def output_shape(self, source_shape: Shape) -> Shape:
        """Return (C_out, H_out, W_out) for a source of shape (C_in, H, W)."""
        return output_shape(source_shape, self.kernel.shape, self.window)

    def taps(self, source_shape: Shape) -> tuple[Ints, Ints]:
        """Return where its taps land, (kh, H_out) and (kw, W_out): see `geometry.axis_taps`."""
        return taps(source_shape, self.kernel.shape, self.window)

    def synapses(self, source_shape: Shape) -> Synapses:
        """Return the point-to-point synapses that it stands for, one per non-zero weight and place it lands on.

        This is what a convolution means: every back end must deliver the same sums as this expansion.
        """
        pre, post, entry = connections(source_shape, self.kernel, self.window)
        order = np.lexsort((post, pre))
        pre, post = pre[order], post[order]
        channel = pre // math.prod(source_shape[1:])
        delay = self.delay if self.delay.ndim == 0 else self.delay[channel]
        weight, more = self.kernel[entry][order], (self.weight_exp, self.imaginary)
        return Synapses(self.source, self.target, pre, post, weight, delay, *more)

    def n_dense(self, source: Shape, target: Shape) -> int:
        """Return how many weights its kernel has without a zero among them."""
        return self.kernel.size

    def check_ends(self, source: Shape, target: Shape) -> None:
        """Raise NetworkError unless it makes shape `target` from shape `source`."""
        if (shape := self.output_shape(source)) != target:
            raise NetworkError(
                f"expected a target of shape {shape} behind one of {source}, got {self.target!r} of {target}"
            )

    @property
    def window(self) -> Window:
        """Stride, padding, dilation and groups together."""
        return Window(self.stride, self.padding, self.dilation, self.groups)

    @property
    def n_weights(self) -> int:
        """Number of non-zero kernel weights (shared over places; `synapses` gives the connections)."""
        return int(np.count_nonzero(self.kernel))


Projection = Synapses | Convolution
