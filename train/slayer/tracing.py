"""The graph of a model of SLAYER blocks, read from one forward pass.

Every tensor between two blocks carries a second one of the same shape, which holds for each element the number of the
spike that it is. Operations that only move elements (reshape, permute, cat, slicing, dropout in evaluation) are applied
to both; a sum keeps the numbers of all its terms. So the input of a block is known place by place, whatever the names
of the attributes and the order of the calls. An operation that does more than move or add is named by the block behind
it.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_map

from sdsnn_core.errors import SdsnnError, UnsupportedNode, one_line
from sdsnn_core.network import Shape

from .graph.operations import OPERATIONS, SAME, ZEROS
from .graph.types import (
    Call,
    Followed,
    Lost,
    ModelGraph,
    Piece,
    block_kinds,
    block_name,
    blocks_of,
    output_of,
    passes,
    sources_of,
    stops,
    tensors_of,
)

__all__ = [
    "Call", "Followed", "Lost", "ModelGraph", "Piece", "block_kinds", "block_name", "blocks_of", "output_of", "passes",
    "random_example", "read_graph", "sources_of",
]  # fmt: skip

STEPS: Final = 4  # of the example: enough to notice an operation that moves steps
SAMPLES: Final = 2  # likewise for samples


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


STATES: Final = (
    "spike_state", "current_state", "voltage_state", "delay_buffer", "threshold_state", "refractory_state",
    "real_state", "imag_state", "pre_state", "residual_state", "error_state",
)  # fmt: skip


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
        self.thread = threading.get_ident()
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
        if not known and name not in ZEROS:
            return func(*args, **kwargs)
        rule = OPERATIONS.get(name)
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
                if any(each is operand for operand in operands) and name.endswith("_") and name not in SAME:
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
        if threading.get_ident() != self.thread:  # the hooks are those of the whole process
            return
        self.inside.append(module)
        if self.block is None and isinstance(module, stops()):
            tensor = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], Tensor) else None
            self.block = (module, tensor)

    def leave(self, module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        """Note the end of a module; for a block, its output."""
        if threading.get_ident() != self.thread:
            return
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
        outputs = [self.resolve(self.value(tensor), tuple(tensor.shape)) for tensor in tensors_of(result)]
        inputs = tuple(tuple(example.shape[1:-1]) for example in examples)
        return ModelGraph(inputs, tuple(self.calls), tuple(outputs), tuple(unused))


def _leaves(tree: Any) -> list[Tensor]:
    leaves: list[Tensor] = []
    tree_map(lambda item: leaves.append(item) if isinstance(item, Tensor) else None, tree)
    return leaves
