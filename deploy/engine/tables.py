"""The tables that drive the compiled code: the meaning of each column, and the arrays that columns point into.

A plan is flat: one array per kind of number, shared by all nodes or projections, and offsets into it. So one
compiled function serves every network, and nothing is compiled twice.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]

LINE = 64  # bytes of a line of the cache
ALIGN = 32  # states and accumulators of a population and rows of a dense matrix are padded to a multiple of this

# Columns of Plan.nodes, one row per input and population. Offsets count elements; -1 means there is none.
N_SIZE = 0  # neurons or channels
N_PAD = 1  # neurons with padding, and so accumulators of one ring slot
N_STATE = 2  # into Work.current and voltage; -1 for an input
N_PARAM = 3  # into Plan.keep_u, keep_v, threshold, bias
N_UNIFORM = 4  # 1 if all neurons share one set of parameters
N_RING = 5  # into Work.ring
N_SLOTS = 6  # slots of the ring: 1 + the longest delay of what arrives
N_EVENT = 7  # into Work.event
N_GRADED = 8  # 1 if events have values, in Work.value at the places of the events
N_MAX = 9  # largest value an input allows
N_ORDER = 10  # into Plan.order: the place in C order of the neuron held at an internal place; -1 if the same
N_FIRST, N_LAST = 11, 12  # rows of Plan.projections that arrive here
N_REST = 13  # when nothing arrives, ALIGN neurons stay as they are: NEVER, at u = v = 0, or at u = 0 whatever v is
N_MODEL = 14  # which kernel advances it
N_EXTRA = 15  # into Work.extra: two more vectors of states, of N_PAD each
N_MORE = 16  # into Plan.keep_t, keep_r, step
N_FLAGS = 17  # bits below
N_SCALE = 18  # what arrives is multiplied by 2**N_SCALE
N_LOW_BITS = 19  # bits that a message leaves out
N_WIDE = 20  # 1 if what it emits is recorded in 32 bits; an input's is then in Given.wide
N_MIN = 21  # smallest value an input allows
N_PHASE = 22  # steps after the first populations at which its states are reset, where a run resets them
N_COLUMNS = 23

# Kernels, and what N_FLAGS means to them.
CUBA, ADAPTIVE, RESONATOR, ENCODER, SIGMA, REFRACTORY = range(6)
RESETS, SUMS, RELU, CUMULATIVE = 1, 2, 4, 8
# N_REST: neurons also rest with all extra states at 0, with no residue, or in any state.
NEVER, AT_ZERO, WITHOUT_CURRENT, AT_ZERO_ALL, WITHOUT_RESIDUE, ALWAYS = range(6)

# Kinds of projection: dense rows of int8 or int16, compressed columns with 16- or 32-bit targets, convolution.
ROWS8, ROWS16, SPARSE16, SPARSE32, CONVOLUTION = range(5)

# Columns of Plan.projections, sorted by target.
P_KIND, P_SOURCE, P_TARGET = 0, 1, 2
P_WEIGHT = 3  # into Plan.weight8 (ROWS8) or weight16
P_STRIDE = 4  # accumulators of one slot of the target's ring; also the length of a dense row
P_SHIFT = 5  # weights are multiplied by 2**P_SHIFT
P_DELAY = 6  # steps that all share
P_DELAYS = 7  # into Plan.delay, one per source (rows), segment (sparse) or channel (convolution); -1 if none
P_FAN = 8  # into Plan.fan_out: synapses that leave each source
P_POST = 9  # into Plan.post16 or post32
P_SEGMENTS = 10  # into Plan.pointer: where each segment begins
P_ROWS = 11  # into Plan.pointer: first segment of each source; -1 if segment i is that of source i
C_LAST = 12  # 1 if the source's channels vary fastest
C_CHANNELS, C_HEIGHT, C_WIDTH = 13, 14, 15  # of the source
C_EACH = 16  # output channels of a group
C_GROUP = 17  # input channels of a group
C_RUN = 18  # weights of a run of taps
C_KERNEL = 19  # weights of one input channel
C_WINDOWS = 20  # into Plan.geometry
C_PLACE = 21  # numbers there of one source place
C_FACTOR, C_SHIFT = 22, 23  # of the division by the channels, or by the places, of the source
C_FACTOR_GROUP, C_SHIFT_GROUP = 24, 25  # of the division of a channel by those of a group; 0 where there is one
P_OFFSET = 26  # of the accumulators that it adds to, in a slot: those of the imaginary part lie behind the others
P_COLUMNS = 27


class Plan(NamedTuple):
    """A network, laid out for the compiled code. Read-only; shared by all threads."""

    nodes: Ints  # (nodes, N_COLUMNS) int64
    projections: Ints  # (projections, P_COLUMNS) int64
    component: Ints  # (components + 1,) int64: where each strongly connected component begins in `members`
    members: Ints  # (populations,) int64, upstream components first
    keep_u: Ints  # int32: 4096 - current decay
    keep_v: Ints  # int32: 4096 - voltage decay
    threshold: Ints  # int32, state units
    bias: Ints  # int32, state units
    initial: Ints  # (neurons,) int32: voltage before the first step
    keep_t: Ints  # int32: 4096 - threshold decay, of adaptive neurons
    keep_r: Ints  # int32: 4096 - refractory decay
    step: Ints  # int32: rise of the threshold, state units; of refractory neurons the steps of their period
    weight8: Ints
    weight16: Ints
    post16: Ints  # uint16
    post32: Ints  # uint32
    pointer: Ints  # int64
    delay: Ints  # uint8
    fan_out: Ints  # int32
    geometry: Ints  # int32
    order: Ints  # int32


class Work(NamedTuple):
    """Buffers that one thread writes to while it runs a sample."""

    current: Ints  # (neurons,) int32
    voltage: Ints  # (neurons,) int32
    extra: Ints  # int32: further states, which begin at 0
    ring: Ints  # int32 sums that are on their way
    awake: Ints  # (neurons / ALIGN,) uint8: 0 where all of ALIGN neighbours stay as they are unless something arrives
    spike: Ints  # uint8, one population's spikes of one step, padded to 64
    message: Ints  # int32, one population's messages of one step
    event: Ints  # uint32 internal index of every spike of a block of steps
    value: Ints  # int32 values of the events of graded inputs and populations
    until: Ints  # (nodes, steps of a block + 1) int64: where the events of each step end


class Sent(NamedTuple):
    """Spikes to be sent: event[first:last], with their values if they are graded."""

    event: Any  # pointer to Work.event
    value: Any  # pointer to Work.value
    graded: Any  # N_GRADED of the source
    first: Any
    last: Any


class Target(NamedTuple):
    """Accumulators of the population that receives spikes."""

    ring: Any  # pointer to the first slot
    slot: Any  # of the step in which undelayed spikes arrive
    slots: Any


class Bin(NamedTuple):
    """A step of a sample."""

    sample: Any
    n_samples: Any
    t: Any
    n_steps: Any


class Given(NamedTuple):
    """The input of a run."""

    start: Ints  # (nodes,) int64: where the (samples, steps, size) bins of each input begin
    x: Ints  # uint8
    wide: Ints  # int32: the bins of inputs with N_WIDE, which `start` then points into


class Out(NamedTuple):
    """Results of a run, all samples and nodes; the first three are -1 where a result is not wanted."""

    to_counts: Ints  # (nodes,) int64 into counts
    to_spikes: Ints  # (nodes,) int64 into spikes
    to_states: Ints  # (nodes,) int64 into current and voltage
    counts: Ints  # int64
    per_step: Ints  # (nodes, samples, steps) int64
    events: Ints  # (projections, samples, steps) int64, or of size 0
    spikes: Ints  # uint8
    messages: Ints  # int32: in place of spikes for nodes with N_WIDE
    current: Ints  # int32
    voltage: Ints  # int32


def aligned(n: int, dtype: Any) -> Ints:
    """Return an array of n zeros that begins at a multiple of LINE bytes.

    A vector of 64 bytes that lies across two lines of the cache costs twice its time, and numpy begins anywhere.
    """
    size = n * np.dtype(dtype).itemsize
    room = np.zeros(size + LINE, np.uint8)
    begin = -room.ctypes.data % LINE
    result: Ints = room[begin : begin + size].view(dtype)
    return result


def constant(array: npt.ArrayLike, dtype: Any) -> Ints:
    """Return a read-only contiguous array of `dtype`: one type for the compiler, whoever owns the memory."""
    result: Ints = np.ascontiguousarray(array, dtype=dtype).view()
    result.flags.writeable = False
    return result
