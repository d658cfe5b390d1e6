"""Advice: the same network placed with one thing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.network import Convolution, Network, Projection, Synapses
from sdsnn_core.rules import Rules

from ..energy.dense_shapes import one_setting
from .chip import RESOURCES, Chip
from .cost import DoesNotFit
from .place import place
from .types import Placement

MANY = 3_000_000  # weights beyond which no variant is tried: each of them is a placement of its own


@dataclass(frozen=True)
class Change:
    """A variant: its change, the cores and bits of synaptic memory it needs; cores None if it does not fit either."""

    title: str
    cores: int | None
    bits: int | None
    kind: str


def advise(network: Network, chip: Chip, placement: Placement | None) -> list[Change]:
    """Return variants of the network, the one that needs the fewest cores (then bits) first.

    placement: the one as it is, or None if the network does not fit. Where the network has more than MANY weights,
    nothing is tried and the list is empty.
    """
    if sum(p.n_weights for p in network.projections.values()) > MANY:
        return []
    tried = [_try(title, variant, chip, "network") for title, variant in _variants(network, placement)]
    return sorted(tried, key=lambda change: (change.cores is None, change.cores, change.bits))


def without_limits(network: Network, chip: Chip) -> list[Change]:
    """Return the cores that the network would need without each limit in turn."""
    if sum(p.n_weights for p in network.projections.values()) > MANY:
        return []
    tried = []
    for resource in chip.limits:
        if resource == "neurons":
            continue
        limits = {name: limit for name, limit in chip.limits.items() if name != resource}
        title = f"no limit on {RESOURCES[resource]}"
        tried.append(_try(title, network, chip.model_copy(update={"limits": limits}), resource))
    more = chip.limits["neurons"].model_copy(update={"value": float(max(64, network_neurons(network)))})
    delays = None if chip.delays is None else chip.delays.model_copy(update={"state_budget": 0})
    freed = chip.model_copy(update={"limits": {**chip.limits, "neurons": more}, "delays": delays})
    tried.append(_try("no limit on neurons", network, freed, "neurons"))
    return sorted(tried, key=lambda change: (change.cores is None, change.cores))


def network_neurons(network: Network) -> int:
    """Number of neurons of all populations."""
    return sum(p.size for p in network.populations.values())


def _try(title: str, network: Network, chip: Chip, kind: str) -> Change:
    try:
        placement = place(network, chip)
    except DoesNotFit:
        return Change(title, None, None, kind)
    return Change(title, placement.n_cores, placement.synapse_bits, kind)


def _variants(network: Network, placement: Placement | None) -> Iterator[tuple[str, Network]]:
    def heavy(name: str) -> int:
        projection = network.projections[name]
        return projection.n_weights if placement is None else int(placement.axons[name].bits.sum())

    heaviest = max(network.projections, key=heavy, default=None)
    if heaviest is not None and network.projections[heaviest].n_weights > 1:
        yield f"half of the weights of {heaviest} pruned as well", _with(network, {heaviest: halved})
    every = list(network.projections)
    if any(p.delay.size and p.delay.max() for p in network.projections.values()):
        yield "no delays", _with(network, dict.fromkeys(every, undelayed))
    if any(p.n_weights for p in network.projections.values()):
        yield "weights of 4 bits, sign included", _with(network, dict.fromkeys(every, coarse))
    if any(p.threshold.size > 1 or p.current_decay.size > 1 for p in network.populations.values()):
        nodes = {**network.nodes, **{name: one_setting(p) for name, p in network.populations.items()}}
        yield "one threshold and decay per population", Network(nodes, network.projections)


def _with(network: Network, changes: Mapping[str, Callable[[Projection], Projection]]) -> Network:
    changed = {name: change(network.projections[name]) for name, change in changes.items()}
    return Network(network.nodes, {**network.projections, **changed})


HALVED: Rules[Callable[[Any], Projection]] = Rules("placement advice: half of the weights")
REWEIGHTED: Rules[Callable[[Any, Callable[[Any], Any]], Projection]] = Rules("placement advice: other weights")
REWEIGHTED.of(Synapses)(lambda p, change: replace(p, weight=change(p.weight)))
REWEIGHTED.of(Convolution)(lambda p, change: replace(p, kernel=change(p.kernel)))


def halved(p: Projection) -> Projection:
    """Return `p` without the weaker half of its weights, as magnitude pruning would leave it."""
    return HALVED.for_(p)(p)


@HALVED.of(Convolution)
def _halved_kernel(p: Convolution) -> Convolution:
    cut = np.median(np.abs(p.kernel[p.kernel != 0])) if p.n_weights else 0
    return replace(p, kernel=np.where(np.abs(p.kernel) > cut, p.kernel, 0))


@HALVED.of(Synapses)
def _halved_synapses(p: Synapses) -> Synapses:
    keep = np.sort(np.argsort(-np.abs(p.weight.astype(np.int64)), kind="stable")[: p.weight.size // 2])
    delay = p.delay[keep] if p.delay.ndim else p.delay
    return replace(p, pre=p.pre[keep], post=p.post[keep], weight=p.weight[keep], delay=delay)


def undelayed(p: Projection) -> Projection:
    """Return `p` without delays."""
    return replace(p, delay=np.zeros((), np.uint8))


def coarse(p: Projection) -> Projection:
    """Return `p` with weights in steps of 32, none of them 0: four bits with their sign."""

    def rounded(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
        values = weights.astype(np.int64)
        step = np.clip(np.rint(values / 32), -8, 7)
        return np.where((step == 0) & (values != 0), np.sign(values), step) * 32

    return REWEIGHTED.for_(p)(p, rounded)
