"""Whole samples in compiled code: every component over a block of steps, then the next one."""

from typing import Any

import numpy as np

from sdsnn_core.system.compiled import compiled, inlined

from . import tables as tb
from .convolving import send_convolved
from .instructions import moved, pointers
from .models import advance_other
from .neurons import advance, collect, collect_messages, read_input, read_messages
from .synapses import send_columns, send_rows


@inlined
def _send(projection: Any, plan: Any, work: Any, first: Any, last: Any, t: Any) -> Any:
    """Send the spikes work.event[first:last] of step t; return the synapses that they cross."""
    source = moved(plan.nodes, projection[tb.P_SOURCE] * tb.N_COLUMNS)
    receiver = moved(plan.nodes, projection[tb.P_TARGET] * tb.N_COLUMNS)
    slots, kind = receiver[tb.N_SLOTS], projection[tb.P_KIND]
    sums = moved(work.ring, receiver[tb.N_RING] + projection[tb.P_OFFSET])
    target = tb.Target(sums, (t + 1 + projection[tb.P_DELAY]) % slots, slots)
    sent = tb.Sent(work.event, work.value, source[tb.N_GRADED], first, last)
    if kind == tb.SPARSE16:
        return send_columns(plan.post16, projection, plan, sent, target)
    if kind == tb.SPARSE32:
        return send_columns(plan.post32, projection, plan, sent, target)
    if kind == tb.CONVOLUTION:
        return send_convolved(projection, plan, sent, target)
    return send_rows(projection, plan, sent, target)


@inlined
def _record(node: Any, index: Any, at: Any, first: Any, last: Any, plan: Any, work: Any, out: Any) -> None:
    """Write the wanted results of the events [first, last) of one node in one bin."""
    size, order = node[tb.N_SIZE], node[tb.N_ORDER]
    if out.to_counts[index] >= 0:
        out.per_step[(index * at.n_samples + at.sample) * at.n_steps + at.t] = last - first
        row = out.to_counts[index] + at.sample * size
        for k in range(first, last):
            i = np.int64(work.event[k])
            out.counts[row + (i if order < 0 else np.int64(plan.order[order + i]))] += 1
    if out.to_spikes[index] >= 0:
        row = out.to_spikes[index] + (at.sample * at.n_steps + at.t) * size
        for k in range(first, last):
            i = np.int64(work.event[k])
            place = row + (i if order < 0 else np.int64(plan.order[order + i]))
            if node[tb.N_WIDE]:
                out.messages[place] = work.value[k]
            else:
                out.spikes[place] = np.uint8(work.value[k]) if node[tb.N_GRADED] else np.uint8(1)
    if out.to_states[index] >= 0:
        row = out.to_states[index] + (at.sample * at.n_steps + at.t) * size
        for j in range(size):
            i = row + (j if order < 0 else np.int64(plan.order[order + j]))
            out.current[i] = work.current[node[tb.N_STATE] + j]
            out.voltage[i] = work.voltage[node[tb.N_STATE] + j]


@inlined
def _reset(node: Any, work: Any) -> None:
    """Set all states of a population to 0; what is on its way stays."""
    for i in range(node[tb.N_STATE], node[tb.N_STATE] + node[tb.N_PAD]):
        work.current[i] = work.voltage[i] = np.int32(0)
        work.awake[i // tb.ALIGN] = np.uint8(1)
    if node[tb.N_EXTRA] >= 0:
        for i in range(node[tb.N_EXTRA], node[tb.N_EXTRA] + 2 * node[tb.N_PAD]):
            work.extra[i] = np.int32(0)


@compiled
def run_samples(plans: Any, works: Any, outs: Any, inputs: Any, window: Any) -> Any:
    """Run the samples of a window, a block of steps of every component at a time; return -1, or the input at fault."""
    x_steps, low, high, block, begun, interval, offset = window
    n_nodes, n_components = plans.nodes.shape[0], plans.component.size - 1
    n_neurons, n_ring = works.current.size, works.ring.size
    _, n_samples, n_steps = outs.per_step.shape
    counting, row_steps = outs.events.size > 0, works.until.shape[1]
    plan, work, out, source = pointers(plans), pointers(works), pointers(outs), pointers(inputs)
    for sample in range(low, high):
        if begun == 0:
            for i in range(n_neurons):
                work.current[i], work.voltage[i] = np.int32(0), plan.initial[i]
            for i in range(works.extra.size):
                work.extra[i] = np.int32(0)
            for i in range(n_ring):
                work.ring[i] = np.int32(0)
            for i in range(works.awake.size):
                work.awake[i] = np.uint8(1)
        for begin in range(0, n_steps, block):
            stop = min(begin + block, n_steps)
            for index in range(n_nodes):
                node = moved(plan.nodes, index * tb.N_COLUMNS)
                until = moved(work.until, index * row_steps)
                until[0] = node[tb.N_EVENT]
                if node[tb.N_STATE] < 0:
                    for t in range(begin, stop):
                        first = end = until[t - begin]
                        if t < x_steps:
                            row = source.start[index] + (sample * x_steps + t) * node[tb.N_SIZE]
                            if node[tb.N_WIDE]:
                                end = read_messages(node, row, source.wide, work, first)
                            else:
                                end = read_input(node, row, source.x, work, first)
                            if end < 0:
                                return index
                        until[t - begin + 1] = end
                        _record(node, index, tb.Bin(sample, n_samples, t, n_steps), first, end, plan, work, out)
            for component in range(n_components):
                from_member, to_member = plan.component[component], plan.component[component + 1]
                for t in range(begin, stop):
                    for member in range(from_member, to_member):
                        index = plan.members[member]
                        node = moved(plan.nodes, index * tb.N_COLUMNS)
                        if interval > 0 and (begun + t - offset - node[tb.N_PHASE]) % interval == 0:
                            _reset(node, work)
                        at = node[tb.N_RING] + (begun + t) % node[tb.N_SLOTS] * node[tb.N_PAD]
                        if node[tb.N_MODEL] == tb.CUBA:
                            advance(node, plan, work, at)
                        else:
                            advance_other(node, plan, work, at)
                        until = moved(work.until, index * row_steps + t - begin)
                        first = until[0]
                        end = collect_messages(node, work, first) if node[tb.N_GRADED] else collect(node, work, first)
                        until[1] = end
                        _record(node, index, tb.Bin(sample, n_samples, t, n_steps), first, end, plan, work, out)
                    for member in range(from_member, to_member):
                        node = moved(plan.nodes, plan.members[member] * tb.N_COLUMNS)
                        for which in range(node[tb.N_FIRST], node[tb.N_LAST]):
                            projection = moved(plan.projections, which * tb.P_COLUMNS)
                            until = moved(work.until, projection[tb.P_SOURCE] * row_steps + t - begin)
                            crossed = _send(projection, plan, work, until[0], until[1], begun + t)
                            if counting:
                                out.events[(which * n_samples + sample) * n_steps + t] = crossed
    return -1
