"""A placement with what explains it: the limit that binds, changes that save cores, the network before pruning."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.network import Convolution, Network, Projection, Synapses
from sdsnn_core.rules import Rules

from ..energy.dense_shapes import Unpruned, one_setting, settings, unpruned_network
from .chip import RESOURCES, Chip, DoesNotFit
from .place import place
from .types import Placement

# Weights, neurons beyond which no variant is tried unless asked for: each of them is a placement of its own.
MANY, MANY_NEURONS = 3_000_000, 50_000


@dataclass(frozen=True)
class Change:
    """A variant: its change, the cores and bits of synaptic memory it needs; cores None if it does not fit either."""

    title: str
    cores: int | None
    bits: int | None
    kind: str

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {"change": self.title, "cores": self.cores, "synapse_bits": self.bits}


@dataclass(frozen=True, eq=False)
class PlacementReport:
    """A placement with what explains it.

    refusal: the error if nothing was placed, or None. changes: variants, best first. lifted: the network without each
    limit in turn. unpruned: the placement of the network before pruning, the message if it does not fit, or None where
    it is not known.
    """

    chip: Chip
    network: Network
    placement: Placement | None
    refusal: DoesNotFit | None
    changes: Sequence[Change]
    lifted: Sequence[Change]
    unpruned: Placement | str | None

    @property
    def best_change(self) -> Change | None:
        """The variant that saves most: cores first, then bits; None if none saves anything."""
        best = self.changes[0] if self.changes else None
        if best is None or best.cores is None or best.bits is None:
            return None
        if self.placement is None:
            return best
        now = (self.placement.n_cores, self.placement.synapse_bits)
        return best if (best.cores, best.bits) < now else None

    @property
    def binding(self) -> tuple[str, int] | None:
        """The limit that costs most, and how many cores fewer would do without it; None if none costs any."""
        if self.placement is None:
            return None
        saved = [(self.placement.n_cores - c.cores, c.kind) for c in self.lifted if c.cores is not None]
        amount, resource = max(saved, default=(0, ""))
        return (resource, amount) if amount > 0 else None


def explain(
    network: Network,
    chip: Chip,
    unpruned: Unpruned = None,
    *,
    objective: str = "cores",
    activity: Activity | None = None,
    advice: bool | None = None,
    tight_bound: bool = False,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> PlacementReport:
    """Place a network, its variants (advice) and the network before pruning (its shapes, or node -> units it had).

    advice: place the network with one thing changed, and without one limit. None: with up to MANY weights and
    MANY_NEURONS neurons.
    objective, activity: of the network itself, see `place`; its variants are placed on the fewest cores.
    progress: called with what is being placed and the share of it that is done, 0 to 1. Raises NetworkError if
    `unpruned` does not fit the network.
    """
    placement: Placement | None = None
    refusal: DoesNotFit | None = None
    try:
        placement = place(
            network,
            chip,
            objective=objective,
            activity=activity,
            tight_bound=tight_bound,
            progress=partial(progress, "placing the network"),
        )
    except DoesNotFit as error:
        refusal = error
    full = unpruned_network(network, unpruned)
    dense: Placement | str | None = None
    try:
        dense = None if full is None else place(full, chip, progress=partial(progress, "placing the unpruned network"))
    except DoesNotFit as error:
        dense = str(error)
    changes: list[Change] = []
    lifted: list[Change] = []
    if advice is None:
        few = sum(p.n_weights for p in network.projections.values()) <= MANY
        advice = few and sum(p.size for p in network.populations.values()) <= MANY_NEURONS
    if advice:
        tried = partial(_try, progress=progress)
        changes = [tried(title, changed, chip, "network") for title, changed in _variants(network, placement)]
        changes.sort(key=lambda change: (change.cores is None, change.cores, change.bits))
        lifted = [tried(f"no limit on {RESOURCES[key]}", network, freed, key) for key, freed in _lifted(network, chip)]
        lifted.sort(key=lambda change: (change.cores is None, change.cores))
    return PlacementReport(chip, network, placement, refusal, changes, lifted, dense)


def _lifted(network: Network, chip: Chip) -> Iterator[tuple[str, Chip]]:
    """Yield (resource, the chip without its limit), neurons last."""
    for resource in chip.limits:
        if resource != "neurons":
            limits = {name: limit for name, limit in chip.limits.items() if name != resource}
            yield resource, chip.model_copy(update={"limits": limits})
    neurons = sum(p.size for p in network.populations.values())
    more = chip.limits["neurons"].model_copy(update={"value": float(max(64, neurons))})
    delays = None if chip.delays is None else chip.delays.model_copy(update={"state_budget": 0})
    yield "neurons", chip.model_copy(update={"limits": {**chip.limits, "neurons": more}, "delays": delays})


def _try(title: str, network: Network, chip: Chip, kind: str, progress: Callable[[str, float], None]) -> Change:
    try:
        placement = place(network, chip, progress=partial(progress, title))
    except DoesNotFit:
        return Change(title, None, None, kind)
    return Change(title, placement.n_cores, placement.synapse_bits, kind)


def _variants(network: Network, placement: Placement | None) -> Iterator[tuple[str, Network]]:
    """Yield the network with one thing changed, and the change in words."""
    nodes, projections = network.nodes, network.projections

    def heavy(name: str) -> int:
        return projections[name].n_weights if placement is None else int(placement.axons[name].bits.sum())

    heaviest = max(projections, key=heavy, default=None)
    if heaviest is not None and projections[heaviest].n_weights > 1:
        half = HALVED.for_(projections[heaviest])(projections[heaviest])
        yield f"half of the weights of {heaviest} pruned as well", Network(nodes, {**projections, heaviest: half})
    if any(p.delay.size and p.delay.max() for p in projections.values()):
        none = np.zeros((), np.uint8)
        yield "no delays", Network(nodes, {name: replace(p, delay=none) for name, p in projections.items()})
    if any(p.n_weights for p in projections.values()):
        coarse = {name: REWEIGHTED.for_(p)(p, _four_bits) for name, p in projections.items()}
        yield "weights of 4 bits, sign included", Network(nodes, coarse)
    if any(getattr(p, name).size > 1 for p in network.populations.values() for name in settings(p)):
        uniform = {name: one_setting(p) for name, p in network.populations.items()}
        yield "one threshold and decay per population", Network({**nodes, **uniform}, projections)


def _four_bits(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return weights in steps of 32, none of them 0: four bits with their sign."""
    values = weights.astype(np.int64)
    step = np.clip(np.rint(values / 32), -8, 7)
    return np.where((step == 0) & (values != 0), np.sign(values), step) * 32


HALVED: Rules[Callable[[Any], Projection]] = Rules("placement advice: half of the weights")
REWEIGHTED: Rules[Callable[[Any, Callable[[Any], Any]], Projection]] = Rules("placement advice: other weights")
REWEIGHTED.of(Synapses)(lambda p, change: replace(p, weight=change(p.weight)))
REWEIGHTED.of(Convolution)(lambda p, change: replace(p, kernel=change(p.kernel)))


@HALVED.of(Convolution)
def _halved_kernel(p: Convolution) -> Convolution:
    """Remove the weaker half of the weights, as magnitude pruning does."""
    cut = np.median(np.abs(p.kernel[p.kernel != 0])) if p.n_weights else 0
    return replace(p, kernel=np.where(np.abs(p.kernel) > cut, p.kernel, 0))


@HALVED.of(Synapses)
def _halved_synapses(p: Synapses) -> Synapses:
    keep = np.sort(np.argsort(-np.abs(p.weight.astype(np.int64)), kind="stable")[: p.weight.size // 2])
    delay = p.delay[keep] if p.delay.ndim else p.delay
    return replace(p, pre=p.pre[keep], post=p.post[keep], weight=p.weight[keep], delay=delay)
