"""Rules on a Network: what netx, Lava's models or a chip cannot hold, or hold differently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.arithmetic import STATE_LIMIT
from sdsnn_core.network import NEVER_FIRES, Convolution, Network, Population, Projection, Synapses
from sdsnn_core.reachability import all_synapses, can_fire, drive

from ..netx.format import BIAS_EXP, netx_runs_exactly, remedied_runs_exactly, why_not
from .check import Rule

Found = Iterator[tuple[str, str, str]]
GROUPS_LIMIT: Final = 128  # lava.proc.conv keeps groups as int8
SPARSE_DENSITY: Final = 0.1


def _weights(projection: Projection) -> npt.NDArray[np.int64]:
    values = projection.kernel if isinstance(projection, Convolution) else projection.weight
    return values.astype(np.int64)


def all_zero(network: Network) -> Found:
    """netx takes the logarithm of infinity for a layer whose weights are all 0."""
    for name, projection in network.projections.items():
        if not _weights(projection).any():
            yield (
                f"projection {name!r}",
                "all weights are 0, at which netx stops (OverflowError)",
                "remove the projection, or what it feeds: sdsnn export compacts",
            )


def netx_weights(network: Network) -> Found:
    """Dense matrices that plain netx clips, crashes on or runs with other weights."""
    for name, projection in network.projections.items():
        if not isinstance(projection, Synapses) or not projection.n_weights:
            continue
        shape = network.size_of(projection.target), network.size_of(projection.source)
        matrix = projection.to_dense(*shape) << projection.weight_exp
        if not netx_runs_exactly(matrix):
            remedy = (
                "load with sign_mode MIXED and 8 weight bits (sdsnn's run_netx does), or raise the smallest weight by 2"
                if remedied_runs_exactly(matrix)
                else "rescale the layer to -256..254 without weight_exp"
            )
            yield f"projection {name!r}", why_not(matrix), remedy


def odd_weights(network: Network) -> Found:
    """A mixed 8-bit weight of a chip is even; odd ones pass only the simulators."""
    for name, projection in network.projections.items():
        weights = _weights(projection)
        odd = int((weights & 1).sum())
        if odd and weights.min() < 0 < weights.max():
            yield (
                f"projection {name!r}",
                f"{odd} of {weights.size} weights are odd; 8 bits with a sign hold even ones",
                "quantise in steps of 2/64 (SLAYER's quantize_8bit, sdsnn import)",
            )


def conv_delay(network: Network) -> Found:
    """netx drops the delays of convolutions."""
    for name, projection in network.projections.items():
        if isinstance(projection, Convolution) and projection.delay.any():
            yield (
                f"projection {name!r}",
                f"delays up to {int(projection.delay.max())} on a convolution, which netx drops",
                "no delays in front of convolutions; Lava's processes run them (expanded)",
            )


def recurrent_delay(network: Network) -> Found:
    """netx loses the weight exponent of a recurrent layer with delays."""
    loops = {p.target for p in network.projections.values() if p.source == p.target}
    for name, projection in network.projections.items():
        if projection.target in loops and projection.delay.any():
            yield (
                f"projection {name!r}",
                "delays at a recurrent layer, which netx runs with weights x2 to x16",
                "delay=False in front of and in recurrent layers",
            )


def bias_step(network: Network) -> Found:
    """A chip integrates a bias one step before its input arrives; an initial voltage undoes that."""
    for name, population in network.populations.items():
        if population.bias.any() and not population.initial_voltage.any() and (population.voltage_decay < 4096).any():
            yield (
                f"population {name!r}",
                "a bias without the initial voltage that undoes its first step",
                "sdsnn_core.network.Population(initial_voltage=...), as lowering sets it; or no norm",
            )


def bias_netx(network: Network) -> Found:
    """netx always takes biases in units of 64 state units, and has no initial voltages."""
    for name, population in network.populations.items():
        state = population.per_neuron("bias") << population.bias_exp
        if (state % 2**BIAS_EXP).any():
            yield (
                f"population {name!r}",
                f"biases {state.min()}..{state.max()} state units; netx holds multiples of {2**BIAS_EXP}",
                "bias_exp 6, or Lava's processes",
            )
        elif population.initial_voltage.any():
            yield (
                f"population {name!r}",
                "initial voltages, for which a .net file has no place",
                "load the file with sdsnn's run_netx, which sets them",
            )


def start_range(network: Network) -> Found:
    """Voltages have 24 bits on a chip; a simulator starts from more."""
    for name, population in network.populations.items():
        largest = int(np.abs(population.initial_voltage).max())
        if largest >= STATE_LIMIT:
            yield (
                f"population {name!r}",
                f"an initial voltage of {largest}; a chip holds up to {STATE_LIMIT - 1}",
                "a smaller bias or a larger voltage decay",
            )


def bias_delay(network: Network) -> Found:
    """SLAYER's delays behind a biased layer shift its bias too; Lava's do not."""
    for name, projection in network.projections.items():
        source = network.nodes[projection.source]
        if isinstance(source, Population) and source.bias.any() and projection.delay.any():
            yield (
                f"projection {name!r}",
                f"delays behind {projection.source!r}, which has a bias: SLAYER and a chip part in the first steps",
                "delay=False, or no norm",
            )


def readout(network: Network) -> Found:
    """A population that never fires is read by its voltage; as a spiking layer it is silent."""
    for name, population in network.populations.items():
        if (population.threshold == NEVER_FIRES).any():
            yield (
                f"population {name!r}",
                f"a threshold of {NEVER_FIRES} (17 bits hold {NEVER_FIRES - 1}): it never spikes",
                "read its voltage; do not count its spikes",
            )


def graded_input(network: Network) -> Found:
    """netx casts events to bool unless it is told otherwise."""
    for name, port in network.inputs.items():
        if port.max_value > 1:
            yield (
                f"input {name!r}",
                f"events up to {port.max_value}, which netx takes as 1",
                "netx.hdf5.Network(..., input_message_bits=8)",
            )


def groups(network: Network) -> Found:
    """Lava's Conv keeps its parameters as int8."""
    for name, projection in network.projections.items():
        if not isinstance(projection, Convolution):
            continue
        size = max(network.shape_of(projection.source)[1:])
        if projection.groups >= GROUPS_LIMIT or size >= GROUPS_LIMIT:
            yield (
                f"projection {name!r}",
                f"{projection.groups} groups, images up to {size} wide; stock Lava holds both in int8",
                "run it through sdsnn, which patches that",
            )


def overflow(network: Network) -> Found:
    """The current has 24 bits and wraps."""
    synapses = all_synapses(network)
    firing = {name: np.ones(network.size_of(name), bool) for name in network.nodes}
    for name in network.populations:
        reach = int(drive(network, synapses, firing, name).max())
        if reach >= STATE_LIMIT:
            yield (
                f"population {name!r}",
                f"all spikes at once make a current of {reach}; it wraps at {STATE_LIMIT}",
                "smaller weights or less fan-in; the reference, the engine and Lava wrap alike, SLAYER and NIR do not",
            )


def never_fires(network: Network) -> Found:
    """Neurons whose threshold no input can reach: quantisation or pruning has silenced them."""
    fires = can_fire(network)
    for name, population in network.populations.items():
        silent = int((~fires[name]).sum())
        if silent and not (population.threshold == NEVER_FIRES).any():
            yield (
                f"population {name!r}",
                f"{silent} of {population.size} neurons can never reach their threshold",
                "sdsnn export removes dead units; otherwise lower the threshold or calibrate the import",
            )


def sparse_flag(network: Network) -> Found:
    """netx stores dense arrays and knows one switch for all dense layers."""
    for name, projection in network.projections.items():
        if not isinstance(projection, Synapses):
            continue
        entries = network.size_of(projection.source) * network.size_of(projection.target)
        if entries >= 2**16 and projection.n_weights < SPARSE_DENSITY * entries:
            yield (
                f"projection {name!r}",
                f"{projection.n_weights} of {entries} weights; a .net file and netx hold all of them",
                "netx.hdf5.Network(..., sparse_fc_layer=True), for all layers or none; run_lava chooses by layer",
            )


NETWORK_RULES: Final = (
    Rule("all-zero-layer", "T6", "error", all_zero),
    Rule("netx-weights", "semantics 2.4.1, T11", "error", netx_weights),
    Rule("odd-weights", "Loihi 5.4", "warning", odd_weights),
    Rule("conv-delay", "T4", "error", conv_delay),
    Rule("recurrent-delay", "semantics 2.4", "error", recurrent_delay),
    Rule("bias-first-step", "T8, semantics 2.4.2", "warning", bias_step),
    Rule("bias-in-netx", "semantics 2.4.2", "warning", bias_netx),
    Rule("start-range", "semantics 2.4.2", "warning", start_range),
    Rule("bias-and-delay", "semantics 2.4", "warning", bias_delay),
    Rule("readout", "T7", "note", readout),
    Rule("graded-input", "semantics 2.4", "warning", graded_input),
    Rule("conv-int8", "semantics 6.2", "warning", groups),
    Rule("overflow", "semantics 2.4", "note", overflow),
    Rule("never-fires", "quantisation", "note", never_fires),
    Rule("sparse-flag", "T13", "note", sparse_flag),
)
