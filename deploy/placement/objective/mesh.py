"""Positions of cores on the mesh: cores that exchange many packets sit close together."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import quadratic_assignment

from ..types import Floats, Ints, Mesh

LINK = (
    30.0  # hops that a way to another chip counts as: its links have about a 30th of the bandwidth (docs/placement.md)
)
_TRIES = 3  # random starts of the optimiser
_MOST = 400  # cores beyond which their order stays


def compact_order(mesh: Mesh) -> tuple[int, ...]:
    """Return the tiles of a chip, row by row numbers, in an order in which the first n lie close together."""
    tiles = -(-mesh.cores_per_chip // mesh.cores_per_tile)
    places = [(tile % mesh.tiles_x, tile // mesh.tiles_x) for tile in range(tiles)]
    return tuple(sorted(range(tiles), key=lambda tile: (max(places[tile]), sum(places[tile]), tile)))


def distances(mesh: Mesh, n: int, east_west: float, north_south: float) -> Floats:
    """Return (n, n) the cost of a packet between the first n cores of a mesh."""
    here, there = (np.asarray(index).reshape(n, n) for index in np.divmod(np.arange(n * n), n))
    x, y, same = mesh.hops(here, there)
    return np.asarray(x * east_west + y * north_south + np.where(same, 0.0, LINK * max(east_west, north_south)))


def positions(flow: Floats, distance: Floats, seed: int = 0) -> Ints:
    """Return (n,) the slot of each core that keeps packets times distance small; a heuristic, never worse than the
    order given. flow: (n, n) packets from core to core. distance: (n, n) cost between slots."""
    n = len(flow)
    best = np.arange(n)
    if not 1 < n <= _MOST or not flow.any():
        return best
    both = flow + flow.T  # the distance is symmetric
    cost = _cost(both, distance, best)
    if cost == 0:
        return best
    rng = np.random.default_rng(seed)
    for start in (None, "barycenter", *("randomized",) * _TRIES):
        options = {"rng": rng, "P0": start, "maxiter": 30}
        slots = best if start is None else quadratic_assignment(both, distance, method="faq", options=options).col_ind
        slots = _swapped(both, distance, np.asarray(slots))
        if (now := _cost(both, distance, slots)) < cost * (1 - 1e-12):
            best, cost = slots, now
    return best


def _cost(flow: Floats, distance: Floats, slots: Ints) -> float:
    return float((flow * distance[np.ix_(slots, slots)]).sum())


def _swapped(flow: Floats, distance: Floats, slots: Ints) -> Ints:
    """Swap two cores at a time, the pair that gains most, until none gains. flow, distance: symmetric."""
    slots = slots.copy()
    n = len(slots)
    clear = flow - np.diag(np.diag(flow))
    for _ in range(4 * n):
        d = distance[np.ix_(slots, slots)]
        pull = clear @ d  # pull[i, j]: cost of core i where core j sits
        own = np.diag(pull)
        change = pull + pull.T - own[:, None] - own[None, :] + 2 * clear * d
        i, j = divmod(int(change.argmin()), n)
        if not change[i, j] < -1e-9 * max(1.0, math.fabs(float(own.sum()))):
            return slots
        slots[i], slots[j] = slots[j], slots[i]
    return slots
