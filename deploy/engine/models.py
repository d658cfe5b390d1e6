"""One step of the populations that are not CUBA: the kernels of `sdsnn_core.neurons.steps`.

As in `neurons.py`, ALIGN neurons at a time, or none of them where they are at rest and nothing arrives. Every model
keeps its states in `current`, `voltage` and up to two vectors in `extra`.
"""

from typing import Any

import numpy as np

from sdsnn_core.system.compiled import inlined

from . import tables as tb
from .instructions import silent
from .neurons import decayed, leaky


@inlined
def _absolute(value: Any) -> Any:
    return np.int32(-value) if value < np.int32(0) else value


@inlined
def _adaptive(node: Any, plan: Any, work: Any, a: Any, b: Any, first: Any, k: Any, one: Any) -> None:
    """ALIGN adaptive neurons; `extra` holds how far the threshold is above its rest, and the refractory state."""
    u, v, ring, spike = work.current, work.voltage, work.ring, work.spike
    above, refractory = node[tb.N_EXTRA] + first, node[tb.N_EXTRA] + node[tb.N_PAD] + first
    more = node[tb.N_MORE] + (np.int64(0) if one else first)
    for i in range(tb.ALIGN):
        j = k + (0 if one else i)
        m = more + (0 if one else i)
        u[b + i], v[b + i] = leaky(u[b + i], v[b + i], ring[a + i], plan.keep_u[j], plan.keep_v[j], plan.bias[j])
        ring[a + i] = np.int32(0)
        rise = decayed(work.extra[above + i], plan.keep_t[m])
        rest = decayed(work.extra[refractory + i], plan.keep_r[m])
        threshold = np.int32(rise + plan.threshold[j])
        fires = np.int32(v[b + i] - rest) >= threshold
        spike[first + i] = fires
        work.extra[refractory + i] = np.int32(rest + np.int32(threshold + threshold)) if fires else rest
        work.extra[above + i] = np.int32(rise + plan.step[m]) if fires else rise


@inlined
def _saturated(value: Any) -> Any:
    return np.int32(min(max(value, np.int64(1 - (1 << 23))), np.int64((1 << 23) - 1)))


@inlined
def _resonator(node: Any, plan: Any, work: Any, a: Any, b: Any, first: Any, k: Any, one: Any) -> None:
    """ALIGN resonators: `current` is the real part, `voltage` the imaginary one."""
    real, imaginary, ring, spike = work.current, work.voltage, work.ring, work.spike
    other, resets = a + node[tb.N_PAD], node[tb.N_FLAGS] & tb.RESETS
    for i in range(tb.ALIGN):
        j = k + (0 if one else i)
        re, im, threshold = real[b + i], imaginary[b + i], plan.threshold[j]
        cos, sin = plan.keep_u[j], plan.keep_v[j]
        turned = np.int64(decayed(re, cos)) - np.int64(decayed(im, sin))
        rotated = np.int64(decayed(re, sin)) + np.int64(decayed(im, cos))
        new_re = _saturated(turned + np.int64(np.int32(ring[a + i] << np.int32(6))))
        new_im = _saturated(rotated + np.int64(np.int32(ring[other + i] << np.int32(6))))
        ring[a + i] = np.int32(0)
        ring[other + i] = np.int32(0)
        if resets:
            fires = new_im >= threshold
            new_re = np.int32(0) if fires else new_re
            new_im = np.int32(threshold - np.int32(1)) if fires else new_im
        else:
            fires = (new_re >= threshold) & (new_im >= np.int32(0)) & (im < np.int32(0))
        spike[first + i] = fires
        real[b + i], imaginary[b + i] = new_re, new_im


@inlined
def _encoder(node: Any, plan: Any, work: Any, a: Any, b: Any, first: Any, k: Any, one: Any) -> None:
    """ALIGN encoders: `current` is the sum, `voltage` the activation, `extra` the residue and the error."""
    total, last, ring = work.current, work.voltage, work.ring
    residue, error = node[tb.N_EXTRA] + first, node[tb.N_EXTRA] + node[tb.N_PAD] + first
    flags, scale = node[tb.N_FLAGS], np.int32(node[tb.N_SCALE])
    sums, relu, cumulative = flags & tb.SUMS, flags & tb.RELU, flags & tb.CUMULATIVE
    low = np.int32(node[tb.N_LOW_BITS])
    for i in range(tb.ALIGN):
        j = k + (0 if one else i)
        if sums:
            total[b + i] = np.int32(total[b + i] + ring[a + i])
            value = np.int32(total[b + i] + plan.bias[j])
            value = np.int32(0) if relu and value < np.int32(0) else value
        else:
            value = np.int32(ring[a + i] << scale)
        ring[a + i] = np.int32(0)
        change = np.int32(np.int32(value - last[b + i]) + work.extra[residue + i])
        last[b + i] = value
        measured = change
        if cumulative:
            measured = np.int32(work.extra[error + i] + change)
        sent = change if _absolute(measured) >= plan.threshold[j] else np.int32(0)
        if cumulative:
            work.extra[error + i] = np.int32(0) if _absolute(sent) > np.int32(0) else measured
        work.extra[residue + i] = np.int32(change - sent)
        message = np.int32(sent >> low)
        work.message[first + i] = message
        work.spike[first + i] = message != np.int32(0)


@inlined
def _sigma(node: Any, work: Any, a: Any, b: Any, first: Any) -> None:
    """ALIGN decoders, which send their sum."""
    total, ring = work.current, work.ring
    for i in range(tb.ALIGN):
        total[b + i] = np.int32(total[b + i] + ring[a + i])
        ring[a + i] = np.int32(0)
        work.voltage[b + i] = total[b + i]
        work.message[first + i] = total[b + i]
        work.spike[first + i] = total[b + i] != np.int32(0)


@inlined
def _resting(node: Any, work: Any, b: Any, first: Any) -> Any:
    """Return whether ALIGN neurons stay as they are, and send nothing, while nothing arrives."""
    rest = node[tb.N_REST]
    if rest == tb.NEVER:
        return False
    extra = node[tb.N_EXTRA] + first
    if rest == tb.WITHOUT_RESIDUE:
        return silent(work.extra, extra)
    if rest == tb.AT_ZERO_ALL and not (silent(work.extra, extra) and silent(work.extra, extra + node[tb.N_PAD])):
        return False
    return rest == tb.ALWAYS or (silent(work.current, b) and silent(work.voltage, b))


@inlined
def advance_other(node: Any, plan: Any, work: Any, at: Any) -> None:
    """Advance a population of another model than CUBA by one step; as `neurons.advance`."""
    model, one, ring = node[tb.N_MODEL], node[tb.N_UNIFORM] == 1, work.ring
    complex_ = model == tb.RESONATOR
    for first in range(0, node[tb.N_PAD], tb.ALIGN):
        a, b, flag = at + first, node[tb.N_STATE] + first, (node[tb.N_STATE] + first) // tb.ALIGN
        k = node[tb.N_PARAM] + (np.int64(0) if one else first)
        if not work.awake[flag] and silent(ring, a) and not (complex_ and not silent(ring, a + node[tb.N_PAD])):
            for i in range(tb.ALIGN):
                work.spike[first + i] = False
            continue
        if model == tb.ENCODER:
            _encoder(node, plan, work, a, b, first, k, one)
        elif model == tb.ADAPTIVE:
            _adaptive(node, plan, work, a, b, first, k, one)
        elif complex_:
            _resonator(node, plan, work, a, b, first, k, one)
        else:
            _sigma(node, work, a, b, first)
        work.awake[flag] = not _resting(node, work, b, first)
