"""From a trained SLAYER model to a Network: every block has a rule or is refused by name.

SLAYER's CUBA blocks are integer arithmetic in disguise: weights are quantised to k/64 (k even), thresholds to k/64,
decays to k/4096, and the leaky integrator rounds towards zero in 64-bit integers. The rules below read those
integers; nothing is rounded here. With `delay_shift=True`, SLAYER's default, output bin t of a block is bin t of
the population it becomes (one step of transport per block on both sides), on every path of a graph.

A bias is integrated by the chip one step earlier than by SLAYER, because the chip's neurons run before their first
input can arrive. An initial voltage cancels that step exactly (`initial_voltage` in `integers`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.network import Network

from .graph.builder import Builder, check_kind
from .layout import Layout
from .tracing import ModelGraph, block_name, blocks_of, random_example, read_graph

STEP_S: Final = 1e-3  # seconds of a step where the data have none: what chips are usually throttled to


def lower(
    model: torch.nn.Module | Sequence[torch.nn.Module],
    input_shape: Sequence[int] | None = None,
    *,
    example: torch.Tensor | Sequence[torch.Tensor] | None = None,
    input_max: int = 1,
    dt_s: float = STEP_S,
    provenance: Mapping[str, Any] | None = None,
) -> Network:
    """Lower a model of SLAYER blocks to a Network in Loihi's integers; nothing is rounded.

    The connections are read from a forward pass: attributes of any name, loops, nested modules, skip connections,
    concatenations and sums of spikes in front of a synapse. The first tensor that the pass returns is the output; a
    further one is an output too if it is all spikes of a block that feeds no other block.

    Args:
        model: a module with SLAYER blocks anywhere inside, or a sequence of blocks that run one after another.
        input_shape: (N,) or (C, H, W) of an input bin.
        example: an input (batch, *shape, steps) instead of its shape; a sequence of them for a model with several
            inputs. Its values do not matter.
        input_max: largest value of an input bin; 1 means binary spikes.
        dt_s: seconds per step; the bin width, where the data are recordings.
        provenance: what network files carry along, as information only.

    Returns:
        The network, which spikes as the blocks do.

    Raises:
        UnsupportedNode: a block or an operation between blocks has no rule; the message names it.

    Examples:
        >>> import sdsnn, torch
        >>> from sdsnn_core.lava.compat import import_slayer
        >>> neuron = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}
        >>> block = import_slayer().block.cuba.Dense(neuron, 4, 3, weight_scale=4)
        >>> sdsnn.lower([block], input_shape=(4,)).populations["dense0"].size
        3
    """
    graph = _graph_of(model, input_shape, example)
    builder = Builder(graph, input_max, getattr(model, "layout", None))
    for number in range(len(graph.calls)):
        builder.add(number)
    return builder.finish(dt_s, provenance or {})


def lowering_problems(
    model: torch.nn.Module | Sequence[torch.nn.Module],
    input_shape: Sequence[int] | None = None,
    *,
    example: torch.Tensor | Sequence[torch.Tensor] | None = None,
    input_max: int = 1,
) -> list[str]:
    """Return everything for which `lower` would refuse a model, a line for each; empty where it would not.

    Args:
        model, input_shape, example, input_max: as of `lower`.
    """
    try:
        graph = _graph_of(model, input_shape, example)
        builder = Builder(graph, input_max, getattr(model, "layout", None))
    except (UnsupportedNode, NetworkError) as error:
        return [str(error)]
    problems = []
    for number in range(len(graph.calls)):
        try:
            builder.add(number)
        except (UnsupportedNode, NetworkError) as error:
            problems.append(str(error))
            builder.stand_in(number)
    try:
        builder.finish(STEP_S, {})
    except (UnsupportedNode, NetworkError) as error:
        return problems or [str(error)]
    return problems


def _graph_of(model: Any, input_shape: Any, example: Any) -> ModelGraph:
    module = model if isinstance(model, torch.nn.Module) else torch.nn.Sequential(*model)
    if example is None:
        layout: Layout | None = getattr(module, "layout", None)
        if input_shape is None and layout is None:
            raise UnsupportedNode("lower: expected input_shape or example, got neither")
        shape: Any = [port.shape for port in layout.inputs.values()] if input_shape is None and layout else input_shape
        shapes = shape if isinstance(shape[0], (tuple, list)) else [shape]
        device = next((parameter.device for parameter in module.parameters()), None)
        examples = [random_example(tuple(int(n) for n in each), device) for each in shapes]
    else:
        examples = [example] if isinstance(example, torch.Tensor) else list(example)
    try:
        graph = read_graph(module, *examples)
    except UnsupportedNode:
        paths = {id(block): path for path, block in module.named_modules()}
        for block in blocks_of(module):  # what fails may be a block that is refused anyway
            check_kind(block, block_name(paths[id(block)], block))
        raise
    if graph.unused:
        unused = ", ".join(graph.unused)
        raise UnsupportedNode(f"model: expected blocks that take part in the forward pass, got {unused} unused")
    return graph
