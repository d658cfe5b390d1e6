"""The cost of a network on a chip in a few numbers, as hardware-aware development asks for it after every epoch."""

from __future__ import annotations

import math
from typing import Any

from sdsnn_core.development.chip_costs import ChipCost, NodeCost
from sdsnn_core.network import Network

from ...engine import run
from ..chip import Chip, DoesNotFit, load_chip
from ..place import place
from ..synapse_lists import index_width, list_format
from .drive import drive_for
from .marginal import marginal

NO_CORES = 1_000_000_000  # more than any chip has: the network does not fit


def chip_cost(network: Network, chip: str | Chip, spikes: Any = None) -> ChipCost:
    """Place a network on the fewest cores and return what it costs.

    Args:
        network: the network, compacted.
        chip: name of a chip, path of a TOML file, or a Chip.
        spikes: (samples, steps, *shape) input on which the work of the cores is measured; None: not measured.

    Returns:
        The number of cores, and with spikes the events of the busiest core, the energy and the time of a step; and what
        each neuron costs. Of a network with a neuron that no core takes, NO_CORES and what it lacks.

    Raises:
        ConfigError, FileError: the chip.
    """
    target = chip if isinstance(chip, Chip) else load_chip(chip)
    activity = None if spikes is None else run(network, spikes)
    try:
        placement = place(network, target, activity=activity)
    except DoesNotFit as error:
        work = None if spikes is None else math.inf
        return ChipCost(NO_CORES, work, work, work, error.resource)
    layout = target.synapses
    assert layout is not None
    widths = [list_format(projection, layout).synapse_bits for projection in network.projections.values()]
    index = index_width(int(placement.use["neurons"].max()), layout) or max(layout.index_bits)
    done = placement.work

    def each(limit: str) -> dict[str, NodeCost]:
        return marginal(network, placement, drive_for(network, target, "cores", activity), limit)

    return ChipCost(
        cores=placement.n_cores,
        busiest=None if done is None else done.busiest_events,
        energy=None if done is None else done.joules,
        time=None if done is None else done.step,
        binds=placement.binding,
        bits=max(widths, default=0) + index,
        pieces=tuple(placement.pieces.values()),
        need=max(placement.load.values()) * placement.n_cores,
        marginal=each,
    )
