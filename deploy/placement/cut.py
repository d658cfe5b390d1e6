"""Cutting populations into pieces that fit a core: runs of consecutive neurons, or boxes under a convolution."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from sdsnn_core.network import Convolution, Network, Population, Synapses
from sdsnn_core.rules import Rules

from .boxes import Box, BoxCounter, box_sizes, boxes, interval
from .chip import Chip, DoesNotFit, SynapseFormat
from .network_limits import check_neurons
from .synapse_lists import Incoming, Lists, Piece, index_width
from .types import Bools, Ints

_PATIENCE = 8  # guesses at the longest run before it is halved for
_KEPT = 32  # boxes kept: while the end of a stretch is sought, its first box stays
_TINY = 64  # a piece that shares a core has at least this part of the neurons that a core takes


COUNTERS: Rules[Callable[[Network, Any, SynapseFormat], Incoming | BoxCounter]] = Rules("placement: counting lists")


COUNTERS.of(Synapses)(Incoming)
COUNTERS.of(Convolution)(BoxCounter)


class Cutter:
    """Cuts the populations of a network into pieces for a chip.

    not_counted: what is not held against a limit of a neuron. words: population -> words of state of a neuron.
    counters: projection -> counter of the lists of any piece. slots: population -> (size,) output axons of each neuron,
    as far as they are known from where its targets lay the last time. fewer_than: a way to cut that needs as many cores
    is of no use. progress: called with the number of neurons that one way has placed.
    """

    def __init__(self, network: Network, chip: Chip) -> None:
        assert chip.synapses is not None
        self.network, self.chip, self.layout = network, chip, chip.synapses
        self.not_counted = check_neurons(network, chip)
        self.words = {name: p.state_words for name, p in network.populations.items()}
        self.sources = {name: p.source for name, p in network.projections.items()}
        self.settings = {name: _settings(p) for name, p in network.populations.items()}
        self.counters: dict[str, Incoming | BoxCounter] = {}
        for name, p in network.projections.items():
            self.counters[name] = COUNTERS.for_(p)(network, p, self.layout)
            longest, most = self.counters[name].form.max_delay, chip.delays.max_steps if chip.delays else 0
            if longest > most:
                raise DoesNotFit(p.target, f"delay of {name} (steps)", longest, most, chip.title)
        self.boxed = {
            name: any(self.counters[key].boxed for key, _ in network.incoming(name)) for name in network.populations
        }
        self.slots = self.no_slots()
        self.fewer_than = math.inf
        self.progress: Callable[[int], object] = lambda neurons: None
        self.box = functools.lru_cache(maxsize=_KEPT)(self._box)

    def no_slots(self) -> dict[str, Ints]:
        """Return zero output axons for every neuron: population -> (size,)."""
        return {name: np.zeros(p.size, np.int64) for name, p in self.network.populations.items()}

    def most(self, population: str) -> int:
        """Return the neurons of `population` that one core could take if nothing but neurons counted."""
        return min(self.chip.neurons(0), self.network.size_of(population))

    def fits(self, pieces: Sequence[Piece], shares: Mapping[str, float] | None = None) -> bool:
        """True if one core takes all of `pieces`. shares: their excess, where it is known."""
        if index_width(sum(p.neurons.size for p in pieces), self.layout) is None and len(pieces) > 1:
            return False
        return max((shares or self.excess(pieces)).values()) <= 1

    def excess(self, pieces: Sequence[Piece]) -> dict[str, float]:
        """Return use divided by limit of each limited resource, for `pieces` on one core."""
        use = self.use(pieces).items()
        return {name: amount / limit for name, amount in use if (limit := self.limit(name, pieces)) is not None}

    def limit(self, resource: str, pieces: Sequence[Piece]) -> int | None:
        """Return the limit of a core that holds `pieces`: long delays leave room for fewer neurons."""
        if resource == "neurons":
            return self.chip.neurons(max((piece.max_delay for piece in pieces), default=0))
        return self.chip.limit(resource)

    def use(self, pieces: Sequence[Piece]) -> dict[str, int]:
        """Return what `pieces` on one core use of each resource, output axons as they were the last time."""
        neurons = sum(piece.neurons.size for piece in pieces)
        memory, formats = 0, set()
        for lists in (lists for piece in pieces for lists in piece.lists.values()):
            bits, is_sparse = lists.bits(neurons, self.layout)
            memory += int(bits.sum())
            kinds = {True} if is_sparse.all() else {False, True} if is_sparse.any() else {False}
            formats |= {(lists.form.synapse_bits, lists.form.signs, kind) for kind in kinds if is_sparse.size}
        return {
            "neurons": neurons,
            "input_axons": sum(int(np.count_nonzero(mask)) for mask in self.axons(pieces).values()),
            "synapse_bits": memory,
            "state_words": sum(self.words[piece.population] * piece.neurons.size for piece in pieces),
            "neuron_configs": len(frozenset().union(*(piece.configs for piece in pieces))),
            "threshold_configs": len(frozenset().union(*(piece.thresholds for piece in pieces))),
            "synapse_formats": len(formats),
            "output_axons": sum(int(self.slots[piece.population][piece.neurons].sum()) for piece in pieces),
        }

    def axons(self, pieces: Sequence[Piece]) -> dict[tuple[str, bool], Bools]:
        """Return (source node, through a convolution) -> (size,) whether each neuron needs an axon on their core.

        An axon serves every list of one source neuron in the core, since the format is chosen per block; a
        convolution's axons are apart, since they carry a base address.
        """
        needed: dict[tuple[str, bool], Bools] = {}
        for name, lists in ((name, lists) for piece in pieces for name, lists in piece.lists.items()):
            key = self.sources[name], lists.convolution
            needed[key] = lists.needed | needed[key] if key in needed else lists.needed
        return needed

    def refuse(self, piece: Piece) -> DoesNotFit:
        """Return the error of a piece that cannot be made smaller: the limit that it breaks most."""
        shares = self.excess([piece])
        resource = max(shares, key=lambda key: shares[key])
        limit, amount = self.limit(resource, [piece]), self.use([piece])[resource]
        assert limit is not None
        hint = "a single neuron needs as much"
        return DoesNotFit(piece.population, resource, amount, limit, self.chip.title, hint)

    # The longest piece that still fits.

    def longest(
        self,
        make: Callable[[int], list[Piece]],
        most: int,
        company: Sequence[Piece] = (),
        least: float = 1,
        guess: int | None = None,
    ) -> tuple[int, list[Piece]]:
        """Return (n, make(n)) for the greatest n of 1..most whose pieces fit on a core beside `company`; n = 0 if none.

        least: the n that is enough to share a core. guess: where to start. What is used grows with n, so the ratio of
        use to room shows where to look next. Raises DoesNotFit where a core of its own does not take make(1).
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
            if self.fits(together, shares):
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
        if low == 0 and not company:
            raise self.refuse(max(make(1), key=lambda piece: piece.neurons.size))
        return (0, []) if company and low < min(least, most) else (low, kept)

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

    def longest_run(self, population: str, first: int, company: Sequence[Piece] = ()) -> tuple[int, list[Piece]]:
        """Return (neurons, [piece]) of the longest run from neuron `first` that fits beside `company`.

        (0, []) if that is too short for a piece. Raises DoesNotFit where a core of its own does not take one neuron.
        """
        most = min(self.most(population), self.network.size_of(population) - first)
        guess = self._guess(population, first, most)
        least = self.most(population) // _TINY
        return self.longest(lambda n: [self.run(population, first, first + n)], most, company, least, guess)

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
            n, piece = self.longest_run(population, first)
            pieces += piece
            first += n
        return pieces

    # Populations that a convolution feeds: boxes.

    def _box(self, population: str, box: Box) -> Piece:
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

        return self.longest(make, most, company, self.most(population) // _TINY / each)

    def _make(self, population: str, neurons: Ints, lists: Mapping[str, Lists]) -> Piece:
        configs, thresholds = (
            frozenset(np.unique(each[neurons] if each.size > 1 else each).tolist())
            for each in self.settings[population]
        )
        return Piece(population, neurons, lists, configs, thresholds)

    def pieces(self, population: str) -> list[Piece]:
        """Cut one population without regard to the others."""
        return self.even_boxes(population) if self.boxed[population] else self.runs(population)


def _settings(p: Population) -> tuple[Ints, Ints]:
    """Return the decays as one number, and the threshold: (size,) int64, or (1,) where all neurons have the same."""
    zero = np.zeros(p.size, np.int64)
    decays = [p.per_neuron(name) for name in p.ranges if name.endswith("decay")]
    pair = functools.reduce(lambda whole, decay: whole << 13 | decay, decays, zero)
    each = pair, p.per_neuron("threshold") if "threshold" in p.ranges else zero
    pairs, thresholds = (values[:1] if (values == values[0]).all() else values for values in each)
    return pairs, thresholds
