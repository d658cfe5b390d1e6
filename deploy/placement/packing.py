"""Ways to cut the populations of a network and to pack the pieces on cores, and the placement that they make.

Several ways are tried. Output axons depend on where the targets went, so a cut is repeated with smaller pieces where
they run over.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.network import Network

from .chip import RESOURCES, DoesNotFit
from .cut import Cutter
from .synapse_lists import Cores, Piece
from .types import CONVOLUTION_SLOTS, AxonTable, Ints, Mesh, Placement

_ROUNDS = 12  # tries to bring output axons under their limit
_LOOK = 16  # cores tried for a piece that may share
_EVEN = 256  # pieces up to which a population is cut evenly afterwards
_LARGE = 200_000  # neurons beyond which only one way is tried

Way = Callable[[Cutter], Cores]


class Layout(NamedTuple):
    """Pieces on cores. core_of: population -> (size,) core of each neuron. outgoing: (n_cores,) output slots."""

    cores: Cores
    core_of: dict[str, npt.NDArray[np.int32]]
    outgoing: Ints


class NoBetter(Exception):
    """A way to cut and pack needs as many cores as the best so far, or more."""


def legal(cutter: Cutter, way: Way) -> Layout:
    """Cut and pack in one way until output axons are within their limit too. Raises DoesNotFit or NoBetter."""
    limit = cutter.chip.limit("output_axons")
    cutter.slots = cutter.no_slots()
    for _ in range(_ROUNDS):
        cores = way(cutter)
        core_of = _numbered(cutter, ((core, piece) for core, pieces in enumerate(cores) for piece in pieces))
        slots = cutter.no_slots()  # one for each destination core, two where a convolution leads
        for (source, convolution), needed in (item for pieces in cores for item in cutter.axons(pieces).items()):
            if source in slots:
                slots[source] += needed * (CONVOLUTION_SLOTS if convolution else 1)
        outgoing = np.zeros(len(cores), np.int64)
        for name, each in slots.items():
            outgoing += np.bincount(core_of[name], each, len(cores)).astype(np.int64)
        if limit is None or outgoing.max() <= limit:
            if len(cores) >= cutter.fewer_than:
                raise NoBetter
            return Layout(cores, core_of, outgoing)
        # The next round cuts and packs the sources by where the targets lie now.
        cutter.slots = {name: np.maximum(each, cutter.slots[name]) for name, each in slots.items()}
    worst = int(outgoing.argmax())
    piece = max(cores[worst], key=lambda item: int(cutter.slots[item.population][item.neurons].sum()))
    assert limit is not None
    hint = f"{_ROUNDS} rounds of smaller pieces did not help"
    raise DoesNotFit(piece.population, "output_axons", int(outgoing[worst]), limit, cutter.chip.title, hint)


def ways(network: Network) -> Iterator[Way]:
    """Yield the ways to cut and pack that are tried, the one that spreads work most evenly first."""
    yield first_fit
    if sum(p.size for p in network.populations.values()) > _LARGE:
        return
    populations = tuple(network.populations)
    shaped = any(len(p.shape) == 3 for p in network.populations.values())
    orders = dict.fromkeys((populations, populations[::-1]))
    for by_place, order in itertools.product((False, True) if shaped else (False,), orders):
        yield functools.partial(fill, populations=order, by_place=by_place)


def first_fit(cutter: Cutter) -> Cores:
    """Cut each population by itself, then put the pieces on cores, largest first, each on the first that takes it."""
    by_population: list[list[Piece]] = []
    flat: list[Piece] = []
    for name in cutter.network.populations:
        by_population.append(cutter.pieces(name))
        flat += by_population[-1]
        cutter.progress(sum(piece.neurons.size for piece in flat))
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
            name = flat[i].population
            # The lower bound assumes one run of a population on a core.
            alone = cutter.boxed[name] or all(piece.population != name for piece in together)
            if alone and cutter.fits([*together, flat[i]]):
                cores[k].append(i)
                break
        else:
            k = len(cores)
            cores.append([i])
        load[k] += mine
    _settle(cutter, cores, flat, by_population)
    return [[flat[i] for i in sorted(members)] for members in sorted(cores, key=min)]


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
        size, parts = cutter.network.size_of(population), len(pieces)
        even = [
            cutter.run(population, *ends) for ends in itertools.pairwise(size * i // parts for i in range(parts + 1))
        ]
        if all(cutter.fits([piece]) for piece in even):
            for number, piece in zip(numbers, even, strict=True):
                flat[number] = piece


def fill(cutter: Cutter, populations: Sequence[str], by_place: bool) -> Cores:
    """Fill one core after the other: each population goes on where the one before stopped.

    by_place: populations under a convolution are cut along their places, all channels together, not along channels.
    """
    cores: Cores = []
    last: list[Piece] = []
    done = 0
    for name in populations:
        first, end = 0, cutter.network.size_of(name)
        if cutter.boxed[name]:
            end = cutter.units(name, by_place)
        while first < end:
            if cutter.boxed[name]:
                n, pieces = cutter.longest_interval(name, first, by_place, last)
            else:
                n, pieces = cutter.longest_run(name, first, last)
            last += pieces
            first += n
            done += sum(piece.neurons.size for piece in pieces)
            cutter.progress(done)
            if first < end:
                cores.append(last)
                last = []
                if len(cores) + 1 >= cutter.fewer_than:
                    raise NoBetter
    return [*cores, last] if last else cores


def _numbered(cutter: Cutter, pieces: Iterable[tuple[int, Piece]]) -> dict[str, npt.NDArray[np.int32]]:
    """Return population -> (size,) the number of the core or piece that each neuron is on."""
    numbers = {name: np.full(p.size, -1, np.int32) for name, p in cutter.network.populations.items()}
    for number, piece in pieces:
        numbers[piece.population][piece.neurons] = number
    assert all((each >= 0).all() for each in numbers.values())
    return numbers


def finish(
    cutter: Cutter, layout: Layout, bounds: Mapping[str, int], tight: bool = False, order: tuple[int, ...] = ()
) -> Placement:
    """Return the Placement of pieces on cores. tight: `bounds` are tight bounds. order: of the tiles, see Mesh."""
    chip = cutter.chip
    assert chip.layout is not None
    cores = layout.cores
    uses = [cutter.use(pieces) for pieces in cores]
    use = {name: np.array([one[name] for one in uses], np.int64) for name in uses[0]}
    use["output_axons"] = layout.outgoing
    limits = {name: chip.limit(name) for name in RESOURCES}
    room = np.array([cutter.limit("neurons", pieces) for pieces in cores])
    load = {name: float(use[name].sum()) / limit / len(cores) for name, limit in limits.items() if limit}
    load["neurons"] = float((use["neurons"] / room).mean())
    return Placement(
        chip=chip.name,
        core_of=layout.core_of,
        piece_of=_numbered(cutter, enumerate(piece for pieces in cores for piece in pieces)),
        axons={name: _axon_table(cutter, name, cores) for name in cutter.network.projections},
        n_cores=len(cores),
        mesh=Mesh(chip.layout.cores_per_chip, chip.layout.cores_per_tile, chip.layout.tiles_x, order),
        use=use,
        limits=limits,
        neuron_room=room,
        bounds=bounds,
        tight_bound=tight,
        load=load,
        pieces={name: np.unique(cores_of).size for name, cores_of in layout.core_of.items()},
        notes=tuple(_notes(cutter)),
        static_power=chip.constants.get("static_power_per_chip"),
        link=chip.constants.get("link_packets_per_second"),
        barriers=tuple(fact for name, fact in chip.constants.items() if name.startswith("barrier_of_")),
    )


def _axon_table(cutter: Cutter, name: str, cores: Cores) -> AxonTable:
    columns: list[tuple[Ints, ...]] = []
    for core, pieces in enumerate(cores):
        together = sum(piece.neurons.size for piece in pieces)
        parts: list[tuple[Ints, ...]] = []
        for lists in (piece.lists[name] for piece in pieces if name in piece.lists):
            bits, is_sparse = lists.bits(together, cutter.layout)
            pattern = lists.pattern
            owned = np.zeros(pattern.size, np.int64)
            owned[np.unique(pattern, return_index=True)[1]] = bits  # the first axon owns a shared list
            synapses, in_sparse = lists.stored[pattern], is_sparse[pattern]
            stored = np.where(in_sparse, synapses, lists.span[pattern])
            parts.append((np.flatnonzero(lists.needed), synapses, stored, owned, in_sparse.astype(np.int64)))
        if not parts:
            continue
        source, *amounts = (np.concatenate(part) for part in zip(*parts, strict=True))
        if len(parts) > 1:  # boxes of one population that share a core share the axons of their sources
            source, inverse = np.unique(source, return_inverse=True)
            amounts = [np.bincount(inverse, part, source.size).astype(np.int64) for part in amounts]
        columns.append((source, np.full(source.size, core, np.int64), *amounts))
    source, on_core, synapses, stored, bits, kind = (np.concatenate(part) for part in zip(*columns, strict=True))
    return AxonTable(source, on_core, synapses, stored, bits, kind > 0, cutter.counters[name].boxed)


def _notes(cutter: Cutter) -> Iterator[str]:
    layout = cutter.layout
    yield f"synaptic memory counted as {layout.source} [{layout.year}, {layout.grade}]"
    for name, counter in cutter.counters.items():
        if not counter.form.exact:
            widest = max(layout.weight_bits)
            yield f"{name}: weights need more than the {widest} bits of the widest format; low bits would be lost"
    for resource in RESOURCES:
        if cutter.chip.limit(resource) is None:
            yield f"no limit imposed on {RESOURCES[resource]}: none was published"
    yield from cutter.not_counted
