"""The kernels of a recurrent block: neurons whose spikes add to their own input of the next step."""

from typing import Any, NamedTuple

import numpy as np

from sdsnn_core.system.compiled import compiled, contracted

from .neuron import Keeps, States, step_back, step_forward

_F0 = np.float32(0.0)
_I0 = np.int32(0)


class Feedback(NamedTuple):
    """How spikes of a step add to the currents of the next one."""

    weights: Any  # (units, units) float32; row j: unit j's weights onto all units
    gate: Any  # (units,) float32: 1, or 0 for a unit that is silenced


class Results(NamedTuple):
    """Arrays that a pass writes: (steps, samples, units) float32."""

    voltage: Any  # before reset; empty where it is not wanted
    spikes: Any


@compiled
def _check(first: int, last: int, z: Any, r: Any, a: Any, b: Any) -> None:
    """Raise ValueError unless first..last are samples and a and b have z's shape (b: or are empty)."""
    _steps, samples, units = z.shape
    inside = 0 <= first <= last <= samples and r.shape == (units, units)
    if not inside or a.shape != z.shape or (b.size and b.shape != z.shape):
        raise ValueError("fused kernel: arrays do not fit together")


@compiled
def loop_forward(
    first: int, last: int, z: Any, feedback: Any, keeps: Any, states: Any, constants: Any, results: Any
) -> Any:
    """Run samples first..last over all steps; return 0 if no value left the range where this is SLAYER's arithmetic.

    z: (steps, samples, units) float32 currents of the input. keeps: int32 (units,). states: int32 (samples, units).
    """
    r, gate, voltage, spikes = feedback.weights, feedback.gate, results.voltage, results.spikes
    _check(first, last, z, r, spikes, voltage)
    steps, _samples, units = z.shape
    per_unit = keeps.current.size == keeps.voltage.size == gate.size == units
    if not per_unit or states.current.shape != z.shape[1:] or states.voltage.shape != z.shape[1:]:
        raise ValueError("fused kernel: decays, gates or states do not have one value per unit")
    drive, volts = np.zeros(units, np.float32), np.zeros(units, np.float32)
    outside = _I0
    for sample in range(first, last):
        own = States(states.current[sample], states.voltage[sample])
        drive[:] = _F0
        for t in range(steps):
            for i in range(units):
                drive[i] += z[t, sample, i]
            target = voltage[t, sample] if voltage.size else volts
            fired = spikes[t, sample]
            outside |= step_forward(drive, keeps, own, constants, target, fired)
            drive[:] = _F0
            for j in range(units):
                fired[j] *= gate[j]
                if fired[j] > _F0:
                    weights = r[j]
                    for i in range(units):
                        drive[i] += weights[i]
    return outside


@contracted
def _add_scaled(source: Any, factor: Any, out: Any) -> None:
    """out += factor * source."""
    for i in range(out.size):
        out[i] += factor * source[i]


@compiled
def loop_backward(first: int, last: int, gradient: Any, r: Any, constants: Any, voltage: Any, out: Any) -> None:
    """Write the gradient of z, from that of the spikes (steps, samples, units); r[i]: weights onto unit i."""
    _check(first, last, gradient, r, out, voltage)
    steps, _, units = gradient.shape
    if not voltage.size:
        raise ValueError("fused kernel: an array that this pass needs is empty")
    none = np.zeros(units, np.float32)
    carry_a, carry_b, total = np.zeros(units, np.float32), np.zeros(units, np.float32), np.zeros(units, np.float32)
    for sample in range(first, last):
        total[:] = _F0
        for t in range(steps - 1, -1, -1):
            for i in range(units):
                total[i] += gradient[t, sample, i]
            carry_a[:] = _F0
            carry_b[:] = _F0
            result = out[t, sample]
            step_back(total, voltage[t, sample], Keeps(none, none), States(carry_a, carry_b), constants, result)
            total[:] = _F0
            for i in range(units):
                if result[i] != _F0:
                    _add_scaled(r[i], result[i], total)
