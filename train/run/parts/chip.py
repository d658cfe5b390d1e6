"""What measures a run on the chip of its configuration."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sdsnn_core.compaction import compact
from sdsnn_core.development.chip_costs import ChipCost
from sdsnn_core.development.config import ON_CHIP
from sdsnn_core.errors import ConfigError
from sdsnn_core.network import Input, Network, Node, Output, Population, Synapses

from ...data.load import DataSet
from ...development.chip_prices import masked_costs
from ...development.chip_target import ChipTarget
from ...development.masks import MaskedLayer
from ...slayer.graph.names import population_names
from ...slayer.lowering import lower
from ...slayer.tracing import random_example, read_graph
from ..config import RunConfig

CHIP_SAMPLES = 8  # spread over the validation split (the first may be of one class): a chip is measured with them


def chip_target(
    model: torch.nn.Module,
    layers: Sequence[MaskedLayer],
    data: DataSet,
    config: RunConfig,
    chip_cost: Callable[[Network, str, Any], ChipCost] | None,
) -> ChipTarget:
    """Return what measures a model on the chip of a configuration. Raises ConfigError where nothing measures it."""
    development = config.development
    if chip_cost is None or development.chip is None:
        raise ConfigError([f"development.chip: expected a function that measures on {development.chip}, got none"])
    chip, cost = development.chip, chip_cost
    driven = [name for name in ON_CHIP if name != "stop_cores" and getattr(development, name) is not None]
    check_chip(cost, chip, driven)
    chosen = np.unique(np.linspace(0, len(data.validation) - 1, CHIP_SAMPLES).round().astype(np.int64))
    spikes = data.validation.spikes[chosen] if driven else None

    def measure(model: torch.nn.Module) -> ChipCost:
        training = model.training
        compaction = compact(lower(model, data.shape, input_max=data.input_max))
        model.train(training)
        placed = cost(compaction.network, chip, spikes)
        marginal = placed.marginal
        if marginal is None:
            return placed
        return replace(placed, marginal=lambda limit: masked_costs(compaction, marginal(limit)))

    graph = read_graph(model, random_example(data.shape, next(model.parameters()).device))
    names = population_names(graph, getattr(model, "layout", None))
    name_of = {id(call.block): name for name, call in zip(names, graph.calls, strict=True)}
    return ChipTarget(model, development, measure, layers, [name_of[id(layer.block)] for layer in layers])


def check_chip(cost: Callable[[Network, str, Any], ChipCost], chip: str, driven: Sequence[str]) -> None:
    """Measure one neuron on a chip, so that what the chip lacks is an error before the training.

    driven: the criteria that depend on spikes. Raises ConfigError where the chip cannot measure one of them, and what
    `cost` raises of a chip that is unknown or cannot be placed on.
    """
    nodes: dict[str, Node] = {
        "input": Input((1,)),
        "neuron": Population((1,), 4096, 4096, 64),
        "output": Output("neuron"),
    }
    tiny = Network(nodes, {"synapse": Synapses.from_dense("input", "neuron", [[2]])})
    measured = cost(tiny, chip, np.ones((1, 2, 1), np.uint8) if driven else None)
    if lacking := [name for name in driven if getattr(measured, name.removeprefix("stop_")) is None]:
        needed = "a chip with `prices`, a price list with times"
        raise ConfigError([f"development.{name}: expected {needed}, got {chip}" for name in lacking])
