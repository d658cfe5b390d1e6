"""Put pieces on cores: cut first and pack after, or cut to fill the rest of the last core."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sdsnn_core.network import Network

from .cost import Piece
from .cut import Cutter

Cores = list[list[Piece]]
_LOOK = 16  # cores looked at closely for a piece that may share
_EVEN = 256  # pieces up to which a population is cut evenly afterwards
_LARGE = 200_000  # neurons beyond which only one way is tried


def ways(network: Network) -> Iterator[Callable[[Cutter], Cores]]:
    """Yield the ways to cut and pack that are tried, the one that spreads work most evenly first."""
    yield first_fit
    if sum(p.size for p in network.populations.values()) > _LARGE:
        return
    populations = list(network.populations)
    orders = [populations, populations[::-1]] if len(populations) > 1 else [populations]
    shaped = any(len(p.shape) == 3 for p in network.populations.values())
    for by_place in (False, True) if shaped else (False,):
        for order in orders:
            yield functools.partial(fill, populations=order, by_place=by_place)


def first_fit(cutter: Cutter) -> Cores:
    """Cut each population by itself, then put the pieces on cores, largest first, each on the first that takes it."""
    by_population = list(cutter.pieces())
    flat = [piece for pieces in by_population for piece in pieces]
    uses = [cutter.use([piece]) for piece in flat]
    filled = [max(cutter.excess([piece]).values()) for piece in flat]
    quick = [name for name in ("neurons", "synapse_bits", "output_axons") if cutter.chip.limit(name) is not None]
    limits = np.array([cutter.chip.limit(name) for name in quick])
    load = np.zeros((len(flat), len(quick)), np.int64)
    cores: list[list[int]] = []
    for i in sorted(range(len(flat)), key=lambda i: (-filled[i], i)):
        mine = np.array([uses[i][name] for name in quick])
        # What a piece needs alone only grows in company, so most cores are ruled out without a closer look.
        possible = np.flatnonzero((load[: len(cores)] + mine <= limits).all(axis=1))[:_LOOK]
        for k in possible.tolist():
            together = [flat[j] for j in cores[k]]
            if _one_run(cutter, together, flat[i]) and cutter.fits([*together, flat[i]]):
                cores[k].append(i)
                break
        else:
            k = len(cores)
            cores.append([i])
        load[k] += mine
    _settle(cutter, cores, flat, by_population)
    return [[flat[i] for i in sorted(members)] for members in sorted(cores, key=min)]


def _one_run(cutter: Cutter, together: Sequence[Piece], piece: Piece) -> bool:
    """Whether a core would hold one run of the population of `piece`; the lower bound takes that for granted."""
    return cutter.boxed[piece.population] or all(other.population != piece.population for other in together)


def _settle(cutter: Cutter, cores: list[list[int]], flat: list[Piece], by_population: list[list[Piece]]) -> None:
    """Cut populations evenly whose pieces all ended up alone: as many cores, and none of them the busiest."""
    alone = {members[0] for members in cores if len(members) == 1}
    start = 0
    for pieces in by_population:
        numbers = range(start, start + len(pieces))
        start += len(pieces)
        population = pieces[0].population
        if not (1 < len(pieces) <= _EVEN and alone.issuperset(numbers)) or cutter.boxed[population]:
            continue
        even = cutter.even_runs(population, len(pieces))
        if all(cutter.fits([piece]) for piece in even):
            for number, piece in zip(numbers, even, strict=True):
                flat[number] = piece


def fill(cutter: Cutter, populations: Sequence[str], by_place: bool) -> Cores:
    """Fill one core after the other: each population goes on where the one before stopped.

    by_place: populations under a convolution are cut along their places, all channels together, not along channels.
    """
    cores: Cores = []
    last: list[Piece] = []
    for name in populations:
        first, end = 0, cutter.network.size_of(name)
        if cutter.boxed[name]:
            end = cutter.units(name, by_place)
        while first < end:
            if cutter.boxed[name]:
                n, pieces = cutter.longest_interval(name, first, by_place, last)
            else:
                piece = cutter.longest_run(name, first, last)
                n, pieces = (0, []) if piece is None else (piece.neurons.size, [piece])
            last += pieces
            first += n
            if first < end:
                cores.append(last)
                last = []
    return [*cores, last] if last else cores
