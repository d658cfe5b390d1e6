"""Lay out a Network in the flat tables that the compiled code reads; see `tables.py` for their contents."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import event_dtype, fan_out
from sdsnn_core.network import (
    DECAY_UNITY,
    AdaptiveLif,
    Convolution,
    CubaLif,
    Delta,
    Input,
    Network,
    Neurons,
    Population,
    Projection,
    RefractoryLif,
    Resonator,
    Sigma,
    SigmaDelta,
    Synapses,
)
from sdsnn_core.neurons.resets import depths
from sdsnn_core.rules import Rules

from . import geometry
from . import tables as tb
from .order import components
from .tables import Ints

Layout = Literal["auto", "dense", "sparse"]

# What a spike costs, in ns, as benchmarks/simulate.py --kernels measures it: the bytes of a dense row, or a segment of
# compressed columns and its synapses. The second of each pair holds for matrices that caches no longer hold.
ROW_BYTE_NS, SYNAPSE_NS, SEGMENT_NS = (0.012, 0.05), (0.28, 0.45), 7.0
LARGE = 8 * 2**20  # bytes
DENSE_LIMIT = 2**31  # bytes: a larger matrix is never stored as dense rows
# A pooling or depthwise kernel has no vector of output channels to add, and a very sparse one mostly zeros.
EXPAND_CHANNELS, EXPAND_DENSITY, EXPAND_LIMIT = 4, 0.06, 2**24


class _Pool:
    """Arrays of one kind, to be laid end to end. A single one is shared with its owner, not copied."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.parts: dict[int, Ints] = {}  # by offset, each at the beginning of a line of the cache
        self.size = 0

    def add(self, array: npt.ArrayLike) -> int:
        """Append and return the offset."""
        part = np.asarray(array).reshape(-1).astype(self.dtype, copy=False)
        if not part.size:
            return 0
        begin, line = self.size, tb.LINE // self.dtype.itemsize
        self.parts[begin] = part
        self.size += -(-part.size // line) * line
        return begin

    def done(self) -> Ints:
        """Return all of them as one read-only array, of at least one element."""
        if len(self.parts) == 1:
            return tb.constant(self.parts[0], self.dtype)
        whole = tb.aligned(max(1, self.size), self.dtype)
        for begin, part in self.parts.items():
            whole[begin : begin + part.size] = part
        return tb.constant(whole, self.dtype)


class Builder:
    """Builds a Plan; afterwards `indices` and `kinds` hold the place and the storage of each node and projection."""

    def __init__(self, network: Network, layout: Layout) -> None:
        self.network, self.layout = network, layout
        self.names = [*network.inputs, *network.populations]
        self.indices = {name: index for index, name in enumerate(self.names)}
        self.kinds: dict[str, int] = {}
        names = ["keep_u", "keep_v", "threshold", "bias", "initial", "geometry", "order", "fan_out"]
        names += ["keep_t", "keep_r", "step"]
        self.pools = {name: _Pool(np.int32) for name in names}
        self.pools |= {"weight8": _Pool(np.int8), "weight16": _Pool(np.int16), "pointer": _Pool(np.int64)}
        self.pools |= {"post16": _Pool(np.uint16), "post32": _Pool(np.uint32), "delay": _Pool(np.uint8)}
        self.nodes = np.full((len(self.names), tb.N_COLUMNS), -1, np.int64)
        self.ring = self.extra = 0
        self.depths = depths(network)
        # Convolutions add vectors over output channels, so their targets are held with channels last.
        self.last = {p.target for p in network.projections.values() if isinstance(p, Convolution)}
        self.places: dict[str, Ints] = {}  # internal place of every neuron of those, by C order

    def build(self) -> tb.Plan:
        """Lay out everything."""
        into: dict[str, list[str]] = {name: [] for name in self.names}
        for name, projection in self.network.projections.items():
            into[projection.target].append(name)
        self.projection_names = [name for target in self.names for name in into[target]]
        for name, index in self.indices.items():
            self._node(index, name)
        rows = np.full((max(1, len(self.projection_names)), tb.P_COLUMNS), -1, np.int64)
        slots = dict.fromkeys(self.names, 1)
        for row, name in zip(rows, self.projection_names, strict=False):
            projection = self.network.projections[name]
            self._projection(row, name, projection)
            slots[projection.target] = max(slots[projection.target], 1 + int(projection.delay.max(initial=0)))
        first = 0
        for name, index in self.indices.items():
            node = self.nodes[index]
            node[tb.N_FIRST], node[tb.N_LAST] = first, first + len(into[name])
            first += len(into[name])
            node[tb.N_SLOTS] = slots[name]
            if node[tb.N_STATE] >= 0:
                node[tb.N_RING] = self.ring
                parts = 2 if node[tb.N_MODEL] == tb.RESONATOR else 1
                self.ring += slots[name] * int(node[tb.N_PAD]) * parts
        groups = components(self.network)
        return tb.Plan(
            nodes=tb.constant(self.nodes, np.int64),
            projections=tb.constant(rows, np.int64),
            component=tb.constant(np.cumsum([0, *map(len, groups)]), np.int64),
            members=tb.constant([self.indices[name] for group in groups for name in group], np.int64),
            **{name: pool.done() for name, pool in self.pools.items()},
        )

    def _node(self, index: int, name: str) -> None:
        node, item = self.nodes[index], self.network.nodes[name]
        node[tb.N_SIZE] = self.network.size_of(name)
        node[tb.N_PAD] = -(-node[tb.N_SIZE] // tb.ALIGN) * tb.ALIGN
        node[tb.N_GRADED] = node[tb.N_FLAGS] = 0
        node[tb.N_PHASE] = self.depths.get(name, 0)
        node[tb.N_WIDE] = int(event_dtype(item) is np.int32)
        NODES.for_(item)(self, node, name, item)

    def add_population(
        self, node: Ints, name: str, item: Neurons, values: Mapping[str, Ints], more: Mapping[str, Ints] | None = None
    ) -> None:
        """Lay out a population's parameters and states.

        values: of the pools keep_u, keep_v, threshold and bias, those that are absent 0.
        more: likewise, of keep_t, keep_r and step.
        """
        order: slice | Ints = slice(None)
        if name in self.last:
            places = np.arange(item.size, dtype=np.int32).reshape(item.shape).transpose(1, 2, 0).reshape(-1)
            node[tb.N_ORDER] = self.pools["order"].add(places)
            self.places[name] = np.empty_like(places)
            self.places[name][places] = np.arange(item.size, dtype=np.int32)
            order = places

        def padded(values: Ints) -> Ints:
            """Bring one value per neuron into internal order, and add those of the padding."""
            return np.concatenate([values[order], np.zeros(int(node[tb.N_PAD]) - item.size, values.dtype)])

        zero = np.zeros((), np.int64)
        values = {key: values.get(key, zero) for key in ("keep_u", "keep_v", "threshold", "bias")}
        further = {key: more.get(key, zero) for key in ("keep_t", "keep_r", "step")} if more else {}
        node[tb.N_UNIFORM] = int(all(v.min() == v.max() for v in (*values.values(), *further.values())))

        def place(pool: str, value: Ints) -> int:
            each = np.broadcast_to(value, item.shape).reshape(-1)
            return self.pools[pool].add(each[:1] if node[tb.N_UNIFORM] else padded(each))

        for key, value in values.items():
            node[tb.N_PARAM] = place(key, value)
        for key, value in further.items():
            node[tb.N_MORE] = place(key, value)
        initial = np.broadcast_to(getattr(item, "initial_voltage", zero), item.shape).reshape(-1)
        node[tb.N_STATE] = self.pools["initial"].add(padded(initial))

    def add_states(self, node: Ints) -> None:
        """Make room for the two further states of every neuron."""
        node[tb.N_EXTRA] = self.extra
        self.extra += 2 * int(node[tb.N_PAD])

    def _projection(self, row: Ints, name: str, projection: Projection) -> None:
        row[tb.P_SOURCE], row[tb.P_TARGET] = self.indices[projection.source], self.indices[projection.target]
        row[tb.P_STRIDE] = self.nodes[row[tb.P_TARGET], tb.N_PAD]
        row[tb.P_OFFSET] = row[tb.P_STRIDE] if projection.imaginary else 0
        PROJECTIONS.for_(projection)(self, row, projection)
        self.kinds[name] = int(row[tb.P_KIND])

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an input or population."""
        node = self.network.nodes[name]
        assert isinstance(node, Input | Population)
        return node.shape

    def expands(self, projection: Convolution) -> bool:
        """Return whether a convolution is stored as single synapses."""
        if self.layout != "auto":
            return self.layout == "sparse"
        each = projection.kernel.shape[0] // projection.groups
        density = projection.n_weights / max(1, projection.kernel.size)
        if each >= EXPAND_CHANNELS and density >= EXPAND_DENSITY:
            return False
        return int(fan_out(self.network, projection).sum()) <= EXPAND_LIMIT

    def add_convolution(self, row: Ints, projection: Convolution) -> None:
        """Lay out a convolution as it is."""
        shape = self.shape(projection.source)
        c_out, per_group, *_ = projection.kernel.shape
        tables = geometry.geometry(projection, shape)
        leaving = fan_out(self.network, projection).reshape(shape)
        last = projection.source in self.last
        row[tb.P_KIND], row[tb.P_SHIFT] = tb.CONVOLUTION, projection.weight_exp
        row[tb.P_FAN] = self.pools["fan_out"].add(leaving.transpose(1, 2, 0) if last else leaving)
        row[tb.P_WEIGHT] = self.pools["weight16"].add(tables.weights)
        row[tb.C_WINDOWS], row[tb.C_PLACE] = self.pools["geometry"].add(tables.windows), tables.windows.shape[1]
        row[tb.C_LAST] = int(last)
        row[tb.C_FACTOR], row[tb.C_SHIFT] = geometry.reciprocal(shape[0] if last else shape[1] * shape[2])
        several = projection.groups > 1
        row[tb.C_FACTOR_GROUP], row[tb.C_SHIFT_GROUP] = geometry.reciprocal(per_group) if several else (0, 0)
        row[tb.C_CHANNELS], row[tb.C_HEIGHT], row[tb.C_WIDTH] = shape
        row[tb.C_EACH], row[tb.C_GROUP] = c_out // projection.groups, per_group
        row[tb.C_RUN], row[tb.C_KERNEL] = tables.run, tables.weights[0].size
        self._delays(row, projection.delay)

    def _delays(self, row: Ints, delay: Ints) -> None:
        """Store one delay, or one per source, segment or channel."""
        same = delay.size == 0 or delay.min() == delay.max()
        row[tb.P_DELAY] = int(delay.max(initial=0)) if same else 0
        if not same:
            row[tb.P_DELAYS] = self.pools["delay"].add(delay)

    def add_synapses(self, row: Ints, synapses: Synapses, *, sparse: bool = False) -> None:
        """Lay out synapses as dense rows or compressed columns; as columns if `sparse`."""
        n_pre, n_post = self.network.size_of(synapses.source), self.network.size_of(synapses.target)
        pre, post, weight, delay = synapses.pre, synapses.post, synapses.weight, synapses.delay
        if synapses.source in self.places or synapses.target in self.places:
            pre = self.places[synapses.source][pre] if synapses.source in self.places else pre
            post = self.places[synapses.target][post] if synapses.target in self.places else post
            again = np.lexsort((post, pre))
            pre, post, weight = pre[again], post[again], weight[again]
            delay = delay[again] if delay.ndim else delay
        begins = np.searchsorted(pre, np.arange(n_pre + 1)).astype(np.int64)
        row[tb.P_FAN] = self.pools["fan_out"].add(np.diff(begins))
        rows: Ints | None = None
        segments: Ints = begins
        if delay.ndim:
            delay, rows, segments, split = _by_delay(pre, delay, begins)
            if split is not None:
                pre, post, weight = pre[split], post[split], weight[split]
        kind, shift = self._matrix_kind(weight, n_pre, int(row[tb.P_STRIDE]), sparse or rows is not None)
        row[tb.P_SHIFT] = shift + synapses.weight_exp
        self._delays(row, delay)
        if kind is not None:
            row[tb.P_KIND] = kind
            dtype = np.int8 if kind == tb.ROWS8 else np.int16
            matrix = tb.aligned(n_pre * int(row[tb.P_STRIDE]), dtype).reshape(n_pre, -1)
            matrix[pre, post] = weight >> shift
            row[tb.P_WEIGHT] = self.pools["weight8" if kind == tb.ROWS8 else "weight16"].add(matrix)
            return
        row[tb.P_KIND] = tb.SPARSE16 if n_post <= 2**16 else tb.SPARSE32
        narrow = row[tb.P_KIND] == tb.SPARSE16
        row[tb.P_POST] = self.pools["post16"].add(post) if narrow else self.pools["post32"].add(post.view(np.uint32))
        row[tb.P_WEIGHT] = self.pools["weight16"].add(weight)
        row[tb.P_SEGMENTS] = self.pools["pointer"].add(segments)
        if rows is not None:
            row[tb.P_ROWS] = self.pools["pointer"].add(rows)

    def _matrix_kind(self, weight: Ints, n_pre: int, stride: int, sparse: bool) -> tuple[int | None, int]:
        """Return (kind, shift) of the dense matrix to store, (None, 0) for compressed columns."""
        if sparse or self.layout == "sparse" or not weight.size:
            return None, 0
        # SLAYER's weights are even: halved they fit 8 bits, and a row is half as long.
        union = int(np.bitwise_or.reduce(weight))
        shift = (union & -union).bit_length() - 1
        kind = tb.ROWS8 if int(weight.min()) >> shift >= -128 and int(weight.max()) >> shift <= 127 else tb.ROWS16
        shift = shift if kind == tb.ROWS8 else 0
        each = stride * (1 if kind == tb.ROWS8 else 2)
        row_ns = each * ROW_BYTE_NS[n_pre * each > LARGE]
        columns_ns = SEGMENT_NS + weight.size / n_pre * SYNAPSE_NS[4 * weight.size > LARGE]
        fits = n_pre * each <= DENSE_LIMIT and (self.layout == "dense" or row_ns <= columns_ns)
        return (kind, shift) if fits else (None, 0)


NODES: Rules[Callable[[Builder, Ints, str, Any], None]] = Rules("engine: node")
PROJECTIONS: Rules[Callable[[Builder, Ints, Any], None]] = Rules("engine: projection")


@NODES.of(Input)
def _input(_builder: Builder, node: Ints, _name: str, item: Input) -> None:
    node[tb.N_MIN], node[tb.N_MAX], node[tb.N_GRADED] = item.min_value, item.max_value, int(item.graded)


def _leaky(item: CubaLif | RefractoryLif | AdaptiveLif) -> dict[str, Ints]:
    return {
        "keep_u": DECAY_UNITY - item.current_decay.astype(np.int64),
        "keep_v": DECAY_UNITY - item.voltage_decay.astype(np.int64),
        "threshold": item.threshold.astype(np.int64) * 64,
        "bias": item.bias.astype(np.int64) << item.bias_exp,
    }


@NODES.of(CubaLif)
def _cuba(builder: Builder, node: Ints, name: str, item: CubaLif) -> None:
    node[tb.N_MODEL] = tb.CUBA
    node[tb.N_REST] = tb.NEVER if item.bias.any() else tb.AT_ZERO if item.voltage_decay.any() else tb.WITHOUT_CURRENT
    builder.add_population(node, name, item, _leaky(item))


@NODES.of(RefractoryLif)
def _refractory(builder: Builder, node: Ints, name: str, item: RefractoryLif) -> None:
    node[tb.N_MODEL] = tb.REFRACTORY
    node[tb.N_REST] = tb.NEVER if item.bias.any() else tb.AT_ZERO_ALL
    builder.add_population(node, name, item, _leaky(item), {"step": item.refractory.astype(np.int64)})
    builder.add_states(node)


@NODES.of(AdaptiveLif)
def _adaptive(builder: Builder, node: Ints, name: str, item: AdaptiveLif) -> None:
    node[tb.N_MODEL] = tb.ADAPTIVE
    node[tb.N_REST] = tb.NEVER if item.bias.any() or not item.threshold.all() else tb.AT_ZERO_ALL
    more = {
        "keep_t": DECAY_UNITY - item.threshold_decay.astype(np.int64),
        "keep_r": DECAY_UNITY - item.refractory_decay.astype(np.int64),
        "step": item.threshold_step.astype(np.int64) * 64,
    }
    builder.add_population(node, name, item, _leaky(item), more)
    builder.add_states(node)


@NODES.of(Resonator)
def _resonator(builder: Builder, node: Ints, name: str, item: Resonator) -> None:
    node[tb.N_MODEL] = tb.RESONATOR
    node[tb.N_REST] = tb.NEVER if item.reset and not item.threshold.all() else tb.AT_ZERO
    node[tb.N_FLAGS] = tb.RESETS * item.reset
    values = {"keep_u": item.cos_decay, "keep_v": item.sin_decay, "threshold": item.threshold.astype(np.int64) * 64}
    builder.add_population(node, name, item, values)


@NODES.of(Delta, SigmaDelta)
def _encoder(builder: Builder, node: Ints, name: str, item: Delta | SigmaDelta) -> None:
    scale, flags = item.spike_exp + item.state_exp, tb.CUMULATIVE * item.cumulative
    values = {"threshold": item.threshold.astype(np.int64) << scale}
    if isinstance(item, SigmaDelta):
        flags |= tb.SUMS | tb.RELU * item.relu
        values["bias"] = item.bias.astype(np.int64) << scale
        # Without input the activation stays, and with it a residue below the threshold.
        node[tb.N_REST] = tb.WITHOUT_RESIDUE if item.cumulative else tb.ALWAYS
    else:
        node[tb.N_REST] = tb.AT_ZERO_ALL if item.cumulative else tb.AT_ZERO
    node[tb.N_MODEL], node[tb.N_GRADED], node[tb.N_FLAGS] = tb.ENCODER, 1, flags
    node[tb.N_SCALE], node[tb.N_LOW_BITS] = scale, item.state_exp
    builder.add_population(node, name, item, values)
    builder.add_states(node)


@NODES.of(Sigma)
def _sigma(builder: Builder, node: Ints, name: str, item: Sigma) -> None:
    node[tb.N_MODEL], node[tb.N_GRADED], node[tb.N_REST] = tb.SIGMA, 1, tb.AT_ZERO
    builder.add_population(node, name, item, {})


@PROJECTIONS.of(Synapses)
def _synapses(builder: Builder, row: Ints, projection: Synapses) -> None:
    builder.add_synapses(row, projection)


@PROJECTIONS.of(Convolution)
def _convolution(builder: Builder, row: Ints, projection: Convolution) -> None:
    if builder.expands(projection):
        builder.add_synapses(row, projection.synapses(builder.shape(projection.source)), sparse=True)
    else:
        builder.add_convolution(row, projection)


def _by_delay(
    pre: Ints, delay: Ints, begins: npt.NDArray[np.int64]
) -> tuple[Ints, Ints | None, npt.NDArray[np.int64], npt.NDArray[np.intp] | None]:
    """Split the synapses of every source into segments of one delay.

    Returns (delay per source or segment, first segment of each source, begin of each segment, new order); the
    second and the last are None where every source has one delay only, so that segments are sources.
    """
    filled = np.diff(begins) > 0
    low, high = np.zeros((2, begins.size - 1), np.uint8)
    if filled.any():
        low[filled] = np.minimum.reduceat(delay, begins[:-1][filled])
        high[filled] = np.maximum.reduceat(delay, begins[:-1][filled])
    if np.array_equal(low, high):
        return low, None, begins, None
    again = np.lexsort((delay, pre))
    key = pre[again].astype(np.int64) * 64 + delay[again]
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    rows = np.searchsorted(pre[again][starts], np.arange(begins.size)).astype(np.int64)
    return delay[again][starts], rows, np.append(starts, delay.size).astype(np.int64), again
