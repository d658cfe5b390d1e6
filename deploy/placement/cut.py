"""Cutting populations into pieces that fit a core: runs of consecutive neurons, or boxes under a convolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Any

import numpy as np

from sdsnn_core.network import Convolution, Network, Population, Synapses
from sdsnn_core.rules import Rules

from .boxes import Box, BoxCounter, box_sizes, boxes, interval
from .chip import Chip, SynapseFormat
from .cost import DoesNotFit, Piece, core_use, excess, neuron_limit
from .synapse_lists import Incoming, Lists, index_width
from .types import Ints

_PATIENCE = 8  # guesses at the longest run before it is halved for
_TINY = 64  # a piece that shares a core has at least this part of the neurons that a core takes


COUNTERS: Rules[Callable[[Network, Any, SynapseFormat], Incoming | BoxCounter]] = Rules("placement: counting lists")


@COUNTERS.of(Synapses)
def _incoming(network: Network, p: Synapses, layout: SynapseFormat) -> Incoming:
    return Incoming(p, network.size_of(p.source), network.size_of(p.target), layout)


@COUNTERS.of(Convolution)
def _box_counter(network: Network, p: Convolution, layout: SynapseFormat) -> BoxCounter:
    return BoxCounter(p, network.shape_of(p.source), layout)


class Cutter:
    """Cuts the populations of a network into pieces for a chip.

    counters: projection -> counter of the lists of any piece. slots: population -> (size,) output axons of each neuron,
    as far as they are known from where its targets lay the last time.
    """

    def __init__(self, network: Network, chip: Chip) -> None:
        assert chip.synapses is not None
        self.network, self.chip, self.layout = network, chip, chip.synapses
        self.sources = {name: p.source for name, p in network.projections.items()}
        self.settings = {name: _settings(p) for name, p in network.populations.items()}
        self.counters: dict[str, Incoming | BoxCounter] = {}
        for name, p in network.projections.items():
            self.counters[name] = COUNTERS.for_(p)(network, p, self.layout)
            longest = self.counters[name].form.max_delay
            if longest > chip.max_delay:
                raise DoesNotFit(p.target, f"delay of {name} (steps)", longest, chip.max_delay, chip.title)
        self.boxed = {
            name: any(self.counters[key].boxed for key, _ in network.incoming(name)) for name in network.populations
        }
        self.slots: dict[str, Ints] = {}
        self.forget()

    def forget(self) -> None:
        """Take every output axon as unknown again."""
        self.slots = {name: np.zeros(p.size, np.int64) for name, p in self.network.populations.items()}

    def most(self, population: str) -> int:
        """Return the neurons of `population` that one core could take if nothing but neurons counted."""
        return min(self.chip.neurons(0), self.network.size_of(population))

    def fits(self, pieces: Sequence[Piece]) -> bool:
        """True if one core takes all of `pieces`."""
        if index_width(sum(p.neurons.size for p in pieces), self.layout) is None and len(pieces) > 1:
            return False
        return max(self.excess(pieces).values()) <= 1

    def excess(self, pieces: Sequence[Piece]) -> dict[str, float]:
        """Return use divided by limit, output axons as they were the last time."""
        shares = excess(pieces, self.sources, self.chip)
        if limit := self.chip.limit("output_axons"):
            shares["output_axons"] = self.outgoing(pieces) / limit
        return shares

    def outgoing(self, pieces: Sequence[Piece]) -> int:
        """Return output axons of `pieces`, as they were the last time."""
        return sum(int(self.slots[piece.population][piece.neurons].sum()) for piece in pieces)

    def use(self, pieces: Sequence[Piece]) -> dict[str, int]:
        """Return what `pieces` on one core use of each resource."""
        return {**core_use(pieces, self.sources, self.chip), "output_axons": self.outgoing(pieces)}

    def refuse(self, piece: Piece) -> DoesNotFit:
        """Return the error of a piece that cannot be made smaller: the limit that it breaks most."""
        shares = self.excess([piece])
        resource = max(shares, key=lambda key: shares[key])
        limit = neuron_limit([piece], self.chip) if resource == "neurons" else self.chip.limit(resource)
        assert limit is not None
        amount, hint = self.use([piece])[resource], "a single neuron needs as much"
        return DoesNotFit(piece.population, resource, amount, limit, self.chip.title, hint)

    # The longest piece that still fits.

    def longest(
        self, make: Callable[[int], list[Piece]], most: int, company: Sequence[Piece] = (), guess: int | None = None
    ) -> tuple[int, list[Piece]]:
        """Return (n, make(n)) for the greatest n of 1..most whose pieces fit on a core beside `company`; n = 0 if none.

        guess: where to start. What is used grows with n, so the ratio of use to room shows where to look next.
        """
        base = self.excess(company) if company else {}
        low, high, kept, step = 0, most + 1, list[Piece](), 1  # `low` fits, `high` does not
        n = min(most, guess or most)
        for tries in range(64):
            n = min(max(n, low + 1), high - 1)
            pieces = make(n)
            together = [*company, *pieces]
            shares = self.excess(together)
            ratio = max(
                (amount - base.get(name, 0.0)) / max(1 - base.get(name, 0.0), 1e-9) for name, amount in shares.items()
            )
            if self.fits(together):
                low, kept = n, pieces
                n = max(int(n / max(ratio, 1e-9)), n + step)
                step *= 2
            else:
                high, step = n, 1
                n = int(n / ratio) if ratio > 1 else n - 1
            if high - low <= 1:
                break
            if tries >= _PATIENCE:
                n = (low + high) // 2
        return low, kept

    # Populations that only point-to-point synapses feed: runs of consecutive neurons.

    def run(self, population: str, first: int, last: int) -> Piece:
        """Return neurons first..last-1 as a piece."""
        lists = {name: counter.cut(first, last) for name, counter in self._incoming(population)}
        return self._make(population, np.arange(first, last), lists)

    def _incoming(self, population: str) -> Iterator[tuple[str, Incoming]]:
        for name, _ in self.network.incoming(population):
            counter = self.counters[name]
            assert isinstance(counter, Incoming)
            yield name, counter

    def longest_run(self, population: str, first: int, company: Sequence[Piece] = ()) -> Piece | None:
        """Return the longest run from neuron `first` that fits beside `company`; None if that is too short for a piece.

        Raises DoesNotFit where a core of its own does not take a single neuron.
        """
        most = min(self.most(population), self.network.size_of(population) - first)
        n, pieces = self.longest(
            lambda n: [self.run(population, first, first + n)], most, company, self._guess(population, first, most)
        )
        if n == 0 and not company:
            raise self.refuse(self.run(population, first, first + 1))
        return pieces[0] if n == most or (n and n >= self.most(population) // _TINY) or not company else None

    def _guess(self, population: str, first: int, most: int) -> int:
        """Return how many neurons from `first` the axons of a core of its own are enough for."""
        longest = most
        if limit := self.chip.limit("input_axons"):
            needed: dict[str, Ints] = {}
            for name, counter in self._incoming(population):
                source, axons = self.sources[name], counter.axons(first, first + most)
                needed[source] = np.maximum(needed[source], axons) if source in needed else axons
            if needed:
                longest = int(np.searchsorted(sum(needed.values()), limit, "right"))
        if limit := self.chip.limit("output_axons"):
            out = np.cumsum(self.slots[population][first : first + most])
            longest = min(longest, int(np.searchsorted(out, limit, "right")))
        return max(longest, 1)

    def runs(self, population: str) -> list[Piece]:
        """Cut a population into as few runs as possible, none of them sharing a core."""
        pieces: list[Piece] = []
        first = 0
        while first < self.network.size_of(population):
            piece = self.longest_run(population, first)
            assert piece is not None
            pieces.append(piece)
            first += piece.neurons.size
        return pieces

    def even_runs(self, population: str, parts: int) -> list[Piece]:
        """Cut a population into `parts` runs of equal length."""
        size = self.network.size_of(population)
        ends = [size * i // parts for i in range(parts + 1)]
        return [self.run(population, a, b) for a, b in pairwise(ends)]

    # Populations that a convolution feeds: boxes.

    def box(self, population: str, box: Box) -> Piece:
        """Return the neurons of a box as a piece."""
        neurons = box.neurons(self.network.populations[population].shape)
        lists: dict[str, Lists] = {}
        for name, _ in self.network.incoming(population):
            counter = self.counters[name]
            lists[name] = counter.lists(box) if isinstance(counter, BoxCounter) else counter.pick(neurons)
        return self._make(population, neurons, lists)

    def even_boxes(self, population: str) -> list[Piece]:
        """Cut a population into as few boxes of equal size as possible. Raises DoesNotFit."""
        shape = self.network.populations[population].shape
        for size in box_sizes(shape, self.most(population)):
            parts = list(boxes(shape, size))
            middle = parts[len(parts) // 2]
            if not self.fits([self.box(population, middle)]):
                continue
            pieces = (self.box(population, box) for box in parts)
            fitting = list(takewhile(lambda piece: self.fits([piece]), pieces))
            if len(fitting) == len(parts):
                return fitting
        raise self.refuse(self.box(population, Box((0, 1), (0, 1), (0, 1))))

    def units(self, population: str, by_place: bool) -> int:
        """Return the number of units of `longest_interval`: rows of every channel, or places with all channels."""
        channels, rows, columns = self.network.populations[population].shape
        return rows * columns if by_place else channels * rows

    def longest_interval(
        self, population: str, first: int, by_place: bool, company: Sequence[Piece] = ()
    ) -> tuple[int, list[Piece]]:
        """Return (units, pieces) of the longest stretch of rows or places from `first` that fits beside `company`.

        (0, []) if that is too short for a piece. Raises DoesNotFit where a core of its own does not take a single unit.
        """
        shape = self.network.populations[population].shape
        each = self.network.size_of(population) // self.units(population, by_place)
        most = min(self.units(population, by_place) - first, max(1, self.most(population) // each))

        def make(n: int) -> list[Piece]:
            return [self.box(population, box) for box in interval(shape, first, first + n, by_place)]

        n, pieces = self.longest(make, most, company)
        if n == 0 and not company:
            raise self.refuse(max(make(1), key=lambda piece: piece.neurons.size))
        enough = n == most or n * each >= self.most(population) // _TINY or not company
        return (n, pieces) if enough else (0, [])

    def _make(self, population: str, neurons: Ints, lists: Mapping[str, Lists]) -> Piece:
        configs, thresholds = (_distinct(each, neurons) for each in self.settings[population])
        return Piece(population, neurons, lists, configs, thresholds)

    def pieces(self, population: str) -> list[Piece]:
        """Cut one population without regard to the others."""
        return self.even_boxes(population) if self.boxed[population] else self.runs(population)


def _distinct(setting: Ints, neurons: Ints) -> frozenset[int]:
    return frozenset(np.unique(setting[neurons] if setting.size > 1 else setting).tolist())


def _settings(p: Population) -> tuple[Ints, Ints]:
    """Return both decays as one number, and the threshold: (size,) int64, or (1,) where all neurons have the same."""
    pair = p.per_neuron("current_decay").astype(np.int64) << 16 | p.per_neuron("voltage_decay")
    each = pair, p.per_neuron("threshold").astype(np.int64)
    pairs, thresholds = (values[:1] if (values == values[0]).all() else values for values in each)
    return pairs, thresholds
