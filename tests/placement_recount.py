"""Small chips, layered networks, and a recount of placements that shares no code with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from sdsnn.deploy.placement.chip import Chip, load_chip
from sdsnn.deploy.placement.types import Placement
from sdsnn_core.network import Convolution, Input, Network, Node, Output, Population, Projection, Synapses

WORDS = {"CubaLif": 2, "RefractoryLif": 3, "AdaptiveLif": 4, "Resonator": 2, "Sigma": 1, "Delta": 2, "SigmaDelta": 3}
Entries = list[tuple[int, int]]  # (rank of the target within its piece, weight)
Axon = tuple[str, int, bool]  # (source, neuron, through a convolution)


def small_chip(base: str = "loihi1", **limits: int) -> Chip:
    """Return a chip with other limits than `base`, so that small networks need many cores."""
    data = load_chip(base).model_dump()
    for name, value in limits.items():
        fact = {"value": value, "unit": "per core", "source": "a test", "year": 2026, "grade": "inferred"}
        data["limits"][name] = fact
    return Chip.model_validate({**data, "name": "small", "title": "small chip"})


def layers(n_in: int, *sizes: int, weight: int = 2, sparse: float = 1.0, seed: int = 0) -> Network:
    """Return layers l0, l1, ... of the given sizes, full matrices of one weight, or a fraction of it."""
    rng = np.random.default_rng(seed)
    decays, threshold = (np.array(1024), np.array(128)), np.array(80)
    nodes: dict[str, Node] = {"input": Input((n_in,))}
    wires: dict[str, Projection] = {}
    previous, before = "input", n_in
    for i, size in enumerate(sizes):
        nodes[f"l{i}"] = Population((size,), *decays, threshold)
        matrix = np.where(rng.random((size, before)) < sparse, weight, 0)
        wires[f"w{i}"] = Synapses.from_dense(previous, f"l{i}", matrix)
        previous, before = f"l{i}", size
    nodes["output"] = Output(previous)
    return Network(nodes, wires)


def plain_bits(n: int, width: int) -> int:
    """Return the memory of a list of n synapses of `width` bits, block by block."""
    total = 0
    while n > 0:
        block = min(n, 64)
        total += -(-(block * width + 10) // 64) * 64
        n -= block
    return total


def plain_weight_bits(weights: list[int]) -> int:
    """Return the bits of the narrowest format that holds the weights."""
    if not weights:
        return 1
    while all(w % 2 == 0 for w in weights):
        weights = [w // 2 for w in weights]
    for bits in (1, 2, 3, 4, 5, 6, 8):
        if min(weights) >= 0 and max(weights) < 2**bits:
            return bits
        if max(weights) <= 0 and -min(weights) < 2**bits:
            return bits
        if min(weights) >= -(2 ** (bits - 1)) and max(weights) < 2 ** (bits - 1):
            return bits
    return 8


def words(network: Network, name: str) -> int:
    """Return the words of state of a neuron: the variables of Lava's process, an error where it is used."""
    population = network.populations[name]
    return WORDS[type(population).__name__] + bool(getattr(population, "cumulative", False))


def assert_legal(network: Network, placement: Placement, chip: Chip, *, exact: bool = False) -> None:
    """Recount all that a placement uses, compare with what it says, and hold it against the limits.

    Synapse by synapse, in python. exact: no two lists of a convolution are equal by chance, so its memory must agree
    to the bit as well; otherwise it may be less, because a placement does not look at weights.
    """
    recount = _Recount(network, placement, chip)
    outgoing: dict[int, set[tuple[Axon, int]]] = defaultdict(set)
    for core in range(placement.n_cores):
        here = {name: int((where == core).sum()) for name, where in placement.core_of.items()}
        neurons = sum(here.values())
        assert neurons == placement.use["neurons"][core]
        assert neurons <= recount.room(here)
        assert placement.use["state_words"][core] == sum(size * words(network, name) for name, size in here.items())
        axons = recount.axons(core)
        assert len(axons) == placement.use["input_axons"][core]
        for axon in axons:
            if axon[0] in placement.core_of:
                outgoing[int(placement.core_of[axon[0]][axon[1]])].add((axon, core))
        memory, reported = recount.memory(core, neurons), int(placement.use["synapse_bits"][core])
        if not exact and any(isinstance(p, Convolution) for p in network.projections.values()):
            assert memory <= reported
        else:
            assert memory == reported
    for core in range(placement.n_cores):
        slots = sum(2 if axon[2] else 1 for axon, _ in outgoing[core])
        assert slots == placement.use["output_axons"][core]
    for resource, amount in placement.use.items():
        limit = chip.limit(resource)
        if resource != "neurons" and limit is not None:
            assert amount.max() <= limit, resource
    for name, table in placement.axons.items():
        given = zip(table.source.tolist(), table.core.tolist(), table.synapses.tolist(), strict=True)
        assert recount.fan_out(name) == sorted(given)
    assert sum(int(t.bits.sum()) for t in placement.axons.values()) == placement.use["synapse_bits"].sum()


class _Recount:
    def __init__(self, network: Network, placement: Placement, chip: Chip) -> None:
        self.network, self.chip = network, chip
        ranks: dict[tuple[str, int], int] = {}
        for name, population in network.populations.items():
            where, piece_of = placement.core_of[name], placement.piece_of[name]
            assert where.shape == piece_of.shape == (population.size,)
            assert 0 <= where.min() <= where.max() < placement.n_cores
            for piece in np.unique(piece_of):
                members = np.flatnonzero(piece_of == piece)
                assert np.unique(where[members]).size == 1
                for rank, neuron in enumerate(members):
                    ranks[name, int(neuron)] = rank
        # core -> (projection, source neuron, piece) -> entries
        self.lists: dict[int, dict[tuple[str, int, int], Entries]] = defaultdict(lambda: defaultdict(list))
        self.width: dict[str, int] = {}
        self.delay: dict[str, int] = defaultdict(int)
        for name, p in network.projections.items():
            wires = network.synapses(name)
            kernel = p.weight if isinstance(p, Synapses) else p.kernel[p.kernel != 0]
            delay = int(p.delay.max()) if kernel.size and p.delay.size else 0
            self.width[name] = plain_weight_bits(kernel.tolist()) + (len(f"{delay:b}") if delay else 0)
            self.delay[p.target] = max(self.delay[p.target], delay)
            for pre, post, weight in zip(wires.pre.tolist(), wires.post.tolist(), wires.weight.tolist(), strict=True):
                core = int(placement.core_of[p.target][post])
                piece = int(placement.piece_of[p.target][post])
                self.lists[core][name, pre, piece].append((ranks[p.target, post], weight))

    def room(self, here: Mapping[str, int]) -> int:
        """Return how many neurons a core takes that holds these populations."""
        limit = self.chip.limit("neurons")
        assert limit is not None
        longest = max((self.delay[name] for name, size in here.items() if size), default=0)
        if self.chip.delays is not None and self.chip.delays.state_budget and longest > 7:
            limit = min(limit, 8192 // {4: 16, 5: 32, 6: 64}[len(f"{longest:b}")])
        return limit

    def axons(self, core: int) -> set[Axon]:
        """Return the input axons of a core."""
        wires = self.network.projections
        return {(wires[name].source, pre, isinstance(wires[name], Convolution)) for name, pre, _ in self.lists[core]}

    def memory(self, core: int, neurons: int) -> int:
        """Return the synaptic memory of a core, bits; equal lists of a convolution are stored once."""
        assert self.chip.synapses is not None
        index = min(bits for bits in self.chip.synapses.index_bits if neurons <= 2**bits)
        total, stored = 0, set()
        for (name, _, piece), entries in self.lists[core].items():
            ordered = sorted(entries)
            if isinstance(self.network.projections[name], Convolution):
                key = (name, piece, tuple((rank - ordered[0][0], weight) for rank, weight in ordered))
                if key in stored:
                    continue
                stored.add(key)
            span = ordered[-1][0] - ordered[0][0] + 1
            width = self.width[name]
            total += min(plain_bits(span, width), plain_bits(len(ordered), width + index))
        return total

    def fan_out(self, projection: str) -> list[tuple[int, int, int]]:
        """Return (source neuron, core, synapses) of every axon of a projection, in order."""
        found: dict[tuple[int, int], int] = defaultdict(int)
        for core, lists in self.lists.items():
            for (name, pre, _), entries in lists.items():
                if name == projection:
                    found[pre, core] += len(entries)
        return sorted((pre, core, n) for (pre, core), n in found.items())
