"""netx `.net` (HDF5) -> Network, on plain h5py: what lava-dl 0.6.0 would run, or a refusal where that is no network.

The datasets decide; our own group `sdsnn`, if present, adds names, order and what the format has no place for. Files
whose meaning depends on who reads them (delays on convolutions, a missing neuron, graded spikes) are refused by the
rules of `traps.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from sdsnn_core.arithmetic import before_decay
from sdsnn_core.errors import NetworkError
from sdsnn_core.geometry import pair
from sdsnn_core.network import DECAY_UNITY, MESSAGE_MAX, Network, Node, Projection, Shape
from sdsnn_core.neurons.models import CubaLif, Delta, Sigma, SigmaDelta
from sdsnn_core.nodes import Input, Output
from sdsnn_core.projections import Convolution, Synapses

from ..check.rule import refuse
from ..nir_format.dialect import Int64Array, smallest_form, weight_mantissas
from ..readout import voltage_where_silent
from .fields import (
    delay_matrix,
    integers,
    kind_of,
    layers_of,
    loop_weight,
    neuron_integers,
    open_netx,
    plain,
    spread,
    text,
)
from .format import BIAS_EXP, METADATA, METADATA_VERSION
from .neurons import NO_NEURONS, READERS, stateless
from .traps import NETX_RULES

_NO_DELAY: Final = np.zeros((), np.int64)


def read_netx(path: str | Path) -> Network:
    """Read a `.net` file as the Network that netx would run.

    All layers become populations, from zero state unless the file says more. An input layer with neurons becomes a
    graded input (0..255) and a population that it drives one to one: feed it, in every step, weight * input + bias, as
    they stand in `provenance`, which is what netx expects as their bias; a negative bias becomes the neurons' own. A
    last layer that no input can make fire is read by its voltage.

    Args:
        path: The file.

    Returns:
        The network: identical to the one that `write_netx` wrote, with names layer0, layer1, ... for other files.

    Raises:
        FileError: The file is missing, damaged or no netx network.
        UnsupportedNode: A layer that netx does not run as it is written; see docs/traps.md.
        NetworkError: Values that no Network can hold.
    """
    with open_netx(Path(path)) as file:
        layers = layers_of(file)
        refuse(NETX_RULES, layers)
        return _Reader(file).network(layers)


class _Layer(NamedTuple):
    """A layer with neurons: its group, its place for errors, names of its population and of the projection into it."""

    group: Any
    where: str
    name: str
    feed: str
    hint: Mapping[str, Any] | None


class _Reader:
    """Builds the nodes layer by layer."""

    def __init__(self, file: Any) -> None:
        self.hints = self._hints(file)
        self.starts = file.get(f"{METADATA}/initial_voltage", {})
        ts = plain(file, "simulation/Ts")
        self.ts = 1.0 if ts is None else float(ts.reshape(-1)[0])
        self.nodes: dict[str, Node] = {}
        self.projections: dict[str, Projection] = {}
        self.provenance: dict[str, Any] = {}
        self.before = ""
        self.shape: Shape = ()

    @staticmethod
    def _hints(file: Any) -> Mapping[str, Any] | None:
        if f"{METADATA}/network" not in file:
            return None
        hints: dict[str, Any] = json.loads(text(file, f"{METADATA}/network"))
        if hints.get("version") != METADATA_VERSION:
            raise NetworkError(f"metadata: expected version {METADATA_VERSION}, got {hints.get('version')!r}")
        return hints

    def network(self, layers: Mapping[str, Any]) -> Network:
        spiking = 0
        for where, group in layers.items():
            kind = kind_of(group)
            if kind == "input":
                self._input(group, where)
            elif kind == "average":
                self._vote(group, where)
            elif kind != "flatten":
                self._layer(group, kind, where, spiking)
                spiking += 1
        if not self.before or self.before == self._input_name():
            raise NetworkError("expected at least one dense, dense_rec or conv layer, got none")
        return self._finish()

    def _input_name(self) -> str:
        return str(self.hints["input"]) if self.hints else "input"

    def _input(self, group: Any, where: str) -> None:
        if self.nodes:
            raise NetworkError(f"{where}: expected one input, as the first layer, got another")
        self.shape = tuple(integers(group, "shape", where).reshape(-1).tolist())
        self.before = self._input_name()
        if "neuron" not in group:
            limits = (int(self.hints["max_value"]), int(self.hints.get("min_value", 0))) if self.hints else (1, 0)
            self.nodes[self.before] = Input(self.shape, *limits)
            return
        if text(group["neuron"], "type") == "SDNN":
            self._encoder(group, where)
            return
        self.nodes[self.before] = Input(self.shape, 255)
        for name, default in (("weight", 64), ("bias", 0)):
            value = plain(group, name)
            self.provenance[f"input_{name}"] = default if value is None else int(value.reshape(-1)[0])
        bias = min(self.provenance["input_bias"], 0)
        self.provenance["input_bias"] -= bias
        neuron = neuron_integers(group["neuron"], f"{where} neuron", self.shape)
        neuron["current_decay"] = np.full(self.shape, DECAY_UNITY)  # the bias is held, not remembered
        if bias:  # from the second step on, when the first input arrives
            neuron["bias"] = np.full(self.shape, bias)
            neuron["initial_voltage"] = before_decay(-neuron["bias"] << BIAS_EXP, neuron["voltage_decay"])
        values = {key: smallest_form(value) for key, value in neuron.items()}
        self.nodes["layer_input"] = CubaLif(self.shape, bias_exp=BIAS_EXP, **values)
        size = int(np.prod(self.shape))
        every = np.arange(size)
        self.projections["input-layer_input"] = Synapses("input", "layer_input", every, every, np.ones(size, np.int16))
        self.before = "layer_input"

    def _encoder(self, group: Any, where: str) -> None:
        """Make the encoder of a sigma-delta network; netx leaves it to the user to bring the data to it."""
        self.nodes[self.before] = Input(self.shape, MESSAGE_MAX, -MESSAGE_MAX)
        threshold = spread(integers(group["neuron"], "vThMant", where), self.shape, f"{where} vThMant")
        self.nodes["layer_input"] = Delta(self.shape, smallest_form(threshold))
        every = np.arange(int(np.prod(self.shape)))
        one = np.ones(every.size, np.int16)
        self.projections["input-layer_input"] = Synapses(self.before, "layer_input", every, every, one)
        self.provenance |= {"input_weight": 64, "input_bias": 0}
        self.before = "layer_input"

    def _vote(self, group: Any, where: str) -> None:
        """Add what counts, in every step, the spikes of equal groups of neurons, one after the other."""
        n_groups, size = int(np.prod(integers(group, "shape", where))), int(np.prod(self.shape))
        if not 0 < n_groups <= size or size % n_groups:
            raise NetworkError(f"{where} shape: expected a number of groups that divides {size}, got {n_groups}")
        every = np.arange(size)
        self.projections[f"{self.before}-vote"] = Synapses(
            self.before, "vote", every, every // (size // n_groups), np.ones(size, np.int16)
        )
        self.nodes["vote"] = stateless((n_groups,))
        self.before, self.shape = "vote", (n_groups,)

    def _layer(self, group: Any, kind: str, where: str, index: int) -> None:
        hint = self.hints["layers"][index] if self.hints else None
        name = hint["population"] if hint else f"layer{index}"
        feed = hint["feed"] if hint else f"{self.before or 'input'}-{name}"
        layer = _Layer(group, where, name, feed, hint)
        shape = self._convolution(layer) if kind == "conv" else self._dense(layer, kind)
        start = np.asarray(self.starts[name][()]) if name in self.starts else np.zeros((), np.int64)
        read = READERS[text(group["neuron"], "type") if "neuron" in group else NO_NEURONS]
        self.nodes[name] = read(group, where, shape, hint, start)
        if self.before == "input" and not self.hints and isinstance(self.nodes[name], SigmaDelta | Sigma):
            # Differences, which an encoder on the host sends.
            self.nodes["input"] = Input(self.shape, MESSAGE_MAX, -MESSAGE_MAX)
        self.before, self.shape = name, shape

    def _convolution(self, layer: _Layer) -> Shape:
        group, where = layer.group, layer.where
        if not self.nodes:
            raise NetworkError(f"{where}: expected an input layer before a convolution, got none")
        weight = integers(group, "weight", where)
        if weight.ndim == 5 and weight.shape[4] == 1:
            weight = weight[..., 0]
        kernel, exponent = self._split(weight, where, layer.feed)
        stride, padding, dilation = (
            pair(integers(group, key, where), f"{where} {key}") for key in ("stride", "padding", "dilation")
        )
        groups = int(integers(group, "groups", where).reshape(-1)[0]) if "groups" in group else 1
        ends = self.before, layer.name
        convolution = Convolution(*ends, kernel, stride, padding, dilation, groups, weight_exp=exponent)
        shape = convolution.output_shape(self.shape)
        self.projections[layer.feed] = convolution
        if self.hints:
            self._as_written(convolution, self.hints["projections"][layer.feed], layer.feed)
        return shape

    def _as_written(self, convolution: Convolution, hint: Mapping[str, Any], name: str) -> None:
        """Restore one-to-one synapses that were written as a convolution, and the form of the delays."""
        each = hint["delays"] == "each"
        if hint.get("one_to_one"):
            synapses = convolution.synapses(self.shape)
            delay = np.zeros(synapses.n_weights if each else (), np.uint8)
            self.projections[name] = replace(synapses, delay=delay)
        elif each:
            channels = convolution.kernel.shape[1] * convolution.groups
            self.projections[name] = replace(convolution, delay=np.zeros(channels, np.uint8))

    def _dense(self, layer: _Layer, kind: str) -> Shape:
        group, where, name, feed, hint = layer
        complex_ = "weight" in group and hasattr(group["weight"], "keys")
        weight = integers(group["weight"], "real", where) if complex_ else integers(group, "weight", where)
        size = int(np.prod(integers(group, "shape", where)))
        if weight.size % size:
            raise NetworkError(f"{where} weight: expected a multiple of {size} values, got {weight.size}")
        weight = weight.reshape(size, -1)
        n_pre = weight.shape[1]
        if not self.nodes:
            self.before, self.shape = "input", (n_pre,)
            self.nodes["input"] = Input(self.shape)
        if int(np.prod(self.shape)) != n_pre:
            raise NetworkError(f"{where} weight: expected inputs of shape {self.shape}, got a matrix for {n_pre}")
        delay = self._delay(group, "delay", where, size, n_pre)
        self._synapses(feed, self.before, name, weight, delay, where)
        if complex_:
            part, own = integers(group["weight"], "imag", where), hint["imaginary"] if hint else f"{feed}-imaginary"
            self._synapses(own, self.before, name, part.reshape(size, -1), _NO_DELAY, where)
            made = self.projections[own]
            assert isinstance(made, Synapses)
            self.projections[own] = replace(made, imaginary=True)
        if kind == "dense_rec":
            recurrent = integers(group, loop_weight(group), where)
            if recurrent.size != size**2:
                raise NetworkError(f"{where} weight_rec: expected shape ({size}, {size}), got {recurrent.shape}")
            loop_name = hint["loop"] if hint else f"{name}-{name}"
            delay = self._delay(group, "delay_rec", where, size, size)
            self._synapses(loop_name, name, name, recurrent.reshape(size, size), delay, where)
        return tuple(hint["shape"]) if hint else (size,)

    @staticmethod
    def _delay(group: Any, key: str, where: str, n_post: int, n_pre: int) -> Int64Array:
        values = plain(group, key)
        return _NO_DELAY if values is None else delay_matrix(values, f"{where} {key}", n_post, n_pre)

    def _split(self, weight: Int64Array, where: str, projection: str) -> tuple[Int64Array, int]:
        preferred = int(self.hints["projections"][projection]["weight_exp"]) if self.hints else 0
        return weight_mantissas(weight, where, preferred)

    def _synapses(
        self, projection: str, source: str, target: str, weight: Int64Array, delay: Int64Array, where: str
    ) -> None:
        mantissa, exponent = self._split(weight, where, projection)
        synapses = Synapses.from_dense(source, target, mantissa, delay, exponent)
        hint: Mapping[str, Any] = self.hints["projections"][projection] if self.hints else {"delays": "one"}
        each = np.broadcast_to(synapses.delay, synapses.weight.shape)
        different = np.unique(each)
        if hint["delays"] == "one" and different.size < 2:
            each = different[0] if different.size else np.uint8(hint.get("delay", 0))
        self.projections[projection] = replace(synapses, delay=each)

    def _finish(self) -> Network:
        if self.hints is None:
            self.nodes["output"] = Output(self.before)
            return voltage_where_silent(Network(self.nodes, self.projections, self.ts * 1e-3, self.provenance))
        output = next(name for name in self.hints["nodes"] if name not in self.nodes)
        self.nodes[output] = Output(self.before, self.hints["signal"])
        nodes = {name: self.nodes[name] for name in self.hints["nodes"]}
        projections = {name: self.projections[name] for name in self.hints["projections"]}
        return Network(nodes, projections, self.hints["dt_s"], self.hints["provenance"])
