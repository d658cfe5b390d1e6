"""Which layer feeds which, read off the autograd graph of one forward pass.

Whatever stands between two blocks (Pool, Flatten, concatenation, skip connections) is passed through: a layer follows
another if its input depends on the other's output without a third masked layer between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from sdsnn_core.errors import UnsupportedNode

from .masks import MaskedLayer


class LayerGraph(NamedTuple):
    """successors: for each layer, the indices of the layers its spikes reach. Without cycles of its own.

    direct: (source, target) where the target's whole input is the source's output, through nothing but SLAYER's Pool
    and Flatten, so that inputs can be told apart by the source's units. outputs: layers whose spikes leave the model
    without another layer between.
    """

    successors: tuple[tuple[int, ...], ...]
    direct: frozenset[tuple[int, int]]
    outputs: frozenset[int]

    @property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each layer, the indices of the layers that feed it."""
        found: list[list[int]] = [[] for _ in self.successors]
        for source, targets in enumerate(self.successors):
            for target in targets:
                found[target].append(source)
        return tuple(tuple(sources) for sources in found)

    def direct_source(self, target: int) -> int | None:
        """Return the layer whose output is the target's whole input, None where there is none."""
        return next((source for source, fed in self.direct if fed == target), None)

    @staticmethod
    def of_chain(n_layers: int) -> LayerGraph:
        """Return the graph in which every layer feeds the next, directly."""
        edges = [(i, i + 1) for i in range(n_layers - 1)]
        return LayerGraph((*((target,) for _, target in edges), ()), frozenset(edges), frozenset({n_layers - 1}))


def trace_graph(model: torch.nn.Module, layers: Sequence[MaskedLayer], sample: torch.Tensor) -> LayerGraph:
    """Run `model` on `sample` (batch, *shape, steps), in evaluation mode, and return who feeds whom.

    Raises UnsupportedNode if a layer takes no part in the forward pass.
    """
    entered: dict[int, list[Any]] = {}
    left: dict[Any, int] = {}
    through: dict[Any, Any] = {}  # from what left a Pool or Flatten to what entered it
    alive: list[torch.Tensor] = []  # grad_fn objects keep their identity as long as their tensors live

    def enter(index: int) -> Any:
        def hook(_module: Any, inputs: tuple[Any, ...]) -> None:
            for tensor in inputs:
                if isinstance(tensor, torch.Tensor):
                    alive.append(tensor)
                    entered.setdefault(index, []).append(tensor.grad_fn)

        return hook

    def leave(index: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            alive.append(tensor)
            left[tensor.grad_fn] = index

        return hook

    def note_passed(_module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        alive.extend((inputs[0], tensor))
        if tensor.grad_fn is not inputs[0].grad_fn:
            through[tensor.grad_fn] = inputs[0].grad_fn

    handles = []
    for index, layer in enumerate(layers):
        handles.append(layer.block.register_forward_pre_hook(enter(index)))
        handles.append(layer.block.register_forward_hook(leave(index)))
    for module in model.modules():
        if type(module).__name__ in ("Pool", "Flatten"):
            handles.append(module.register_forward_hook(note_passed))
    was_training = model.training
    try:
        model.eval()
        with torch.enable_grad():
            result = model(sample.detach().clone().requires_grad_())
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    missing = [layer.name for index, layer in enumerate(layers) if index not in entered]
    if missing:
        raise UnsupportedNode(f"layers {', '.join(missing)} take no part in the forward pass; remove them")
    targets: list[set[int]] = [set() for _ in layers]
    direct = set()
    for index, functions in entered.items():
        for source in _sources(functions, left):
            targets[source].add(index)
        function = functions[0]
        while function in through:
            function = through[function]
        if len(functions) == 1 and function in left:
            direct.add((left[function], index))
    results = result if isinstance(result, (tuple, list)) else [result]
    if all(isinstance(value, torch.Tensor) for value in results):
        outputs = _sources([value.grad_fn for value in results], left)
    else:  # of whatever holds the result, any layer may have a part in it
        outputs = set(range(len(layers)))
    return LayerGraph(tuple(tuple(sorted(found)) for found in targets), frozenset(direct), frozenset(outputs))


def _sources(functions: list[Any], left: dict[Any, int]) -> set[int]:
    """Return the layers whose outputs the given grad_fns depend on, not looking behind them."""
    found: set[int] = set()
    seen: set[Any] = set()
    stack = [function for function in functions if function is not None]
    while stack:
        function = stack.pop()
        if function in seen:
            continue
        seen.add(function)
        if function in left:
            found.add(left[function])
        else:
            stack += [before for before, _ in function.next_functions if before is not None]
    return found
