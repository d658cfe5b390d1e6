"""Rules on a Network: what netx would run differently. `write_netx` refuses it, `sdsnn check` reports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import BIAS_MAX, Convolution, Network, Synapses

from ..check.rule import Rule, Traps
from .format import BIAS_EXP, Matrix, netx_runs_exactly, remedied_runs_exactly, why_not


def _matrices(network: Network) -> list[tuple[str, Matrix, Matrix | None]]:
    """Return the name and the values of every matrix, with those of the loop that netx stores beside it."""
    result = []
    for target in network.populations:
        arriving = {name: p for name, p in network.incoming(target) if isinstance(p, Synapses)}
        loops = [name for name, p in arriving.items() if p.source == target]
        beside = loops[0] if len(loops) == 1 and len(arriving) == 2 else None
        values = {}
        for name, p in arriving.items():
            full = p.n_weights == network.size_of(p.source) * network.size_of(target)
            weight = p.weight.astype(np.int64) << p.weight_exp
            values[name] = weight if full else np.append(weight, 0)
        result += [(name, values[name], values.get(beside or "")) for name in values if name != beside]
    return result


def all_zero(network: Network) -> Traps:
    """netx takes the logarithm of infinity for a matrix whose weights are all 0."""
    for name, weights, loop in _matrices(network):
        if not weights.any() and (loop is None or not loop.any()):
            yield (f"projection {name!r}", *why_not(weights, loop))


def _inexact(runs_exactly: Callable[[Matrix, Matrix | None], bool], network: Network) -> Traps:
    for name, weights, loop in _matrices(network):
        if (weights.any() or (loop is not None and loop.any())) and not runs_exactly(weights, loop):
            yield (f"projection {name!r}", *why_not(weights, loop))


def netx_weights(network: Network) -> Traps:
    """Dense matrices that plain netx clips, crashes on or runs with other weights."""
    return _inexact(netx_runs_exactly, network)


def remedied_weights(network: Network) -> Traps:
    """Dense matrices that netx does not run exactly even with the sign mode that `run_netx` sets."""
    return _inexact(remedied_runs_exactly, network)


def conv_delay(network: Network) -> Traps:
    """netx drops the delays of convolutions."""
    for name, projection in network.projections.items():
        if isinstance(projection, Convolution) and projection.delay.any():
            what = f"expected no delays on a convolution, got up to {int(projection.delay.max())}, which netx drops"
            yield f"projection {name!r}", what, "put them on the next dense layer; Lava's processes run them (expanded)"


def recurrent_delay(network: Network) -> Traps:
    """netx loses the weight exponent of a recurrent layer with delays."""
    loops = {p.target for p in network.projections.values() if p.source == p.target}
    for name, projection in network.projections.items():
        if projection.target in loops and projection.delay.any():
            what = "expected no delays at a recurrent layer, got some, with which netx runs weights x2 to x16"
            yield f"projection {name!r}", what, "delay=False in front of and in recurrent layers"


def bias_units(network: Network) -> Traps:
    """netx takes biases in units of 64 state units."""
    for name, population in network.populations.items():
        state = population.per_neuron("bias") << population.bias_exp
        if (state % 2**BIAS_EXP).any() or np.abs(state).max() > BIAS_MAX << BIAS_EXP:
            what = f"expected multiples of 64 up to 64 * {BIAS_MAX} state units, got {state.min()}..{state.max()}"
            yield f"population {name!r} bias", what, "bias_exp 6, or Lava's processes"


def initial_voltages(network: Network) -> Traps:
    """A `.net` file has no place for initial voltages."""
    for name, population in network.populations.items():
        if population.initial_voltage.any():
            largest = int(np.abs(population.initial_voltage).max())
            what = f"expected initial voltages of 0, got up to {largest}, for which a .net file has no place"
            yield f"population {name!r}", what, "load the file with sdsnn's run_netx (loader='sdsnn'), which sets them"


def graded_input(network: Network) -> Traps:
    """netx casts events to bool by default."""
    for name, port in network.inputs.items():
        if port.max_value > 1:
            what = f"expected max_value 1, got {port.max_value}: netx takes every event as 1"
            yield f"input {name!r}", what, "netx.hdf5.Network(..., input_message_bits=8), as loader='sdsnn' does"


_FORMAT: Final = (
    Rule("all-zero-layer", "error", all_zero, NetworkError),
    Rule("conv-delay", "error", conv_delay, UnsupportedNode),
    Rule("recurrent-delay", "error", recurrent_delay, UnsupportedNode),
    Rule("bias-in-netx", "warning", bias_units, NetworkError),
)
# What nobody's loader runs exactly, and what plain netx does not.
OUR_LIMITS: Final = (*_FORMAT, Rule("netx-weights", "error", remedied_weights, NetworkError))
NETX_LIMITS: Final = (
    *_FORMAT,
    Rule("netx-weights", "error", netx_weights, NetworkError),
    Rule("netx-start", "warning", initial_voltages, UnsupportedNode),
    Rule("graded-input", "warning", graded_input, UnsupportedNode),
)
