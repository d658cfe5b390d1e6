"""Cores that no placement can go below: what all neurons need at least, divided by what one core offers.

For each resource the need of the whole network is counted once, wherever the neurons lie:

* neurons: each takes its share of a core, more where long delays need state;
* synaptic memory: a synapse takes at least its part of the cheapest list, without an index; a convolution at least one
  list of each kernel weight that lands;
* state: each neuron keeps the words of its model;
* axons: each source neuron with a synapse needs one on some core, and one more for its convolutions.

`tight_bound.py` also looks at the gaps and indices of lists, and at sources that several cores need.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sdsnn_core.geometry import fan_out, taps
from sdsnn_core.network import Convolution, Network, Synapses
from sdsnn_core.rules import Rules

from .chip import Chip, SynapseFormat
from .synapse_lists import ListFormat, list_bits, list_format
from .types import CONVOLUTION_SLOTS, Bools

SLACK = 1e-6  # sums of fractions exceed a whole number of cores by rounding
LIMITED = ("synapse_bits", "state_words", "input_axons", "output_axons")


class Need(NamedTuple):
    """What one projection needs at least: memory, and which source neurons need an axon of which kind."""

    bits: float
    sources: Bools
    convolution: bool


NEEDS: Rules[Callable[[Network, Any, ListFormat, SynapseFormat], Need]] = Rules("placement: least need")


@NEEDS.of(Synapses)
def _of_synapses(network: Network, p: Synapses, form: ListFormat, layout: SynapseFormat) -> Need:
    lengths = np.arange(1, layout.block + 1)
    cheapest = float((list_bits(lengths, form.synapse_bits, layout) / lengths).min())
    return Need(p.weight.size * cheapest, np.bincount(p.pre, minlength=network.size_of(p.source)) > 0, False)


@NEEDS.of(Convolution)
def _of_convolution(network: Network, p: Convolution, form: ListFormat, layout: SynapseFormat) -> Need:
    shape = network.shape_of(p.source)
    rows, columns = taps(shape, p.kernel.shape, p.window)
    places = np.outer((rows >= 0).sum(axis=1), (columns >= 0).sum(axis=1))  # source places that each kernel place meets
    present = (p.kernel != 0).sum(axis=(0, 1))
    weights = int(present[places > 0].sum() if layout.shared_convolution else (present * places).sum())
    sources = fan_out(shape, p.kernel, p.window).reshape(-1) > 0
    return Need(float(-(-weights * form.synapse_bits // layout.word_bits) * layout.word_bits), sources, True)


def neuron_rooms(network: Network, chip: Chip, forms: dict[str, ListFormat]) -> dict[str, int]:
    """Return population -> neurons that a core takes, long delays taken into account."""
    return {
        name: chip.neurons(max((forms[key].max_delay for key, _ in network.incoming(name)), default=0))
        for name in network.populations
    }


def lower_bounds(network: Network, chip: Chip, *, cores: int) -> dict[str, int]:
    """Return the least number of cores for each limited resource. cores: of a known placement; of 1, all are 1."""
    limited = [name for name in LIMITED if chip.limit(name) is not None]
    if cores == 1:
        return dict.fromkeys(["neurons", *limited], 1)
    assert chip.synapses is not None
    forms = {name: list_format(p, chip.synapses) for name, p in network.projections.items()}
    rooms = neuron_rooms(network, chip, forms)
    bits = 0.0
    axons: dict[tuple[str, bool], Bools] = {}  # synapses of one source share its axon, convolutions do not
    for name, p in network.projections.items():
        need = NEEDS.for_(p)(network, p, forms[name], chip.synapses)
        bits += need.bits
        key = (p.source, need.convolution)
        axons[key] = axons.get(key, np.zeros_like(need.sources)) | need.sources
    n_axons = {key: int(sources.sum()) for key, sources in axons.items()}
    slots = {key: n * (CONVOLUTION_SLOTS if key[1] else 1) for key, n in n_axons.items() if key[0] in rooms}
    needs = {
        "synapse_bits": bits,
        "state_words": sum(p.size * p.state_words for p in network.populations.values()),
        "input_axons": sum(n_axons.values()),
        "output_axons": sum(slots.values()),
    }
    shares = {"neurons": sum(p.size / rooms[name] for name, p in network.populations.items())}
    shares |= {name: needs[name] / (chip.limit(name) or 1) for name in limited}
    return {name: max(1, math.ceil(share - SLACK)) for name, share in shares.items()}
