"""Cutting populations into pieces of equal work, and packing pieces by their work."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..boxes import box_sizes, boxes
from ..chip import DoesNotFit
from ..cut import Cutter
from ..synapse_lists import Cores, Incoming, Piece
from ..types import Floats
from .drive import Drive

_MORE = 1.25  # pieces more at a time where some piece does not fit


class Weighed(NamedTuple):
    """A piece and its work in a step: send, receive in nanoseconds, synaptic events, and spikes that it makes.

    send: with one packet for each spike, until `sending` counts the cores that they go to.
    """

    piece: Piece
    send: float
    receive: float
    events: float
    spikes: float

    @property
    def busy(self) -> float:
        """Nanoseconds that it keeps a core of its own busy."""
        return max(self.send, self.receive)

    def sending(self, packets: float, each: float) -> Weighed:
        """Return it with so many packets for each spike, of `each` nanoseconds."""
        return self._replace(send=self.send + self.spikes * (packets - 1) * each)


class Balancer:
    """Cuts populations of a Cutter into pieces of equal work, and weighs them."""

    def __init__(self, cutter: Cutter, drive: Drive) -> None:
        times = drive.prices.times_ns
        assert times is not None
        self.cutter, self.drive, self.times = cutter, drive, times
        self.known: dict[tuple[str, int], list[Weighed]] = {}
        self.own = {name: self._own(name) for name in cutter.network.populations}

    def _own(self, population: str) -> Floats:
        """Return (size,) nanoseconds in a step of updating each neuron and sending its spikes, one packet each."""
        more = self.times.neuron_update_active - self.times.neuron_update_inactive
        update = self.times.neuron_update_inactive + more * self.drive.active[population]
        return np.asarray(
            update + self.drive.rate[population] * (self.times.spike_sent + self.times.packet_sent), np.float64
        )

    def weigh(self, piece: Piece) -> Weighed:
        """Return a piece with its work alone on a core."""
        receive = events = 0.0
        for (source, _), needed in self.cutter.axons([piece]).items():
            receive += float(self.drive.rate[source][needed].sum()) * self.times.packet_received
        for name, lists in piece.lists.items():
            rate = self.drive.rate[self.cutter.sources[name]][lists.needed]
            crossed = float(rate @ lists.stored[lists.pattern])
            _, is_sparse = lists.bits(piece.neurons.size, self.cutter.layout)
            kind = "convolution" if lists.convolution else "sparse" if 2 * is_sparse.sum() > is_sparse.size else "dense"
            events += crossed
            receive += crossed * self.times.event(kind)
        spikes = float(self.drive.rate[piece.population][piece.neurons].sum())
        return Weighed(piece, float(self.own[piece.population][piece.neurons].sum()), receive, events, spikes)

    def cut(self, population: str, parts: int) -> list[Weighed]:
        """Return at least `parts` pieces of about equal work, each of which fits a core. Raises DoesNotFit."""
        key = population, parts
        if key not in self.known:
            make = self._boxes if self.cutter.boxed[population] else self._runs
            self.known[key] = [self.weigh(piece) for piece in make(population, parts)]
        return self.known[key]

    def _runs(self, population: str, parts: int) -> list[Piece]:
        network, size = self.cutter.network, self.cutter.network.size_of(population)
        work = self.own[population].copy()
        for name, p in network.incoming(population):
            counter = self.cutter.counters[name]
            assert isinstance(counter, Incoming)
            target = np.repeat(np.arange(size), np.diff(counter.start))
            work += np.bincount(target, self.drive.rate[p.source][counter.source], size) * self.times.synaptic_event
        total = np.concatenate([[0.0], np.cumsum(work + 1e-9)])
        while parts <= size:
            ends = np.searchsorted(total, total[-1] * np.arange(1, parts) / parts)
            ends = np.unique(np.concatenate([[0], ends, [size]]))
            pieces = []
            for first, last in itertools.pairwise(ends.tolist()):
                piece = self.cutter.run(population, first, last)
                if not self.cutter.fits([piece]):
                    break
                pieces.append(piece)
            else:
                return pieces
            parts = max(parts + 1, int(parts * _MORE))
        return self.cutter.runs(population)

    def _boxes(self, population: str, parts: int) -> list[Piece]:
        shape, size = self.cutter.network.shape_of(population), self.cutter.network.size_of(population)
        most = min(self.cutter.most(population), -(-size // parts))
        for extent in box_sizes(shape, most):
            pieces = []
            for box in boxes(shape, extent):
                piece = self.cutter.box(population, box)
                if not self.cutter.fits([piece]):
                    break
                pieces.append(piece)
            else:
                return pieces
        raise self.cutter.refuse(pieces[0] if pieces else piece)


def pack_within(cutter: Cutter, weighed: Sequence[Weighed], most: float) -> Cores:
    """Put pieces on as few cores as first fit finds, none of them busy for longer than `most` nanoseconds."""
    return _pack(cutter, weighed, lambda cores: range(len(cores.members)), most, None)


def pack_evenly(cutter: Cutter, weighed: Sequence[Weighed], n_cores: int) -> Cores:
    """Put pieces on at most `n_cores` cores, each on the one with the fewest events so far. Raises DoesNotFit."""
    return _pack(cutter, weighed, lambda cores: np.argsort(cores.events, kind="stable").tolist(), np.inf, n_cores)


class _Filling:
    """Cores that are being filled: the numbers of their pieces, and the work of each."""

    def __init__(self, n_cores: int) -> None:
        self.members: list[list[int]] = [[] for _ in range(n_cores)]
        self.send, self.receive, self.events = ([0.0] * n_cores for _ in range(3))

    def add(self) -> int:
        """Add an empty core and return its number."""
        self.members.append([])
        for work in (self.send, self.receive, self.events):
            work.append(0.0)
        return len(self.members) - 1


def _pack(
    cutter: Cutter,
    weighed: Sequence[Weighed],
    order: Callable[[_Filling], Sequence[int]],
    most: float,
    n_cores: int | None,
) -> Cores:
    """Put pieces, longest first, on the first core in `order` that takes them. n_cores: None: add cores as needed."""
    cores = _Filling(n_cores or 0)
    for i in sorted(range(len(weighed)), key=lambda i: (-weighed[i].busy, i)):
        mine = weighed[i]
        for k in order(cores):
            busy = max(cores.send[k] + mine.send, cores.receive[k] + mine.receive)
            together = [weighed[j].piece for j in cores.members[k]]
            name = mine.piece.population
            # The tight bound assumes one run of a population on a core.
            alone = cutter.boxed[name] or all(piece.population != name for piece in together)
            if busy <= most and alone and cutter.fits([*together, mine.piece]):
                break
        else:
            if n_cores is not None:
                raise DoesNotFit(mine.piece.population, "cores", n_cores + 1, n_cores, cutter.chip.title)
            k = cores.add()
        cores.members[k].append(i)
        cores.send[k] += mine.send
        cores.receive[k] += mine.receive
        cores.events[k] += mine.events
    return [[weighed[i].piece for i in sorted(members)] for members in sorted(filter(None, cores.members), key=min)]
