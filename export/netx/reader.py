"""netx `.net` (HDF5) -> Network, on plain h5py: what lava-dl 0.6.0 would run, or a refusal where that is no network.

The datasets decide; our own group `sdsnn`, if there, adds names, order and what the format has no place for. Files
whose meaning depends on who reads them (delays on convolutions, a missing neuron, graded spikes) are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from sdsnn_core.errors import FileError, NetworkError, UnsupportedNode
from sdsnn_core.network import (
    BIAS_EXP_MAX,
    BIAS_MAX,
    DECAY_UNITY,
    NEVER_FIRES,
    WEIGHT_EXP_MAX,
    WEIGHT_MAX,
    WEIGHT_MIN,
    Convolution,
    Input,
    Network,
    Node,
    Output,
    Population,
    Projection,
    Shape,
    Synapses,
)

from ..nir_format.dialect import Int64Array, in_form, smallest_form, with_exponent
from .fields import delay_matrix, integers, neuron_integers, open_netx, pair, spread, text
from .format import BIAS_EXP, METADATA, METADATA_VERSION, SUPPORTED_LAYERS

_NO_RULE: Final = "pool: write it as a grouped convolution; convT, unpool, average, concat: netx has none"


def read_netx(path: str | Path) -> Network:
    """Read a `.net` file as the Network that netx would run (all layers, from zero state unless the file says more).

    An input layer with neurons becomes a graded input (0..255) and a population that it drives one to one: feed it, in
    every step, what netx expects in the neurons' bias (its weight and bias stand in `provenance`). Raises FileError
    for a missing, damaged or foreign file, UnsupportedNode and NetworkError naming file, layer, what came and what is
    allowed.
    """
    with open_netx(Path(path)) as file:
        return _Reader(file).network()


class _Reader:
    """Builds the nodes layer by layer."""

    def __init__(self, file: Any) -> None:
        self.layers = file["layer"]
        self.hints = self._hints(file)
        self.starts = file.get(f"{METADATA}/initial_voltage", {})
        self.ts = float(np.asarray(file["simulation/Ts"][()]).reshape(-1)[0]) if "simulation/Ts" in file else 1.0
        self.nodes: dict[str, Node] = {}
        self.projections: dict[str, Projection] = {}
        self.provenance: dict[str, Any] = {}
        self.before = ""
        self.shape: Shape = ()

    @staticmethod
    def _hints(file: Any) -> Mapping[str, Any] | None:
        if f"{METADATA}/network" not in file:
            return None
        text = file[f"{METADATA}/network"][()]
        hints: dict[str, Any] = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
        if hints.get("version") != METADATA_VERSION:
            raise NetworkError(f"metadata: got version {hints.get('version')!r}, allowed {METADATA_VERSION}")
        return hints

    def network(self) -> Network:
        indices = sorted(int(name) for name in self.layers if name.isdecimal())
        if indices != list(range(len(self.layers))) or not indices:
            raise FileError(
                f"group 'layer': got members {sorted(self.layers)[:5]}, allowed are '0', '1', ... without a gap"
            )
        spiking = 0
        for index in indices:
            group, where = self.layers[str(index)], f"layer {index}"
            kind = text(group, "type", where)
            if kind not in SUPPORTED_LAYERS:
                raise UnsupportedNode(
                    f"{where}: got type {kind!r}, allowed are {', '.join(SUPPORTED_LAYERS)} ({_NO_RULE})"
                )
            if kind == "input":
                self._input(group, where)
            elif kind != "flatten":
                self._layer(group, kind, where, spiking)
                spiking += 1
        if not self.before or self.before == self._input_name():
            raise NetworkError("got no layer with neurons, allowed is at least one dense, dense_rec or conv layer")
        return self._finish()

    def _input_name(self) -> str:
        return str(self.hints["input"]) if self.hints else "input"

    def _input(self, group: Any, where: str) -> None:
        if self.nodes:
            raise NetworkError(f"{where}: got a second input, allowed is one, as the first layer")
        if "shape" not in group:
            raise NetworkError(f"{where}: got no shape, allowed is (N,) or (C, H, W)")
        self.shape = tuple(int(size) for size in np.asarray(group["shape"][()]).reshape(-1))
        self.before = self._input_name()
        if "neuron" not in group:
            self.nodes[self.before] = Input(self.shape, int(self.hints["max_value"]) if self.hints else 1)
            return
        self.nodes[self.before] = Input(self.shape, 255)
        for name, default in (("weight", 64), ("bias", 0)):
            value = np.asarray(group[name][()]).reshape(-1)[0] if name in group else default
            self.provenance[f"input_{name}"] = int(value)
        neuron = neuron_integers(group["neuron"], f"{where} neuron", self.shape)
        neuron["current_decay"] = np.full(self.shape, DECAY_UNITY)  # the bias is held, not remembered
        values = {key: smallest_form(value) for key, value in neuron.items()}
        self.nodes["layer_input"] = Population(self.shape, bias_exp=BIAS_EXP, **values)
        size = int(np.prod(self.shape))
        every = np.arange(size)
        self.projections["input-layer_input"] = Synapses("input", "layer_input", every, every, np.ones(size, np.int16))
        self.before = "layer_input"

    def _layer(self, group: Any, kind: str, where: str, index: int) -> None:
        hint = self.hints["layers"][index] if self.hints else None
        name = hint["population"] if hint else f"layer{index}"
        feed_name = hint["feed"] if hint else f"{self.before or 'input'}-{name}"
        if "weight" not in group or hasattr(group["weight"], "keys"):
            raise UnsupportedNode(f"{where}: got no matrix 'weight' (complex layers have a group), allowed is one")
        if "neuron" not in group:
            raise UnsupportedNode(
                f"{where}: got no neuron; SLAYER means a plain sum, netx an integrator that never forgets; allowed is "
                "a neuron group (add iDecay 4096, vDecay 4096 and vThMant for the sum)"
            )
        weight = integers(group, "weight", where)
        if kind == "conv":
            shape = self._convolution(group, weight, where, name, feed_name, hint)
        else:
            shape = self._dense(group, weight, where, kind, name, feed_name, hint)
        values = neuron_integers(group["neuron"], f"{where} neuron", shape)
        state = np.zeros(shape, np.int64)
        if "bias" in group:
            bias = integers(group, "bias", where)
            state = spread(bias, shape, f"{where} bias") << BIAS_EXP
        split = with_exponent(state, -BIAS_MAX, BIAS_MAX, BIAS_EXP_MAX, int(hint["bias_exp"]) if hint else BIAS_EXP)
        if split is None:
            raise NetworkError(f"{where} bias: got up to {np.abs(state).max() >> BIAS_EXP}, allowed are {BIAS_MAX}")
        values["bias"] = split[0]
        if hint is None:
            stored = {key: smallest_form(value) for key, value in values.items()}
        else:
            stored = {key: in_form(value, tuple(hint["forms"][key])) for key, value in values.items()}
            start = np.asarray(self.starts[name][()]) if name in self.starts else np.zeros((), np.int64)
            stored["initial_voltage"] = np.broadcast_to(start, tuple(hint["forms"]["initial_voltage"]))
        self.nodes[name] = Population(shape, **stored, bias_exp=split[1])
        self.before, self.shape = name, shape

    def _convolution(
        self, group: Any, weight: Int64Array, where: str, name: str, feed_name: str, hint: Mapping[str, Any] | None
    ) -> Shape:
        if not self.nodes:
            raise NetworkError(
                f"{where}: a convolution needs the shape of its input, allowed is an input layer before it"
            )
        if "delay" in group and np.any(group["delay"][()]):
            raise UnsupportedNode(
                f"{where}: got delays on a convolution; SLAYER applies them, netx drops them; allowed are none"
            )
        if weight.ndim == 5 and weight.shape[4] == 1:
            weight = weight[..., 0]
        kernel, exponent = self._split(weight, where, feed_name)
        stride, padding, dilation = (pair(group, key, where) for key in ("stride", "padding", "dilation"))
        groups = int(integers(group, "groups", where).reshape(-1)[0]) if "groups" in group else 1
        convolution = Convolution(self.before, name, kernel, stride, padding, dilation, groups, weight_exp=exponent)
        shape = convolution.output_shape(self.shape)
        if hint and self.hints and self.hints["projections"][feed_name]["delays"] == "each":
            convolution = Convolution(
                **{**_fields(convolution), "delay": np.zeros(convolution.kernel.shape[1] * groups, np.uint8)}
            )
        self.projections[feed_name] = convolution
        return shape

    def _dense(
        self,
        group: Any,
        weight: Int64Array,
        where: str,
        kind: str,
        name: str,
        feed_name: str,
        hint: Mapping[str, Any] | None,
    ) -> Shape:
        size = int(np.prod(integers(group, "shape", where)))
        if weight.size % size:
            raise NetworkError(f"{where} weight: got {weight.size} values for {size} neurons, allowed is a multiple")
        weight = weight.reshape(size, -1)
        n_pre = weight.shape[1]
        if not self.nodes:
            self.before, self.shape = "input", (n_pre,)
            self.nodes["input"] = Input(self.shape)
        if int(np.prod(self.shape)) != n_pre:
            raise NetworkError(f"{where} weight: takes {n_pre} inputs, the layer before has shape {self.shape}")
        if "delay" in group and kind == "dense_rec":
            raise UnsupportedNode(
                f"{where}: got delays at a recurrent layer, which netx runs with wrong weights; allowed none"
            )
        delay = delay_matrix(group, where, size, n_pre) if "delay" in group else np.zeros((), np.int64)
        self._synapses(feed_name, self.before, name, weight, delay, where)
        if kind == "dense_rec":
            recurrent = integers(group, "weight_rec", where).reshape(size, -1)
            if recurrent.shape != (size, size):
                raise NetworkError(f"{where} weight_rec: got {recurrent.shape}, allowed ({size}, {size})")
            loop_name = hint["loop"] if hint else f"{name}-{name}"
            self._synapses(loop_name, name, name, recurrent, np.zeros((), np.int64), where)
        return tuple(hint["shape"]) if hint else (size,)

    def _split(self, weight: Int64Array, where: str, projection: str) -> tuple[Int64Array, int]:
        preferred = int(self.hints["projections"][projection]["weight_exp"]) if self.hints else 0
        split = with_exponent(weight, WEIGHT_MIN, WEIGHT_MAX, WEIGHT_EXP_MAX, preferred)
        if split is None:
            raise NetworkError(
                f"{where} weight: got {weight.min()}..{weight.max()}, allowed are {WEIGHT_MIN}..{WEIGHT_MAX} times one "
                "power of two"
            )
        return split

    def _synapses(
        self, projection: str, source: str, target: str, weight: Int64Array, delay: Int64Array, where: str
    ) -> None:
        mantissa, exponent = self._split(weight, where, projection)
        made = Synapses.from_dense(source, target, mantissa, delay, exponent)
        hint: Mapping[str, Any] = self.hints["projections"][projection] if self.hints else {"delays": None}
        same = np.unique(np.broadcast_to(made.delay, made.weight.shape))
        one = same.size < 2 if hint["delays"] is None else hint["delays"] == "one" and same.size < 2
        value = int(same[0]) if same.size else int(hint.get("delay", 0))
        stored = np.asarray(value) if one else np.broadcast_to(made.delay, made.weight.shape)
        self.projections[projection] = Synapses(
            source, target, made.pre, made.post, made.weight, stored.astype(np.uint8), exponent
        )

    def _finish(self) -> Network:
        if self.hints is None:
            self.nodes["output"] = Output(self.before, self._signal())
            return Network(self.nodes, self.projections, self.ts * 1e-3, self.provenance)
        output = next(name for name in self.hints["nodes"] if name not in self.nodes)
        self.nodes[output] = Output(self.before, self.hints["signal"])
        nodes = {name: self.nodes[name] for name in self.hints["nodes"]}
        projections = {name: self.projections[name] for name in self.hints["projections"]}
        return Network(nodes, projections, self.hints["dt_s"], self.hints["provenance"])

    def _signal(self) -> Any:
        last = self.nodes[self.before]
        assert isinstance(last, Population)
        return "voltage" if (last.threshold == NEVER_FIRES).all() else "spikes"


def _fields(convolution: Convolution) -> dict[str, Any]:
    names = ("source", "target", "kernel", "stride", "padding", "dilation", "groups", "weight_exp")
    return {name: getattr(convolution, name) for name in names}
