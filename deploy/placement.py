"""Placement: every neuron on a core, within every limit of the chip, with a lower bound on the cores needed.

Populations are cut along contiguous neurons, or where a convolution feeds them along boxes of channels, rows and
columns; what is left of one population shares a core with what is left of others. Output axons depend on where the
targets went, so the cut is repeated with smaller pieces where they run over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Convolution, Network, Synapses

from .chip import RESOURCES, Chip, load_chip
from .placement_bound import lower_bounds
from .placement_cost import (
    DoesNotFit,
    Incoming,
    Lists,
    Piece,
    Tables,
    core_use,
    excess,
    index_width,
    neuron_limit,
)
from .placement_tiles import Box, BoxCounter, boxes
from .placement_types import AxonTable, Ints, Mesh, Placement

_LOOK = 16  # cores looked at closely for a piece that may share
_EVEN = 256  # pieces up to which a population is cut evenly afterwards
_TRIES = 400  # shapes of boxes tried for one population
_ROUNDS = 12  # tries to bring output axons under their limit
CONVOLUTION_SLOTS = 2  # a population axon with 32-bit payload takes two output slots (nengo-loihi, Axon.slots_per_axon)


def place(network: Network, chip: str | Chip = "loihi2") -> Placement:
    """Assign every neuron of `network` to a core of `chip` (a name, a file, or a Chip).

    Raises DoesNotFit naming node, limit and amount; FileError or ConfigError for a chip that cannot be read, and
    NetworkError for one of which only limits are known.
    """
    target = chip if isinstance(chip, Chip) else load_chip(chip)
    if not target.placeable or target.layout is None:
        raise NetworkError(f"chip {target.name}: only limits of the whole chip are known, nothing can be placed on it")
    return _Placer(network, target).place()


class _Placer:
    """The state of one placement."""

    def __init__(self, network: Network, chip: Chip) -> None:
        assert chip.synapses is not None
        self.network, self.chip, self.layout = network, chip, chip.synapses
        self.sources = {name: p.source for name, p in network.projections.items()}
        self.tables = {name: Tables(p) for name, p in network.populations.items()}
        self.wires: dict[str, Incoming | BoxCounter] = {}
        for name, p in network.projections.items():
            if isinstance(p, Synapses):
                sizes = network.size_of(p.source), network.size_of(p.target)
                self.wires[name] = Incoming(p, *sizes, self.layout)
            else:
                self.wires[name] = BoxCounter(p, network.nodes[p.source].shape, self.layout)  # type: ignore[union-attr]
            longest = self.wires[name].form.max_delay
            if longest > chip.max_delay:
                raise DoesNotFit(p.target, f"delay of {name} (steps)", longest, chip.max_delay, chip.title)
        self.slots = {name: np.zeros(p.size, np.int64) for name, p in network.populations.items()}

    def place(self) -> Placement:
        """Cut, pack and check output axons until all limits hold."""
        limit = self.chip.limit("output_axons")
        for _ in range(_ROUNDS):
            pieces = [self._pieces(name) for name in self.network.populations]
            cores = self._pack(pieces)
            core_of = self._core_of(cores)
            slots = self._slots(cores)
            outgoing = np.zeros(len(cores), np.int64)
            for name, each in slots.items():
                outgoing += np.bincount(core_of[name], each, len(cores)).astype(np.int64)
            if limit is None or outgoing.max() <= limit:
                return self._result(cores, core_of, outgoing)
            # Where the targets lie now is what the next round cuts and packs the sources by.
            self.slots = {name: np.maximum(each, self.slots[name]) for name, each in slots.items()}
        worst = int(outgoing.argmax())
        piece = max(cores[worst], key=lambda item: int(self.slots[item.population][item.neurons].sum()))
        assert limit is not None
        hint = f"{_ROUNDS} rounds of smaller pieces did not help"
        raise DoesNotFit(piece.population, "output_axons", int(outgoing[worst]), limit, self.chip.title, hint)

    def _pieces(self, population: str) -> list[Piece]:
        return self._boxes(population) if self._has_boxes(population) else self._runs(population)

    def _has_boxes(self, population: str) -> bool:
        return any(isinstance(p, Convolution) for _, p in self.network.incoming(population))

    def _most(self, population: str) -> int:
        limit = self.chip.limit("neurons")
        assert limit is not None
        return min(limit, self.network.size_of(population))

    def _make(self, population: str, neurons: Ints, lists: Mapping[str, Lists]) -> Piece:
        return Piece(population, neurons, lists, *self.tables[population].of(neurons))

    def _fits(self, pieces: list[Piece]) -> bool:
        if index_width(sum(p.neurons.size for p in pieces), self.layout) is None and len(pieces) > 1:
            return False
        return max(self._excess(pieces).values()) <= 1

    def _excess(self, pieces: list[Piece]) -> dict[str, float]:
        """Return use divided by limit, output axons as of the round before."""
        found = excess(pieces, self.sources, self.chip)
        if limit := self.chip.limit("output_axons"):
            found["output_axons"] = self._outgoing(pieces) / limit
        return found

    def _outgoing(self, pieces: list[Piece]) -> int:
        return sum(int(self.slots[piece.population][piece.neurons].sum()) for piece in pieces)

    def _refuse(self, piece: Piece) -> DoesNotFit:
        """Say which limit a piece that cannot be made smaller breaks."""
        found = self._excess([piece])
        resource = max(found, key=lambda key: found[key])
        use = {**core_use([piece], self.sources, self.chip), "output_axons": self._outgoing([piece])}[resource]
        limit = neuron_limit([piece], self.chip) if resource == "neurons" else self.chip.limit(resource)
        assert limit is not None
        return DoesNotFit(piece.population, resource, use, limit, self.chip.title, "a single neuron needs as much")

    # Populations that only point-to-point synapses feed: runs of consecutive neurons.

    def _run(self, population: str, first: int, last: int) -> Piece:
        lists: dict[str, Lists] = {}
        for name, _ in self.network.incoming(population):
            wire = self.wires[name]
            assert isinstance(wire, Incoming)
            lists[name] = wire.cut(first, last)
        return self._make(population, np.arange(first, last), lists)

    def _runs(self, population: str) -> list[Piece]:
        size, most = self.network.size_of(population), self._most(population)
        pieces: list[Piece] = []
        first = 0
        while first < size:
            piece = self._longest_run(population, first, min(most, size - first))
            pieces.append(piece)
            first += piece.neurons.size
        return pieces

    def _longest_run(self, population: str, first: int, most: int) -> Piece:
        piece = self._run(population, first, first + most)
        if self._fits([piece]):
            return piece
        low, high, kept = 0, most, None  # `low` fits, `high` does not
        while high - low > 1:
            over = max(self._excess([piece]).values())
            guess = int(piece.neurons.size / over)
            middle = guess if low < guess < high else (low + high) // 2
            piece = self._run(population, first, first + middle)
            if self._fits([piece]):
                low, kept = middle, piece
                nudge = min(high - 1, middle + max(1, middle // 50))
                if nudge > low:  # the guess is close: step over it rather than halve the rest
                    piece = self._run(population, first, first + nudge)
                    if self._fits([piece]):
                        low, kept = nudge, piece
                    else:
                        high = nudge
            else:
                high = middle
        if kept is None:
            raise self._refuse(self._run(population, first, first + 1))
        return kept

    # Populations that a convolution feeds: boxes.

    def _box(self, population: str, box: Box) -> Piece:
        neurons = box.neurons(self.network.populations[population].shape)
        lists: dict[str, Lists] = {}
        for name, _ in self.network.incoming(population):
            wire = self.wires[name]
            lists[name] = wire.lists(box) if isinstance(wire, BoxCounter) else wire.pick(neurons)
        return self._make(population, neurons, lists)

    def _boxes(self, population: str) -> list[Piece]:
        shape = self.network.populations[population].shape
        smallest = self._box(population, Box((0, 1), (0, 1), (0, 1)))
        for size in _box_sizes(shape, self._most(population)):
            parts = list(boxes(shape, size))
            middle = parts[len(parts) // 2]
            if not self._fits([self._box(population, middle)]):
                continue
            pieces = []
            for box in parts:
                piece = self._box(population, box)
                if not self._fits([piece]):
                    break
                pieces.append(piece)
            else:
                return pieces
        raise self._refuse(smallest)

    # Sharing cores.

    def _pack(self, by_population: list[list[Piece]]) -> list[list[Piece]]:
        """Put the pieces on cores, largest first, each on the first core that takes it."""
        flat = [piece for pieces in by_population for piece in pieces]
        uses = [
            {**core_use([piece], self.sources, self.chip), "output_axons": self._outgoing([piece])} for piece in flat
        ]
        filled = [max(self._excess([piece]).values()) for piece in flat]
        quick = [name for name in ("neurons", "synapse_bits", "output_axons") if self.chip.limit(name) is not None]
        limits = np.array([self.chip.limit(name) for name in quick])
        load = np.zeros((len(flat), len(quick)), np.int64)
        cores: list[list[int]] = []
        for i in sorted(range(len(flat)), key=lambda i: (-filled[i], i)):
            mine = np.array([uses[i][name] for name in quick])
            # What a piece needs alone only grows in company, so most cores are ruled out without a closer look.
            possible = np.flatnonzero((load[: len(cores)] + mine <= limits).all(axis=1))[:_LOOK]
            for k in possible.tolist():
                if self._fits([*(flat[j] for j in cores[k]), flat[i]]):
                    cores[k].append(i)
                    break
            else:
                k = len(cores)
                cores.append([i])
            load[k] += mine
        cores = self._settle(cores, flat, by_population)
        return [[flat[i] for i in sorted(members)] for members in sorted(cores, key=min)]

    def _settle(self, cores: list[list[int]], flat: list[Piece], by_population: list[list[Piece]]) -> list[list[int]]:
        """Cut populations evenly whose pieces all ended up alone: as many cores, and none of them the busiest."""
        alone = {members[0] for members in cores if len(members) == 1}
        start = 0
        for pieces in by_population:
            numbers = range(start, start + len(pieces))
            start += len(pieces)
            population = pieces[0].population
            if not (1 < len(pieces) <= _EVEN and alone.issuperset(numbers)) or self._has_boxes(population):
                continue
            ends = [self.network.size_of(population) * i // len(pieces) for i in range(len(pieces) + 1)]
            even = [self._run(population, a, b) for a, b in pairwise(ends)]
            if all(self._fits([piece]) for piece in even):
                for number, piece in zip(numbers, even, strict=True):
                    flat[number] = piece
        return cores

    # Where everything went.

    def _core_of(self, cores: list[list[Piece]]) -> dict[str, npt.NDArray[np.int32]]:
        found = {name: np.full(p.size, -1, np.int32) for name, p in self.network.populations.items()}
        for core, pieces in enumerate(cores):
            for piece in pieces:
                found[piece.population][piece.neurons] = core
        assert all((where >= 0).all() for where in found.values())
        return found

    def _slots(self, cores: list[list[Piece]]) -> dict[str, Ints]:
        """Return output slots of each neuron: one per destination core, two where a convolution leads."""
        pairs: dict[tuple[str, bool], list[Ints]] = {}
        for core, pieces in enumerate(cores):
            for piece in pieces:
                for name, lists in piece.lists.items():
                    if self.sources[name] in self.slots:
                        key = (self.sources[name], lists.convolution)
                        pairs.setdefault(key, []).append(lists.source * len(cores) + core)
        found = {name: np.zeros_like(each) for name, each in self.slots.items()}
        for (source, convolution), parts in pairs.items():
            neuron = np.unique(np.concatenate(parts)) // len(cores)
            each = CONVOLUTION_SLOTS if convolution else 1
            found[source] += each * np.bincount(neuron, minlength=found[source].size)
        return found

    def _result(self, cores: list[list[Piece]], core_of: dict[str, npt.NDArray[np.int32]], outgoing: Ints) -> Placement:
        chip = self.chip
        assert chip.layout is not None
        uses = [core_use(pieces, self.sources, chip) for pieces in cores]
        use = {name: np.array([one[name] for one in uses], np.int64) for name in uses[0]}
        use["output_axons"] = outgoing
        limits = {name: chip.limit(name) for name in RESOURCES}
        room = np.array([neuron_limit(pieces, chip) for pieces in cores])
        bounds = lower_bounds(self.network, chip)
        load = {name: float(use[name].sum()) / limit / len(cores) for name, limit in limits.items() if limit}
        load["neurons"] = float((use["neurons"] / room).mean())
        pieces_of = {name: int(np.unique(where).size) for name, where in core_of.items()}
        return Placement(
            chip=chip.name,
            core_of=core_of,
            axons={name: self._axon_table(name, cores) for name in self.network.projections},
            n_cores=len(cores),
            mesh=Mesh(chip.layout.cores_per_chip, chip.layout.cores_per_tile, chip.layout.tiles_x),
            use=use,
            limits=limits,
            neuron_room=room,
            bounds=bounds,
            load=load,
            pieces=pieces_of,
            notes=tuple(self._notes()),
            static_power=chip.constants.get("static_power_per_chip"),
        )

    def _axon_table(self, name: str, cores: list[list[Piece]]) -> AxonTable:
        columns: list[tuple[Any, ...]] = []
        for core, pieces in enumerate(cores):
            together = sum(piece.neurons.size for piece in pieces)
            for piece in pieces:
                if name not in piece.lists:
                    continue
                lists = piece.lists[name]
                bits, is_sparse = lists.bits(together, self.layout)
                owned = np.zeros(lists.source.size, np.int64)
                _, owner = np.unique(lists.pattern, return_index=True)
                owned[owner] = bits
                where = np.full(lists.source.size, core, np.int64)
                columns.append((lists.source, where, lists.synapses, owned, is_sparse[lists.pattern]))
        source, where, synapses, bits, is_sparse = (np.concatenate(part) for part in zip(*columns, strict=True))
        convolution = isinstance(self.network.projections[name], Convolution)
        return AxonTable(source, where, synapses, bits, is_sparse.astype(np.bool_), convolution)

    def _notes(self) -> Iterator[str]:
        yield f"synaptic memory counted as {self.layout.source} [{self.layout.year}, {self.layout.grade}]"
        for name, wire in self.wires.items():
            if not wire.form.exact:
                widest = max(self.layout.weight_bits)
                yield f"{name}: weights need more than the {widest} bits of the widest format; low bits would be lost"
        for resource in RESOURCES:
            if self.chip.limit(resource) is None:
                yield f"no limit imposed on {RESOURCES[resource]}: none was published"


def _box_sizes(shape: tuple[int, ...], most: int) -> Iterator[tuple[int, int, int]]:
    """Yield box sizes of at most `most` neurons: fewest boxes first, then the least border; at the end one neuron."""

    def steps(extent: int) -> list[int]:
        return sorted({-(-extent // parts) for parts in range(1, extent + 1)})

    found = []
    for c in steps(shape[0]):
        for y in steps(shape[1]):
            for x in steps(shape[2]):
                if c * y * x <= most:
                    parts = -(-shape[0] // c) * (-(-shape[1] // y)) * (-(-shape[2] // x))
                    found.append((parts, parts * (y + 2) * (x + 2), (c, y, x)))
    found.sort()
    tried: dict[int, int] = {}
    for yielded, (_, _, size) in enumerate(item for item in found if _few(tried, item[0])):
        if yielded == _TRIES:
            break
        yield size
    yield 1, 1, 1


def _few(tried: dict[int, int], parts: int) -> bool:
    tried[parts] = tried.get(parts, 0) + 1
    return tried[parts] <= 6
