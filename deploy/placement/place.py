"""Placement: every neuron on a core, within every limit of the chip, with a lower bound on the cores needed.

Populations are cut along contiguous neurons, or where a convolution feeds them along boxes of channels, rows and
columns. Several ways to cut and pack are tried until one needs no more cores than the lower bound; the best is kept.
Output axons depend on where the targets went, so a cut is repeated with smaller pieces where they run over.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network

from .assemble import core_of, finish, output_slots
from .bound import lower_bounds
from .chip import Chip, load_chip
from .cost import DoesNotFit
from .cut import Cutter
from .pack import Cores, ways
from .types import Ints, Placement

_ROUNDS = 12  # tries to bring output axons under their limit


def place(network: Network, chip: str | Chip = "loihi2") -> Placement:
    """Assign every neuron of `network` to a core of `chip` (a name, a file, or a Chip).

    Raises DoesNotFit naming node, limit and amount; FileError or ConfigError for a chip that cannot be read, and
    NetworkError for one of which only limits are known.
    """
    target = chip if isinstance(chip, Chip) else load_chip(chip)
    if not target.placeable or target.layout is None:
        raise NetworkError(f"chip {target.name}: only limits of the whole chip are known, nothing can be placed on it")
    cutter = Cutter(network, target)
    bounds: dict[str, int] = {}
    best: tuple[Cores, dict[str, npt.NDArray[np.int32]], Ints] | None = None
    refusal: DoesNotFit | None = None
    for way in ways(network):
        try:
            found = legal(cutter, way)
        except DoesNotFit as error:
            refusal = refusal or error
            continue
        if best is None or len(found[0]) < len(best[0]):
            best = found
        bounds = bounds or lower_bounds(network, target, cores=len(best[0]))
        if len(best[0]) <= max(bounds.values()):
            break
    if best is None:
        assert refusal is not None
        raise refusal
    return finish(cutter, *best, bounds)


def legal(cutter: Cutter, way: Callable[[Cutter], Cores]) -> tuple[Cores, dict[str, npt.NDArray[np.int32]], Ints]:
    """Return (cores, core of each neuron, output slots of each core) with all limits held, output axons too.

    Raises DoesNotFit.
    """
    limit = cutter.chip.limit("output_axons")
    cutter.forget()
    for _ in range(_ROUNDS):
        cores = way(cutter)
        where = core_of(cutter, cores)
        slots = output_slots(cutter, cores)
        outgoing = np.zeros(len(cores), np.int64)
        for name, each in slots.items():
            outgoing += np.bincount(where[name], each, len(cores)).astype(np.int64)
        if limit is None or outgoing.max() <= limit:
            return cores, where, outgoing
        # Where the targets lie now is what the next round cuts and packs the sources by.
        cutter.slots = {name: np.maximum(each, cutter.slots[name]) for name, each in slots.items()}
    worst = int(outgoing.argmax())
    piece = max(cores[worst], key=lambda item: int(cutter.slots[item.population][item.neurons].sum()))
    assert limit is not None
    hint = f"{_ROUNDS} rounds of smaller pieces did not help"
    raise DoesNotFit(piece.population, "output_axons", int(outgoing[worst]), limit, cutter.chip.title, hint)
