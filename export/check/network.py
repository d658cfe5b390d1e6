"""Rules on a Network: what netx, Lava's models or a chip cannot hold, or hold differently."""

from __future__ import annotations

from typing import Final

import numpy as np

from sdsnn_core.arithmetic import STATE_LIMIT
from sdsnn_core.network import NEVER_FIRES, Convolution, Network, Population, Synapses
from sdsnn_core.reachability import all_synapses, can_fire, drive

from ..netx.limits import NETX_LIMITS
from .rule import Rule, Traps

GROUPS_LIMIT: Final = 128  # lava.proc.conv keeps groups as int8
SPARSE_DENSITY: Final = 0.1


def odd_weights(network: Network) -> Traps:
    """A mixed 8-bit weight of a chip is even; odd ones pass only the simulators."""
    for name, projection in network.projections.items():
        weights = projection.kernel if isinstance(projection, Convolution) else projection.weight
        odd = int((weights & 1).sum())
        if odd and weights.min() < 0 < weights.max():
            what = f"{odd} of {weights.size} weights are odd; 8 bits with a sign hold even ones"
            yield f"projection {name!r}", what, "quantise in steps of 2/64 (SLAYER's quantize_8bit, sdsnn import)"


def bias_step(network: Network) -> Traps:
    """A chip integrates a bias one step before its input arrives; an initial voltage undoes that."""
    for name, population in network.populations.items():
        if population.bias.any() and not population.initial_voltage.any() and (population.voltage_decay < 4096).any():
            what = "a bias without the initial voltage that undoes its first step"
            help_ = "sdsnn_core.network.Population(initial_voltage=...), as lowering sets it; or no norm"
            yield f"population {name!r}", what, help_


def start_range(network: Network) -> Traps:
    """Voltages have 24 bits on a chip; a simulator starts from more."""
    for name, population in network.populations.items():
        largest = int(np.abs(population.initial_voltage).max())
        if largest >= STATE_LIMIT:
            what = f"an initial voltage of {largest}; a chip holds up to {STATE_LIMIT - 1}"
            yield f"population {name!r}", what, "a smaller bias or a larger voltage decay"


def bias_delay(network: Network) -> Traps:
    """SLAYER's delays behind a biased layer shift its bias too; Lava's do not."""
    for name, projection in network.projections.items():
        source = network.nodes[projection.source]
        if isinstance(source, Population) and source.bias.any() and projection.delay.any():
            what = f"delays behind {projection.source!r}, which has a bias: SLAYER and a chip part in the first steps"
            yield f"projection {name!r}", what, "delay=False, or no norm"


def readout(network: Network) -> Traps:
    """A population that never fires is read by its voltage; as a spiking layer it is silent."""
    for name, population in network.populations.items():
        if (population.threshold == NEVER_FIRES).any():
            what = f"a threshold of {NEVER_FIRES} (17 bits hold {NEVER_FIRES - 1}): it never spikes"
            yield f"population {name!r}", what, "read its voltage; do not count its spikes"


def groups(network: Network) -> Traps:
    """Lava's Conv keeps its parameters as int8."""
    for name, projection in network.projections.items():
        if not isinstance(projection, Convolution):
            continue
        size = max(network.shape_of(projection.source)[1:])
        if projection.groups >= GROUPS_LIMIT or size >= GROUPS_LIMIT:
            what = f"{projection.groups} groups, images up to {size} wide; stock Lava holds both in int8"
            yield f"projection {name!r}", what, "run it through sdsnn, which patches that"


def overflow(network: Network) -> Traps:
    """The current has 24 bits and wraps."""
    synapses = all_synapses(network)
    firing = {name: np.ones(network.size_of(name), bool) for name in network.nodes}
    for name in network.populations:
        reach = int(drive(network, synapses, firing, name).max())
        if reach >= STATE_LIMIT:
            what = f"all spikes at once make a current of {reach}; it wraps at {STATE_LIMIT}"
            help_ = (
                "smaller weights or less fan-in; the reference, the engine and Lava wrap alike, SLAYER and NIR do not"
            )
            yield f"population {name!r}", what, help_


def never_fires(network: Network) -> Traps:
    """Neurons whose threshold no input can reach: quantisation or pruning has silenced them."""
    fires = can_fire(network)
    for name, population in network.populations.items():
        silent = int((~fires[name]).sum())
        if silent and not (population.threshold == NEVER_FIRES).any():
            what = f"{silent} of {population.size} neurons can never reach their threshold"
            help_ = "sdsnn export removes dead units; otherwise lower the threshold or calibrate the import"
            yield f"population {name!r}", what, help_


def sparse_flag(network: Network) -> Traps:
    """netx stores dense arrays and knows one switch for all dense layers."""
    for name, projection in network.projections.items():
        if not isinstance(projection, Synapses):
            continue
        entries = network.size_of(projection.source) * network.size_of(projection.target)
        if entries >= 2**16 and projection.n_weights < SPARSE_DENSITY * entries:
            what = f"{projection.n_weights} of {entries} weights; a .net file and netx hold all of them"
            help_ = "netx.hdf5.Network(..., sparse_fc_layer=True), for all layers or none; run_lava chooses by layer"
            yield f"projection {name!r}", what, help_


NETWORK_RULES: Final = (
    *NETX_LIMITS,
    Rule("odd-weights", "warning", odd_weights),
    Rule("bias-first-step", "warning", bias_step),
    Rule("start-range", "warning", start_range),
    Rule("bias-and-delay", "warning", bias_delay),
    Rule("readout", "note", readout),
    Rule("conv-int8", "warning", groups),
    Rule("overflow", "note", overflow),
    Rule("never-fires", "note", never_fires),
    Rule("sparse-flag", "note", sparse_flag),
)
