"""One step of a population: from arriving sums to states to spikes."""

from typing import Any

import numpy as np

from sdsnn_core.system.compiled import inlined

from . import tables as tb
from .instructions import WORD, lowest, nonzero, silent


@inlined
def decayed(state: Any, keep: Any) -> Any:
    """state * keep / 4096 towards zero, in 32 bits: |state| < 2**31, keep 0..4096."""
    low = np.int32(np.int32(state & np.int32(4095)) * keep)
    towards_zero = np.int32(np.int32(state >> np.int32(31)) & np.int32(4095))
    return np.int32(
        np.int32(np.int32(state >> np.int32(12)) * keep) + np.int32(np.int32(low + towards_zero) >> np.int32(12))
    )


@inlined
def leaky(current: Any, voltage: Any, arriving: Any, keep_u: Any, keep_v: Any, bias: Any) -> Any:
    """Current and voltage of one leaky neuron after a step, before it fires."""
    total = np.int32(decayed(current, keep_u) + np.int32(arriving << np.int32(6)))
    above = np.int32(total - np.int32(1 << 24)) if total > np.int32(1 << 23) else total
    current = np.int32(total + np.int32(1 << 24)) if total <= np.int32(-(1 << 23)) else above
    voltage = np.int32(np.int32(decayed(voltage, keep_v) + current) + bias)
    return current, min(max(voltage, np.int32(1 - (1 << 23))), np.int32((1 << 23) - 1))


@inlined
def _neuron(current: Any, voltage: Any, arriving: Any, keep_u: Any, keep_v: Any, threshold: Any, bias: Any) -> Any:
    """One step of one neuron, the step of `CubaLif` in sdsnn_core.neurons.steps: (current, voltage, spike)."""
    current, voltage = leaky(current, voltage, arriving, keep_u, keep_v, bias)
    spike = voltage > threshold
    return current, (np.int32(0) if spike else voltage), spike


@inlined
def advance(node: Any, plan: Any, work: Any, at: Any) -> Any:
    """Advance a population by one step; `at` is where its arriving sums begin in the ring.

    ALIGN neurons at a time, or none of them where they are at rest and nothing arrives. The neurons that pad it to
    whole vectors run too; `collect` does not look at them.
    """
    u, v, ring, spike, awake = work.current, work.voltage, work.ring, work.spike, work.awake
    s, p, rest, uniform = node[tb.N_STATE], node[tb.N_PARAM], node[tb.N_REST], node[tb.N_UNIFORM]
    keep_u, keep_v, threshold, bias = plan.keep_u[p], plan.keep_v[p], plan.threshold[p], plan.bias[p]
    for first in range(0, node[tb.N_PAD], tb.ALIGN):
        a, b, flag = at + first, s + first, (s + first) // tb.ALIGN
        if not awake[flag] and silent(ring, a):
            for i in range(tb.ALIGN):
                spike[first + i] = False
            continue
        if uniform:
            for i in range(tb.ALIGN):
                u[b + i], v[b + i], spike[first + i] = _neuron(
                    u[b + i], v[b + i], ring[a + i], keep_u, keep_v, threshold, bias
                )
                ring[a + i] = np.int32(0)
        else:
            q = p + first
            for i in range(tb.ALIGN):
                k = q + i
                u[b + i], v[b + i], spike[first + i] = _neuron(
                    u[b + i], v[b + i], ring[a + i], plan.keep_u[k], plan.keep_v[k], plan.threshold[k], plan.bias[k]
                )
                ring[a + i] = np.int32(0)
        if rest == tb.AT_ZERO:
            awake[flag] = not (silent(u, b) and silent(v, b))
        elif rest == tb.WITHOUT_CURRENT:
            awake[flag] = not silent(u, b)


@inlined
def collect(node: Any, work: Any, end: Any) -> Any:
    """List the neurons that spike in this step, from work.event[end] on; return the end."""
    size = node[tb.N_SIZE]
    for at in range(0, size, WORD):
        word = nonzero(work.spike, at)
        if size - at < WORD:  # beyond its end lie padding and spikes of larger populations
            word &= (np.uint64(1) << np.uint64(size - at)) - np.uint64(1)
        while word:
            work.event[end] = at + lowest(word)
            word &= word - np.uint64(1)
            end += 1
    return end


@inlined
def collect_messages(node: Any, work: Any, end: Any) -> Any:
    """As `collect`, with the values of the messages."""
    last = collect(node, work, end)
    for k in range(end, last):
        work.value[k] = work.message[work.event[k]]
    return last


@inlined
def read_messages(node: Any, row: Any, x: Any, work: Any, end: Any) -> Any:
    """As `read_input`, for integers of 32 bits."""
    for i in range(node[tb.N_SIZE]):
        value = x[row + i]
        if value != np.int32(0):
            if value > node[tb.N_MAX] or value < node[tb.N_MIN]:
                return -1
            work.event[end] = i
            work.value[end] = value
            end += 1
    return end


@inlined
def read_input(node: Any, row: Any, x: Any, work: Any, end: Any) -> Any:
    """List the bins of x[row : row + size] that are not 0, from work.event[end] on; return the end, or -1."""
    size, most, graded = node[tb.N_SIZE], node[tb.N_MAX], node[tb.N_GRADED]
    for at in range(0, size, WORD):
        if at + WORD <= size:
            word = nonzero(x, row + at)
        else:
            word = np.uint64(0)
            for i in range(size - at):
                word |= np.uint64(x[row + at + i] != 0) << np.uint64(i)
        while word:
            i = at + lowest(word)
            word &= word - np.uint64(1)
            if x[row + i] > most:
                return -1
            work.event[end] = i
            if graded:
                work.value[end] = x[row + i]
            end += 1
    return end
