"""Neurons of a netx layer: one rule to write each type of node, and one to read each type of the file."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError
from sdsnn_core.network import (
    DECAY_UNITY,
    NEVER_FIRES,
    AdaptiveLif,
    CubaLif,
    Delta,
    Population,
    RefractoryLif,
    Resonator,
    Shape,
    Sigma,
    SigmaDelta,
)
from sdsnn_core.rules import Rules, refused

from ..nir_format.dialect import PARAMETERS, Int64Array, bias_mantissas, in_form, smallest_form
from .fields import NEURON_FIELDS, integers, neuron_integers, plain, spread, text
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


@NEURONS.of(SigmaDelta)
def _sigma_delta(population: SigmaDelta, image: bool) -> dict[str, Any]:
    threshold = population.per_neuron("threshold")[0]
    group: dict[str, Any] = {"neuron": {"type": "SDNN", "activation": "relu", "vThMant": threshold}}
    if population.bias.any():
        group["bias"] = field(population.per_neuron("bias"), population.shape, image, scalar=False)
    return group


@NEURONS.of(Sigma)
def _sigma(population: Sigma, image: bool) -> dict[str, Any]:
    return {"neuron": {"type": "SDNN", "activation": "relu", "vThMant": 0, "sigma_output": True}}


@NEURONS.of(Resonator)
def _resonator(population: Resonator, image: bool) -> dict[str, Any]:
    parts = {"sinDecay": population.per_neuron("sin_decay"), "cosDecay": population.per_neuron("cos_decay")}
    stored: dict[str, Any] = dict(parts)
    if not all(np.array_equal(*both) for both in zip(netx_turn(*parts.values()), parts.values(), strict=True)):
        stored = {key: values + 0.5 for key, values in parts.items()}  # netx rounds down what it recomputes
    stored = {key: values[0] if (values == values[0]).all() else values for key, values in stored.items()}
    kind = "RF_IZHIKEVICH" if population.reset else "RF_PHASE"
    return {"neuron": {"type": kind, **stored, "vThMant": population.per_neuron("threshold")[0], "gradedSpike": False}}


for _kind in (RefractoryLif, AdaptiveLif, Delta):  # refused by their limits
    NEURONS.of(_kind)(refused(f"netx: no layer for {_kind.__name__} neurons"))


@FORMS.of(RefractoryLif, AdaptiveLif, Resonator, SigmaDelta, Delta, Sigma)
def _forms(population: Population) -> dict[str, Any]:
    return {"forms": {name: getattr(population, name).shape for name in population.ranges}}


def netx_turn(sin: Any, cos: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the integers that netx makes of sinDecay and cosDecay: by a period and a decay, rounded down."""
    sin, cos = np.asarray(sin, np.float64) / DECAY_UNITY, np.asarray(cos, np.float64) / DECAY_UNITY
    decay, frequency = 1 - np.sqrt(sin**2 + cos**2), np.arctan2(sin, cos) / 2 / np.pi
    with np.errstate(divide="ignore"):
        period = 1 / frequency
    angle = np.pi * 2 * 1 / period
    made = ((1 - decay) * part(angle) * DECAY_UNITY for part in (np.sin, np.cos))
    return tuple(np.asarray(part).astype(np.int32).astype(np.int64) for part in made)  # type: ignore[return-value]


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


def stateless(shape: Shape, bias: Any = 0, bias_exp: int = BIAS_EXP) -> CubaLif:
    """Return neurons that never fire, whose voltage is what arrives in a step, and the bias."""
    forgets = np.array(DECAY_UNITY)
    return CubaLif(shape, forgets, forgets, np.array(NEVER_FIRES), np.asarray(bias), bias_exp)


def _read_sum(group: Any, where: str, shape: Shape, hint: Mapping[str, Any] | None, start: Any) -> CubaLif:
    """Return what a layer without neurons is for SLAYER: its voltage is the weighted sum of a step."""
    bias = spread(integers(group, "bias", where), shape, f"{where} bias") << BIAS_EXP if "bias" in group else 0
    values, exponent = bias_mantissas(np.asarray(bias, np.int64), f"{where} bias in state units", BIAS_EXP)
    return stateless(shape, smallest_form(values), exponent)


def _values(group: Any, key: str, where: str, shape: Shape, form: tuple[int, ...] | None) -> npt.NDArray[np.int64]:
    """Return a field of integers in its own form."""
    values = spread(integers(group, key, where), shape, f"{where} {key}")
    return smallest_form(values) if form is None else in_form(values, form)


def _read_sdnn(group: Any, where: str, shape: Shape, hint: Mapping[str, Any] | None, start: Any) -> Population:
    if "sigma_output" in group["neuron"]:
        return Sigma(shape)
    forms = {name: tuple(form) for name, form in hint["forms"].items()} if hint else {}
    threshold = _values(group["neuron"], "vThMant", f"{where} neuron", shape, forms.get("threshold"))
    if "bias" not in group:
        return SigmaDelta(shape, threshold, np.zeros(forms.get("bias", ()), np.int64))
    return SigmaDelta(shape, threshold, _values(group, "bias", where, shape, forms.get("bias")))


def _read_resonator(group: Any, where: str, shape: Shape, hint: Mapping[str, Any] | None, start: Any) -> Population:
    forms = {name: tuple(form) for name, form in hint["forms"].items()} if hint else {}
    neuron = group["neuron"]
    written = [plain(neuron, key) for key in ("sinDecay", "cosDecay")]
    if written[0] is None or written[1] is None:
        raise NetworkError(f"{where} neuron: expected fields sinDecay and cosDecay, got none")
    parts = [spread(part.reshape(-1), shape, f"{where} neuron") for part in netx_turn(*written)]
    stored = [smallest_form(part) if not hint else in_form(part, forms[name])
              for name, part in zip(("sin_decay", "cos_decay"), parts, strict=True)]  # fmt: skip
    threshold = _values(neuron, "vThMant", f"{where} neuron", shape, forms.get("threshold"))
    return Resonator(shape, stored[0], stored[1], threshold, reset=text(neuron, "type") != "RF_PHASE")


# type of neurons in the file -> (layer, where, shape, what FORMS kept or None, initial voltages) -> the neurons
READERS: Final[Mapping[str, Callable[[Any, str, Shape, Mapping[str, Any] | None, Any], Any]]] = {
    "CUBA": _read_cuba,
    "LOIHI": _read_cuba,
    "SDNN": _read_sdnn,
    "RF_PHASE": _read_resonator,
    "RF_IZHIKEVICH": _read_resonator,
    NO_NEURONS: _read_sum,
}
# Of other types, up to the first "_": what becomes of them, and what to do.
UNREAD: Final[Mapping[str, tuple[str, str]]] = {
    "ALIF": ("at which netx stops (TypeError)", "train with CUBA neurons; Lava's processes run adaptive ones"),
    "ADRF": ("which netx takes for RF neurons; Lava has no process of them", "train with CUBA, RF or RF_IZ neurons"),
}
