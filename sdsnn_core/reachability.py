"""Reachability: which units can ever fire, and which of them reach an output.

Who can ever fire is found from the inputs forward. No unit has fired before the first step, and a neuron's first spike
needs sources that fired before it. So the smallest set closed under "the bound on the drive exceeds the threshold"
holds every neuron that ever fires, those that fire from bias alone included.

The bound: with P and N the sums of positive and negative weights of sources that can fire (times 64, times the
largest value of a graded input), u lies within -N/d .. P/d for current decay d, as long as neither leaves 24 bits;
where one could, u may wrap and the neuron counts as firing. Then v <= max(initial, (P/d + bias) / voltage decay).
Rounding is towards zero and only lowers positive values, so the bound is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from .arithmetic import DECAY_UNITY, STATE_LIMIT
from .network import Input, Network, Population, Synapses
from .rules import Rules

Units = npt.NDArray[np.bool_]
Drive = npt.NDArray[np.float64]
# (neurons, drive (2, size) as of `drive`) -> (size,) bool: which neurons can ever fire
MAY_FIRE: Rules[Callable[[Population, Drive], Units]] = Rules("reachability: neurons")


def all_synapses(network: Network) -> dict[str, Synapses]:
    """Return the point-to-point synapses of every projection."""
    return {name: network.synapses(name) for name in network.projections}


def drive(network: Network, synapses: Mapping[str, Synapses], fires: Mapping[str, Units], name: str) -> Drive:
    """Return the largest positive and negative input of each neuron of a population in one step.

    Args:
        synapses: Of every projection, see `all_synapses`.
        fires: Node -> (size,) bool, the units that can fire.
        name: The population.

    Returns:
        (2, size) float64 of at least 0, in state units (64 per unit of weight); exact, as all sums stay below 2**53.
    """
    size = network.size_of(name)
    result = np.zeros((2, size))
    for key, p in network.incoming(name):
        source = network.nodes[p.source]
        largest = source.max_value if isinstance(source, Input) else 1
        active = fires[p.source][synapses[key].pre]
        weight = synapses[key].weight[active] * (64.0 * largest * 2**p.weight_exp)
        post = synapses[key].post[active]
        result[0] += np.bincount(post, np.maximum(weight, 0), size)
        result[1] += np.bincount(post, np.maximum(-weight, 0), size)
    return result


@MAY_FIRE.of(Population)
def _population(population: Population, drive: Drive) -> Units:
    u_decay, v_decay = (population.per_neuron(f"{kind}_decay") / DECAY_UNITY for kind in ("current", "voltage"))
    with np.errstate(divide="ignore", invalid="ignore"):
        # 0/0: no drive and no decay, so the state stays where it began, at 0.
        most, least = (np.nan_to_num(side / u_decay, nan=0.0, posinf=np.inf) for side in drive)
        push = most + (population.per_neuron("bias") << population.bias_exp)
        settled = np.where(push > 0, push / v_decay, 0.0)
    highest = np.maximum(settled, population.per_neuron("initial_voltage"))
    may_wrap = np.maximum(most, least) >= STATE_LIMIT
    return np.asarray((highest > 64 * population.per_neuron("threshold")) | may_wrap)


def can_fire(network: Network, synapses: Mapping[str, Synapses] | None = None) -> dict[str, Units]:
    """Return which units can ever emit a spike.

    Args:
        network: The network.
        synapses: Those of `all_synapses`, where they are at hand.

    Returns:
        Input or population -> (size,) bool. A unit that is False never fires, whatever the input.
    """
    synapses = all_synapses(network) if synapses is None else synapses
    fires: dict[str, Units] = {name: np.ones(node.size, bool) for name, node in network.inputs.items()}
    fires.update({name: np.zeros(node.size, bool) for name, node in network.populations.items()})
    changed = set(network.populations)
    while changed:
        name = min(changed, key=list(network.nodes).index)
        changed.discard(name)
        population = network.populations[name]
        now = MAY_FIRE.for_(population)(population, drive(network, synapses, fires, name))
        if (now & ~fires[name]).any():
            fires[name] = fires[name] | now
            changed |= {p.target for _, p in network.outgoing(name)}
    return fires


def with_sources(
    network: Network, synapses: Mapping[str, Synapses], fires: Mapping[str, Units], kept: Mapping[str, Units]
) -> dict[str, Units]:
    """Return `kept` and every unit that can fire and has a path of synapses to one of them."""
    result = {name: units.copy() for name, units in kept.items()}
    changed = set(network.populations)
    while changed:
        target = changed.pop()
        for key, p in network.incoming(target):
            reaching = np.zeros_like(result[p.source])
            reaching[synapses[key].pre[result[target][synapses[key].post]]] = True
            reaching &= fires[p.source] & ~result[p.source]
            if reaching.any():
                result[p.source] |= reaching
                changed.add(p.source)
    return result
