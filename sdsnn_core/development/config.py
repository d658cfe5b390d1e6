"""Every constant of structural development.

SD-SNN: Han, Zhao, Pan, Zeng, arXiv:2211.12219. "code" marks a constant of the authors' released script (BrainCog,
commit 3998fd5, examples/Structural_Development/SD-SNN), B1 to B20 are its defects as numbered in docs/development.md,
and "own" marks a choice of ours. Times of the script are in *paper epochs*: its run has 600 epochs and a persistence T
of 18. A run with another T passes 18 / T paper epochs in each of its epochs.
"""

import math
from dataclasses import InitVar, dataclass
from typing import Literal, final, get_args

from ..errors import ConfigError

Criterion = Literal["spine", "magnitude", "inverse", "random", "activity", "dpap"]

DEFECTS = ("B1", "B2", "B4", "B5", "B6", "B7", "B9", "B11", "B12", "B14")
"""Defects of the released code that change results and can be switched on one by one."""

_RANGES: dict[tuple[float, float], str] = {
    (0, 1): "persistence_fraction range_quantile shrink fade max_step min_kept alive_fraction_conv alive_fraction_dense"
    " regeneration_cap synapse_target synapse_begin synapse_end synapse_turnover stop_sparsity max_accuracy_drop"
    " fastest_removal",
    (0, 100): "regeneration_percent_conv regeneration_percent_dense fixed_regeneration_percent",
    (1, math.inf): "persistence persistence_least grow_score_every stop_cores",
    (0, math.inf): "initial_percent_conv initial_percent_dense rate_dense_scale rate_dense_switch rate_dense_floor"
    " pruning_gain fixed_pruning_rate regeneration_margin stop_operations stop_memory"
    " stop_busiest stop_energy stop_time",
}
ON_CHIP = ("stop_cores", "stop_busiest", "stop_energy", "stop_time")
"""Stop criteria that a chip measures."""
_POSITIVE = ("rate_decay_conv", "rate_decay_dense", "synapse_exponent")
_CHOICES = {
    "mode": ("corrected", "literal", "adaptive"),
    "range_rule": ("bounds", "trust"),
    "unit_criterion": get_args(Criterion),
    "regeneration_rule": ("synapses", "units"),
    "regeneration_when": ("always", "validation"),
    "regeneration_start": ("remembered", "gradient"),
    "synapse_growth": ("abs", "signed", "random"),
    "synapse_scope": ("global", "balanced", "layer"),
    "synapse_criterion": ("magnitude", "relative"),
    "synapse_cost": ("chip", "none"),
    "defects": DEFECTS,
}


@final
@dataclass(frozen=True)
class DevelopmentConfig:
    """Mechanisms of structural development, their schedules and their stop criteria.

    docs/development_keys.md lists every key with its unit and source. Keys with `percent` in their name are percent of
    a layer's units or masked synapses; `*_fraction`, `*_cap`, `*_step`, `*_kept`, `*_target` and `*_turnover` lie in
    0..1; `rate_*` are paper epochs, or percentage points per paper epoch.

    Args:
        mode: "corrected"; "literal": the released code with its defects (`sdsnn.train.development.literal`); or
            "adaptive": the synapse stage without a target, as sparse as `max_accuracy_drop` (0.005 if it is not set)
            permits, best from a trained network.
        defects: the defects to reproduce, out of DEFECTS. None: all in literal mode, otherwise none.
        constraint: clip weights to their ranges. Ranges are computed in any case, since unit pruning ranks by them.
        pruning: remove units.
        regeneration: unmask synapses again.
        adaptive_pruning_rate: False replaces the schedule by `fixed_pruning_rate`.
        adaptive_regeneration_rate: False replaces the schedule by `fixed_regeneration_percent`.
        protect_first: no ranges, unit pruning or regeneration in layers that only the input feeds.
        protect_last: the same for readouts; the synapse stage keeps a path from the input to each readout unit.
        target_sparsity: short for `synapse_stage=True, synapse_target=...`.
        listen_every: earlier name of `grow_score_every`.

    Raises:
        ConfigError: with every value that is out of range.

    Examples:
        >>> DevelopmentConfig(target_sparsity=0.9).synapse_target
        0.9
    """

    mode: Literal["corrected", "literal", "adaptive"] = "corrected"
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

    range_rule: Literal["bounds", "trust"] = "bounds"  # trust: own, limits the gain per epoch; ranges.trust_regions
    range_quantile: float = 1.0  # of abs(w): the initial range; 1 is the largest abs(w) (B2; lower values answer B3)
    shrink: float = 0.75  # code
    fade: float = 0.01  # own: least share of abs(w) lost in an epoch that counts as fading; literal mode: any loss

    initial_percent_conv: float = 0.5  # code: P at the first pruning epoch
    initial_percent_dense: float = 2.0  # code
    rate_decay_conv: float = 5.0  # code: exp(-t / 5)
    rate_decay_dense: float = 1.0  # code: 0.5 exp(-t)
    rate_dense_scale: float = 0.5  # code
    rate_dense_switch: float = 23.0  # code: epochs 37 to 60
    rate_dense_floor: float = 0.0005  # code: after the switch
    unit_criterion: Criterion = "spine"  # what orders units for pruning; see criteria.py
    pruning_gain: float = 1.0  # own: factor on the adaptive rate; the script's constants remove little in narrow nets
    fixed_pruning_rate: float = 0.05  # own: percentage points per paper epoch when the rate does not adapt
    max_step: float = 0.1  # own: largest share of a layer's units that is pruned in one epoch
    min_kept: float = 0.1  # own: smallest share of a layer's units that unit pruning keeps
    alive_fraction_conv: float = 0.01  # B9: the script's 20 synapses are 0.4 to 1.7 % of its fan-ins
    alive_fraction_dense: float = 0.0015  # B9: the script's 50 of 32,768

    regeneration_percent_conv: float = 35.0  # code: q = 65 + 1.1^t, rho = 100 - q
    regeneration_percent_dense: float = 40.0  # code: q = 60 + 1.1^t
    fixed_regeneration_percent: float = 10.0  # own
    regeneration_rule: Literal["synapses", "units"] = "synapses"  # units: own, whole units that can fire; revival.py
    regeneration_when: Literal["always", "validation"] = "always"  # validation: own, while its loss calls for repair
    regeneration_margin: float = 0.2  # own: share by which the loss lies above its best when it calls for repair
    regeneration_start: Literal["remembered", "gradient"] = "remembered"  # own: first weights of a revived unit
    grow_score_every: int = 1  # own: accumulate gradients of masked weights in one batch of this many; the other
    # batches skip masked weights and are faster
    regeneration_cap: float = 0.02  # own: largest share of a layer's synapses that is unmasked in one epoch; of its
    # units where whole units return

    synapse_stage: bool = False  # drop and grow single synapses until a share of synapse_target is masked
    synapse_target: float = 0.8
    synapse_begin: float = 0.15  # of the run
    synapse_end: float = 0.7  # of the run; the remaining epochs train the final structure
    synapse_exponent: float = 3.0  # cubic schedule of gradual pruning (Zhu and Gupta 2017)
    synapse_growth: Literal["abs", "signed", "random"] = "abs"  # score of masked synapses; abs as in RigL
    fastest_removal: float = 0.5  # own: largest share of the present synapses that mode adaptive removes in T epochs
    synapse_turnover: float = 0.1  # share of present synapses replaced per epoch at first; cosine decay
    # one budget for the network; one per layer, denser in small layers (Erdos-Renyi kernel); one share for all layers
    synapse_scope: Literal["global", "balanced", "layer"] = "global"
    synapse_criterion: Literal["magnitude", "relative"] = "magnitude"  # relative: to the layer's root mean square

    # Stop criteria, all own, off by default; see stop_criteria.py. Development removes units and synapses until every
    # stop_* that is set is met, or until the run or the synapse stage ends.
    stop_sparsity: float | None = None  # share of masked synapses
    stop_operations: float | None = None  # synaptic operations per inference, on validation data
    stop_memory: float | None = None  # bytes, as compaction.synapse_memory counts them
    chip: str | None = None  # a chip, or the TOML file of one: the synapse stage goes on until its stop_* below hold
    synapse_cost: Literal["chip", "none"] = "chip"  # by what chip synapses are chosen; none: it sets their number only
    stop_cores: int | None = None  # cores of the chip
    stop_busiest: float | None = None  # synaptic events of the busiest core in a step, on validation data
    stop_energy: float | None = None  # joules of events and traffic in a step, on validation data
    stop_time: float | None = None  # seconds of a step, on validation data
    max_accuracy_drop: float | None = None  # remove nothing while validation accuracy is further below its best

    target_sparsity: InitVar[float | None] = None
    listen_every: InitVar[int | None] = None

    def __post_init__(self, target_sparsity: float | None, listen_every: int | None) -> None:
        """Check every value. Raises ConfigError with all problems."""
        if target_sparsity is not None:
            object.__setattr__(self, "synapse_stage", True)
            object.__setattr__(self, "synapse_target", target_sparsity)
        if listen_every is not None:
            object.__setattr__(self, "grow_score_every", listen_every)
        if self.mode == "adaptive":
            object.__setattr__(self, "synapse_stage", True)
            if self.max_accuracy_drop is None:
                object.__setattr__(self, "max_accuracy_drop", 0.005)
        problems = [
            f"{name}: expected {f'{low}..{high}' if high < math.inf else f'at least {low}'}, got {value}"
            for (low, high), names in _RANGES.items()
            for name in names.split()
            if (value := getattr(self, name)) is not None and not low <= value <= high
        ]
        problems += [
            f"{name}: expected a number above 0, got {getattr(self, name)}"
            for name in _POSITIVE
            if not 0 < getattr(self, name) < math.inf
        ]
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            wrong = [item for item in ([value] if isinstance(value, str) else value or ()) if item not in choices]
            if wrong:
                problems.append(f"{name}: expected {', '.join(choices)}, got {', '.join(wrong)}")
        wanted = [name for name in ON_CHIP if getattr(self, name) is not None]
        if wanted and (self.chip is None or not self.synapse_stage):
            lacks = "chip" if self.chip is None else "synapse_stage = true"
            problems.append(f"{wanted[0]}: expected {lacks} beside it, got none")
        if self.chip is not None and not wanted:
            problems.append(f"chip: expected one of {', '.join(ON_CHIP)} beside it, got none")
        if self.chip is not None and self.mode != "corrected":
            problems.append(f"chip: expected mode corrected, got {self.mode}")
        if self.synapse_begin > self.synapse_end:
            problems.append(f"synapse_begin: expected at most synapse_end {self.synapse_end}, got {self.synapse_begin}")
        for defect, needed in (("B5", "B6"), ("B4", "B5")):
            if defect in self.reproduced and needed not in self.reproduced:
                problems.append(f"defects: expected {needed} beside {defect}, which reads what {needed} makes")
        if self.synapse_stage and "B6" in self.reproduced:
            problems.append("synapse_stage: needs hard masks, but B6 (part of mode literal) masks between epochs only")
        for name, released in (("regeneration_rule", "synapses"), ("range_rule", "bounds")):
            if self.literal and (value := getattr(self, name)) != released:
                problems.append(f"{name}: expected {released} with defects of the released code, got {value}")
        if problems:
            raise ConfigError(problems)

    @property
    def reproduced(self) -> frozenset[str]:
        """Defects of the released code to reproduce: `defects`, or all of them in literal mode without that key."""
        every = DEFECTS if self.mode == "literal" else ()
        return frozenset(every if self.defects is None else self.defects)

    @property
    def literal(self) -> bool:
        """Whether a run needs `LiteralDeveloper`: literal mode, or single defects of the released code."""
        return self.mode == "literal" or bool(self.defects)

    @property
    def follows_validation(self) -> bool:
        """Whether structure depends on a trend of validation."""
        return self.mode == "adaptive" or self.regeneration_when == "validation"
