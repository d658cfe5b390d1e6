"""Placement: every neuron on a core, within every limit of the chip, with a lower bound on the cores.

Populations are cut along contiguous neurons, or where a convolution feeds them along boxes of channels, rows and
columns. Several ways to cut and pack are tried until one needs no more cores than the lower bound; the best is kept.
Where another objective than fewest cores is set, the placement is improved for it (`objective/search.py`).
"""

import functools
from collections.abc import Callable

from sdsnn_core.activity import Activity
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network

from .bound import lower_bounds
from .chip import Chip, DoesNotFit, load_chip
from .cut import Cutter
from .objective.drive import drive_for
from .objective.search import improve
from .packing import Layout, NoBetter, finish, legal, ways
from .tight_bound import tight_bounds
from .types import Placement


def place(
    network: Network,
    chip: str | Chip = "loihi2",
    *,
    objective: str = "cores",
    activity: Activity | None = None,
    tight_bound: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Placement:
    """Assign every neuron of a network to a core of a chip.

    Args:
        network: the network to place.
        chip: name of a chip, path of a TOML file like those in deploy/chips/, or a Chip.
        objective: "cores" for the fewest; "latency" for the shortest step, "energy" for the least energy of events and
            traffic, "balance" for the fewest cores with even work. All but the first need an activity.
        activity: what the network did, spikes recorded (`sdsnn.simulate`); the placement then holds the work of its
            cores.
        tight_bound: compute the tighter of the two lower bounds, which takes longer.
        progress: called again and again with the share of the work that is done, 0 to 1.

    Returns:
        Cores, axons and use of every resource, all limits of a core held.

    Raises:
        DoesNotFit: a node needs more than a core has; names node, limit and amount.
        FileError: there is no such chip.
        ConfigError: the chip's file is wrong, or there is no such objective.
        NetworkError: only limits of the whole chip are known, or `activity` is missing or of another network.

    Examples:
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
    drive = drive_for(network, target, objective, activity)
    bounds_of = tight_bounds if tight_bound else lower_bounds
    cutter = Cutter(network, target)
    bounds: dict[str, int] = {}
    best: Layout | None = None
    refusal: DoesNotFit | None = None
    tried, size = list(ways(network)), sum(p.size for p in network.populations.values())
    for number, way in enumerate(tried):
        if progress is not None:
            cutter.progress = functools.partial(_share, progress, number, len(tried), size)
        try:
            best = legal(cutter, way)
        except NoBetter:
            continue
        except DoesNotFit as error:
            refusal = refusal or error
            continue
        cutter.fewer_than = len(best.cores)
        bounds = bounds or bounds_of(network, target, cores=len(best.cores))
        if len(best.cores) <= max(bounds.values()):
            break
    if best is None:
        assert refusal is not None
        raise refusal
    fewest = finish(cutter, best, bounds, tight_bound)
    return fewest if drive is None else improve(cutter, best, fewest, drive, objective)


def _share(progress: Callable[[float], None], done: int, tries: int, size: int, neurons: int) -> None:
    """Report the share of all tries that is done, `neurons` of the next one included."""
    progress((done + neurons / size) / tries)
