"""One step of the populations that are not CUBA: the kernels of `sdsnn_core.neurons.steps`.

As in `neurons.py`, ALIGN neurons at a time, or none of them where they are at rest and nothing arrives. Every model
keeps its states in `current`, `voltage` and up to two vectors in `extra`.
"""

from typing import Any

import numpy as np

from sdsnn_core.system.compiled import inlined

from . import tables as tb
from .instructions import moved, silent
from .neurons import decayed, leaky


@inlined
def _absolute(value: Any) -> Any:
    return np.int32(-value) if value < np.int32(0) else value


@inlined
def _adapted(v: Any, above: Any, refractory: Any, keep_t: Any, keep_r: Any, base: Any, step: Any) -> Any:
    """One step of threshold and refractory state: (rise of the threshold, refractory state, spike)."""
    rise, rest = decayed(above, keep_t), decayed(refractory, keep_r)
    threshold = np.int32(rise + base)
    fires = np.int32(v - rest) >= threshold
    rest = np.int32(rest + np.int32(threshold + threshold)) if fires else rest
    return (np.int32(rise + step) if fires else rise), rest, fires


@inlined
def _adaptive(node: Any, plan: Any, work: Any, a: Any, b: Any, first: Any, k: Any, one: Any) -> None:
    """ALIGN adaptive neurons; `extra` holds how far the threshold is above its rest, and the refractory state.

    Two loops, of few arrays each, become vector code; one loop of all arrays does not.
    """
    u, v, ring, spike = work.current, work.voltage, work.ring, work.spike
    above = moved(work.extra, node[tb.N_EXTRA] + first)
    refractory = moved(above, node[tb.N_PAD])
    m = node[tb.N_MORE] + (np.int64(0) if one else first)
    if one:
        keep_u, keep_v, bias = plan.keep_u[k], plan.keep_v[k], plan.bias[k]
        keep_t, keep_r, base, step = plan.keep_t[m], plan.keep_r[m], plan.threshold[k], plan.step[m]
        for i in range(tb.ALIGN):
            u[b + i], v[b + i] = leaky(u[b + i], v[b + i], ring[a + i], keep_u, keep_v, bias)
            ring[a + i] = np.int32(0)
        for i in range(tb.ALIGN):
            above[i], refractory[i], spike[first + i] = _adapted(
                v[b + i], above[i], refractory[i], keep_t, keep_r, base, step
            )
        return
    for i in range(tb.ALIGN):
        j = k + i
        u[b + i], v[b + i] = leaky(u[b + i], v[b + i], ring[a + i], plan.keep_u[j], plan.keep_v[j], plan.bias[j])
        ring[a + i] = np.int32(0)
    for i in range(tb.ALIGN):
        above[i], refractory[i], spike[first + i] = _adapted(
            v[b + i], above[i], refractory[i], plan.keep_t[m + i], plan.keep_r[m + i], plan.threshold[k + i],
            plan.step[m + i],
        )  # fmt: skip


@inlined
def _held(u: Any, v: Any, arriving: Any, remaining: Any, keep_u: Any, keep_v: Any, bias: Any) -> Any:
    """One step of current and voltage, which stays at 0 in a refractory period: (current, voltage)."""
    u, v = leaky(u, v, arriving, keep_u, keep_v, bias)
    return u, (np.int32(0) if remaining > np.int32(0) else v)


@inlined
def _refractory(node: Any, plan: Any, work: Any, a: Any, b: Any, first: Any, k: Any, one: Any) -> None:
    """ALIGN neurons with a refractory period; `extra` holds the steps that remain of it."""
    u, v, ring, spike = work.current, work.voltage, work.ring, work.spike
    remaining = moved(work.extra, node[tb.N_EXTRA] + first)
    m = node[tb.N_MORE] + (np.int64(0) if one else first)
    if one:
        keep_u, keep_v, bias, threshold = plan.keep_u[k], plan.keep_v[k], plan.bias[k], plan.threshold[k]
        period = plan.step[m]
        for i in range(tb.ALIGN):
            u[b + i], v[b + i] = _held(u[b + i], v[b + i], ring[a + i], remaining[i], keep_u, keep_v, bias)
            ring[a + i] = np.int32(0)
        for i in range(tb.ALIGN):
            fires = v[b + i] > threshold
            remaining[i] = period if fires else max(np.int32(remaining[i] - np.int32(1)), np.int32(0))
            v[b + i] = np.int32(0) if fires else v[b + i]
            spike[first + i] = fires
        return
    for i in range(tb.ALIGN):
        j = k + i
        new_u, new_v = _held(
            u[b + i], v[b + i], ring[a + i], remaining[i], plan.keep_u[j], plan.keep_v[j], plan.bias[j]
        )
        fires = new_v > plan.threshold[j]
        remaining[i] = plan.step[m + i] if fires else max(np.int32(remaining[i] - np.int32(1)), np.int32(0))
        u[b + i], v[b + i], spike[first + i] = new_u, np.int32(0) if fires else new_v, fires
        ring[a + i] = np.int32(0)


@inlined
def _added(turned: Any, arriving: Any) -> Any:
    """Add what arrives to a part of less than 2**25, and saturate; what is beyond 2**26 saturates in any case."""
    limit = np.int32(1 << 26)
    bounded = min(max(np.int32(arriving << np.int32(6)), np.int32(-limit)), limit)
    return min(max(np.int32(turned + bounded), np.int32(1 - (1 << 23))), np.int32((1 << 23) - 1))


@inlined
def _turned(re: Any, im: Any, real: Any, imaginary: Any, cos: Any, sin: Any) -> Any:
    """Turn a complex state and add what arrives: (real part, imaginary part)."""
    new_re = _added(np.int32(decayed(re, cos) - decayed(im, sin)), real)
    return new_re, _added(np.int32(decayed(re, sin) + decayed(im, cos)), imaginary)


@inlined
def _resonator(node: Any, plan: Any, work: Any, a: Any, b: Any, first: Any, k: Any, one: Any) -> None:
    """ALIGN resonators: `current` is the real part, `voltage` the imaginary one."""
    re, im, spike = moved(work.current, b), moved(work.voltage, b), moved(work.spike, first)
    real, imaginary = moved(work.ring, a), moved(work.ring, a + node[tb.N_PAD])
    resets = node[tb.N_FLAGS] & tb.RESETS
    cos, sin, threshold = plan.keep_u[k], plan.keep_v[k], plan.threshold[k]
    if one and resets:
        for i in range(tb.ALIGN):
            new_re, new_im = _turned(re[i], im[i], real[i], imaginary[i], cos, sin)
            fires = new_im >= threshold
            re[i] = np.int32(0) if fires else new_re
            im[i] = np.int32(threshold - np.int32(1)) if fires else new_im
            spike[i] = fires
    elif one:
        for i in range(tb.ALIGN):
            new_re, new_im = _turned(re[i], im[i], real[i], imaginary[i], cos, sin)
            spike[i] = (new_re >= threshold) & (new_im >= np.int32(0)) & (im[i] < np.int32(0))
            re[i], im[i] = new_re, new_im
    else:
        for i in range(tb.ALIGN):
            threshold = plan.threshold[k + i]
            new_re, new_im = _turned(re[i], im[i], real[i], imaginary[i], plan.keep_u[k + i], plan.keep_v[k + i])
            if resets:
                fires = new_im >= threshold
                new_re = np.int32(0) if fires else new_re
                new_im = np.int32(threshold - np.int32(1)) if fires else new_im
            else:
                fires = (new_re >= threshold) & (new_im >= np.int32(0)) & (im[i] < np.int32(0))
            spike[i] = fires
            re[i], im[i] = new_re, new_im
    for i in range(tb.ALIGN):
        real[i] = np.int32(0)
        imaginary[i] = np.int32(0)


@inlined
def _summed(node: Any, plan: Any, total: Any, ring: Any, k: Any, one: Any) -> None:
    """Bring ALIGN activations into the ring, in place of what arrived."""
    lowest = np.int32(0) if node[tb.N_FLAGS] & tb.RELU else np.int32(-(1 << 31))
    if one:
        bias = plan.bias[k]
        for i in range(tb.ALIGN):
            total[i] = np.int32(total[i] + ring[i])
            ring[i] = max(np.int32(total[i] + bias), lowest)
    else:
        for i in range(tb.ALIGN):
            total[i] = np.int32(total[i] + ring[i])
            ring[i] = max(np.int32(total[i] + plan.bias[k + i]), lowest)


@inlined
def _sent(change: Any, measured: Any, threshold: Any) -> Any:
    return change if _absolute(measured) >= threshold else np.int32(0)


@inlined
def _encoder(node: Any, plan: Any, work: Any, a: Any, b: Any, first: Any, k: Any, one: Any) -> None:
    """ALIGN encoders: `current` is the sum, `voltage` the activation, `extra` the residue and the error."""
    last, ring = moved(work.voltage, b), moved(work.ring, a)
    residue = moved(work.extra, node[tb.N_EXTRA] + first)
    error, message = moved(residue, node[tb.N_PAD]), moved(work.message, first)
    flags, scale, low = node[tb.N_FLAGS], np.int32(node[tb.N_SCALE]), np.int32(node[tb.N_LOW_BITS])
    if flags & tb.SUMS:
        _summed(node, plan, moved(work.current, b), ring, k, one)
    else:
        for i in range(tb.ALIGN):
            ring[i] = np.int32(ring[i] << scale)
    threshold = plan.threshold[k]
    if one and not flags & tb.CUMULATIVE:
        for i in range(tb.ALIGN):
            change = np.int32(np.int32(ring[i] - last[i]) + residue[i])
            sent = _sent(change, change, threshold)
            last[i], residue[i], message[i] = ring[i], np.int32(change - sent), np.int32(sent >> low)
    else:
        for i in range(tb.ALIGN):
            change = np.int32(np.int32(ring[i] - last[i]) + residue[i])
            measured = change
            if flags & tb.CUMULATIVE:
                measured = np.int32(error[i] + change)
            sent = _sent(change, measured, threshold if one else plan.threshold[k + i])
            if flags & tb.CUMULATIVE:
                error[i] = np.int32(0) if _absolute(sent) > np.int32(0) else measured
            last[i], residue[i], message[i] = ring[i], np.int32(change - sent), np.int32(sent >> low)
    for i in range(tb.ALIGN):
        work.spike[first + i] = message[i] != np.int32(0)
        ring[i] = np.int32(0)


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
        elif model == tb.REFRACTORY:
            _refractory(node, plan, work, a, b, first, k, one)
        else:
            _sigma(node, work, a, b, first)
        work.awake[flag] = not _resting(node, work, b, first)
