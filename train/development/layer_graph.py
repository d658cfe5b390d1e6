"""Connections between the masked layers of a model, from the autograd graph of one forward pass.

Modules without masks between two layers (Pool, Flatten, concatenation, skip connections) are passed through: a layer
follows another if its input depends on the other's output without a third masked layer between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.lava.compat import import_slayer

from .masks import MaskedLayer


class LayerGraph(NamedTuple):
    """Acyclic graph of the masked layers, by their index.

    Attributes:
        successors: for each layer, the layers that its spikes reach.
        direct: (source, target) where the source's output is the whole input of the target, through nothing but
            SLAYER's Pool and Flatten, so that each input belongs to a known unit of the source.
        outputs: layers whose spikes leave the model without passing another layer.
    """

    successors: tuple[tuple[int, ...], ...]
    direct: frozenset[tuple[int, int]]
    outputs: frozenset[int]

    @property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each layer, the layers that feed it."""
        layers = range(len(self.successors))
        return tuple(tuple(source for source in layers if target in self.successors[source]) for target in layers)

    def direct_source(self, target: int) -> int | None:
        """Return the layer whose output is the whole input of `target`; None if there is no such layer."""
        return next((source for source, fed in self.direct if fed == target), None)


class _Recorder:
    """Records the grad_fn of each tensor that enters or leaves a masked layer, a Pool or a Flatten."""

    def __init__(self) -> None:
        self.entered: dict[int, list[Any]] = {}  # layer -> grad_fn of its inputs
        self.left: dict[Any, int] = {}  # grad_fn of an output -> layer
        self.passed: dict[Any, Any] = {}  # grad_fn of the output of a Pool or Flatten -> that of its input
        self._tensors: list[torch.Tensor] = []  # a grad_fn keeps its identity as long as its tensor lives

    def hook(self, layers: Sequence[MaskedLayer], model: torch.nn.Module) -> list[Any]:
        """Register the hooks and return their handles."""
        base = import_slayer().block.base
        handles = []
        for index, layer in enumerate(layers):
            handles.append(layer.block.register_forward_pre_hook(lambda _m, x, index=index: self._enter(index, x)))
            handles.append(layer.block.register_forward_hook(lambda _m, _x, out, index=index: self._leave(index, out)))
        for module in model.modules():
            if isinstance(module, (base.AbstractPool, base.AbstractFlatten)):
                handles.append(module.register_forward_hook(lambda _m, x, out: self._pass(x[0], out)))
        return handles

    def _enter(self, index: int, inputs: tuple[Any, ...]) -> None:
        for tensor in inputs:
            if isinstance(tensor, torch.Tensor):
                self._tensors.append(tensor)
                self.entered.setdefault(index, []).append(tensor.grad_fn)

    def _leave(self, index: int, output: Any) -> None:
        self.left[self._function(output)] = index

    def _pass(self, before: torch.Tensor, output: Any) -> None:
        function = self._function(output)
        self._tensors.append(before)
        if function is not before.grad_fn:
            self.passed[function] = before.grad_fn

    def _function(self, output: Any) -> Any:
        tensor = output[0] if isinstance(output, tuple) else output
        self._tensors.append(tensor)
        return tensor.grad_fn

    def sources(self, functions: Sequence[Any]) -> set[int]:
        """Return the nearest layers upstream of the given grad_fns."""
        layers: set[int] = set()
        visited: set[Any] = set()
        stack = [function for function in functions if function is not None]
        while stack:
            function = stack.pop()
            if function in visited:
                continue
            visited.add(function)
            if function in self.left:
                layers.add(self.left[function])
            else:
                stack += [before for before, _ in function.next_functions if before is not None]
        return layers

    def direct_source(self, functions: Sequence[Any]) -> int | None:
        """Return the layer whose output is the only input, through Pool and Flatten alone."""
        function = functions[0]
        while function in self.passed:
            function = self.passed[function]
        return self.left.get(function) if len(functions) == 1 else None


def trace_graph(model: torch.nn.Module, layers: Sequence[MaskedLayer], sample: torch.Tensor) -> LayerGraph:
    """Run `model` in evaluation mode and return the graph of its layers.

    Args:
        model: a module that contains the blocks of `layers`.
        layers: the masked layers, as `attach_masks` returns them.
        sample: an input, (batch, *shape, steps).

    Raises:
        UnsupportedNode: if a layer takes no part in the forward pass.
    """
    recorder = _Recorder()
    handles = recorder.hook(layers, model)
    was_training = model.training
    try:
        model.eval()
        with torch.enable_grad():
            result = model(sample.detach().clone().requires_grad_())
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    unused = [layer.name for index, layer in enumerate(layers) if index not in recorder.entered]
    if unused:
        raise UnsupportedNode(f"model: layers {', '.join(unused)} take no part in the forward pass; remove them")
    targets: list[set[int]] = [set() for _ in layers]
    direct = set()
    for index, functions in recorder.entered.items():
        for source in recorder.sources(functions):
            targets[source].add(index)
        nearest = recorder.direct_source(functions)
        if nearest is not None:
            direct.add((nearest, index))
    results = result if isinstance(result, (tuple, list)) else [result]
    if all(isinstance(value, torch.Tensor) for value in results):
        outputs = recorder.sources([value.grad_fn for value in results])
    else:  # an unknown container: any layer may contribute to it
        outputs = set(range(len(layers)))
    return LayerGraph(tuple(tuple(sorted(each)) for each in targets), frozenset(direct), frozenset(outputs))
