"""Rules on the datasets of a `.net` file, whoever wrote it: what lava-dl's netx skips, ignores or misreads.

`read_netx` refuses what `sdsnn check` reports as an error: both use these rules.
"""

from typing import Final

import numpy as np

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import DELAY_MAX

from ..check.rule import Rule, Traps
from .fields import NEURON_FIELDS, OLD_TYPES, Layers, kind_of, loop_weight, plain, text
from .format import SUPPORTED_LAYERS
from .neurons import NO_NEURONS, READERS, UNREAD

RAISES: Final = ("pool", "convT", "unpool", "average", "concat")
IGNORED: Final = {"gradedSpike": (0,), "weight_exp": (0,), "refDelay": (0, 1)}


def layer_types(layers: Layers) -> Traps:
    """netx has no rule for some layers, and skips what it does not know."""
    for where, group in layers.items():
        kind = kind_of(group)
        if kind not in SUPPORTED_LAYERS and not (kind == "average" and closes(layers, where)):
            netx = "at which netx stops (NotImplementedError)" if kind in RAISES else "which netx skips silently"
            help_ = "write pooling as a convolution with one group per channel" if kind == "pool" else "replace it"
            yield where, f"expected type {', '.join(SUPPORTED_LAYERS)}, got {kind!r}, {netx}", help_


def closes(layers: Layers, where: str) -> bool:
    """Return whether a layer is the last one, with another before it."""
    return len(layers) > 1 and where == list(layers)[-1]


def old_dialects(layers: Layers) -> Traps:
    """Layers of old releases and of bootstrap, which sdsnn reads and netx 0.6.0 does not run as they are meant."""
    help_ = "sdsnn import FILE -o NEW.nir, or NEW.net where netx can hold it"
    for where, group in layers.items():
        kind = text(group, "type")
        if kind in OLD_TYPES:
            yield where, f"a layer of type {kind!r}, today {OLD_TYPES[kind]!r}: netx skips it silently", help_
        elif kind == "average" and closes(layers, where):
            yield where, "a closing 'average', at which netx stops: read as a vote of equal groups of outputs", help_
        elif kind == "dense" and "neuron" not in group and closes(layers, where):
            what = "a last layer without neurons, which netx takes for an integrator without leak: read as the weighted"
            yield where, f"{what} sum of each step", help_


def neuron_types(layers: Layers) -> Traps:
    """Neurons that netx or sdsnn does not run."""
    by_kind: dict[str, list[str]] = {}
    for where, group in layers.items():
        if "neuron" in group and (kind := text(group["neuron"], "type")) not in READERS:
            by_kind.setdefault(kind, []).append(where.removeprefix("layer "))
    expected = " or ".join(sorted(set(READERS) - {NO_NEURONS}))
    for kind, numbers in by_kind.items():
        reason, help_ = UNREAD.get(kind.partition("_")[0], ("which nobody runs", "train with CUBA neurons"))
        where = f"layer {numbers[0]} neuron" if len(numbers) == 1 else f"neurons of layers {', '.join(numbers)}"
        yield where, f"expected {expected} neurons, got {kind!r}, {reason}", help_


def activations(layers: Layers) -> Traps:
    """Every sigma-delta neuron of netx is a ReLU."""
    for where, group in layers.items():
        kind = text(group.get("neuron", {}), "activation")
        if kind not in ("", "relu"):
            yield f"{where} neuron", f"expected activation 'relu', got {kind!r}, which netx ignores", "train with relu"


def missing_neuron(layers: Layers) -> Traps:
    """Without neurons SLAYER means a sum, netx an integrator that never forgets."""
    for where, group in layers.items():
        kind = kind_of(group)
        if kind in ("dense", "dense_rec", "conv") and "neuron" not in group:
            if kind == "dense" and closes(layers, where):
                continue
            what = "expected a neuron group, got none: SLAYER means a plain sum, netx an integrator without leak"
            yield where, what, "for the sum add iDecay 4096, vDecay 4096 and vThMant"


def ignored_fields(layers: Layers) -> Traps:
    """Fields of the neuron that netx ignores or stumbles over."""
    for where, group in layers.items():
        neuron = group.get("neuron", {})
        for key, allowed in IGNORED.items():
            values = plain(neuron, key)
            if values is not None and not np.isin(values, allowed).all():
                what = f"expected {' or '.join(map(str, allowed))}, got {values.reshape(-1)[0]}, which netx ignores"
                yield f"{where} neuron {key}", what, "train without it"
        if "messageBits" in neuron:
            yield f"{where} neuron", "expected no messageBits, at which netx stops (TypeError)", "remove the field"


def fractions(layers: Layers) -> Traps:
    """netx cuts off the fractions of what should be integers."""
    for where, group in layers.items():
        for place, fields, keys in (
            (where, group, ("weight", loop_weight(group), "bias")),
            (f"{where} neuron", group.get("neuron", {}), tuple(NEURON_FIELDS.values())),
        ):
            for key in keys:
                values = plain(fields, key)
                if values is not None and (values.dtype.kind not in "iufb" or (values != np.rint(values)).any()):
                    yield f"{place} {key}", "expected integers, got fractions, which netx cuts", "quantise them first"


def delays(layers: Layers) -> Traps:
    """Delays that netx drops, clips, or runs with other weights."""
    for where, group in layers.items():
        kind = kind_of(group)
        for key in ("delay", "delay_rec"):
            values = plain(group, key)
            if values is None:
                continue
            if kind == "conv" and values.any():
                what = "expected no delays on a convolution, got some, which SLAYER applies and netx drops"
                yield where, what, "give them to the next dense layer, as a matrix"
            elif kind == "dense_rec" and values.ndim < 2:
                # SLAYER delays what leaves the layer, netx what comes in and the loop.
                what = "expected no delays at a recurrent layer, got some, with which netx runs other weights"
                yield where, what, f"remove the field {key}, or write one delay for each synapse"
            elif values.min() < 0 or np.floor(values.max()) > DELAY_MAX:
                what = f"expected 0..{DELAY_MAX}, got {values.min():g}..{values.max():g}, which netx clips"
                yield f"{where} {key}", what, "train with shorter delays"


def square_delays(layers: Layers) -> Traps:
    """A vector of delays of a square layer fits its inputs and its outputs."""
    for where, group in layers.items():
        values, weight = plain(group, "delay"), plain(group, "weight")
        if values is None or weight is None or not values.any() or text(group, "type") != "dense":
            continue
        if values.ndim == 1 and weight.ndim == 2 and weight.shape[0] == weight.shape[1] == values.size:
            what = "a vector of delays at a square layer, taken as one for each output (as SLAYER writes it)"
            yield where, what, "write a matrix if you mean one for each input"


def input_neurons(layers: Layers) -> Traps:
    """netx does not connect its port to an input layer with neurons."""
    for where, group in layers.items():
        if text(group, "type") == "input" and "neuron" in group:
            what = "neurons in the input layer, to which netx does not connect net.inp"
            yield where, what, "drive net.in_layer.neuron.bias_mant"


NETX_RULES: Final = (
    Rule("layer-type", "error", layer_types, UnsupportedNode),
    Rule("neuron-type", "error", neuron_types, UnsupportedNode),
    Rule("activation", "error", activations, UnsupportedNode),
    Rule("missing-neuron", "error", missing_neuron, UnsupportedNode),
    Rule("ignored-field", "error", ignored_fields, UnsupportedNode),
    Rule("fractions", "error", fractions, NetworkError),
    Rule("delays", "error", delays, UnsupportedNode),
    Rule("square-delays", "note", square_delays),
    Rule("input-neurons", "warning", input_neurons),
    Rule("old-dialect", "warning", old_dialects),
)
