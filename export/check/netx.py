"""Rules on the datasets of a `.net` file, whoever wrote it: what lava-dl's netx skips, ignores or misreads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from sdsnn_core.network import DELAY_MAX

from ..netx.format import CUBA_TYPES, SUPPORTED_LAYERS, netx_runs_exactly, why_not
from .check import Rule

Found = Iterator[tuple[str, str, str]]
Layers = Mapping[str, Any]
RAISES: Final = ("pool", "convT", "unpool", "average", "concat")


def layers_of(file: Any) -> Layers:
    """Return 'layer N' -> HDF5 group, in order."""
    names = sorted((name for name in file["layer"] if name.isdecimal()), key=int)
    return {f"layer {name}": file["layer"][name] for name in names}


def _text(group: Any, key: str) -> str:
    value = np.asarray(group[key][()]).reshape(-1)[0] if key in group else b""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _plain(group: Any, key: str) -> np.ndarray[Any, Any] | None:
    """Return a dataset, or None where there is none or a group of two stands there (complex weights)."""
    return np.asarray(group[key][()]) if key in group and not hasattr(group[key], "keys") else None


def layer_types(layers: Layers) -> Found:
    """netx has no rule for some layers, and skips what it does not know."""
    for where, group in layers.items():
        kind = _text(group, "type")
        if kind in RAISES:
            help_ = (
                "write pooling as a convolution with as many groups as channels" if kind == "pool" else "no such layer"
            )
            yield where, f"type {kind!r}, for which netx raises NotImplementedError", help_
        elif kind not in SUPPORTED_LAYERS:
            yield where, f"type {kind!r}, which netx skips without a word", f"allowed are {', '.join(SUPPORTED_LAYERS)}"


def neuron_types(layers: Layers) -> Found:
    """ALIF crashes netx, ADRF loads as another neuron."""
    for where, group in layers.items():
        if "neuron" in group and (kind := _text(group["neuron"], "type")) not in CUBA_TYPES:
            yield (
                where,
                f"neurons {kind!r}; ALIF crashes netx, ADRF loads as RF",
                f"allowed are {', '.join(CUBA_TYPES)}",
            )


def missing_neuron(layers: Layers) -> Found:
    """Without neurons SLAYER means a sum, netx an integrator that never forgets."""
    for where, group in layers.items():
        if _text(group, "type") in ("dense", "dense_rec", "conv") and "neuron" not in group:
            yield where, "no neurons: netx integrates for ever (iDecay 0)", "add iDecay 4096, vDecay 4096 and vThMant"


def ignored_fields(layers: Layers) -> Found:
    """Fields of the neuron that netx ignores or stumbles over."""
    for where, group in layers.items():
        neuron = group.get("neuron", {})
        for key, allowed in (("gradedSpike", 0), ("weight_exp", 0), ("refDelay", 1)):
            values = _plain(neuron, key)
            if values is not None and values.size and (values != allowed).any():
                yield where, f"neuron/{key} is {values.reshape(-1)[0]}, which netx ignores", f"allowed is {allowed}"
        if "messageBits" in neuron:
            yield where, "neuron/messageBits, at which netx stops (TypeError)", "leave it out"


def fractions(layers: Layers) -> Found:
    """netx cuts the fractions of weights off."""
    for where, group in layers.items():
        values = _plain(group, "weight")
        if values is not None and values.dtype.kind == "f" and (values != np.rint(values)).any():
            yield where, "weights that are no integers; netx cuts them towards zero", "quantise before writing"


def weight_range(layers: Layers) -> Found:
    """Matrices that plain netx clips, crashes on or runs with other weights."""
    for where, group in layers.items():
        values = _plain(group, "weight")
        if values is None or _text(group, "type") not in ("dense", "dense_rec"):
            continue
        recurrent = _plain(group, "weight_rec")
        matrix = np.rint(values).astype(np.int64).reshape(len(values), -1)
        loop = None if recurrent is None else np.rint(recurrent).astype(np.int64)
        if not netx_runs_exactly(matrix, loop):
            yield where, why_not(matrix, loop), "rescale, keep one weight, or load with sign_mode MIXED and 8 bits"


def delays(layers: Layers) -> Found:
    """Delays that netx drops, clips, or puts on the other side."""
    for where, group in layers.items():
        values = _plain(group, "delay")
        if values is None or not np.any(values):
            continue
        kind = _text(group, "type")
        if kind == "conv":
            yield where, "delays on a convolution, which netx drops", "give them to the next dense layer, as a matrix"
        elif kind == "dense_rec":
            yield where, "delays at a recurrent layer, which netx runs with weights x2 to x16", "no delays there"
        if values.max() > DELAY_MAX:
            yield where, f"delays up to {values.max():g}; netx clips to {DELAY_MAX}", f"delays up to {DELAY_MAX}"
        weight = _plain(group, "weight")
        if values.ndim == 1 and weight is not None and weight.ndim == 2 and weight.shape[0] == weight.shape[1]:
            yield where, "a delay for each input of a square layer is read as one for each output", "write a matrix"


def bias_steps(layers: Layers) -> Found:
    """netx integrates a bias one step earlier than SLAYER."""
    for where, group in layers.items():
        values = _plain(group, "bias")
        if values is not None and values.any() and _text(group, "type") != "input":
            yield (
                where,
                "a bias, which netx integrates one step before SLAYER does",
                "start from the voltage that undoes it",
            )


def input_neurons(layers: Layers) -> Found:
    """netx does not connect its port to an input layer with neurons."""
    for where, group in layers.items():
        if _text(group, "type") == "input" and "neuron" in group:
            yield (
                where,
                "neurons in the input layer: net.inp is not connected to them",
                "drive net.in_layer.neuron.bias_mant",
            )


def affine(layers: Layers) -> Found:
    """SLAYER's Affine readout becomes a layer that never spikes."""
    for where, group in layers.items():
        values = _plain(group.get("neuron", {}), "vThMant")
        if values is not None and values.size and values.max() >= 2**17:
            yield (
                where,
                f"a threshold of {int(values.max())}: a readout that never spikes",
                "read neuron.v, not the spikes",
            )


def kept_open(layers: Layers) -> Found:
    """netx never closes a file it has read."""
    if layers:
        yield "file", "netx.hdf5.Network never closes it", "write to a new name before loading again in one process"


NETX_RULES: Final = (
    Rule("layer-type", "T5", "error", layer_types),
    Rule("neuron-type", "semantics 3", "error", neuron_types),
    Rule("missing-neuron", "semantics 2.4", "error", missing_neuron),
    Rule("ignored-field", "semantics 2.4, Loihi 5.3", "error", ignored_fields),
    Rule("fractions", "T11", "error", fractions),
    Rule("weight-range", "semantics 2.4.1, T6, T11", "error", weight_range),
    Rule("delays", "T4, semantics 2.4.3", "error", delays),
    Rule("bias-step", "T8, semantics 2.4.2", "warning", bias_steps),
    Rule("input-neurons", "semantics 2.3", "warning", input_neurons),
    Rule("affine", "T7", "note", affine),
    Rule("kept-open", "T10", "note", kept_open),
)
