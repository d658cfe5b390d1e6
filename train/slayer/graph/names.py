"""Names of populations, and why blocks have no rule."""

from typing import Final

import torch

from sdsnn_core.lava.compat import import_slayer

from ..layout import Layout
from .types import ModelGraph


def population_name(index: int, block: torch.nn.Module) -> str:
    """Return the name of the population that call number `index` becomes."""
    return f"{type(block).__name__.lower()}{index}"


def population_names(graph: ModelGraph, layout: Layout | None = None) -> list[str]:
    """Return the name of the population that each call becomes; a layout has its own for calls with neurons."""
    own = iter(layout.columns if layout is not None else ())
    delay = import_slayer().axon.Delay
    return [
        population_name(number, call.block) if layout is None or isinstance(call.block, delay) else next(own)
        for number, call in enumerate(graph.calls)
    ]


# Why there is no rule: by block, by the module of the neuron, or by both.
REASONS: Final = {
    "KWTA": "it picks winners among all neurons within a step, which a chip does not",
    "Average": "its outputs are means and not spikes; average the counts of the outputs instead",
    "TimeDecimation": "it changes the length of a step",
    **{
        f"{module} {block}": "SLAYER's own block stops with resonating neurons"
        for module in ("rf", "rf_iz")
        for block in ("Affine", "Input", "Recurrent")
    },
    "adrf": "Lava has no such neurons, and netx takes them for RF ones without a message",
    "adrf_iz": "Lava has no such neurons, and netx takes them for RF ones without a message",
}
