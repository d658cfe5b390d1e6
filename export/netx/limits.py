"""Rules on the parts of a Network that netx would run differently: `write_netx` refuses, `sdsnn check` reports."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import (
    BIAS_MAX,
    AdaptiveLif,
    Convolution,
    CubaLif,
    Delta,
    Input,
    Output,
    RefractoryLif,
    Resonator,
    Sigma,
    SigmaDelta,
    Synapses,
)
from sdsnn_core.rules import Rules

from ..check.parts import Part
from ..check.rule import Rule, Traps
from .format import BIAS_EXP, Matrix, netx_runs_exactly, remedied_runs_exactly, why_not


def _matrix(part: Part) -> Iterator[tuple[Matrix, Matrix | None]]:
    """Yield the values of a matrix, with those of the loop that netx stores beside it; nothing for such a loop."""
    network = part.network
    arriving = {name: p for name, p in network.incoming(part.item.target) if type(p) is Synapses}
    loops = [name for name, p in arriving.items() if p.source == part.item.target]
    beside = loops[0] if len(loops) == 1 and len(arriving) == 2 else None

    def values(p: Synapses) -> Matrix:
        full = p.n_weights == network.size_of(p.source) * network.size_of(p.target)
        weight = p.weight.astype(np.int64) << p.weight_exp
        return weight if full else np.append(weight, 0)

    if part.name != beside:
        yield values(part.item), None if beside is None else values(arriving[beside])


def all_zero(part: Part) -> Traps:
    """netx takes the logarithm of infinity for a matrix whose weights are all 0."""
    for weights, loop in _matrix(part):
        if not weights.any() and (loop is None or not loop.any()):
            yield (part.where, *why_not(weights, loop))


def _inexact(runs_exactly: Callable[[Matrix, Matrix | None], bool], part: Part) -> Traps:
    for weights, loop in _matrix(part):
        if (weights.any() or (loop is not None and loop.any())) and not runs_exactly(weights, loop):
            yield (part.where, *why_not(weights, loop))


def netx_weights(part: Part) -> Traps:
    """Dense matrices that plain netx clips, crashes on or runs with other weights."""
    return _inexact(netx_runs_exactly, part)


def remedied_weights(part: Part) -> Traps:
    """Dense matrices that netx does not run exactly even with the sign mode that `run_netx` sets."""
    return _inexact(remedied_runs_exactly, part)


def conv_delay(part: Part) -> Traps:
    """netx drops the delays of convolutions."""
    if part.item.delay.any():
        what = f"expected no delays on a convolution, got up to {int(part.item.delay.max())}, which netx drops"
        yield part.where, what, "put them on the next dense layer; Lava's processes run them (expanded)"


def recurrent_delay(part: Part) -> Traps:
    """netx loses the weight exponent of a recurrent layer with delays."""
    if part.item.delay.any() and any(p.source == p.target for _, p in part.network.incoming(part.item.target)):
        what = "expected no delays at a recurrent layer, got some, with which netx runs weights x2 to x16"
        yield part.where, what, "delay=False in front of and in recurrent layers"


def bias_units(part: Part) -> Traps:
    """netx takes biases in units of 64 state units."""
    state = part.item.per_neuron("bias") << part.item.bias_exp
    if (state % 2**BIAS_EXP).any() or np.abs(state).max() > BIAS_MAX << BIAS_EXP:
        what = f"expected multiples of 64 up to 64 * {BIAS_MAX} state units, got {state.min()}..{state.max()}"
        yield f"{part.where} bias", what, "bias_exp 6, or Lava's processes"


def initial_voltages(part: Part) -> Traps:
    """A `.net` file has no place for initial voltages."""
    if part.item.initial_voltage.any():
        largest = int(np.abs(part.item.initial_voltage).max())
        what = f"expected initial voltages of 0, got up to {largest}, for which a .net file has no place"
        yield part.where, what, "load the file with sdsnn's run_netx (loader='sdsnn'), which sets them"


def graded_input(part: Part) -> Traps:
    """netx casts events to bool by default."""
    if part.item.graded:
        what = f"expected max_value 1, got {part.item.max_value}: netx takes every event as 1"
        yield part.where, what, "netx.hdf5.Network(..., input_message_bits=8), as loader='sdsnn' does"


def netx_neurons(part: Part) -> Traps:
    """netx has one setting of sigma-delta neurons, and one threshold for all neurons of a layer."""
    item, wrong = part.item, ""
    if np.ptp(values := item.per_neuron("threshold")):
        wrong = f"expected one threshold for all neurons, got {values.min()}..{values.max()}"
    elif isinstance(item, SigmaDelta) and not (
        item.relu and not item.cumulative and item.spike_exp == item.state_exp == 6
    ):
        wrong = "expected a ReLU without cumulative error, with exponents of 6 and 6, got another sigma-delta neuron"
    elif isinstance(item, Resonator):
        arriving = [p for _, p in part.network.incoming(part.name)]
        if any(isinstance(p, Convolution) for p in arriving):
            wrong = "expected real and imaginary weights of a dense layer, got a convolution"
        elif {p.imaginary for p in arriving} != {False, True}:
            wrong = "expected real and imaginary weights, got one of them"
    if wrong:
        yield part.where, f"{wrong}, for which netx has no layer", "Lava's processes run the others"


def delta(part: Part) -> Traps:
    """netx connects nothing to the neurons of an input layer."""
    yield part.where, "netx has Delta neurons only in an input layer, to which it connects nothing", "encode before it"


def refractory(part: Part) -> Traps:
    """netx makes LIF neurons of every CUBA layer, and does not read `refDelay`."""
    yield part.where, "netx has no refractory periods: it ignores refDelay", "Lava's processes run them (LIFRefractory)"


def alif(part: Part) -> Traps:
    """netx has no rule for the type ALIF, and goes on without neurons."""
    yield part.where, "netx crashes on adaptive neurons (ALIF)", "Lava's processes run them (ATRLIF)"


_ALIF: Final = Rule("adaptive-in-netx", "error", alif, UnsupportedNode)
_REFRACTORY: Final = Rule("refractory-in-netx", "error", refractory, UnsupportedNode)
_DELTA: Final = Rule("delta-in-netx", "error", delta, UnsupportedNode)
_NEURONS: Final = Rule("neurons-in-netx", "error", netx_neurons, UnsupportedNode)
_ALL_ZERO: Final = Rule("all-zero-layer", "error", all_zero, NetworkError)
_CONV_DELAY: Final = Rule("conv-delay", "error", conv_delay, UnsupportedNode)
_RECURRENT_DELAY: Final = Rule("recurrent-delay", "error", recurrent_delay, UnsupportedNode)
_BIAS: Final = Rule("bias-in-netx", "warning", bias_units, NetworkError)

# What plain netx does not run exactly, by type of node or projection.
NETX_LIMITS: Final[Rules[tuple[Rule, ...]]] = Rules(
    "netx: limits",
    {
        Input: (Rule("graded-input", "warning", graded_input, UnsupportedNode),),
        Output: (),
        CubaLif: (_BIAS, Rule("netx-start", "warning", initial_voltages, UnsupportedNode)),
        RefractoryLif: (_REFRACTORY,),
        AdaptiveLif: (_ALIF,),
        Delta: (_DELTA,),
        Sigma: (),
        **dict.fromkeys((Resonator, SigmaDelta), (_NEURONS,)),
        Synapses: (_ALL_ZERO, _RECURRENT_DELAY, Rule("netx-weights", "error", netx_weights, NetworkError)),
        Convolution: (_CONV_DELAY, _RECURRENT_DELAY),
    },
)
# What it does not run exactly with what `run_netx` sets either.
OUR_LIMITS: Final[Rules[tuple[Rule, ...]]] = Rules(
    "netx: limits of our loader",
    {
        Input: (),
        Output: (),
        CubaLif: (_BIAS,),
        RefractoryLif: (_REFRACTORY,),
        AdaptiveLif: (_ALIF,),
        Delta: (_DELTA,),
        Sigma: (),
        **dict.fromkeys((Resonator, SigmaDelta), (_NEURONS,)),
        Synapses: (_ALL_ZERO, _RECURRENT_DELAY, Rule("netx-weights", "error", remedied_weights, NetworkError)),
        Convolution: (_CONV_DELAY, _RECURRENT_DELAY),
    },
)
