"""The graph of a model of SLAYER blocks, read from one forward pass.

Every tensor between two blocks carries a second one of the same shape, which holds for each element the number of the
spike that it is. Operations that only move elements (reshape, permute, cat, slicing, dropout in evaluation) are applied
to both; a sum keeps the numbers of all its terms. So the input of a block is known place by place, whatever the names
of the attributes and the order of the calls. An operation that does more than move or add is named by the block behind
it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_map

from sdsnn_core.errors import SdsnnError, UnsupportedNode, one_line
from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.network import Shape

STEPS: Final = 4  # of the example: enough to notice an operation that moves steps
SAMPLES: Final = 2  # likewise for samples


class Lost(NamedTuple):
    """A tensor whose elements are not single spikes or sums of spikes.

    by: the operation that made it. sources: the inputs and calls that it may depend on.
    """

    by: str
    sources: frozenset[int]


class Followed(NamedTuple):
    """A tensor whose elements are spikes, or sums of one spike of each term.

    terms: int64 tensors of its shape, the number of a spike in each place, 0 for none.
    """

    terms: tuple[Tensor, ...]


class Piece(NamedTuple):
    """What one source contributes to the input of a block.

    source: an input of the model or a call, by its number in the graph. units: int64 of the shape of the block's
    input, the flat index of the source's unit whose spikes arrive there, -1 for none.
    """

    source: int
    units: npt.NDArray[np.int64]


class Call(NamedTuple):
    """One call of a block: what its input is made of, and the shapes of input and output without batch and steps."""

    path: str
    block: Any
    pieces: tuple[Piece, ...] | Lost
    shape_in: Shape
    shape: Shape

    @property
    def sources(self) -> frozenset[int]:
        """The inputs and calls that its input depends on."""
        return sources_of(self.pieces)


class ModelGraph(NamedTuple):
    """The calls of a model in their order. Sources are numbered: first the inputs, then the calls.

    Attributes:
        inputs: shapes of the model's inputs, without batch and steps.
        calls: the calls of blocks.
        outputs: what the tensors that the forward pass returns are made of; the first one is the model's output.
        unused: paths of blocks that were not called.
    """

    inputs: tuple[Shape, ...]
    calls: tuple[Call, ...]
    outputs: tuple[tuple[Piece, ...] | Lost, ...]
    unused: tuple[str, ...]

    def call_of(self, source: int) -> Call | None:
        """Return the call of that number; None for an input of the model."""
        return self.calls[source - len(self.inputs)] if source >= len(self.inputs) else None

    def shape_of(self, source: int) -> Shape:
        """Return the shape of an input or of the output of a call."""
        call = self.call_of(source)
        return self.inputs[source] if call is None else call.shape

    def whole(self, pieces: tuple[Piece, ...] | Lost) -> int | None:
        """Return the source whose units, all and in order, are a tensor; None if there is none."""
        if isinstance(pieces, Lost) or len(pieces) != 1:
            return None
        units = pieces[0].units.reshape(-1)
        size = math.prod(self.shape_of(pieces[0].source))
        return pieces[0].source if np.array_equal(units, np.arange(size)) else None

    def output_sources(self) -> list[int]:
        """Return the sources whose spikes leave the model.

        The source of the first tensor that the pass returned, if that is all its spikes; and those of the other
        tensors if they feed no block, so that spikes of hidden layers that are returned too are no outputs.
        """
        fed = {source for call in self.calls for source in call.sources if not passes(call.block)}
        sources = [self.whole(pieces) for pieces in self.outputs]
        further = [source for source in sources[1:] if source not in fed]
        return list(dict.fromkeys(source for source in (*sources[:1], *further) if source is not None))


def sources_of(pieces: tuple[Piece, ...] | Lost) -> frozenset[int]:
    """Return the numbers of the sources of an input."""
    return pieces.sources if isinstance(pieces, Lost) else frozenset(piece.source for piece in pieces)


@functools.cache
def block_kinds() -> tuple[type, ...]:
    """Return the classes of SLAYER's blocks; a block is an instance of one of them."""
    block = import_slayer().block
    rooms = [room for room in vars(block).values() if getattr(room, "__name__", "").startswith(block.__name__ + ".")]
    kinds = {kind for room in rooms for kind in vars(room).values() if isinstance(kind, type)}
    own = {kind for kind in kinds if kind.__module__.startswith(block.__name__) and hasattr(kind, "forward")}
    return tuple(kind for kind in own if "forward" in vars(kind) or not kind.__name__.startswith("Abstract"))


def blocks_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the SLAYER blocks of a model, in the order in which it lists them."""
    return [module for module in model.modules() if isinstance(module, block_kinds())]


def output_of(result: Any) -> Tensor:
    """Return the output among what a forward pass returned: the first tensor of a tuple, a list or a dict."""
    tensors = _tensors(result)
    if not tensors:
        raise UnsupportedNode(
            f"model: expected forward to return a tensor, or a tuple whose first item is one, got {_kind(result)}"
        )
    return tensors[0]


def _kind(result: Any) -> str:
    return (
        f"{type(result).__name__} of {len(result)}"
        if isinstance(result, (tuple, list, dict))
        else str(type(result).__name__)
    )


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Mapping):
        result = tuple(result.values())
    items = result if isinstance(result, (tuple, list)) else (result,)
    if items and not isinstance(items[0], Tensor):
        return []
    return [item for item in items if isinstance(item, Tensor)]


def random_example(shape: Shape, device: torch.device | None = None) -> Tensor:
    """Return a short input of random spikes, (2, *shape, 4) float32, the same in every call."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(SAMPLES, *shape, STEPS, generator=generator) < 0.5).float().to(device)


def read_graph(model: torch.nn.Module, *examples: Tensor) -> ModelGraph:
    """Run a model in evaluation mode and return its graph.

    Weights, modes, the state of neurons and torch's random numbers stay as they are; shapes and delays that SLAYER
    makes in the first pass come to be.

    Args:
        model: a module with SLAYER blocks anywhere inside.
        examples: its inputs, each (batch, *shape, steps); the first samples and steps are used.

    Raises:
        UnsupportedNode: the forward pass fails; the message names the block or says what it returned.
    """
    short = [_shortened(example) for example in examples]
    tracer = _Tracer(model)
    with _undisturbed(model), torch.random.fork_rng(devices=[]), torch.no_grad():
        for example in short:
            tracer.add_source(example)
        result = tracer.run(model, short)
        return tracer.graph(model, short, result)


def _shortened(example: Tensor) -> Tensor:
    """Return SAMPLES samples of STEPS steps; one sample or one step is repeated."""
    example = example.detach()[..., :STEPS]
    example = example if example.shape[-1] > 1 else example.repeat_interleave(STEPS, -1)
    return example[:SAMPLES] if len(example) >= SAMPLES else torch.cat([example] * SAMPLES)[:SAMPLES]


STATES: Final = ("spike_state", "current_state", "voltage_state", "delay_buffer")


@contextmanager
def _undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """Keep the modes of a model's modules and the state of its neurons; inside, it evaluates from rest."""
    modes = [(module, module.training) for module in model.modules()]
    states = [
        (module, name, getattr(module, name)) for module in model.modules() for name in STATES if hasattr(module, name)
    ]
    for module, name, value in states:
        if isinstance(value, Tensor):
            setattr(module, name, torch.zeros_like(value))
        elif name == "delay_buffer":
            setattr(module, name, None)
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
        for module, name, value in states:
            setattr(module, name, value)


class _Tracer(TorchFunctionMode):
    """Follows spikes from block to block while it is entered."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.paths = {id(module): path or "model" for path, module in model.named_modules()}
        self.kept: list[Tensor] = []  # a tensor keeps its id as long as it lives
        self.values: dict[int, Followed | Lost] = {}
        self.shapes: list[tuple[int, ...]] = []  # of all sources, with batch and steps
        self.starts: list[int] = [1]  # the number of the first spike of each source, and of the next one
        self.calls: list[Call] = []
        self.inside: list[torch.nn.Module] = []  # modules that are running
        self.block: tuple[Any, Tensor | None] | None = None  # the block that is running, and its input
        self.n_inputs = 0

    # -- sources and values -------------------------------------------------------------------------------------------

    def add_source(self, tensor: Tensor) -> int:
        """Number the spikes of a new source; return its number."""
        start, size = self.starts[-1], tensor.numel()
        self.shapes.append(tuple(tensor.shape))
        self.starts.append(start + size)
        self.record(tensor, Followed((torch.arange(start, start + size).reshape(tensor.shape),)))
        self.n_inputs += self.block is None
        return len(self.shapes) - 1

    def record(self, tensor: Tensor, value: Followed | Lost) -> None:
        """Record what a tensor is."""
        if id(tensor) not in self.values:
            self.kept.append(tensor)
        self.values[id(tensor)] = value

    def value(self, tensor: Tensor) -> Followed | Lost:
        """Return what a tensor is."""
        unknown = Lost("a tensor that no followed operation made", frozenset(range(len(self.shapes))))
        return self.values.get(id(tensor), unknown)

    def lost(self, by: str, operands: Sequence[Tensor]) -> Lost:
        """Return the value of what operation `by` made of some tensors."""
        values = [self.values[id(operand)] for operand in operands if id(operand) in self.values]
        before = next((value for value in values if isinstance(value, Lost)), None)
        if before is not None:
            by = before.by
        sources: set[int] = set()
        for value in values:
            sources |= value.sources if isinstance(value, Lost) else self._sources(value)
        return Lost(by, frozenset(sources))

    def _sources(self, value: Followed) -> set[int]:
        numbers = [term[term > 0].flatten().numpy() for term in value.terms]
        return {int(n) for part in numbers for n in np.unique(np.searchsorted(self.starts, part, "right") - 1)}

    # -- operations ---------------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and follow its result, unless a block is running."""
        kwargs = kwargs or {}
        if self.block is not None:
            return func(*args, **kwargs)
        operands = _leaves((args, kwargs))
        name = getattr(func, "__name__", "")
        known = any(id(operand) in self.values for operand in operands)
        if not known and name not in _ZEROS:
            return func(*args, **kwargs)
        rule = _OPERATIONS.get(name)
        value = None if rule is None else rule(self, func, args, kwargs)
        result = func(*args, **kwargs)
        if name == "__setitem__":
            self._change(args[0], value)
            return result
        results = result if isinstance(result, (tuple, list)) else (result,)
        if not any(isinstance(each, Tensor) for each in results):
            return result
        if value is None:
            value = self.lost(self.name(func), operands)
        values = value if isinstance(value, list) else [value] * len(results)
        for each, what in zip(results, values, strict=True):
            if isinstance(each, Tensor):
                if any(each is operand for operand in operands) and name.endswith("_") and name not in _SAME:
                    self._change(each, what)
                else:
                    self.record(each, what)
        return result

    def _change(self, tensor: Tensor, value: Any) -> None:
        """Record a change in place, which other views of the same memory do not survive."""
        storage = tensor.untyped_storage().data_ptr()
        for other in self.kept:
            if other is not tensor and other.untyped_storage().data_ptr() == storage:
                self.values[id(other)] = self.lost("a change in place of memory that it shares", [other])
        self.record(tensor, value if value is not None else self.lost("a change in place", [tensor]))

    def name(self, func: Any) -> str:
        """Return the name of an operation, with the module of torch in which it runs."""
        name = resolve_name(func) or getattr(func, "__name__", str(func))
        module = self.inside[-1] if self.inside else None
        if module is not None and type(module).__module__.startswith("torch.nn"):
            return f"{type(module).__name__} {self.paths.get(id(module), '')}".strip()
        return str(name).removeprefix("torch._C._nn.")

    def move(self, func: Any, args: Any, kwargs: Any, joins: bool = False) -> Followed | Lost | list[Any]:
        """Return the value of the result of an operation that only moves elements."""
        operands = _leaves((args, kwargs))
        tracked = [operand for operand in operands if id(operand) in self.values]
        values = {id(operand): self.values[id(operand)] for operand in tracked}
        others = [operand for operand in operands if id(operand) not in self.values]
        if any(isinstance(value, Lost) for value in values.values()) or any(
            joins or operand.is_floating_point() for operand in others
        ):
            by = "a parameter or a constant" if others else "?"
            return self.lost(by, tracked)

        def term(number: int) -> Callable[[Any], Any]:
            def replace(item: Any) -> Any:
                if not isinstance(item, Tensor) or id(item) not in values:
                    return item.cpu() if isinstance(item, Tensor) else item
                terms = values[id(item)].terms  # type: ignore[union-attr]
                return terms[number] if number < len(terms) else torch.zeros(item.shape, dtype=torch.int64)

            return replace

        count = max((len(value.terms) for value in values.values()), default=0)  # type: ignore[union-attr]
        moved = [func(*tree_map(term(k), args), **tree_map(term(k), kwargs)) for k in range(count)]
        if moved and isinstance(moved[0], (tuple, list)):
            return [Followed(tuple(each[i] for each in moved)) for i in range(len(moved[0]))]
        return Followed(tuple(moved))

    # -- modules ------------------------------------------------------------------------------------------------------

    def enter(self, module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note the start of a module; for a block, its input."""
        self.inside.append(module)
        if self.block is None and isinstance(module, _stops()):
            tensor = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], Tensor) else None
            self.block = (module, tensor)

    def leave(self, module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        """Note the end of a module; for a block, its output."""
        self.inside.pop()
        if self.block is None or self.block[0] is not module:
            return
        tensor = self.block[1]
        result = output[0] if isinstance(output, tuple) else output
        value = Lost("a call with other arguments than one tensor", frozenset(range(len(self.shapes))))
        before = value if tensor is None else self.value(tensor)
        pieces = value if tensor is None else self.resolve(before, tuple(tensor.shape))
        shape_in = () if tensor is None else tuple(tensor.shape[1:-1])
        path = self.paths.get(id(module), "")
        self.calls.append(Call(path, module, pieces, shape_in, tuple(result.shape[1:-1])))
        number = self.add_source(result)
        assert number == self.n_inputs + len(self.calls) - 1
        self.block = None
        if passes(module) and tensor is not None and isinstance(before, Followed):
            self.record(result, Followed(tuple(term.reshape(result.shape) for term in before.terms)))

    def run(self, model: torch.nn.Module, examples: Sequence[Tensor]) -> Any:
        """Return the result of the forward pass. Raises UnsupportedNode where it fails."""
        handles = [
            hooks.register_module_forward_pre_hook(self.enter),
            hooks.register_module_forward_hook(self.leave),
        ]
        try:
            with self:
                return model(*examples)
        except SdsnnError:
            raise
        except Exception as error:
            raise UnsupportedNode(self._failure(examples, error)) from None
        finally:
            for handle in handles:
                handle.remove()

    def _failure(self, examples: Sequence[Tensor], error: Exception) -> str:
        shapes = " and ".join(str(tuple(example.shape[1:-1])) for example in examples)
        if self.block is None:
            return f"model: expected a forward pass on input {shapes}, got {type(error).__name__}: {one_line(error)}"
        block, tensor = self.block
        got = f"{type(error).__name__}: {one_line(error)}"
        shapes = "" if tensor is None else f" on input {tuple(tensor.shape[1:-1])}"
        if tensor is not None:
            synapse = getattr(block, "synapse", getattr(block, "input_synapse", None))
            width = getattr(synapse, "in_channels", None)
            if tensor.dim() == 3 and width is not None and tensor.shape[1] != width:
                pieces = self.resolve(self.value(tensor), tuple(tensor.shape))
                sender = self._sender(pieces)
                return f"{self._where(block)}: expected {tensor.shape[1]} inputs, as {sender} has, got {width}"
        return f"{self._where(block)}: expected a forward pass{shapes}, got {got}"

    def _sender(self, pieces: tuple[Piece, ...] | Lost) -> str:
        numbers = sorted(sources_of(pieces))
        if len(numbers) != 1:
            return "what is in front of it"
        if numbers[0] >= self.n_inputs:
            return repr(self.calls[numbers[0] - self.n_inputs].path)
        return "'input'" if numbers[0] == 0 else f"'input{numbers[0]}'"

    def _where(self, block: Any) -> str:
        return block_name(self.paths.get(id(block), ""), block)

    # -- results ------------------------------------------------------------------------------------------------------

    def resolve(self, value: Followed | Lost, shape: tuple[int, ...]) -> tuple[Piece, ...] | Lost:
        """Return which unit of which source each place of a tensor (batch, *shape, steps) holds."""
        if isinstance(value, Lost):
            return value
        moved = Lost("an operation that moves samples or steps", frozenset(self._sources(value)))
        pieces: list[Piece] = []
        for term in value.terms:
            if term.dim() < 3:
                return moved
            numbers = term.numpy()
            first = numbers[0, ..., 0]
            for source in sorted(
                int(n) for n in np.unique(np.searchsorted(self.starts, first[first > 0], "right") - 1)
            ):
                start, stop, whole = self.starts[source], self.starts[source + 1], self.shapes[source]
                place = (first >= start) & (first < stop)
                steps, size = whole[-1], int(np.prod(whole[1:-1]))
                sample = np.arange(len(numbers)).reshape(-1, *(1,) * (numbers.ndim - 1))
                expected = first[None, ..., None] + sample * size * steps + np.arange(numbers.shape[-1])
                fits = (numbers.shape[0], numbers.shape[-1]) == (whole[0], steps)
                if not fits or (numbers != expected)[:, place].any() or ((first - start)[place] % steps).any():
                    return moved
                units = np.where(place, (first - start) // steps, -1)
                if (units >= size).any():
                    return moved
                pieces.append(Piece(source, units))
            if (numbers > 0).any() and ((numbers > 0) != (first > 0)[None, ..., None]).any():
                return moved
        return tuple(pieces)

    def graph(self, model: torch.nn.Module, examples: Sequence[Tensor], result: Any) -> ModelGraph:
        """Return the graph of the pass that ran."""
        output_of(result)
        called = {id(call.block) for call in self.calls}
        unused = [
            self.paths[id(module)]
            for module in model.modules()
            if isinstance(module, block_kinds()) and id(module) not in called
        ]
        outputs = [self.resolve(self.value(tensor), tuple(tensor.shape)) for tensor in _tensors(result)]
        inputs = tuple(tuple(example.shape[1:-1]) for example in examples)
        return ModelGraph(inputs, tuple(self.calls), tuple(outputs), tuple(unused))


def block_name(path: str, block: Any) -> str:
    """Return how errors name a block: its path in the model and its type."""
    module = type(block).__module__
    short = (
        module.rsplit(".", 1)[-1] if module.startswith("lava.lib.dl.slayer.") else module.removeprefix("lava.lib.dl.")
    )
    where = f"block {path}" if path.isdigit() else path or "a block outside the model's modules"
    return f"{where} ({short}.{type(block).__name__})"


def passes(block: Any) -> bool:
    """Return whether a block hands its input on unchanged: Flatten, and Input as a port."""
    base = import_slayer().block.base
    port = isinstance(block, base.AbstractInput) and block.neuron is None and block.delay_shift is not True
    return port or isinstance(block, base.AbstractFlatten)


@functools.cache
def _stops() -> tuple[type, ...]:
    """Return the modules inside which nothing is followed: blocks, and SLAYER's axonal delay."""
    return (*block_kinds(), import_slayer().axon.Delay)


def _leaves(tree: Any) -> list[Tensor]:
    leaves: list[Tensor] = []
    tree_map(lambda item: leaves.append(item) if isinstance(item, Tensor) else None, tree)
    return leaves


# -- rules of operations: (tracer, function, args, kwargs) -> the value of the result ---------------------------------


def _move(tracer: _Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    return tracer.move(func, args, kwargs)


def _join(tracer: _Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    return tracer.move(func, args, kwargs, joins=True)


def _same(tracer: _Tracer, _func: Any, args: Any, _kwargs: Any) -> Any:
    return tracer.value(args[0])


def _zeros(_tracer: _Tracer, _func: Any, _args: Any, _kwargs: Any) -> Any:
    return Followed(())


def _dropout(tracer: _Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    names = ("input", "p", "training", "inplace")
    bound = {"training": True, **dict(zip(names, args, strict=False)), **kwargs}
    if bound.get("train", bound["training"]):
        return tracer.lost(f"{tracer.name(func)} in training mode", [bound["input"]])
    return tracer.value(bound["input"])


def _pad(tracer: _Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    value = kwargs.get("value", args[3] if len(args) > 3 else None)
    return tracer.move(func, args, kwargs) if value in (None, 0) else None


def _add(tracer: _Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    left, right = args[0], args[1] if len(args) > 1 else kwargs.get("other")
    if kwargs.get("alpha", 1) != 1:
        return None
    numbers = [item for item in (left, right) if not isinstance(item, Tensor)]
    tensors = [item for item in (left, right) if isinstance(item, Tensor)]
    if any(number != 0 for number in numbers):
        return None
    values = [tracer.value(tensor) for tensor in tensors]
    if any(isinstance(value, Lost) for value in values):
        return tracer.lost(next(value.by for value in values if isinstance(value, Lost)), tensors)
    terms = [term for value in values for term in value.terms]  # type: ignore[union-attr]
    shape = np.broadcast_shapes(*(tuple(tensor.shape) for tensor in tensors))
    return Followed(tuple(term.broadcast_to(shape) for term in terms))


def _sum(tracer: _Tracer, _func: Any, args: Any, kwargs: Any) -> Any:
    value = tracer.value(args[0])
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if isinstance(value, Lost) or not isinstance(dim, int) or args[0].shape[dim] > 64:
        return None
    keep = kwargs.get("keepdim", args[2] if len(args) > 2 else False)
    parts = [part for term in value.terms for part in term.unbind(dim)]
    return Followed(tuple(part.unsqueeze(dim) if keep else part for part in parts))


def _set_item(tracer: _Tracer, _func: Any, args: Any, _kwargs: Any) -> Any:
    target, index, source = args
    before = tracer.value(target)
    after = tracer.value(source) if isinstance(source, Tensor) else (Followed(()) if source == 0 else None)
    if isinstance(before, Lost) or after is None or isinstance(after, Lost):
        tensors = [target, source] if isinstance(source, Tensor) else [target]
        return tracer.lost("an assignment to a slice", tensors)
    terms = []
    for k in range(max(len(before.terms), len(after.terms))):
        term = before.terms[k].clone() if k < len(before.terms) else torch.zeros(target.shape, dtype=torch.int64)
        term[index] = after.terms[k] if k < len(after.terms) else 0
        terms.append(term)
    return Followed(tuple(terms))


_ZEROS: Final = frozenset({"zeros", "zeros_like", "new_zeros"})
_SAME: Final = frozenset({
    "contiguous", "clone", "detach", "detach_", "to", "float", "half", "double", "bfloat16", "type", "cpu", "cuda",
    "requires_grad_", "type_as", "alias",
})  # fmt: skip
_MOVES: Final = frozenset({
    "reshape", "view", "flatten", "unflatten", "permute", "transpose", "transpose_", "movedim", "moveaxis", "swapaxes",
    "swapdims", "squeeze", "unsqueeze", "expand", "expand_as", "view_as", "reshape_as", "broadcast_to", "__getitem__",
    "select", "narrow", "index_select", "chunk", "split", "split_with_sizes", "tensor_split", "unbind", "unsafe_chunk",
    "flip", "roll", "repeat", "repeat_interleave", "tile", "channel_shuffle", "pixel_shuffle", "t", "__iter__",
})  # fmt: skip
_OPERATIONS: Final[dict[str, Callable[[_Tracer, Any, Any, Any], Any]]] = {
    **dict.fromkeys(_MOVES, _move),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"), _join),
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_ZEROS, _zeros),
    **dict.fromkeys(
        ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"), _dropout
    ),
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), _add),
    "sum": _sum,
    "pad": _pad,
    "__setitem__": _set_item,
}
