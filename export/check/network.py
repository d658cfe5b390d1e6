"""Rules on the parts of a Network: what netx, Lava's models or a chip cannot hold, or hold differently."""

from typing import Final

import numpy as np

from sdsnn_core.arithmetic import STATE_LIMIT
from sdsnn_core.network import (
    NEVER_FIRES,
    AdaptiveLif,
    Convolution,
    CubaLif,
    Delta,
    Input,
    IntArray,
    Output,
    RefractoryLif,
    Resonator,
    Sigma,
    SigmaDelta,
    Synapses,
)
from sdsnn_core.reachability import drive
from sdsnn_core.rules import Rules

from ..netx.limits import NETX_LIMITS, graded_input
from ..nir_format.dialect import kernel_of
from .parts import Part
from .rule import Rule, Traps

GROUPS_LIMIT: Final = 128  # lava.proc.conv keeps groups as int8
SPARSE_DENSITY: Final = 0.1


def _odd(part: Part, weights: IntArray) -> Traps:
    odd = int((weights & 1).sum())
    if odd and weights.min() < 0 < weights.max():
        what = f"{odd} of {weights.size} weights are odd; 8 bits with a sign hold even ones"
        yield part.where, what, "quantise in steps of 2/64 (SLAYER's quantize_8bit, sdsnn import)"


def odd_weights(part: Part) -> Traps:
    """A mixed 8-bit weight of a chip is even; odd ones pass only the simulators."""
    return _odd(part, part.item.weight)


def odd_kernel(part: Part) -> Traps:
    """The same for the kernel of a convolution."""
    return _odd(part, part.item.kernel)


def bias_step(part: Part) -> Traps:
    """A chip integrates a bias one step before its input arrives; an initial voltage undoes that."""
    population = part.item
    if population.bias.any() and not population.initial_voltage.any() and (population.voltage_decay < 4096).any():
        what = "a bias without the initial voltage that undoes its first step"
        help_ = "sdsnn_core.network.Population(initial_voltage=...), as lowering sets it; or no norm"
        yield part.where, what, help_


def start_range(part: Part) -> Traps:
    """Voltages have 24 bits on a chip; a simulator starts from more."""
    largest = int(np.abs(part.item.initial_voltage).max())
    if largest >= STATE_LIMIT:
        what = f"an initial voltage of {largest}; a chip holds up to {STATE_LIMIT - 1}"
        yield part.where, what, "a smaller bias or a larger voltage decay"


def bias_delay(part: Part) -> Traps:
    """SLAYER's delays behind a biased layer shift its bias too; Lava's do not."""
    if part.item.bias.any():
        for name, projection in part.network.outgoing(part.name):
            if projection.delay.any():
                what = f"delays behind {part.name!r}, which has a bias: SLAYER and a chip part in the first steps"
                yield f"projection {name!r}", what, "delay=False, or no norm"


def counted_input(part: Part) -> Traps:
    """netx casts events to bool by default; what drives neurons of an input layer are no events."""
    return iter(()) if "input_weight" in part.network.provenance else graded_input(part)


def _read_by(part: Part) -> set[str]:
    return {output.signal for output in part.network.outputs.values() if output.source == part.name}


def readout(part: Part) -> Traps:
    """A population that never fires is read by its voltage; as a spiking layer it is silent."""
    if (part.item.threshold == NEVER_FIRES).any():
        what = f"a threshold of {NEVER_FIRES} (17 bits hold {NEVER_FIRES - 1}), reported unreliable on Loihi 2"
        help_ = "read its voltage, its spike counts are 0; sdsnn import --readout-threshold 65536 writes less"
        yield part.where, what, help_
    elif "voltage" in _read_by(part):
        what = "no input can reach its threshold: read by its voltage"
        yield part.where, what, "to count its spikes nevertheless: --readout spikes"


def programmed(part: Part) -> Traps:
    """Loihi 1 has leaky integrate-and-fire neurons that send spikes."""
    item = part.item
    sends = "messages of 32 bits" if item.graded else "spikes"
    kind, words = type(item).__name__, item.state_words
    what = f"{kind} neurons, {words} words of state each, send {sends}; Loihi 1 has CubaLif and RefractoryLif"
    yield part.where, what, "place it on Loihi 2, whose neurons are programmed"


def groups(part: Part) -> Traps:
    """Lava's Conv keeps its parameters as int8."""
    size = max(part.network.shape_of(part.item.source)[1:])
    if part.item.groups >= GROUPS_LIMIT or size >= GROUPS_LIMIT:
        what = f"{part.item.groups} groups, images up to {size} wide; stock Lava holds both in int8"
        yield part.where, what, "run it through sdsnn, which patches that"


def overflow(part: Part) -> Traps:
    """The current has 24 bits and wraps."""
    firing = {name: np.ones(part.network.size_of(name), bool) for name in part.network.nodes}
    reach = int(drive(part.network, firing, part.name).max())
    if reach >= STATE_LIMIT:
        what = f"all spikes at once make a current of {reach}; it wraps at {STATE_LIMIT}"
        help_ = "smaller weights or less fan-in; the reference, the engine and Lava wrap alike, SLAYER and NIR do not"
        yield part.where, what, help_


def never_fires(part: Part) -> Traps:
    """Neurons whose threshold no input can reach: quantisation or pruning has silenced them."""
    silent, read_by = int((~part.whole.fires[part.name]).sum()), _read_by(part)
    if silent and "voltage" not in read_by and not (part.item.threshold == NEVER_FIRES).any():
        what = f"{silent} of {part.item.size} neurons can never reach their threshold"
        help_ = "lower the threshold or calibrate the import"
        if read_by:
            help_ += "; if the voltage is the result, import or simulate it with --readout voltage"
        else:
            help_ = f"sdsnn export removes dead units; otherwise {help_}"
        yield part.where, what, help_


def sparse_flag(part: Part) -> Traps:
    """netx stores dense arrays and knows one switch for all dense layers."""
    entries = part.network.n_dense(part.name)
    if kernel_of(part.network, part.item) is not None:
        return  # written as a convolution
    if entries >= 2**16 and part.item.n_weights < SPARSE_DENSITY * entries:
        what = f"{part.item.n_weights} of {entries} weights; a .net file and netx hold all of them"
        help_ = "netx.hdf5.Network(..., sparse_fc_layer=True), for all layers or none; run_lava chooses by layer"
        yield part.where, what, help_


_PROGRAMMED: Final = Rule("programmed-neurons", "note", programmed)
# Rules by type of node or projection; what netx cannot hold comes first.
CHECKS: Final[Rules[tuple[Rule, ...]]] = Rules(
    "check: node or projection",
    {
        Input: (Rule("graded-input", "warning", counted_input),),
        Output: NETX_LIMITS[Output],
        CubaLif: (
            *NETX_LIMITS[CubaLif],
            Rule("bias-first-step", "warning", bias_step),
            Rule("start-range", "warning", start_range),
            Rule("bias-and-delay", "warning", bias_delay),
            Rule("readout", "note", readout),
            Rule("overflow", "note", overflow),
            Rule("never-fires", "note", never_fires),
        ),
        RefractoryLif: (
            *NETX_LIMITS[RefractoryLif],
            Rule("overflow", "note", overflow),
            Rule("never-fires", "note", never_fires),
        ),
        **{kind: (*NETX_LIMITS[kind], _PROGRAMMED) for kind in (AdaptiveLif, Resonator, SigmaDelta, Delta, Sigma)},
        Synapses: (
            *NETX_LIMITS[Synapses],
            Rule("odd-weights", "warning", odd_weights),
            Rule("sparse-flag", "note", sparse_flag),
        ),
        Convolution: (
            *NETX_LIMITS[Convolution],
            Rule("odd-weights", "warning", odd_kernel),
            Rule("conv-int8", "warning", groups),
        ),
    },
)
