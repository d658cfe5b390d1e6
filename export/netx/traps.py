"""Rules on the datasets of a `.net` file, whoever wrote it: what lava-dl's netx skips, ignores or misreads.

`read_netx` refuses what `sdsnn check` reports as an error: both use these rules.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import DELAY_MAX

from ..check.rule import Rule, Traps
from .fields import NEURON_FIELDS, Layers, plain, text
from .format import CUBA_TYPES, SUPPORTED_LAYERS

RAISES: Final = ("pool", "convT", "unpool", "average", "concat")
IGNORED: Final = {"gradedSpike": (0,), "weight_exp": (0,), "refDelay": (0, 1)}


def layer_types(layers: Layers) -> Traps:
    """netx has no rule for some layers, and skips what it does not know."""
    for where, group in layers.items():
        kind = text(group, "type")
        if kind not in SUPPORTED_LAYERS:
            netx = "at which netx stops (NotImplementedError)" if kind in RAISES else "which netx skips silently"
            help_ = "write pooling as a convolution with one group per channel" if kind == "pool" else "replace it"
            yield where, f"expected type {', '.join(SUPPORTED_LAYERS)}, got {kind!r}, {netx}", help_


def neuron_types(layers: Layers) -> Traps:
    """ALIF crashes netx, ADRF loads as another neuron."""
    for where, group in layers.items():
        if "neuron" in group and (kind := text(group["neuron"], "type")) not in CUBA_TYPES:
            what = f"expected {' or '.join(CUBA_TYPES)} neurons, got {kind!r}"
            yield f"{where} neuron", what, "train with CUBA neurons: netx crashes on ALIF and loads ADRF as RF"


def missing_neuron(layers: Layers) -> Traps:
    """Without neurons SLAYER means a sum, netx an integrator that never forgets."""
    for where, group in layers.items():
        if text(group, "type") in ("dense", "dense_rec", "conv") and "neuron" not in group:
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
            (where, group, ("weight", "weight_rec", "bias")),
            (f"{where} neuron", group.get("neuron", {}), tuple(NEURON_FIELDS.values())),
        ):
            for key in keys:
                values = plain(fields, key)
                if values is not None and (values.dtype.kind not in "iufb" or (values != np.rint(values)).any()):
                    yield f"{place} {key}", "expected integers, got fractions, which netx cuts", "quantise them first"


def delays(layers: Layers) -> Traps:
    """Delays that netx drops, clips, or runs with other weights."""
    for where, group in layers.items():
        kind, values = text(group, "type"), plain(group, "delay")
        if values is None:
            continue
        if kind == "conv" and values.any():
            what = "expected no delays on a convolution, got some, which SLAYER applies and netx drops"
            yield where, what, "give them to the next dense layer, as a matrix"
        elif kind == "dense_rec":
            what = "expected no delays at a recurrent layer, got some, with which netx runs other weights"
            yield where, what, "remove the field delay"
        elif values.min() < 0 or np.floor(values.max()) > DELAY_MAX:
            what = f"expected 0..{DELAY_MAX}, got {values.min():g}..{values.max():g}, which netx clips"
            yield f"{where} delay", what, "train with shorter delays"


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


def kept_open(layers: Layers) -> Traps:
    """netx never closes a file it has read."""
    if layers:
        yield "file", "netx.hdf5.Network never closes it", "write to a new name before loading again in one process"


NETX_RULES: Final = (
    Rule("layer-type", "error", layer_types, UnsupportedNode),
    Rule("neuron-type", "error", neuron_types, UnsupportedNode),
    Rule("missing-neuron", "error", missing_neuron, UnsupportedNode),
    Rule("ignored-field", "error", ignored_fields, UnsupportedNode),
    Rule("fractions", "error", fractions, NetworkError),
    Rule("delays", "error", delays, UnsupportedNode),
    Rule("square-delays", "note", square_delays),
    Rule("input-neurons", "warning", input_neurons),
    Rule("kept-open", "note", kept_open),
)
