"""Which layer feeds which, read off the autograd graph of one forward pass.

Whatever stands between two blocks (Pool, Flatten, concatenation, skip connections) is passed through: a layer follows
another if its input depends on the other's output without a third masked layer between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch

from sdsnn_core.errors import UnsupportedNode

from .masking import MaskedLayer


class LayerGraph(NamedTuple):
    """successors: for each layer, the indices of the layers its spikes reach. Without cycles of its own."""

    successors: tuple[tuple[int, ...], ...]

    @property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each layer, the indices of the layers that feed it."""
        found: list[list[int]] = [[] for _ in self.successors]
        for source, targets in enumerate(self.successors):
            for target in targets:
                found[target].append(source)
        return tuple(tuple(sources) for sources in found)

    @staticmethod
    def of_chain(n_layers: int) -> LayerGraph:
        """Return the graph in which every layer feeds the next."""
        return LayerGraph(tuple((i + 1,) if i + 1 < n_layers else () for i in range(n_layers)))

    @staticmethod
    def of_edges(names: Sequence[str], edges: Iterable[tuple[str, str]]) -> LayerGraph:
        """Return the graph with the given edges between layer names. Raises UnsupportedNode for an unknown name."""
        place = {name: index for index, name in enumerate(names)}
        targets: list[set[int]] = [set() for _ in names]
        for source, target in edges:
            for name in (source, target):
                if name not in place:
                    raise UnsupportedNode(
                        f"edge {source} -> {target}: no layer {name!r}; layers are {', '.join(names)}"
                    )
            targets[place[source]].add(place[target])
        return LayerGraph(tuple(tuple(sorted(found)) for found in targets))


def trace_graph(model: torch.nn.Module, layers: Sequence[MaskedLayer], sample: torch.Tensor) -> LayerGraph:
    """Run `model` on `sample` (batch, *shape, steps), in evaluation mode, and return who feeds whom.

    Raises UnsupportedNode if a layer takes no part in the forward pass.
    """
    entered: dict[int, list[Any]] = {}
    left: dict[Any, int] = {}
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

    handles = []
    for index, layer in enumerate(layers):
        handles.append(layer.block.register_forward_pre_hook(enter(index)))
        handles.append(layer.block.register_forward_hook(leave(index)))
    was_training = model.training
    try:
        model.eval()
        with torch.enable_grad():
            alive.append(model(sample.detach().clone().requires_grad_()))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    missing = [layer.name for index, layer in enumerate(layers) if index not in entered]
    if missing:
        raise UnsupportedNode(f"layers {', '.join(missing)} take no part in the forward pass; remove them")
    targets: list[set[int]] = [set() for _ in layers]
    for index, functions in entered.items():
        for source in _sources(functions, left):
            targets[source].add(index)
    return LayerGraph(tuple(tuple(sorted(found)) for found in targets))


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
