"""Neurons of a netx layer: one rule to write each type of node, and one to read each type of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.network import (
    DECAY_UNITY,
    NEVER_FIRES,
    AdaptiveLif,
    CubaLif,
    Delta,
    Resonator,
    Shape,
    Sigma,
    SigmaDelta,
)
from sdsnn_core.rules import Rules, refused

from ..nir_format.dialect import PARAMETERS, Int64Array, bias_mantissas, in_form, smallest_form
from .fields import NEURON_FIELDS, integers, neuron_integers, spread
from .format import BIAS_EXP

NO_NEURONS: Final = ""  # the type of a layer that has no neuron group
# (neurons, whether their layer is an image) -> the datasets of their layer: group `neuron`, `bias` where it has one
NEURONS: Rules[Callable[[Any, bool], dict[str, Any]]] = Rules("netx writer: neurons")
# (neurons) -> what netx ignores and the reader restores: see `READERS`
FORMS: Rules[Callable[[Any], dict[str, Any]]] = Rules("netx writer: forms of neurons")


@NEURONS.of(CubaLif)
def _cuba(population: CubaLif, image: bool) -> dict[str, Any]:
    values = {key: field(population.per_neuron(name), population.shape, image) for name, key in NEURON_FIELDS.items()}
    group: dict[str, Any] = {"neuron": {"type": "CUBA", **values, "refDelay": 1, "gradedSpike": False}}
    if population.bias.any():
        state = population.per_neuron("bias") << population.bias_exp
        group["bias"] = field(state >> BIAS_EXP, population.shape, image, scalar=False)
    return group


@FORMS.of(CubaLif)
def _cuba_forms(population: CubaLif) -> dict[str, Any]:
    forms = {name: getattr(population, name).shape for name in PARAMETERS}
    return {"bias_exp": population.bias_exp, "forms": forms}


for _kind in (AdaptiveLif, Resonator, SigmaDelta, Delta, Sigma):
    NEURONS.of(_kind)(refused(f"netx: no file for {_kind.__name__} neurons"))
    FORMS.of(_kind)(refused(f"netx: no file for {_kind.__name__} neurons"))


def field(values: Int64Array, shape: Shape, image: bool, *, scalar: bool = True) -> npt.NDArray[np.int64]:
    """Return per-neuron values as netx broadcasts them: one, per channel, or whole as (N,) or (W, H, C)."""
    if scalar and (values == values[0]).all():
        return np.asarray(values[0])
    if not image:
        return values
    whole = values.reshape(shape)
    return whole[:, 0, 0] if (whole == whole[:, :1, :1]).all() else whole.transpose(2, 1, 0)


def _read_cuba(group: Any, where: str, shape: Shape, hint: Mapping[str, Any] | None, start: Any) -> CubaLif:
    values = neuron_integers(group["neuron"], f"{where} neuron", shape)
    state = np.zeros(shape, np.int64)
    if "bias" in group:
        state = spread(integers(group, "bias", where), shape, f"{where} bias") << BIAS_EXP
    preferred = int(hint["bias_exp"]) if hint else BIAS_EXP
    values["bias"], exponent = bias_mantissas(state, f"{where} bias in state units", preferred)
    if hint is None:
        stored = {key: smallest_form(value) for key, value in values.items()}
    else:
        stored = {key: in_form(value, tuple(hint["forms"][key])) for key, value in values.items()}
        stored["initial_voltage"] = np.broadcast_to(start, tuple(hint["forms"]["initial_voltage"]))
    return CubaLif(shape, **stored, bias_exp=exponent)


def _read_sum(group: Any, where: str, shape: Shape, hint: Mapping[str, Any] | None, start: Any) -> CubaLif:
    """Return what a layer without neurons is for SLAYER: its voltage is the weighted sum of a step."""
    bias = spread(integers(group, "bias", where), shape, f"{where} bias") << BIAS_EXP if "bias" in group else 0
    values, exponent = bias_mantissas(np.asarray(bias, np.int64), f"{where} bias in state units", BIAS_EXP)
    return CubaLif(shape, DECAY_UNITY, DECAY_UNITY, NEVER_FIRES, smallest_form(values), exponent)


# type of neurons in the file -> (layer, where, shape, what FORMS kept or None, initial voltages) -> the neurons
READERS: Final[Mapping[str, Callable[[Any, str, Shape, Mapping[str, Any] | None, Any], Any]]] = {
    "CUBA": _read_cuba,
    "LOIHI": _read_cuba,
    NO_NEURONS: _read_sum,
}
# Of other types, up to the first "_": what becomes of them, and what to do.
UNREAD: Final[Mapping[str, tuple[str, str]]] = {
    "SDNN": (
        "sigma-delta neurons, which netx and Lava run and sdsnn does not",
        "run it in lava-dl's netx, or train with CUBA neurons",
    ),
    "RF": (
        "resonators, which netx and Lava run and sdsnn does not",
        "run it in lava-dl's netx, or train with CUBA neurons",
    ),
    "ALIF": ("at which netx stops (TypeError)", "train with CUBA neurons"),
    "ADRF": ("which netx takes for RF neurons", "train with CUBA neurons"),
}
