"""Placement: every neuron on a core, within every limit of the chip, with a lower bound on the cores.

Populations are cut along contiguous neurons, or where a convolution feeds them along boxes of channels, rows and
columns. Several ways to cut and pack are tried until one needs no more cores than the lower bound; the best is kept.
Output axons depend on where the targets went, so a cut is repeated with smaller pieces where they run over.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network

from .assemble import Layout, cores_of_neurons, finish, output_slots
from .bound import lower_bounds
from .chip import Chip, load_chip
from .cost import DoesNotFit
from .cut import Cutter
from .pack import Cores, ways
from .tight_bound import tight_bounds
from .types import Placement

_ROUNDS = 12  # tries to bring output axons under their limit


def place(network: Network, chip: str | Chip = "loihi2", *, tight_bound: bool = False) -> Placement:
    """Assign every neuron of a network to a core of a chip.

    Args:
        network: the network to place.
        chip: name of a chip, path of a TOML file like those in deploy/chips/, or a Chip.
        tight_bound: compute the tighter of the two lower bounds, which takes longer.

    Returns:
        Cores, axons and use of every resource, all limits of a core held.

    Raises:
        DoesNotFit: a node needs more than a core has; names node, limit and amount.
        FileError: there is no such chip.
        ConfigError: the chip's file is wrong.
        NetworkError: only limits of the whole chip are known.

    Example:
        >>> import numpy as np, sdsnn
        >>> nodes = {"in": sdsnn.Input((4,)), "a": sdsnn.Population((3,), 4096, 410, 64), "out": sdsnn.Output("a")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses.from_dense("in", "a", np.full((3, 4), 20))})
        >>> placement = sdsnn.place(network, "loihi1")
        >>> placement.n_cores, placement.lower_bound
        (1, 1)
    """
    target = chip if isinstance(chip, Chip) else load_chip(chip)
    if not target.placeable or target.layout is None:
        raise NetworkError(
            f"chip {target.name}: expected a chip whose cores are known, got one with limits of the whole chip only"
        )
    bounds_of = tight_bounds if tight_bound else lower_bounds
    cutter = Cutter(network, target)
    bounds: dict[str, int] = {}
    best: Layout | None = None
    refusal: DoesNotFit | None = None
    for way in ways(network):
        try:
            layout = legal(cutter, way)
        except DoesNotFit as error:
            refusal = refusal or error
            continue
        if best is None or len(layout.cores) < len(best.cores):
            best = layout
        bounds = bounds or bounds_of(network, target, cores=len(best.cores))
        if len(best.cores) <= max(bounds.values()):
            break
    if best is None:
        assert refusal is not None
        raise refusal
    return finish(cutter, best, bounds, tight_bound)


def legal(cutter: Cutter, way: Callable[[Cutter], Cores]) -> Layout:
    """Cut and pack in one way until output axons are within their limit too. Raises DoesNotFit."""
    limit = cutter.chip.limit("output_axons")
    cutter.forget()
    for _ in range(_ROUNDS):
        cores = way(cutter)
        core_of = cores_of_neurons(cutter, cores)
        slots = output_slots(cutter, cores)
        outgoing = np.zeros(len(cores), np.int64)
        for name, each in slots.items():
            outgoing += np.bincount(core_of[name], each, len(cores)).astype(np.int64)
        if limit is None or outgoing.max() <= limit:
            return Layout(cores, core_of, outgoing)
        # The next round cuts and packs the sources by where the targets lie now.
        cutter.slots = {name: np.maximum(each, cutter.slots[name]) for name, each in slots.items()}
    worst = int(outgoing.argmax())
    piece = max(cores[worst], key=lambda item: int(cutter.slots[item.population][item.neurons].sum()))
    assert limit is not None
    hint = f"{_ROUNDS} rounds of smaller pieces did not help"
    raise DoesNotFit(piece.population, "output_axons", int(outgoing[worst]), limit, cutter.chip.title, hint)
