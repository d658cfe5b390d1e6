"""Reachability: which units can ever fire, and which of them reach an output.

Who can ever fire is found from the inputs forward. No unit has fired before the first step, and a neuron's first spike
needs sources that fired before it. So the smallest set closed under "the bound on the drive exceeds the threshold"
holds every neuron that ever fires, those that fire from bias alone included.

The bound: with P and N the sums of positive and negative weights of sources that can fire (times 64, times the
largest value of a graded input), u lies within -N/d .. P/d for current decay d, as long as neither leaves 24 bits;
where one could, u may wrap and the neuron counts as firing. Then v <= max(initial, (P/d + bias) / voltage decay).
Rounding is towards zero and only lowers positive values, so the bound is safe.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .arithmetic import DECAY_UNITY, STATE_LIMIT
from .network import (
    MESSAGE_MAX,
    AdaptiveLif,
    Convolution,
    CubaLif,
    Delta,
    Input,
    Network,
    RefractoryLif,
    Resonator,
    Shape,
    Sigma,
    SigmaDelta,
    Synapses,
)
from .rules import Rules

Units = npt.NDArray[np.bool_]
Drive = npt.NDArray[np.float64]
# (neurons, drive (2, size) as of `drive`) -> (size,) bool: which neurons can ever fire
MAY_FIRE: Rules[Callable[[Any, Drive], Units]] = Rules("reachability: neurons")


# (projection, shape of its source, which of its units fire as 0 and 1, size of the target) -> (2, size): sums of the
# positive and of the negative weights, of at least 0, that arrive if those fire at once
SUMS: Rules[Callable[[Any, Shape, Drive, int], Drive]] = Rules("reachability: sums of weights")


@SUMS.of(Synapses)
def _synapses(p: Synapses, shape: Shape, firing: Drive, size: int) -> Drive:
    weight = p.weight * firing[p.pre]
    return np.stack([np.bincount(p.post, np.maximum(sign * weight, 0), size) for sign in (1, -1)])


@SUMS.of(Convolution)
def _convolution(p: Convolution, shape: Shape, firing: Drive, size: int) -> Drive:
    # Tap by tap; a place in the padding has number -1, which is the row or column of zeros behind the image.
    image = np.pad(firing.reshape(shape), ((0, 0), (0, 1), (0, 1))).reshape(p.groups, -1, shape[1] + 1, shape[2] + 1)
    kernel = p.kernel.astype(np.float64).reshape(p.groups, -1, *p.kernel.shape[1:])
    rows, columns = p.taps(shape)
    result = np.zeros((2, p.groups, kernel.shape[1], rows.shape[1] * columns.shape[1]))
    for y, x in np.ndindex(*p.kernel.shape[2:]):
        places = image[:, :, rows[y][:, None], columns[x]].reshape(*image.shape[:2], -1)
        for sums, sign in zip(result, (1, -1), strict=True):
            sums += np.maximum(sign * kernel[..., y, x], 0) @ places
    return result.reshape(2, -1)


def all_synapses(network: Network) -> dict[str, Synapses]:
    """Return the point-to-point synapses of every projection."""
    return {name: network.synapses(name) for name in network.projections}


def drive(network: Network, fires: Mapping[str, Units], name: str) -> Drive:
    """Return the largest positive and negative input of each neuron of population `name` in one step.

    fires: node -> (size,) bool, the units that can fire. Returns (2, size) float64 of at least 0, in state units (64
    per unit of weight); exact, as all sums stay below 2**53.
    """
    size = network.size_of(name)
    result = np.zeros((2, size))
    for _, p in network.incoming(name):
        low, high = _values(network.nodes[p.source])
        active = fires[p.source].astype(np.float64)
        of_positive, of_negative = SUMS.for_(p)(p, network.shape_of(p.source), active, size) * (64.0 * 2**p.weight_exp)
        result[0] += of_positive * high - of_negative * low
        result[1] += of_negative * high - of_positive * low
    return result


def _values(node: Any) -> tuple[int, int]:
    """Return the smallest (0 or less) and the largest value of an event of a node."""
    if isinstance(node, Input):
        return node.min_value, node.max_value
    return (-MESSAGE_MAX, MESSAGE_MAX) if node.graded else (0, 1)


def _highest(population: CubaLif | RefractoryLif | AdaptiveLif, drive: Drive) -> tuple[Drive, Units]:
    """Return the largest voltage that a drive can make from a state of 0, and where a current may wrap."""
    u_decay, v_decay = (population.per_neuron(f"{kind}_decay") / DECAY_UNITY for kind in ("current", "voltage"))
    with np.errstate(divide="ignore", invalid="ignore"):
        # 0/0: no drive and no decay, so the state stays where it began, at 0.
        most, least = (np.nan_to_num(side / u_decay, nan=0.0, posinf=np.inf) for side in drive)
        push = most + (population.per_neuron("bias") << population.bias_exp)
        settled = np.where(push > 0, push / v_decay, 0.0)
    return settled, np.maximum(most, least) >= STATE_LIMIT


@MAY_FIRE.of(CubaLif, RefractoryLif)
def _cuba(population: CubaLif | RefractoryLif, drive: Drive) -> Units:
    highest, may_wrap = _highest(population, drive)
    highest = np.maximum(highest, population.per_neuron("initial_voltage"))
    return np.asarray((highest > 64 * population.per_neuron("threshold")) | may_wrap)


@MAY_FIRE.of(AdaptiveLif)
def _adaptive(population: AdaptiveLif, drive: Drive) -> Units:
    # Before its first spike the threshold is at rest and the refractory state 0.
    highest, may_wrap = _highest(population, drive)
    return np.asarray((highest >= 64 * population.per_neuron("threshold")) | may_wrap)


@MAY_FIRE.of(Resonator)
def _resonator(population: Resonator, drive: Drive) -> Units:
    """A step turns the state, makes it smaller by the factor g, and adds what arrives and less than 1 of rounding."""
    arriving, threshold = drive.sum(axis=0), 64 * population.per_neuron("threshold")
    g = np.hypot(population.per_neuron("sin_decay"), population.per_neuron("cos_decay")) / DECAY_UNITY
    with np.errstate(divide="ignore"):
        largest = np.where(g < 1, (arriving + np.sqrt(2)) / (1 - g), np.inf)
    at_rest = (threshold == 0) & population.reset
    return np.asarray(np.where(arriving > 0, largest >= threshold, at_rest))


@MAY_FIRE.of(Delta, Sigma)
def _sums(population: Delta | Sigma, drive: Drive) -> Units:
    return np.asarray(drive.any(axis=0))


@MAY_FIRE.of(SigmaDelta)
def _sigma_delta(population: SigmaDelta, drive: Drive) -> Units:
    # Without input the activation is the bias, a change of the first step that the residue repeats.
    bias = population.per_neuron("bias")
    steady = np.maximum(bias, 0) if population.relu else bias
    sends = (np.abs(steady) >= population.per_neuron("threshold")) | population.cumulative
    return np.asarray(drive.any(axis=0) | (sends & (steady != 0)))


def can_fire(network: Network) -> dict[str, Units]:
    """Return which units can ever emit a spike, whatever the input: input or population -> (size,) bool."""
    fires: dict[str, Units] = {name: np.ones(node.size, bool) for name, node in network.inputs.items()}
    fires.update({name: np.zeros(node.size, bool) for name, node in network.populations.items()})
    changed = set(network.populations)
    while changed:
        name = min(changed, key=list(network.nodes).index)
        changed.discard(name)
        population = network.populations[name]
        now = MAY_FIRE.for_(population)(population, drive(network, fires, name))
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
