"""The search for a placement that serves an objective: candidates, the best of them, and positions on the mesh."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from ..chip import DoesNotFit
from ..cut import Cutter
from ..packing import Layout, NoBetter, Way, finish, legal, ways
from ..synapse_lists import Cores
from ..types import CoreWork, Placement
from .balance import Balancer, Weighed, pack_evenly, pack_within
from .drive import Drive
from .mesh import compact_order, distances, positions
from .work import core_work

ROUNDS = 60  # cuts of the search for speed
_GAIN = 0.98  # a finer cut is of use if its busiest piece takes at most so much of the time before
_PATIENCE = 8  # rounds in a row without a better placement

SCORES: Mapping[str, Callable[[CoreWork], float]] = {
    "cores": lambda work: 0.0,
    "latency": lambda work: work.step,
    "energy": lambda work: work.joules,
    "balance": lambda work: work.busiest_events,
}


def improve(cutter: Cutter, fewest: Layout, placement: Placement, drive: Drive, objective: str) -> Placement:
    """Return the best placement for an objective, `placement` with the fewest cores included."""
    cutter.fewer_than = math.inf
    plain = replace(placement, objective=objective, work=core_work(cutter.network, placement, drive))
    if objective == "cores":
        return plain
    key = _by(SCORES[objective])
    seen, best, layout = [plain], plain, fewest
    search = {"latency": _faster, "energy": _thriftier, "balance": _evener}[objective]
    for way in search(cutter, drive, seen):
        try:
            tried = legal(cutter, way)
        except (DoesNotFit, NoBetter):
            continue
        candidate = finish(cutter, tried, plain.bounds, plain.tight_bound, compact_order(plain.mesh))
        candidate = replace(candidate, objective=objective, work=core_work(cutter.network, candidate, drive))
        seen.append(candidate)
        if key(candidate) < key(best):
            best, layout = candidate, tried
    return min(best, _placed(cutter, layout, plain, drive), key=key)


def _by(score: Callable[[CoreWork], float]) -> Callable[[Placement], tuple[float, int]]:
    """Return the key that orders placements: by their score, then by their cores."""

    def key(placement: Placement) -> tuple[float, int]:
        assert placement.work is not None
        return score(placement.work), placement.n_cores

    return key


def _placed(cutter: Cutter, layout: Layout, like: Placement, drive: Drive) -> Placement:
    """Return a layout as a placement whose cores sit where they exchange packets at the least cost."""
    order = compact_order(like.mesh)
    placement = finish(cutter, layout, like.bounds, like.tight_bound, order)
    work = core_work(cutter.network, placement, drive)
    times, pj = drive.prices.times_ns, drive.prices.terms
    assert times is not None
    costs = times.hop_east_west, times.hop_north_south
    if like.objective == "energy" and "hop_east_west" in pj:
        costs = pj["hop_east_west"].pj, pj["hop_north_south"].pj
    slots = positions(work.flow, distances(placement.mesh, placement.n_cores, *costs))
    if (slots != np.arange(slots.size)).any():
        cores: Cores = [layout.cores[core] for core in np.argsort(slots).tolist()]
        core_of = {name: slots[at].astype(np.int32) for name, at in layout.core_of.items()}
        moved = Layout(cores, core_of, layout.outgoing[np.argsort(slots)])
        placement = finish(cutter, moved, like.bounds, like.tight_bound, order)
        work = core_work(cutter.network, placement, drive)
    return replace(placement, objective=like.objective, work=work)


def _faster(cutter: Cutter, drive: Drive, seen: list[Placement]) -> Iterator[Way]:
    """Yield finer and finer cuts: each round cuts the population of the busiest piece into more pieces.

    More cores that a population feeds are more packets that it sends: they are counted in the placement before.
    """
    balancer = Balancer(cutter, drive)
    populations = list(cutter.network.populations)
    parts = dict.fromkeys(populations, 1)
    settled: set[str] = set()  # a finer cut does not make their pieces faster
    most_cores = seen[0].n_chips * seen[0].mesh.cores_per_chip
    for _ in range(ROUNDS):
        packets = _packets_per_spike(cutter, seen[-1])

        def weighed(name: str, number: int, packets: dict[str, float] = packets) -> list[Weighed]:
            return [piece.sending(packets[name], balancer.times.packet_sent) for piece in balancer.cut(name, number)]

        everything = [piece for name in populations for piece in weighed(name, parts[name])]
        parts = {name: max(parts[name], sum(p.piece.population == name for p in everything)) for name in populations}
        busiest = max(everything, key=lambda item: item.busy)
        if len(pack_within(cutter, everything, busiest.busy)) > most_cores:
            return
        yield _within(everything, busiest.busy)
        name = busiest.piece.population
        if name in settled or (len(seen) > _PATIENCE and _stuck(seen)):
            return
        finer = parts[name]
        while True:
            finer = max(finer + 1, finer * 5 // 4)
            if finer > min(cutter.network.size_of(name), most_cores):
                settled.add(name)
                break
            if max(item.busy for item in weighed(name, finer)) < busiest.busy * _GAIN:
                parts[name] = finer
                break


def _packets_per_spike(cutter: Cutter, placement: Placement) -> dict[str, float]:
    """Return population -> packets that a spike of it sends, on average over its neurons."""
    packets = dict.fromkeys(cutter.network.populations, 0.0)
    for name, projection in cutter.network.projections.items():
        if projection.source in packets:
            packets[projection.source] += len(placement.axons[name]) / cutter.network.size_of(projection.source)
    return packets


def _stuck(seen: list[Placement]) -> bool:
    """Return whether the last placements are all slower than one before them."""
    steps = [placement.work.step for placement in seen if placement.work is not None]
    return min(steps[-_PATIENCE:]) > min(steps)


def _within(everything: list[Weighed], most: float) -> Way:
    return lambda cutter: pack_within(cutter, everything, most)


def _evener(cutter: Cutter, drive: Drive, seen: list[Placement]) -> Iterator[Way]:
    """Yield cuts of every population into up to as many pieces as there are cores, spread evenly over the cores."""
    balancer = Balancer(cutter, drive)
    n_cores = parts = seen[0].n_cores
    while parts >= 1 and n_cores > 1:
        try:
            everything = [
                piece
                for name, population in cutter.network.populations.items()
                for piece in balancer.cut(name, min(parts, population.size))
            ]
        except DoesNotFit:
            return
        yield _evenly(everything, n_cores)
        parts = parts - 1 if parts <= 8 else parts * 3 // 4


def _evenly(everything: list[Weighed], n_cores: int) -> Way:
    return lambda cutter: pack_evenly(cutter, everything, n_cores)


def _thriftier(cutter: Cutter, drive: Drive, seen: list[Placement]) -> Iterator[Way]:
    """Yield every way to use few cores: few packets cross the mesh where few cores take them."""
    yield from ways(cutter.network)
    yield from _evener(cutter, drive, seen)
