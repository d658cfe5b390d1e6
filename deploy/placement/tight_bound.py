"""The tight lower bound on cores: `sdsnn place --bound`.

`bound.py` divides what all neurons need by what one core offers. That misses two costs. A source that feeds neurons on
many cores needs an axon on each of them. And a sparse list pays for indices, which are wider the more neurons share a
core, while a short run of neurons has shorter lists and shares fewer axons.

So cores are sorted into kinds by the most neurons that they hold, and `tight_costs.py` gives the least need of a neuron
on each kind. Then the limits are given weights that add up to one. On every core the weighted sum of its shares (use
divided by limit) is at most one. Hence the number of cores is at least the sum over all neurons of their weighted
shares, each neuron taken on the kind of core where that is least. This holds for any weights; a search finds good ones.

A core is taken to hold at most one run of consecutive neurons of each population. (Populations under a convolution may
lie in any order.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from sdsnn_core.network import Network, Synapses

from .bound import LIMITED, NEEDS, SLACK, lower_bounds, neuron_rooms
from .chip import Chip
from .synapse_lists import list_format
from .tight_costs import DETAIL, core_kinds, least_in_any_order, least_in_order
from .types import CONVOLUTION_SLOTS, Bools, Floats

_STEPS = 4  # kinds of core for each width of indices
_GRID = 8  # weights are first tried in eighths
_SAMPLE = 2000  # neurons by which weights are compared


def tight_bounds(network: Network, chip: Chip, *, cores: int) -> dict[str, int]:
    """Return the least number of cores for each limited resource, tighter than `lower_bounds`.

    The key 'together' is added where all limits at once need more cores than each of them alone.
    """
    bounds = lower_bounds(network, chip, cores=cores)
    if cores == 1:
        return bounds
    shares, fixed = _least_shares(network, chip)
    for name in bounds:
        bounds[name] = max(bounds[name], _cores(shares, fixed, list(dict.fromkeys(["neurons", name]))))
    together = _cores(shares, fixed, list(bounds))
    return {**bounds, "together": together} if together > max(bounds.values()) else bounds


def _least_shares(network: Network, chip: Chip) -> tuple[dict[str, Floats], dict[str, float]]:
    """Return resource -> (kinds, neurons) least share of a core for each neuron, and the share needed once."""
    layout, neurons = chip.synapses, chip.limit("neurons")
    assert layout is not None
    assert neurons is not None
    forms = {name: list_format(p, layout) for name, p in network.projections.items()}
    rooms = neuron_rooms(network, chip, forms)
    many = sum(p.n_weights for p in network.projections.values()) > DETAIL
    kinds = core_kinds(neurons, layout, 1 if many else _STEPS)
    most = np.array([[kind.neurons] for kind in kinds], np.float64)
    needs = {name: [np.zeros((len(kinds), size.size)) for size in network.populations.values()] for name in LIMITED}
    once = dict.fromkeys(LIMITED, 0.0)
    overcharge = np.zeros((len(kinds), 1))
    matrices = [p.source for p in network.projections.values() if isinstance(p, Synapses)]  # they may share axons
    axons: dict[tuple[str, bool], Bools] = {}
    for i, population in enumerate(network.populations):
        incoming = {name: NEEDS.for_(p)(network, name, forms[name], layout) for name, p in network.incoming(population)}
        in_order = not any(need.convolution for need in incoming.values())
        for name, need in incoming.items():
            p = network.projections[name]
            if isinstance(p, Synapses):
                size = network.size_of(population)
                least = (
                    least_in_order(p, size, kinds, forms[name], layout, chip.limit("input_axons"))
                    if in_order
                    else least_in_any_order(p, size, kinds, forms[name])
                )
                overcharge += least.overcharge[:, None]
                needs["synapse_bits"][i] += least.bits
                needs["input_axons"][i] += least.axons / matrices.count(p.source)
                if p.source in rooms:
                    needs["output_axons"][i] += least.axons / matrices.count(p.source)
            else:
                once["synapse_bits"] += need.bits
            if not in_order:
                key = (p.source, need.convolution)
                axons[key] = axons.get(key, np.zeros_like(need.sources)) | need.sources
    for (source, convolution), sources in axons.items():
        n = int(sources.sum()) / (1 if convolution else matrices.count(source))
        once["input_axons"] += n
        once["output_axons"] += n * (CONVOLUTION_SLOTS if convolution else 1) * (source in rooms)
    room = np.concatenate([np.full(p.size, rooms[name]) for name, p in network.populations.items()])
    shares, fixed = {"neurons": 1 / np.minimum(room, most)}, {"neurons": 0.0}
    for name in LIMITED:
        if (limit := chip.limit(name)) is not None:
            offered = limit + (overcharge if name == "synapse_bits" else 0 * overcharge)
            shares[name], fixed[name] = np.concatenate(needs[name], axis=1) / offered, once[name] / float(offered.max())
    return shares, fixed


def _cores(shares: dict[str, Floats], fixed: dict[str, float], resources: Sequence[str]) -> int:
    """Return the bound by the best weights of `resources` that the search finds."""
    every = shares["neurons"].shape[1]
    step = -(-every // _SAMPLE)

    def bound(weights: Sequence[float], step: int = step) -> float:
        weighed = sum(w * shares[name][:, ::step] for w, name in zip(weights, resources, strict=True))
        least = np.asarray(weighed).min(axis=0)
        once = float(sum(w * fixed[name] for w, name in zip(weights, resources, strict=True)))
        bounded: float = float(least.mean()) * every + once
        return bounded

    best = max(_simplex(len(resources), _GRID), key=bound)
    size = 1 / _GRID
    while size > 1e-3:
        moved = [
            tuple(w + size * ((i == up) - (i == down)) for i, w in enumerate(best))
            for up in range(len(best))
            for down in range(len(best))
            if up != down and best[down] >= size
        ]
        better = max(moved, key=bound, default=best)
        best, size = (better, size) if bound(better) > bound(best) * (1 + 1e-9) else (best, size / 2)
    return max(1, math.ceil(bound(best, 1) - SLACK))


def _simplex(n: int, parts: int) -> Iterator[tuple[float, ...]]:
    """Yield all ways to hand out `parts` equal parts of one to n weights."""
    for cut in np.ndindex(*[parts + 1] * (n - 1)):
        if sum(cut) <= parts:
            yield (*(c / parts for c in cut), (parts - sum(cut)) / parts)
