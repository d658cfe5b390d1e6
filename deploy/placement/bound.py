"""Cores that no placement can go below, resource by resource, so that the gap of a placement is known.

The bounds hold for every placement in which a core holds at most one run of consecutive neurons of each population
(populations under a convolution apart, which may lie anyhow), wherever the runs are cut and whoever shares a core.
They come from a linear program. Cores are of kinds, by the width of their indices, which limits the neurons that they
hold; neurons are spread over the kinds, in fractions; each needs there what `placement_least` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog

from sdsnn_core.network import Convolution, Network, Synapses

from .bound_costs import DETAIL, Kind, Least, kinds_of, least_anyhow, least_of
from .chip import Chip
from .reach import landings, reached
from .synapse_lists import ListFormat, list_format
from .types import CONVOLUTION_SLOTS, Bools, Floats

_CLASSES = 6  # groups that the neurons of a population are sorted into, by what they need
_STEPS = 4  # kinds of core for each width of indices
_SLACK = 1e-6  # fractions add up to a hair more than a whole number of cores
_LIMITED = ("synapse_bits", "input_axons", "output_axons")


def lower_bounds(network: Network, chip: Chip, *, cores: int) -> dict[str, int]:
    """Return, for each limited resource, the least number of cores that could hold the network.

    cores: that some placement needs, so that nothing has to be worked out if it is one. 'together' is there where all
    limits at once need more cores than each of them alone.
    """
    limited = [name for name in _LIMITED if chip.limit(name) is not None]
    if cores == 1:
        return dict.fromkeys(["neurons", *limited], 1)
    program = _Program(network, chip)
    found = {"neurons": program.cores([])}
    for resource in limited:
        found[resource] = program.cores([resource])
    together = program.cores(limited)
    return {**found, "together": together} if together > max(found.values()) else found


class _Program:
    """Fewest cores, in fractions. Variables: cores of each kind, then neurons of each class on each kind of core."""

    def __init__(self, network: Network, chip: Chip) -> None:
        assert chip.synapses is not None
        self.network, self.chip, self.layout = network, chip, chip.synapses
        self.forms = {name: list_format(p, self.layout) for name, p in network.projections.items()}
        neurons = chip.limit("neurons")
        assert neurons is not None
        many = sum(p.n_weights for p in network.projections.values()) > DETAIL
        self.kinds: list[Kind] = kinds_of(neurons, self.layout, 1 if many else _STEPS)
        self.spared = np.zeros(len(self.kinds))
        self.wired: dict[str, int] = {}  # source -> synapse projections that may share its axons
        for p in network.projections.values():
            self.wired[p.source] = self.wired.get(p.source, 0) + isinstance(p, Synapses)
        self.fixed = self._fixed()
        self.needs = {name: self._of(name) for name in network.populations}
        self.rooms = {name: self._room(name) for name in network.populations}

    def _classes(self, resources: Sequence[str]) -> tuple[Floats, Floats, list[Floats]]:
        """Return (classes,) neurons of each class, (classes,) shares of a core that one takes, and for each resource
        (kinds, classes) what one of them needs on the average."""
        sizes, shares = list[int](), list[float]()
        needs: list[list[Floats]] = [[] for _ in resources]
        for name, need in self.needs.items():
            size = self.network.size_of(name)
            by = sum((need[key].sum(axis=0) / (self.chip.limit(key) or 1) for key in resources), np.zeros(size))
            order = np.argsort(by, kind="stable")
            for part in np.array_split(order, min(_CLASSES if by[order[0]] < by[order[-1]] else 1, size)):
                sizes.append(part.size)
                shares.append(1 / self.rooms[name])
                for each, key in zip(needs, resources, strict=True):
                    each.append(need[key][:, part].mean(axis=1))
        return np.array(sizes, np.float64), np.array(shares), [np.stack(each, axis=1) for each in needs]

    def _room(self, name: str) -> int:
        """Return how many neurons of a population a core takes, long delays taken into account."""
        longest = max((self.forms[key].max_delay for key, _ in self.network.incoming(name)), default=0)
        return self.chip.neurons(longest)

    def _of(self, name: str) -> dict[str, Floats]:
        """Return resource -> (kinds, neurons) what each neuron of a population needs at least."""
        size = self.network.size_of(name)
        found = {key: np.zeros((len(self.kinds), size)) for key in _LIMITED}
        incoming = list(self.network.incoming(name))
        ordered = not any(isinstance(p, Convolution) for _, p in incoming)
        for key, p in incoming:
            if not isinstance(p, Synapses):
                continue
            least = self._least(p, size, self.forms[key], ordered)
            self.spared += least.spared
            found["synapse_bits"] += least.bits
            found["input_axons"] += least.axons / self.wired[p.source]
            if p.source in self.network.populations:
                found["output_axons"] += least.axons / self.wired[p.source]
        return found

    def _least(self, p: Synapses, size: int, form: ListFormat, ordered: bool) -> Least:
        if ordered:
            return least_of(p, size, self.kinds, form, self.layout, self.chip.limit("input_axons"))
        return least_anyhow(p, size, self.kinds, form)

    def _fixed(self) -> dict[str, float]:
        """Return what is needed once, wherever the neurons are: lists of convolutions, an axon of every source."""
        bits, word = 0, self.layout.word_bits
        axons: dict[tuple[str, bool], Bools] = {}
        for name, p in self.network.projections.items():
            boxed = any(isinstance(other, Convolution) for _, other in self.network.incoming(p.target))
            if isinstance(p, Convolution):
                shape = self.network.shape_of(p.source)
                lands = landings(p, shape)
                present = (p.kernel != 0).sum(axis=(0, 1))
                weights = present[lands > 0].sum() if self.layout.shared_convolution else (present * lands).sum()
                bits += -(-int(weights) * self.forms[name].synapse_bits // word) * word
                here = reached(p, shape)
            elif boxed:
                here = np.bincount(p.pre, minlength=self.network.size_of(p.source)) > 0
            else:
                continue
            key = (p.source, isinstance(p, Convolution))
            axons[key] = axons.get(key, np.zeros(here.shape, np.bool_)) | here
        total = {key: int(here.sum()) / (1 if key[1] else self.wired[key[0]]) for key, here in axons.items()}
        out = [
            n * (CONVOLUTION_SLOTS if key[1] else 1) for key, n in total.items() if key[0] in self.network.populations
        ]
        return {"synapse_bits": float(bits), "input_axons": sum(total.values()), "output_axons": sum(out)}

    def cores(self, resources: Sequence[str]) -> int:
        """Return the fewest cores that hold all neurons and `resources`.

        The program is solved for averages of neurons that need about the same. Its multipliers, the price of a unit
        of each limit, bound the cores from below whatever they are, as long as no kind of core sells for more than
        itself; so they are scaled to that and every neuron pays for what it needs, on the kind where that is least.
        """
        limits = [self._limit(name) for name in resources]
        own = [i for i, name in enumerate(resources) if name != "output_axons"]  # that lies on the cores of the sources
        sizes, shares, needs = self._classes(resources)
        n_kinds, n_classes = len(self.kinds), sizes.size
        rows, ends = list[Floats](), list[float]()

        def add(kinds: Sequence[int], room: Floats, each: Floats, end: float = 0.0) -> None:
            made = np.zeros(n_kinds * (1 + n_classes))
            for k in kinds:
                made[k] = -room[k]
                made[n_kinds + k * n_classes : n_kinds + (k + 1) * n_classes] = each[k]
            scale = float(np.abs(made).max()) or 1.0  # bits and neurons alike
            rows.append(made / scale)
            ends.append(end / scale)
            scales.append(scale)

        scales = list[float]()
        neurons = np.array([kind.neurons for kind in self.kinds], np.float64)
        every = range(n_kinds)
        for k in every:
            add([k], np.ones(n_kinds), np.tile(shares, (n_kinds, 1)))
        for k in every:
            add([k], neurons, np.ones((n_kinds, n_classes)))
        for i in own:
            for k in every:
                add([k], limits[i], needs[i])
        for i, name in enumerate(resources):
            add(every, limits[i], needs[i], -self.fixed[name])
        placed = np.tile(np.eye(n_classes), n_kinds)
        placed = np.concatenate([np.zeros((n_classes, n_kinds)), placed], axis=1)
        cost = np.concatenate([np.ones(n_kinds), np.zeros(n_kinds * n_classes)])
        solved = linprog(cost, np.array(rows), np.array(ends), placed, sizes, method="highs")
        if not solved.success:  # then a price on neurons alone
            return max(1, math.ceil(float(sizes @ shares) - _SLACK))
        prices = np.maximum(-solved.ineqlin.marginals / np.array(scales), 0)
        share, room, *rest = np.split(prices, np.arange(n_kinds, prices.size, n_kinds))
        sold = share + room * neurons
        of_kind = np.zeros((len(resources), n_kinds))
        for i, price in zip(own, rest, strict=False):
            of_kind[i] = price
        anywhere = prices[prices.size - len(resources) :]
        total = of_kind + anywhere[:, None]
        sold += sum((total[i] * limits[i] for i in range(len(resources))), np.zeros(n_kinds))
        found = sum(float(anywhere[i]) * self.fixed[name] for i, name in enumerate(resources))
        for population, need in self.needs.items():
            paid = (share / self.rooms[population] + room)[:, None] + np.zeros((1, self.network.size_of(population)))
            for i, name in enumerate(resources):
                paid += total[i][:, None] * need[name]
            found += float(paid.min(axis=0).sum())
        return max(1, math.ceil(found / max(float(sold.max()), 1e-30) - _SLACK))

    def _limit(self, name: str) -> Floats:
        limit = self.chip.limit(name)
        assert limit is not None
        return limit + (self.spared if name == "synapse_bits" else np.zeros(len(self.kinds)))
