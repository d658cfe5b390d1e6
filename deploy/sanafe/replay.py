"""A placed network on SANA-FE, with the spikes that the engine computed; its cost, and the check of every bin."""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from packaging.version import Version

from sdsnn_core.activity import Activity
from sdsnn_core.errors import BackendError, MissingDependency, UnsupportedNode
from sdsnn_core.lava.child import run_in_child
from sdsnn_core.network import Network

from ..energy.prices import PriceList, load_price_list
from ..placement.types import Floats, Ints, Placement
from .architecture import UNIT, CoreSize, architecture

OLDEST = "2.2.9"
MOST_EDGES = 9_000_000  # synapses of neurons that spike
TIMEOUT_S = 1800.0
Timing = Literal["simple", "detailed", "cycle"]
UNITS = ("synapse", "dendrite", "soma", "network")


@dataclass(frozen=True, eq=False)
class ReplayCost:
    """What SANA-FE says of one inference (one sample, all its steps), mean over the samples.

    version: of SANA-FE. timing: its timing model. prices: the price list whose energies and times it was given.
    joules: unit -> joules. step_s: (samples * steps,) seconds of each step. spikes, packets, hops, updates: numbers of
    an inference. bins: how many bins of spikes were compared with those given; all of them were equal.
    """

    version: str
    timing: str
    prices: str
    n_samples: int
    n_steps: int
    joules: Mapping[str, float]
    step_s: Floats
    spikes: float
    packets: float
    hops: float
    updates: float
    events: float
    bins: int

    @property
    def total(self) -> float:
        """Joules of an inference."""
        return sum(self.joules.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        numbers = {name: getattr(self, name) for name in ("spikes", "packets", "hops", "updates", "events")}
        return {
            "version": self.version,
            "timing": self.timing,
            "prices": self.prices,
            "n_samples": self.n_samples,
            "n_steps": self.n_steps,
            "joules": {**self.joules, "total": self.total},
            "step_s": float(self.step_s.mean()),
            "slowest_step_s": float(self.step_s.max()),
            "inference_s": float(self.step_s.sum()) / self.n_samples,
            **numbers,
            "bins_compared": self.bins,
            "bins_different": 0,
        }


def require_sanafe() -> str:
    """Return the version of SANA-FE. Raises MissingDependency where it is missing or too old."""
    install = "pip install 'sdsnn[sanafe]'"
    try:
        version = importlib.metadata.version("sanafe")
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependency(f"target sanafe: expected the package sanafe, got none ({install})") from None
    if Version(version) < Version(OLDEST):
        raise MissingDependency(f"target sanafe: expected sanafe {OLDEST} or newer, got {version} ({install})")
    return version


def replay(
    network: Network,
    activity: Activity,
    placement: Placement,
    *,
    prices: str | PriceList = "sanafe2025",
    timing: Timing = "detailed",
) -> ReplayCost:
    """Replay the spikes of a placed network on SANA-FE, the samples one after the other.

    Args:
        network: the network that ran.
        activity: its spikes, recorded for every node.
        placement: cores of its neurons, on one chip.
        prices: energies and times of the chip's events.
        timing: SANA-FE's timing model. "simple": the busiest core; "detailed": packets queue on the mesh; "cycle":
            a simulation of its routers, a hundred times slower.

    Returns:
        Energy by unit, time of every step, and numbers of events.

    Raises:
        MissingDependency: SANA-FE is missing or too old.
        UnsupportedNode: more than one chip, spikes that were not recorded, or too many synapses.
        ConfigError: the price list lacks a price or a time.
        BackendError: SANA-FE failed, or a spike that it saw differs from those it was given.
    """
    version = require_sanafe()
    table = prices if isinstance(prices, PriceList) else load_price_list(prices)
    payload = Payload(network, activity, placement).data(table, timing)
    result = run_in_child("sdsnn.deploy.sanafe.child:replay", payload, TIMEOUT_S)
    trains = payload["trains"]
    got = np.zeros_like(trains)
    got[result["spikes"][:, 0], result["spikes"][:, 1]] = True
    if different := int((got != trains).sum()):
        raise BackendError(
            f"target sanafe: expected the {int(trains.sum()):,} spikes that it was given, "
            f"got {int(got.sum()):,}; {different:,} bins differ"
        )
    trace = {name: np.asarray(column, np.float64) for name, column in result["trace"].items()}
    samples = activity.n_samples
    return ReplayCost(
        version=version,
        timing=timing,
        prices=table.name,
        n_samples=samples,
        n_steps=activity.n_steps,
        joules={unit: float(trace[f"{unit}_energy"].sum()) / samples for unit in UNITS},
        step_s=trace["sim_time"],
        spikes=float(trace["fired"].sum()) / samples,
        packets=float(result["totals"]["packets_sent"]) / samples,
        hops=float(trace["hops"].sum()) / samples,
        updates=float(trace["updated"].sum() - trace["fired"].sum()) / samples,
        events=float(result["totals"]["spikes"]) / samples,
        bins=int(trains.size),
    )


class Payload:
    """What the child needs, as plain arrays: pairs of receivers and senders on cores, and edges between them."""

    def __init__(self, network: Network, activity: Activity, placement: Placement) -> None:
        if placement.n_chips > 1:
            raise UnsupportedNode(f"target sanafe: expected a placement on one chip, got {placement.n_chips}")
        nodes = (*network.inputs, *network.populations)
        if missing := [name for name in nodes if name not in activity.spikes]:
            raise UnsupportedNode(f"target sanafe: expected recorded spikes of every node, got none of {missing[0]}")
        self.network, self.placement = network, placement
        self.trains = {name: activity.spikes[name].reshape(-1, network.size_of(name)).T != 0 for name in nodes}
        self.mesh = placement.mesh
        tiles = -(-self.mesh.cores_per_chip // self.mesh.cores_per_tile)
        self.columns, self.rows = self.mesh.tiles_x, -(-tiles // self.mesh.tiles_x)
        _, x, y = self.mesh.place(np.arange(placement.n_cores))
        self.tile = x * self.rows + y  # SANA-FE counts tiles column by column
        self.slot = np.arange(placement.n_cores) % self.mesh.cores_per_tile

    def data(self, prices: PriceList, timing: Timing) -> dict[str, Any]:
        """Return the payload of the child."""
        first, n_receivers = {}, 0
        for name, population in self.network.populations.items():
            first[name] = n_receivers
            n_receivers += population.size
        core = np.concatenate([self.placement.core_of[name] for name in first]).astype(np.int64)
        sender_of, trains, tile_of, slot_of, order = self._senders(first, core)
        edges = self._edges(first, core, sender_of)
        if (amount := sum(source.size for source, _ in edges.values())) > MOST_EDGES:
            raise UnsupportedNode(
                f"target sanafe: expected at most {MOST_EDGES:,} synapses of neurons that spike, got {amount:,}"
            )
        wide = self.mesh.cores_per_tile + 1
        index = tile_of * wide + slot_of
        receivers = self.tile[core] * wide + self.slot[core]
        soma = _ranks(index)
        counts = np.bincount(index, minlength=self.columns * self.rows * wide).tolist()
        n_receivers_at = np.bincount(receivers, minlength=self.columns * self.rows * wide).tolist()
        sizes = [CoreSize(n, counts[at]) for at, n in enumerate(n_receivers_at)]
        return {
            "architecture": architecture(prices, [sizes[i : i + wide] for i in range(0, len(sizes), wide)], self.rows),
            "receivers": receivers,
            "senders": index,
            "soma": soma,
            "units": _ranks(receivers) // UNIT,
            "sums": _ranks(np.concatenate([receivers, index])) // UNIT,
            "trains": trains,
            "order": order,
            "edges": edges,
            "timing": timing,
        }

    def _senders(
        self, first: Mapping[str, int], core: Ints
    ) -> tuple[dict[str, Ints], npt.NDArray[np.bool_], Ints, Ints, Ints]:
        """Return the senders of the neurons and inputs that spike, and the order in which cores handle all.

        sender_of: node -> (size,) or, of an input, (size, tiles): number of the sender, -1 for none.
        """
        sender_of: dict[str, Ints] = {}
        rows: list[npt.NDArray[np.bool_]] = []
        tile_of: list[Ints] = []
        slot_of: list[Ints] = []
        n = 0
        for name in first:
            fired = np.flatnonzero(self.trains[name].any(axis=1))
            sender_of[name] = np.full(self.network.size_of(name), -1)
            sender_of[name][fired] = n + np.arange(fired.size)
            n += fired.size
            at = self.placement.core_of[name][fired]
            rows.append(self.trains[name][fired])
            tile_of.append(self.tile[at])
            slot_of.append(self.slot[at])
        for name in self.network.inputs:
            fired = self.trains[name].any(axis=1)
            leads = np.zeros((fired.size, self.columns * self.rows), np.bool_)
            for key, projection in self.network.projections.items():
                if projection.source == name:
                    table = self.placement.axons[key]
                    leads[table.source, self.tile[table.core]] = True
            neuron, tile = np.nonzero(leads & fired[:, None])
            sender_of[name] = np.full(leads.shape, -1)
            sender_of[name][neuron, tile] = n + np.arange(neuron.size)
            n += neuron.size
            rows.append(self.trains[name][neuron])
            tile_of.append(tile)
            slot_of.append(np.full(tile.size, self.mesh.cores_per_tile))
        paired = np.concatenate([sender_of[name] for name in first])
        both = np.stack([np.arange(paired.size), np.where(paired >= 0, paired + paired.size, -1)], axis=1).reshape(-1)
        ports = np.arange(int((paired >= 0).sum()), n) + paired.size
        order = np.concatenate([both[both >= 0], ports])
        return sender_of, np.concatenate(rows), np.concatenate(tile_of), np.concatenate(slot_of), order

    def _edges(
        self, first: Mapping[str, int], core: Ints, sender_of: Mapping[str, Ints]
    ) -> dict[str, tuple[Ints, Ints]]:
        """Return kind -> (senders, receivers) of every synapse whose source spikes."""
        parts: defaultdict[str, list[tuple[Ints, Ints]]] = defaultdict(list)
        for name, projection in self.network.projections.items():
            synapses, table = self.network.synapses(name), self.placement.axons[name]
            pre, post = synapses.pre.astype(np.int64), synapses.post.astype(np.int64)
            target = first[projection.target] + post
            numbers = sender_of[projection.source]
            sender = numbers[pre] if numbers.ndim == 1 else numbers[pre, self.tile[core[target]]]
            # The axons of a table have distinct pairs of source and core: find each synapse's list among them.
            keys = table.source * self.placement.n_cores + table.core
            ranked = np.argsort(keys)
            place = ranked[np.searchsorted(keys[ranked], pre * self.placement.n_cores + core[target])]
            live = sender >= 0
            if table.convolution:
                parts["convolution"].append((sender[live], target[live]))
                continue
            for kind, chosen in (("dense", ~table.sparse[place]), ("sparse", table.sparse[place])):
                if (both := live & chosen).any():
                    parts[kind].append((sender[both], target[both]))
        return {
            kind: (np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs]))
            for kind, pairs in parts.items()
        }


def _ranks(core: Ints) -> Ints:
    """Return (n,) the number of each neuron among those of its core, in order."""
    order = np.argsort(core, kind="stable")
    sizes = np.bincount(core) if core.size else np.zeros(0, np.int64)
    ranks = np.empty(core.size, np.int64)
    ranks[order] = np.arange(core.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return ranks
