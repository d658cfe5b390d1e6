"""Network: what a deployable network is, in Loihi's integers.

A network is a directed graph. Its nodes are ports (`Input`, `Output`) and `Population`s of CUBA leaky
integrate-and-fire neurons; its projections (`Synapses`, `Convolution`) carry spikes from a node to a population.
A projection whose source is not upstream of its target is a recurrent one; there is no special node for it.
Everything is checked when it is built and immutable afterwards. What a network *means* is in `reference.py`.

Weights are SLAYER weights times 64, thresholds times 64, decays times 4096: each integer has an exact float32
image and an exact inverse, so nothing is lost between SLAYER, a Network and NIR.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from .arithmetic import DECAY_UNITY
from .errors import NetworkError
from .geometry import Ints, Pair, Shape, Window, connections, output_shape, taps

IntArray = npt.NDArray[np.integer[Any]]

THRESHOLD_MAX = 2**17 - 1  # 17-bit mantissa, scaled by 2**6 (lava.proc.lif PyLifModelBitAcc)
NEVER_FIRES = 2**17  # 64 * NEVER_FIRES exceeds the largest voltage, 2**23 - 1: a readout that only integrates
BIAS_MAX = 2**12 - 1  # 13-bit signed mantissa without its most negative value
BIAS_EXP_MAX = 7
WEIGHT_MIN, WEIGHT_MAX = -256, 255  # 8 bits and a sign; SLAYER writes even values in -256..254
WEIGHT_EXP_MAX = 7
DELAY_MAX = 62  # largest axonal delay of SLAYER and netx, in steps
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*\Z")


def _frozen(values: npt.ArrayLike, dtype: type, where: str) -> IntArray:
    """Return `values` as a read-only array of `dtype`, refusing anything that is not an exact integer of it."""
    raw = np.asarray(values)
    if raw.dtype.kind not in "iub" and (raw.dtype.kind != "f" or not np.array_equal(raw, np.rint(raw))):
        raise NetworkError(f"{where}: got values of dtype {raw.dtype} that are not integers")
    info = np.iinfo(dtype)
    if raw.size and (raw.min() < info.min or raw.max() > info.max):
        raise NetworkError(f"{where}: got {raw.min()}..{raw.max()}, allowed {info.min}..{info.max}")
    # A read-only array of the right kind is shared, so that networks of 10**8 synapses are not copied.
    if raw.dtype == dtype and not raw.flags.writeable and raw.flags.c_contiguous:
        return raw
    array: IntArray = np.array(raw, dtype=dtype, order="C")
    array.flags.writeable = False
    return array


def _in_range(array: IntArray, low: int, high: int, where: str) -> None:
    if array.size and (array.min() < low or array.max() > high):
        raise NetworkError(f"{where}: got {array.min()}..{array.max()}, allowed {low}..{high}")


def _checked_shape(shape: Any, where: str) -> Shape:
    try:
        result = tuple(int(size) for size in shape)
    except TypeError:
        raise NetworkError(f"{where}: shape must be (N,) or (C, H, W), got {shape!r}") from None
    if len(result) not in (1, 3) or any(size < 1 for size in result):
        raise NetworkError(f"{where}: shape must be (N,) or (C, H, W) with sizes of at least 1, got {result}")
    return result


@final
@dataclass(frozen=True, eq=False)
class Input:
    """A port that brings spikes in.

    shape: (N,) or (C, H, W). max_value: largest value of a bin; 1 means binary spikes, more means graded events
    (counts) whose value multiplies the weight.
    """

    shape: Shape
    max_value: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _checked_shape(self.shape, "Input"))
        if not 1 <= self.max_value <= 255:
            raise NetworkError(f"Input: max_value must be in 1..255, got {self.max_value}")

    @property
    def size(self) -> int:
        """Number of channels of the port."""
        return math.prod(self.shape)


@final
@dataclass(frozen=True, eq=False)
class Population:
    """CUBA leaky integrate-and-fire neurons with reset to zero.

    Parameters are integers, each of shape () or of as many axes as `shape`, every axis 1 or full, so that one value,
    one per channel or one per neuron are all stored as small as they are.

    current_decay, voltage_decay: 0..4096, unit 1/4096 per step. threshold: 0..131071, in units of 64 state units;
    NEVER_FIRES (131072) makes a pure integrator. bias: -4095..4095 in units of 2**bias_exp state units, added to the
    voltage in every step. initial_voltage: state units before the first step, any int32 (not limited to 24 bits:
    semantics of the bias remedy need more).
    """

    shape: Shape
    current_decay: IntArray
    voltage_decay: IntArray
    threshold: IntArray
    bias: IntArray = field(default_factory=lambda: np.zeros((), np.int32))
    bias_exp: int = 6
    initial_voltage: IntArray = field(default_factory=lambda: np.zeros((), np.int32))

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _checked_shape(self.shape, "Population"))
        for name, low, high in (
            ("current_decay", 0, DECAY_UNITY),
            ("voltage_decay", 0, DECAY_UNITY),
            ("threshold", 0, NEVER_FIRES),
            ("bias", -BIAS_MAX, BIAS_MAX),
            ("initial_voltage", -(2**31) + 1, 2**31 - 1),
        ):
            array = _frozen(getattr(self, name), np.int32, f"Population {name}")
            fits = array.ndim == len(self.shape) and all(
                a in (1, n) for a, n in zip(array.shape, self.shape, strict=True)
            )
            if array.ndim and not fits:
                raise NetworkError(
                    f"Population {name}: shape {array.shape} does not fit {self.shape}; "
                    "allowed are one value or as many axes, each 1 or full"
                )
            _in_range(array, low, high, f"Population {name}")
            object.__setattr__(self, name, array)
        if not 0 <= self.bias_exp <= BIAS_EXP_MAX:
            raise NetworkError(f"Population bias_exp: got {self.bias_exp}, allowed 0..{BIAS_EXP_MAX}")

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    def per_neuron(self, name: str) -> npt.NDArray[np.int64]:
        """Return parameter `name` as (size,) int64, neurons in C order of `shape`."""
        return np.broadcast_to(getattr(self, name), self.shape).reshape(-1).astype(np.int64)


@final
@dataclass(frozen=True, eq=False)
class Output:
    """A port that takes the spikes (or the voltage, of a population that never fires) of `source` out."""

    source: str
    signal: Literal["spikes", "voltage"] = "spikes"

    def __post_init__(self) -> None:
        if self.signal not in ("spikes", "voltage"):
            raise NetworkError(f"Output signal: got {self.signal!r}, allowed 'spikes' or 'voltage'")


@final
@dataclass(frozen=True, eq=False)
class Synapses:
    """Sparse point-to-point projection: only synapses that exist are stored, in order of (pre, post).

    pre, post: (n,) int32 indices into the flattened source and target; weight: (n,) int16 in -256..255, never 0;
    delay: () or (n,) uint8, 0..62 steps beyond the one step of transport. The sum of the weights of the spikes that
    arrive together is multiplied by 2**weight_exp.
    """

    source: str
    target: str
    pre: IntArray
    post: IntArray
    weight: IntArray
    delay: IntArray = field(default_factory=lambda: np.zeros((), np.uint8))
    weight_exp: int = 0

    def __post_init__(self) -> None:
        where = f"Synapses {self.source} -> {self.target}"
        for name, dtype in (("pre", np.int32), ("post", np.int32), ("weight", np.int16), ("delay", np.uint8)):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype, f"{where} {name}"))
        n = self.weight.shape
        if len(n) != 1 or self.pre.shape != n or self.post.shape != n or self.delay.shape not in ((), n):
            raise NetworkError(
                f"{where}: pre {self.pre.shape}, post {self.post.shape}, weight {n} and delay {self.delay.shape} "
                "must be vectors of one length (delay may be a single value)"
            )
        _in_range(self.weight, WEIGHT_MIN, WEIGHT_MAX, f"{where} weight")
        _in_range(self.delay, 0, DELAY_MAX, f"{where} delay")
        if not 0 <= self.weight_exp <= WEIGHT_EXP_MAX:
            raise NetworkError(f"{where} weight_exp: got {self.weight_exp}, allowed 0..{WEIGHT_EXP_MAX}")
        if not self.weight.all():
            raise NetworkError(
                f"{where}: {int((self.weight == 0).sum())} weights are 0; an absent synapse is not stored"
            )
        if n[0] > 1:
            step = np.diff(self.pre)
            if (step < 0).any() or (np.diff(self.post)[step == 0] <= 0).any():
                raise NetworkError(f"{where}: synapses must be in order of (pre, post), each pair once")

    @classmethod
    def from_dense(
        cls, source: str, target: str, weight: npt.ArrayLike, delay: npt.ArrayLike = 0, weight_exp: int = 0
    ) -> Synapses:
        """Build from a matrix (n_post, n_pre) of integers; zeros are absent.

        delay: scalar, (n_pre,) or (n_post, n_pre).
        """
        matrix = np.asarray(weight)
        pre, post = np.nonzero(matrix.T)
        delays = np.asarray(delay)
        if delays.ndim:
            delays = np.broadcast_to(delays, matrix.shape)[post, pre]
        return cls(source, target, pre, post, matrix[post, pre], delays, weight_exp)

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
        _in_range(self.pre, 0, math.prod(source) - 1, f"pre index into {self.source!r}")
        _in_range(self.post, 0, math.prod(target) - 1, f"post index into {self.target!r}")

    @property
    def n_weights(self) -> int:
        """Number of stored weights (equal to the number of synapses)."""
        return int(self.weight.size)


@final
@dataclass(frozen=True, eq=False)
class Convolution:
    """Cross-correlation of a (C, H, W) source with a kernel shared over places, as torch.nn.functional.conv2d.

    kernel: (C_out, C_in / groups, kh, kw) int16 in -256..255; zeros are absent. stride, padding, dilation: (y, x).
    delay: () or (C_in,) uint8, 0..62 steps, one per source channel (an axonal delay).
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

    def __post_init__(self) -> None:
        where = f"Convolution {self.source} -> {self.target}"
        object.__setattr__(self, "kernel", _frozen(self.kernel, np.int16, f"{where} kernel"))
        object.__setattr__(self, "delay", _frozen(self.delay, np.uint8, f"{where} delay"))
        if self.kernel.ndim != 4:
            raise NetworkError(f"{where} kernel: got shape {self.kernel.shape}, allowed (C_out, C_in/groups, kh, kw)")
        _in_range(self.kernel, WEIGHT_MIN, WEIGHT_MAX, f"{where} kernel")
        for name, low in (("stride", 1), ("padding", 0), ("dilation", 1)):
            pair = tuple(int(value) for value in getattr(self, name))
            if len(pair) != 2 or min(pair) < low:
                raise NetworkError(f"{where} {name}: got {pair}, allowed two integers of at least {low}")
            object.__setattr__(self, name, pair)
        if self.groups < 1 or self.kernel.shape[0] % self.groups:
            raise NetworkError(f"{where} groups: {self.groups} does not divide {self.kernel.shape[0]} output channels")
        channels = self.kernel.shape[1] * self.groups
        if self.delay.shape not in ((), (channels,)):
            raise NetworkError(f"{where} delay: got shape {self.delay.shape}, allowed one value or ({channels},)")
        _in_range(self.delay, 0, DELAY_MAX, f"{where} delay")
        if not 0 <= self.weight_exp <= WEIGHT_EXP_MAX:
            raise NetworkError(f"{where} weight_exp: got {self.weight_exp}, allowed 0..{WEIGHT_EXP_MAX}")

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
        return Synapses(self.source, self.target, pre, post, self.kernel[entry][order], delay, self.weight_exp)

    def n_dense(self, source: Shape, target: Shape) -> int:
        """Return how many weights its kernel has without a zero among them."""
        return self.kernel.size

    def check_ends(self, source: Shape, target: Shape) -> None:
        """Raise NetworkError unless it makes shape `target` from shape `source`."""
        if (shape := self.output_shape(source)) != target:
            raise NetworkError(f"makes shape {shape} from {source}, but {self.target!r} has {target}")

    @property
    def window(self) -> Window:
        """Stride, padding, dilation and groups together."""
        return Window(self.stride, self.padding, self.dilation, self.groups)

    @property
    def n_weights(self) -> int:
        """Number of non-zero kernel weights (shared over places; `synapses` gives the connections)."""
        return int(np.count_nonzero(self.kernel))


Node = Input | Population | Output
Projection = Synapses | Convolution


@final
@dataclass(frozen=True, eq=False)
class Network:
    """A checked, immutable graph of nodes and projections.

    nodes, projections: by name; the order is kept. dt_s: duration of a step in seconds; information only, as is
    `provenance` (JSON-able: run, versions, seed). Raises NetworkError naming the node or projection at fault.
    """

    nodes: Mapping[str, Node]
    projections: Mapping[str, Projection]
    dt_s: float = 1e-3
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("nodes", "projections", "provenance"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for name in (*self.nodes, *self.projections):
            if not _NAME.match(name):
                raise NetworkError(
                    f"name {name!r}: allowed are letters, digits, '_', '.', '-', not starting with a digit"
                )
        if twice := set(self.nodes) & set(self.projections):
            raise NetworkError(f"name {min(twice)!r} is both a node and a projection")
        if not self.inputs or not self.outputs:
            raise NetworkError("a network needs at least one Input and one Output")
        if not (self.dt_s > 0 and math.isfinite(self.dt_s)):
            raise NetworkError(f"dt_s: got {self.dt_s}, allowed a positive number of seconds")
        for name, node in self.outputs.items():
            if not isinstance(self.nodes.get(node.source), Population):
                raise NetworkError(f"output {name!r}: source {node.source!r} is not a population")
        for name, projection in self.projections.items():
            try:
                self._check_projection(projection)
            except NetworkError as error:
                raise NetworkError(f"projection {name!r}: {error}") from None

    def _check_projection(self, projection: Projection) -> None:
        source, target = self.nodes.get(projection.source), self.nodes.get(projection.target)
        if not isinstance(source, Input | Population):
            raise NetworkError(f"source {projection.source!r} is not an input or a population")
        if not isinstance(target, Population):
            raise NetworkError(f"target {projection.target!r} is not a population")
        projection.check_ends(source.shape, target.shape)

    def _of(self, kind: type) -> dict[str, Any]:
        return {name: node for name, node in self.nodes.items() if isinstance(node, kind)}

    @property
    def inputs(self) -> dict[str, Input]:
        """Input ports by name."""
        return self._of(Input)

    @property
    def populations(self) -> dict[str, Population]:
        """Populations by name."""
        return self._of(Population)

    @property
    def outputs(self) -> dict[str, Output]:
        """Output ports by name."""
        return self._of(Output)

    def incoming(self, name: str) -> Iterator[tuple[str, Projection]]:
        """Yield (name, projection) of those that end at node `name`."""
        return ((key, p) for key, p in self.projections.items() if p.target == name)

    def outgoing(self, name: str) -> Iterator[tuple[str, Projection]]:
        """Yield (name, projection) of those that start at node `name`."""
        return ((key, p) for key, p in self.projections.items() if p.source == name)

    def shape_of(self, name: str) -> Shape:
        """Return the shape of an input or population."""
        node = self.nodes[name]
        assert not isinstance(node, Output), name
        return node.shape

    def size_of(self, name: str) -> int:
        """Number of neurons or channels of node `name` (an Output has those of its source)."""
        node = self.nodes[name]
        return self.size_of(node.source) if isinstance(node, Output) else node.size

    def synapses(self, name: str) -> Synapses:
        """Return the point-to-point synapses of projection `name`, whatever its type."""
        projection = self.projections[name]
        return projection.synapses(self.shape_of(projection.source))

    def n_dense(self, name: str) -> int:
        """Return how many weights projection `name` has without a zero: matrix entries, or entries of the kernel."""
        p = self.projections[name]
        return p.n_dense(self.shape_of(p.source), self.shape_of(p.target))

    def n_synapses(self) -> int:
        """Return how many point-to-point connections all projections make."""
        return sum(self.synapses(name).n_weights for name in self.projections)

    def digest(self) -> str:
        """Return a SHA-256 over everything that decides its spikes (not dt_s and provenance)."""
        sha = hashlib.sha256()
        for group in (self.nodes, self.projections):
            for name, item in group.items():
                sha.update(f"{type(item).__name__} {name}".encode())
                for spec in fields(item):
                    value = getattr(item, spec.name)
                    if isinstance(value, np.ndarray):
                        sha.update(f"{spec.name} {value.shape} {value.dtype}".encode())
                        sha.update(value.tobytes())
                    else:
                        sha.update(json.dumps([spec.name, value]).encode())
        return sha.hexdigest()
