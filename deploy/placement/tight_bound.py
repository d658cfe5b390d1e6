"""The tight lower bound on cores, by a linear program: `sdsnn place --bound`.

`bound.py` divides what all neurons need by what one core offers. That is too kind to a placement in two ways. A source
that feeds neurons on many cores needs an axon on each of them. And a list that is stored sparse pays for indices, which
are the wider, the more neurons share a core, while a short run of neurons has shorter lists and shares fewer axons.

So the program asks: how few cores of each kind (by the most neurons that they hold) are enough, if a neuron may be
spread over the kinds in fractions and pays on each kind the least that it must pay there (`tight_costs.py`)? Fractions
and least costs only make a placement cheaper, so no placement needs fewer cores than that, as long as a core holds at
most one run of consecutive neurons of each population. (Populations under a convolution may lie in any order.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog

from sdsnn_core.network import Convolution, Network, Synapses

from .bound import LIMITED, NEEDS, SLACK, lower_bounds, neuron_rooms
from .chip import Chip
from .synapse_lists import ListFormat, list_format
from .tight_costs import DETAIL, CoreKind, LeastCost, core_kinds, least_in_any_order, least_in_order
from .types import CONVOLUTION_SLOTS, Bools, Floats

_CLASSES = 6  # groups that the neurons of a population are sorted into, by what they need
_STEPS = 4  # kinds of core for each width of indices


def tight_bounds(network: Network, chip: Chip, *, cores: int) -> dict[str, int]:
    """Return the least number of cores for each limited resource, tighter than `lower_bounds`.

    The key 'together' is added where all limits at once need more cores than each of them alone.
    """
    limited = [name for name in LIMITED if chip.limit(name) is not None]
    if cores == 1:
        return dict.fromkeys(["neurons", *limited], 1)
    program = _Program(network, chip)
    simple = lower_bounds(network, chip, cores=cores)
    bounds = {name: max(simple[name], program.cores([name] if name in limited else [])) for name in simple}
    together = program.cores(limited)
    return {**bounds, "together": together} if together > max(bounds.values()) else bounds


class _Program:
    """Fewest cores, in fractions. Variables: cores of each kind, then neurons of each class on each kind of core."""

    def __init__(self, network: Network, chip: Chip) -> None:
        assert chip.synapses is not None
        self.network, self.chip, self.layout = network, chip, chip.synapses
        self.forms = {name: list_format(p, self.layout) for name, p in network.projections.items()}
        neurons = chip.limit("neurons")
        assert neurons is not None
        many = sum(p.n_weights for p in network.projections.values()) > DETAIL
        self.kinds: list[CoreKind] = core_kinds(neurons, self.layout, 1 if many else _STEPS)
        self.overcharge = np.zeros(len(self.kinds))
        self.sharing: dict[str, int] = {}  # source -> synapse projections that may share its axons
        for p in network.projections.values():
            self.sharing[p.source] = self.sharing.get(p.source, 0) + isinstance(p, Synapses)
        self.fixed = self._fixed()
        self.needs = {name: self._of(name) for name in network.populations}
        self.rooms = neuron_rooms(network, chip, self.forms)

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

    def _of(self, name: str) -> dict[str, Floats]:
        """Return resource -> (kinds, neurons) what each neuron of a population needs at least."""
        size = self.network.size_of(name)
        needs = {key: np.zeros((len(self.kinds), size)) for key in LIMITED}
        incoming = list(self.network.incoming(name))
        ordered = not any(isinstance(p, Convolution) for _, p in incoming)
        for key, p in incoming:
            if not isinstance(p, Synapses):
                continue
            least = self._least(p, size, self.forms[key], ordered)
            self.overcharge += least.overcharge
            needs["synapse_bits"] += least.bits
            needs["input_axons"] += least.axons / self.sharing[p.source]
            if p.source in self.network.populations:
                needs["output_axons"] += least.axons / self.sharing[p.source]
        return needs

    def _least(self, p: Synapses, size: int, form: ListFormat, ordered: bool) -> LeastCost:
        if ordered:
            return least_in_order(p, size, self.kinds, form, self.layout, self.chip.limit("input_axons"))
        return least_in_any_order(p, size, self.kinds, form)

    def _fixed(self) -> dict[str, float]:
        """Return what is needed once, wherever the neurons are: lists of convolutions, an axon of every source."""
        bits = 0.0
        axons: dict[tuple[str, bool], Bools] = {}
        for name, p in self.network.projections.items():
            need = NEEDS.for_(p)(self.network, name, self.forms[name], self.layout)
            if need.convolution:
                bits += need.bits
            elif not any(isinstance(other, Convolution) for _, other in self.network.incoming(p.target)):
                continue
            key = (p.source, need.convolution)
            axons[key] = axons.get(key, np.zeros_like(need.sources)) | need.sources
        total = {key: int(each.sum()) / (1 if key[1] else self.sharing[key[0]]) for key, each in axons.items()}
        out = [
            n * (CONVOLUTION_SLOTS if key[1] else 1) for key, n in total.items() if key[0] in self.network.populations
        ]
        return {"synapse_bits": bits, "input_axons": sum(total.values()), "output_axons": sum(out)}

    def cores(self, resources: Sequence[str]) -> int:
        """Return the fewest cores that hold all neurons and `resources`.

        The program is solved for averages over classes of neurons that need about the same. Its dual values are
        prices, in cores, of one unit of each limit. By weak duality any prices give a lower bound, as long as all
        units of a core together cost at most one core. So they are scaled to that, and every neuron then pays for
        its own needs, on the kind of core where that is cheapest.
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
            return max(1, math.ceil(float(sizes @ shares) - SLACK))
        prices = np.maximum(-solved.ineqlin.marginals / np.array(scales), 0)
        share, room, *rest = np.split(prices, np.arange(n_kinds, prices.size, n_kinds))
        sold = share + room * neurons
        of_kind = np.zeros((len(resources), n_kinds))
        for i, price in zip(own, rest, strict=False):
            of_kind[i] = price
        anywhere = prices[prices.size - len(resources) :]
        total = of_kind + anywhere[:, None]
        sold += sum((total[i] * limits[i] for i in range(len(resources))), np.zeros(n_kinds))
        paid_in_all = sum(float(anywhere[i]) * self.fixed[name] for i, name in enumerate(resources))
        for population, need in self.needs.items():
            paid = (share / self.rooms[population] + room)[:, None] + np.zeros((1, self.network.size_of(population)))
            for i, name in enumerate(resources):
                paid += total[i][:, None] * need[name]
            paid_in_all += float(paid.min(axis=0).sum())
        return max(1, math.ceil(paid_in_all / max(float(sold.max()), 1e-30) - SLACK))

    def _limit(self, name: str) -> Floats:
        limit = self.chip.limit(name)
        assert limit is not None
        return limit + (self.overcharge if name == "synapse_bits" else np.zeros(len(self.kinds)))
