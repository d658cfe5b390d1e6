"""A float NIR graph as neurons with linear maps between them.

NIR adds what arrives at a node and then lets the node act. So linear nodes are taken in order, each once: what stands
behind one is, for every set of neurons in front, one operator, and one bias in all. Nested graphs are flattened first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import Shape

from .conventions import as_written, recognised
from .file import FloatFile, FloatNode, float_file_of
from .flatten import Edges, flattened, sources_of
from .nodes import INTEGRATORS, KNOWN, LINEAR, NEURONS, FloatNeurons, linear_of, neurons_of
from .operators import Floats, Identity, Operator, added, composed

MOST_VALUES: Final = 2**27  # of one Input in one step


@dataclass(frozen=True, eq=False)
class LinearMap:
    """What lies between two nodes: y = operator(x), x arriving `delay` (size of the source, seconds) later."""

    source: str
    target: str
    operator: Operator
    delay: Floats


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """inputs, outputs: name -> shape, name -> source. maps: by the name of the last weight node on their way.

    biases: neurons -> (size,) constant drive that the linear nodes in front of them add up to. dt: seconds of a step.
    writer: whose conventions the parameters were read by. notes: what was assumed while reading.
    nodes, edges: the flattened graph. file: the graph as it stands in the file, for `oracle.py`.
    """

    inputs: Mapping[str, Shape]
    neurons: Mapping[str, FloatNeurons]
    maps: Mapping[str, LinearMap]
    biases: Mapping[str, Floats]
    outputs: Mapping[str, str]
    dt: float
    writer: str
    notes: tuple[str, ...] = ()
    nodes: Mapping[str, FloatNode] = field(default_factory=dict)
    edges: tuple[tuple[str, str], ...] = ()
    file: FloatFile = field(default_factory=lambda: FloatFile({}))

    def shape_of(self, name: str) -> Shape:
        """Return the shape of an input or of neurons."""
        return self.inputs[name] if name in self.inputs else self.neurons[name].shape


def read_graph(graph: Any, dt: float, writer: str | None = None) -> FloatGraph:
    """Return a FloatFile or nir.NIRGraph as neurons and linear maps.

    Args:
        graph: what `read_float_file` returned, or a `nir.NIRGraph`.
        dt: the step in seconds, which NIR does not store.
        writer: a key of `conventions.WRITERS`; None recognises the writer by its parameters.

    Raises:
        UnsupportedNode: a node without a rule, or one that sends no spikes where spikes are needed.
        NetworkError: parameters that make no stable neuron, shapes that do not fit, a writer that is not clear; each
            names the node.
    """
    file = graph if isinstance(graph, FloatFile) else float_file_of(graph)
    nodes, edges = flattened(file)
    for name, node in nodes.items():
        if node.kind not in (*KNOWN, "Port"):
            raise UnsupportedNode(f"node {name!r}: expected {', '.join(KNOWN)}, got a {node.kind}")
    _refuse_silent_sources(nodes, edges)
    chosen = writer or recognised({name: node for name, node in nodes.items() if node.kind in NEURONS}, dt)
    notes: list[str] = []
    file = as_written(file, chosen, notes)
    nodes, edges = _with_input(*flattened(file), notes)
    notes += _rounded_delays(nodes, dt)
    inputs = {name: _input_shape(name, node) for name, node in nodes.items() if node.kind == "Input"}
    first: NetworkError | None = None
    for dropped in range(max((len(shape) for shape in inputs.values()), default=1)):
        try:
            shapes = {name: _shape(shape[min(dropped, len(shape) - 1) :]) for name, shape in inputs.items()}
            walked = _Walk(nodes, edges, shapes, dt)
        except NetworkError as error:
            first = first or error
            continue
        if dropped:
            notes.append(
                f"input axes {', '.join(str(shape[:dropped]) for shape in inputs.values())} were taken as samples and "
                "steps and left out"
            )
        return walked.graph(chosen, tuple(notes), file)
    assert first is not None
    raise first


def _input_shape(name: str, node: FloatNode) -> tuple[int, ...]:
    """Return the shape of an Input as it is in the file."""
    axes = np.asarray(node["shape"], np.float64).reshape(-1)
    if (axes < 1).any() or (axes != np.rint(axes)).any() or np.prod(axes) > MOST_VALUES:
        shown = ", ".join(f"{n:g}" for n in axes)
        raise NetworkError(f"node {name!r} shape: expected sizes from 1 on, {MOST_VALUES} values at most, got {shown}")
    return tuple(int(n) for n in axes)


def _with_input(nodes: dict[str, FloatNode], edges: Edges, notes: list[str]) -> tuple[dict[str, FloatNode], Edges]:
    """Return nodes and edges with an Input where the file has none and one node alone can take it."""
    if any(node.kind == "Input" for node in nodes.values()):
        return nodes, edges
    targets = {b for _, b in edges}
    roots = [name for name in nodes if name not in targets and nodes[name].kind in ("Linear", "Affine")]
    others = [name for name in nodes if name not in targets and nodes[name].kind not in ("Linear", "Affine")]
    if len(roots) != 1 or others:
        raise NetworkError("graph: expected an Input, got none, and no single Linear or Affine that could follow it")
    size = int(np.asarray(nodes[roots[0]]["weight"]).shape[1])
    notes.append(f"the graph has no Input; one with {size} channels was put in front of {roots[0]!r}")
    return {"input": FloatNode("Input", {"shape": np.array([size])}), **nodes}, [("input", roots[0]), *edges]


def _refuse_silent_sources(nodes: Mapping[str, FloatNode], edges: Edges) -> None:
    """Refuse an integrator in front of anything but an Output: its voltage is no spike, and a chip sends spikes."""
    passes = {name for name, node in nodes.items() if node.kind == "Port"}
    after: dict[str, list[str]] = {}
    for a, b in edges:
        after.setdefault(a, []).append(b)
    for name, node in nodes.items():
        if node.kind not in INTEGRATORS:
            continue
        stack = list(after.get(name, []))
        while stack:
            target = stack.pop()
            if target in passes:
                stack += after.get(target, [])
            elif nodes[target].kind != "Output":
                raise UnsupportedNode(
                    f"node {name!r}: a {node.kind} sends its voltage in every step, a chip sends spikes only; expected "
                    f"it in front of an Output, got it in front of {target!r}"
                )


def _rounded_delays(nodes: Mapping[str, FloatNode], dt: float) -> list[str]:
    notes = []
    for name, node in nodes.items():
        if node.kind == "Delay":
            steps = np.asarray(node["delay"], np.float64) / dt
            if (error := float(np.abs(steps - np.rint(steps)).max(initial=0.0))) > 1e-6:
                notes.append(f"node {name!r}: delays are rounded to whole steps, by {error:.2g} steps at most")
    return notes


def _shape(given: tuple[int, ...]) -> Shape:
    """Return a node's shape as (N,) or (C, H, W): (C, L) becomes (C, 1, L), leading axes of size 1 go."""
    shape = given
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) > 3:
        raise NetworkError(f"shape {given}: expected at most three axes for one sample")
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    return shape or (1,)


@dataclass
class _Arriving:
    """What has reached a node: for each source and delay one operator, a constant, and the shape it has by now."""

    parts: dict[tuple[str, bytes], tuple[Operator, Floats]]
    bias: Floats
    shape: Shape


class _Walk:
    """One pass over the nodes in the order of their dependencies."""

    def __init__(self, nodes: Mapping[str, FloatNode], edges: Edges, inputs: Mapping[str, Shape], dt: float) -> None:
        self.nodes, self.edges, self.dt = nodes, edges, dt
        self.inputs = dict(inputs)
        self.sources = sources_of(edges)
        self.shapes: dict[str, Shape] = dict(inputs)
        self.leaving: dict[str, _Arriving] = {}  # of linear nodes
        self.open: set[str] = set()
        for name, node in nodes.items():
            if node.kind in NEURONS and (shape := _own_shape(node)) is not None:
                self.shapes[name] = shape
        self._give_shapes()
        self.arriving = {name: self._sum(name) for name, node in nodes.items() if node.kind in (*NEURONS, "Output")}

    def _give_shapes(self) -> None:
        """Neurons whose parameters are single values take their shape from what arrives, as soon as it is known."""
        waiting = [name for name, node in self.nodes.items() if node.kind in NEURONS and name not in self.shapes]
        while waiting:
            for name in waiting:
                self.leaving.clear()
                if (shape := self._known_shape(name, set())) is not None:
                    self.shapes[name] = shape
                    waiting.remove(name)
                    break
            else:
                raise NetworkError(
                    f"node {waiting[0]!r}: expected a shape in its parameters or from an Input, got none"
                )
        self.leaving.clear()

    def _known_shape(self, name: str, way: set[str]) -> Shape | None:
        """Return the shape of what arrives at a node, None where no source has one yet."""
        for source in self.sources.get(name, []):
            if source in way:
                continue
            shape = self.shapes.get(source)
            if shape is None and self.nodes[source].kind in LINEAR:
                before = self._known_shape(source, way | {source})
                if before is not None:
                    shape = linear_of(self.nodes[source], before, f"node {source!r}")[2]
            if shape is not None:
                return shape
        return None

    def _sum(self, name: str) -> _Arriving:
        """Return the sum of what arrives at a node."""
        total: _Arriving | None = None
        for source in self.sources.get(name, []):
            part = self._leaving(source)
            if total is None:
                total = _Arriving(dict(part.parts), part.bias, part.shape)
                continue
            if np.prod(part.shape) != np.prod(total.shape):
                raise NetworkError(
                    f"node {name!r}: expected the same shape from all its sources, got {total.shape} and {part.shape} "
                    f"from {source!r}"
                )
            for key, (operator, delay) in part.parts.items():
                if key in total.parts:
                    operator = added(total.parts[key][0], operator, f"node {name!r}")
                total.parts[key] = (operator, delay)
            total.bias = total.bias + part.bias
        return total or _Arriving({}, np.zeros(0), ())

    def _leaving(self, name: str) -> _Arriving:
        """Return what leaves a node: its own spikes, or what a linear node makes of what arrives."""
        node = self.nodes[name]
        if node.kind == "Output":
            raise NetworkError(f"node {name!r}: an Output feeds another node; expected nothing behind it")
        if node.kind not in LINEAR:
            shape = self.shapes[name]
            none = np.zeros(int(np.prod(shape)))
            return _Arriving({(name, b""): (Identity(shape), none)}, none, shape)
        if name in self.leaving:
            return self.leaving[name]
        if name in self.open:
            raise UnsupportedNode(f"node {name!r}: a loop without neurons; expected neurons in every loop")
        self.open.add(name)
        before = self._sum(name)
        self.open.discard(name)
        if not before.shape:
            raise NetworkError(f"node {name!r}: nothing arrives; expected an edge that leads from an Input to it")
        self.leaving[name] = self._through(name, node, before)
        return self.leaving[name]

    def _through(self, name: str, node: FloatNode, before: _Arriving) -> _Arriving:
        where = f"node {name!r}"
        then, shift, shape = linear_of(node, before.shape, where)
        bias = then.apply(before.bias[None])[0] + shift
        parts: dict[tuple[str, bytes], tuple[Operator, Floats]] = {}
        for (source, _), (operator, delay) in before.parts.items():
            later = delay + self._delay(node, operator, delay.size, where) if node.kind == "Delay" else delay
            key = (source, later.tobytes() if later.any() else b"")
            further = operator if isinstance(then, Identity) else composed(operator, then, where)
            parts[key] = (added(parts[key][0], further, where) if key in parts else further, later)
        return _Arriving(parts, bias, shape)

    def _delay(self, node: FloatNode, operator: Operator, size: int, where: str) -> Floats:
        values = np.asarray(node["delay"], np.float64).reshape(-1)
        if values.size and values.min() < 0:
            raise NetworkError(f"{where} delay: expected seconds from 0 on, got {values.min():g}")
        if (values == values[0]).all():
            return np.full(size, values[0])
        if not isinstance(operator, Identity) or values.size != size:
            raise UnsupportedNode(f"{where}: expected delays that differ in front of weights, got them behind weights")
        return values

    def graph(self, writer: str, notes: tuple[str, ...], file: FloatFile) -> FloatGraph:
        """Return the result of the walk."""
        neurons: dict[str, FloatNeurons] = {}
        outputs: dict[str, str] = {}
        arriving: dict[str, _Arriving] = {}
        for name, node in self.nodes.items():
            if node.kind in NEURONS:
                shape = self._shape_for(name)
                neurons[name] = neurons_of(node, shape, self.dt, writer, f"node {name!r}")
                arriving[name] = self.arriving[name]
            elif node.kind == "Output":
                source = self._direct(name)
                outputs[name] = source if source in self.nodes and self.nodes[source].kind in NEURONS else name
        for name, source in outputs.items():
            if source == name:
                arriving[name] = self.arriving[name]
                neurons[name] = self._readout(name)
        maps = dict(self._maps(arriving))
        biases = {
            name: part.bias if part.bias.size else np.zeros(neurons[name].a.size) for name, part in arriving.items()
        }
        ordered = {name: neurons[name] for name in self.nodes if name in neurons}
        return FloatGraph(
            self.inputs, ordered, maps, biases, outputs, self.dt, writer, notes, self.nodes, tuple(self.edges), file
        )

    def _shape_for(self, name: str) -> Shape:
        """Return the shape of neurons, that of an image where one arrives and as many neurons are given flat."""
        shape, given = self.shapes[name], self.arriving[name].shape
        if given and np.prod(shape) != np.prod(given):
            raise NetworkError(f"node {name!r}: expected {given} neurons for what arrives, got {shape}")
        parts = list(self.arriving[name].parts.values())
        kinds = {operator.out_shape for operator, _ in parts if len(operator.out_shape) == 3}
        if len(shape) == 1 and len(kinds) == 1 and all(len(o.out_shape) == 3 for o, _ in parts):
            (image,) = kinds
            return image if np.prod(image) == np.prod(shape) else shape
        return shape

    def _direct(self, name: str) -> str:
        """Return the one node whose output an Output shows, the Output itself where that is a sum or weights."""
        sources = self.sources.get(name, [])
        if not sources:
            raise NetworkError(f"node {name!r}: nothing arrives; expected one source")
        while len(sources) == 1 and self.nodes[sources[0]].kind in ("Port", "Flatten"):
            sources = self.sources.get(sources[0], [])
        return sources[0] if len(sources) == 1 else name

    def _readout(self, name: str) -> FloatNeurons:
        """Return what an Output behind weights or an Input reads: the sum of each step, or the Input's own spikes."""
        part = self.arriving[name]
        operators = [operator for operator, _ in part.parts.values()]
        shape = part.shape if len(part.shape) in (1, 3) else (int(np.prod(part.shape)),)
        one, none = np.ones(int(np.prod(shape))), np.zeros(int(np.prod(shape)))
        relays = len(operators) == 1 and isinstance(operators[0], Identity) and not part.bias.any()
        threshold = one / 2 if relays else none
        return FloatNeurons(shape, one, one, one, none, threshold, none, relays, False)

    def _maps(self, arriving: Mapping[str, _Arriving]) -> Iterator[tuple[str, LinearMap]]:
        taken: set[str] = set()
        for target, part in arriving.items():
            for (source, _), (operator, delay) in part.parts.items():
                name = self._name(source, target)
                while name in taken:
                    name += "_"
                taken.add(name)
                yield name, LinearMap(source, target, operator, delay)

    def _name(self, source: str, target: str) -> str:
        """Return the name of the last weight node between two nodes, 'source-target' where there is none."""
        stack = list(self.sources.get(target, []))
        visited: set[str] = set()
        while stack:
            name = stack.pop(0)
            if name in visited or self.nodes[name].kind not in LINEAR or not self._reached(name, source, set()):
                continue
            if self.nodes[name].kind not in ("Delay", "Flatten", "Port"):
                return name
            visited.add(name)
            stack += self.sources.get(name, [])
        return f"{source}-{target}"

    def _reached(self, name: str, source: str, visited: set[str]) -> bool:
        """Return whether linear nodes lead from `source` to `name`."""
        visited.add(name)
        return any(
            before == source
            or (before not in visited and self.nodes[before].kind in LINEAR and self._reached(before, source, visited))
            for before in self.sources.get(name, [])
        )


def _own_shape(node: FloatNode) -> Shape | None:
    """Return the shape that a neuron's parameters have, None where all are single values."""
    shapes = [np.shape(value) for name, value in node.fields.items() if not isinstance(value, str)]
    sizes = [shape for shape in shapes if int(np.prod(shape, dtype=np.int64)) > 1]
    if not sizes:
        return None
    largest: npt.NDArray[Any] = np.asarray(max(sizes, key=lambda shape: (int(np.prod(shape)), len(shape))))
    return _shape(tuple(int(n) for n in largest))
