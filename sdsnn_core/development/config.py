"""Every constant of structural development.

Sources: "code" is the authors' released script (BrainCog, SD-SNN, commit 3998fd5); B1 to B20 number its defects as
docs/development.md does; "own" marks a choice of ours. Times of the script are in *paper epochs*: its run has 600
epochs and a persistence T of 18, and a run with another T passes 18 / T paper epochs in each of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from ..errors import ConfigError

DEFECTS = ("B1", "B2", "B4", "B5", "B6", "B7", "B9", "B11", "B12", "B14")
"""Defects of the released code that change results and can be switched on one by one."""

_FRACTIONS = (
    "persistence_fraction",
    "range_quantile",
    "shrink",
    "fade",
    "max_step",
    "min_kept",
    "alive_fraction_conv",
    "alive_fraction_dense",
    "regeneration_cap",
    "synapse_target",
    "synapse_begin",
    "synapse_end",
    "synapse_turnover",
)
_NOT_NEGATIVE = (
    "initial_percent_conv",
    "initial_percent_dense",
    "rate_dense_scale",
    "rate_dense_switch",
    "rate_dense_floor",
    "pruning_gain",
    "fixed_pruning_rate",
)
_POSITIVE = ("rate_decay_conv", "rate_decay_dense", "synapse_exponent")
_STOPS = ("stop_operations", "stop_memory")
_PERCENTS = ("regeneration_percent_conv", "regeneration_percent_dense", "fixed_regeneration_percent")


@final
@dataclass(frozen=True)
class DevelopmentConfig:
    """What develops, when, and how fast.

    mode: "corrected" (ours) or "literal" (the released code, defects included).
    defects: the defects to reproduce, out of DEFECTS; None takes none of them in corrected mode, all in literal.
    constraint, pruning, regeneration: the three mechanisms; off means that the mechanism never acts. The constraint is
    the clamp to the ranges; the ranges themselves are followed without it too, since pruning ranks by them.
    adaptive_pruning_rate, adaptive_regeneration_rate: off replaces the schedule by the fixed_* constant.
    protect_first, protect_last: no ranges, unit pruning or regeneration in layers fed by the input (B14 is the
    opposite) and in readouts. The synapse stage works on all layers; under protect_last it leaves every unit of a
    readout a path from the input.

    Units: *_percent are percent of a layer's units or absent synapses, *_fraction, *_cap, *_step, *_kept, *_target
    lie in 0..1, rate_* are in paper epochs or percentage points per paper epoch.
    """

    mode: Literal["corrected", "literal"] = "corrected"
    defects: tuple[str, ...] | None = None
    constraint: bool = True
    pruning: bool = True
    regeneration: bool = True
    adaptive_pruning_rate: bool = True
    adaptive_regeneration_rate: bool = True
    protect_first: bool = True
    protect_last: bool = True

    persistence: int | None = None  # T in epochs; None: persistence_fraction of the epochs, see below
    persistence_fraction: float = 0.03  # code: T = 18 of 600
    persistence_least: int = 4  # own: for short runs, see Schedule.persistence

    range_quantile: float = 1.0  # of abs(w): the initial range; 1 is the largest abs(w) (B2; lower values answer B3)
    shrink: float = 0.75  # code
    fade: float = 0.01  # own: least share of abs(w) lost in an epoch that counts as fading; literal: any loss

    initial_percent_conv: float = 0.5  # code: P at the first pruning epoch
    initial_percent_dense: float = 2.0  # code
    rate_decay_conv: float = 5.0  # code: exp(-t / 5)
    rate_decay_dense: float = 1.0  # code: 0.5 exp(-t)
    rate_dense_scale: float = 0.5  # code
    rate_dense_switch: float = 23.0  # code: epochs 37 to 60
    rate_dense_floor: float = 0.0005  # code: after the switch
    pruning_gain: float = 1.0  # own: factor on the adaptive rate; the script's constants remove little in narrow nets
    fixed_pruning_rate: float = 0.05  # own: percentage points per paper epoch when the rate does not adapt
    max_step: float = 0.1  # own: largest share of a layer's units that goes in one epoch
    min_kept: float = 0.1  # own: smallest share of a layer's units that the pruning of units leaves
    alive_fraction_conv: float = 0.01  # B9: the script's 20 synapses are 0.4 to 1.7 % of its fan-ins
    alive_fraction_dense: float = 0.0015  # B9: the script's 50 of 32,768

    regeneration_percent_conv: float = 35.0  # code: q = 65 + 1.1^t, rho = 100 - q
    regeneration_percent_dense: float = 40.0  # code: q = 60 + 1.1^t
    fixed_regeneration_percent: float = 10.0  # own
    listen_every: int = 1  # own: absent synapses hear the gradient of one batch in so many; what is sparse then trains
    # faster in between
    regeneration_cap: float = 0.02  # own: largest share of a layer's synapses that comes back in one epoch

    synapse_stage: bool = False  # drop and grow single synapses until synapse_target of them are gone
    synapse_target: float = 0.8
    synapse_begin: float = 0.15  # of the run
    synapse_end: float = 0.7  # of the run; what follows trains the final structure
    synapse_exponent: float = 3.0  # cubic schedule of gradual pruning (Zhu and Gupta 2017)
    synapse_turnover: float = 0.1  # share of present synapses replaced per epoch at first, falling like a cosine
    # global: the least of the network go; balanced: of each layer, thin ones stay denser; layer: the same share of each
    synapse_scope: Literal["global", "balanced", "layer"] = "global"
    synapse_criterion: Literal["magnitude", "relative"] = "magnitude"  # relative: to the layer's root mean square

    # Stop criteria, all own and off; see goals.py. Units and synapses go until every stop_* that is set is met, or the
    # run or the synapse stage ends.
    stop_sparsity: float | None = None  # share of absent synapses
    stop_operations: float | None = None  # synaptic operations per inference, on validation data
    stop_memory: float | None = None  # bytes of synaptic memory, as goals.synapse_memory counts them
    max_accuracy_drop: float | None = None  # nothing goes while validation accuracy is further below its best

    def __post_init__(self) -> None:
        """Check every value. Raises ConfigError with all problems."""
        found = []
        for names, low, high in ((_FRACTIONS, 0, 1), (_PERCENTS, 0, 100), (_NOT_NEGATIVE, 0, math.inf)):
            found += [
                f"{name}: got {getattr(self, name)}, allowed is {low}..{high}"
                for name in names
                if not low <= getattr(self, name) <= high
            ]
        found += [
            f"{name}: got {getattr(self, name)}, allowed is more than 0"
            for name in _POSITIVE
            if not 0 < getattr(self, name) < math.inf
        ]
        if self.mode not in ("corrected", "literal"):
            found.append(f"mode: got {self.mode!r}, allowed are corrected, literal")
        for name, allowed in (
            ("synapse_scope", ("global", "balanced", "layer")),
            ("synapse_criterion", ("magnitude", "relative")),
        ):
            if getattr(self, name) not in allowed:
                found.append(f"{name}: got {getattr(self, name)!r}, allowed are {', '.join(allowed)}")
        if self.persistence is not None and self.persistence < 1:
            found.append(f"persistence: got {self.persistence}, allowed is at least 1")
        for name in ("persistence_least", "listen_every"):
            if getattr(self, name) < 1:
                found.append(f"{name}: got {getattr(self, name)}, allowed is at least 1")
        if self.synapse_begin > self.synapse_end:
            found.append(f"synapse_begin: got {self.synapse_begin}, allowed is at most synapse_end {self.synapse_end}")
        for name, high in (("max_accuracy_drop", 1), ("stop_sparsity", 1), *((n, math.inf) for n in _STOPS)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= high:
                found.append(f"{name}: got {value}, allowed is 0..{high}")
        unknown = [name for name in self.defects or () if name not in DEFECTS]
        if unknown:
            found.append(f"defects: got {', '.join(unknown)}, allowed are {', '.join(DEFECTS)}")
        if self.has("B5") and not self.has("B6"):
            found.append("defects: B5 reads what absent weights learned and needs B6, which lets them learn")
        if self.has("B4") and not self.has("B5"):
            found.append("defects: B4 takes the sign of the weights that B5 reads and needs B5")
        if self.synapse_stage and self.has("B6"):
            found.append("synapse_stage: needs hard masks, but B6 (part of mode literal) masks between epochs only")
        if found:
            raise ConfigError(found)

    def has(self, defect: str) -> bool:
        """Return whether a defect of the released code is to be reproduced."""
        assert defect in DEFECTS, defect
        if self.defects is None:
            return self.mode == "literal"
        return defect in self.defects

    @property
    def first_protected(self) -> bool:
        """Whether layers fed by the input keep their units (the released code prunes them: B14)."""
        return self.protect_first and not self.has("B14")
