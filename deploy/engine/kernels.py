"""The compiled part of the engine: one function that runs whole samples, and the small functions it is made of.

All compiled code is in this file, because numba renews a cached function only when the file that holds it changes.
Everything is integer arithmetic, modulo 2**32 where the chip's accumulators are 32 bits wide. The tables that
drive it are described in `plan.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from . import tables as tb

WORD = 64  # spikes are looked for 64 bytes at a time
TILE = 128  # columns of a dense matrix whose sums stay in registers
i32 = np.int32


def compiled(function: Callable[..., Any]) -> Any:
    """Compile `function` when it is first called; keep the machine code where numba finds a place for it."""
    try:
        return njit(function, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # "no locator available": neither beside this file nor in the user's cache can be written
        return njit(function, nogil=True, error_model="numpy")


def part(function: Callable[..., Any]) -> Any:
    """Compile `function` as a part of those that call it; only they are kept."""
    return njit(function, error_model="numpy")


def instruction(function: Callable[..., Any]) -> Any:
    """Make a function for compiled code out of one that writes its LLVM instructions."""
    return intrinsic(function)


def _tile(bits: int, columns: int) -> Any:
    """Make the function that adds rows of a dense matrix of `bits`-wide weights to `columns` accumulators."""
    lanes = 32

    @instruction
    def add_rows(_, weight, rows, first, last, stride, column, ring, at, shift):  # type: ignore[no-untyped-def]
        signature = types.void(
            weight, rows, types.int64, types.int64, types.int64, types.int64, ring, types.int64, types.int32
        )

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            # Sums of 16 bits in registers: the caller hands over so few rows that they cannot overflow.
            weights, indices, first, last, stride, column, sums, at, shift = args
            word = ir.IntType(64)
            narrow = ir.VectorType(ir.IntType(bits), lanes)
            half = ir.VectorType(ir.IntType(16), lanes)
            full = ir.VectorType(ir.IntType(32), lanes)
            base = builder.gep(weights, [column])
            entry = builder.block
            loop, done = builder.append_basic_block("rows"), builder.append_basic_block("done")
            builder.branch(loop)
            builder.position_at_end(loop)
            k = builder.phi(word)
            k.add_incoming(first, entry)
            partial = [builder.phi(half) for _ in range(columns // lanes)]
            row = builder.zext(builder.load(builder.gep(indices, [k])), word)
            start = builder.gep(base, [builder.mul(row, stride)])
            added = []
            for i, phi in enumerate(partial):
                place = builder.gep(start, [ir.Constant(word, i * lanes)])
                values = builder.load(builder.bitcast(place, narrow.as_pointer()), align=1)
                added.append(builder.add(phi, values if bits == 16 else builder.sext(values, half)))
                phi.add_incoming(ir.Constant(half, None), entry)
                phi.add_incoming(added[-1], loop)
            following = builder.add(k, ir.Constant(word, 1))
            k.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed("<", following, last), loop, done)
            builder.position_at_end(done)
            nothing = ir.Constant(full, ir.Undefined)
            shifts = builder.insert_element(nothing, shift, ir.Constant(ir.IntType(32), 0))
            shifts = builder.shuffle_vector(shifts, nothing, ir.Constant(full, [0] * lanes))
            for i, value in enumerate(added):
                place = builder.gep(sums, [builder.add(at, ir.Constant(word, i * lanes))])
                place = builder.bitcast(place, full.as_pointer())
                wide = builder.shl(builder.sext(value, full), shifts)
                builder.store(builder.add(builder.load(place, align=4), wide), place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add_rows


_add_rows8, _add_rows8_narrow = _tile(8, TILE), _tile(8, tb.ALIGN)
_add_rows16, _add_rows16_narrow = _tile(16, TILE), _tile(16, tb.ALIGN)


def _lanes(lanes: int) -> Any:
    """Make the function that adds `lanes` neighbouring 16-bit weights to as many accumulators."""

    @instruction
    def add_lanes(_, weight, at, ring, to):  # type: ignore[no-untyped-def]
        signature = types.void(weight, types.int64, ring, types.int64)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            half, full = ir.VectorType(ir.IntType(16), lanes), ir.VectorType(ir.IntType(32), lanes)
            weights = builder.gep(args[0], [args[1]])
            sums = builder.gep(args[2], [args[3]])
            place = builder.bitcast(sums, full.as_pointer())
            values = builder.load(builder.bitcast(weights, half.as_pointer()), align=2)
            total = builder.add(builder.load(place, align=4), builder.sext(values, full))
            builder.store(total, place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add_lanes


_add16, _add8, _add4 = _lanes(16), _lanes(8), _lanes(4)


@instruction
def _nonzero(_, array, at):  # type: ignore[no-untyped-def]
    """Bit i of the result says whether array[at + i] is not 0, for the 64 bytes from `at`."""
    signature = types.uint64(array, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), WORD)
        place = builder.gep(args[0], [args[1]])
        values = builder.load(builder.bitcast(place, vector.as_pointer()), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", values, ir.Constant(vector, None)), ir.IntType(64))

    return signature, generate


@instruction
def _lowest(_, word):  # type: ignore[no-untyped-def]
    """Index of the lowest set bit of a uint64 that is not 0."""
    signature = types.int64(types.uint64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return signature, generate


@instruction
def _pointers(_, arrays):  # type: ignore[no-untyped-def]
    """The same named tuple with a bare pointer to the first element in place of every array.

    The caller keeps the arrays alive. Numba counts references to arrays even in inner loops, which costs more than the
    work that is done there.
    """
    fields = [types.CPointer(array.dtype) for array in arrays.types]  # type: ignore[no-untyped-call]
    result = types.NamedTuple(fields, arrays.instance_class)  # type: ignore[no-untyped-call]
    signature = result(arrays)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = []
        for i, kind in enumerate(signature.args[0].types):
            array = context.make_array(kind)(context, builder, builder.extract_value(args[0], i))
            values.append(array.data)
        return context.make_tuple(builder, signature.return_type, values)

    return signature, generate


@instruction
def _from(_, pointer, offset):  # type: ignore[no-untyped-def]
    """The pointer moved on by `offset` elements."""
    signature = pointer(pointer, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return signature, generate


@part
def _decayed(state: Any, keep: Any) -> Any:
    """state * keep / 4096 towards zero, in 32 bits: |state| < 2**31, keep 0..4096."""
    low = i32(i32(state & i32(4095)) * keep)
    towards_zero = i32(i32(state >> i32(31)) & i32(4095))
    return i32(i32(i32(state >> i32(12)) * keep) + i32(i32(low + towards_zero) >> i32(12)))


@part
def _neuron(current: Any, voltage: Any, arriving: Any, keep_u: Any, keep_v: Any, threshold: Any, bias: Any) -> Any:
    """One step of one neuron, `reference._Neurons.step`: (current, voltage, spike)."""
    total = i32(_decayed(current, keep_u) + i32(arriving << i32(6)))
    above = i32(total - i32(1 << 24)) if total > i32(1 << 23) else total
    current = i32(total + i32(1 << 24)) if total <= i32(-(1 << 23)) else above
    voltage = i32(i32(_decayed(voltage, keep_v) + current) + bias)
    voltage = min(max(voltage, i32(1 - (1 << 23))), i32((1 << 23) - 1))
    spike = voltage > threshold
    return current, (i32(0) if spike else voltage), spike


@part
def _advance(node: Any, plan: Any, work: Any, at: Any) -> Any:
    """Advance a population by one step; `at` is where its arriving sums begin in the ring.

    The neurons that pad it to whole vectors run too; `_collect` does not look at them.
    """
    u, v, ring, spike = work.current, work.voltage, work.ring, work.spike
    s, p = node[tb.N_STATE], node[tb.N_PARAM]
    if node[tb.N_UNIFORM]:
        keep_u, keep_v, threshold, bias = plan.keep_u[p], plan.keep_v[p], plan.threshold[p], plan.bias[p]
        for i in range(node[tb.N_PAD]):
            u[s + i], v[s + i], spike[i] = _neuron(u[s + i], v[s + i], ring[at + i], keep_u, keep_v, threshold, bias)
            ring[at + i] = i32(0)
    else:
        for i in range(node[tb.N_PAD]):
            keep_u, keep_v, threshold, bias = (
                plan.keep_u[p + i],
                plan.keep_v[p + i],
                plan.threshold[p + i],
                plan.bias[p + i],
            )
            u[s + i], v[s + i], spike[i] = _neuron(u[s + i], v[s + i], ring[at + i], keep_u, keep_v, threshold, bias)
            ring[at + i] = i32(0)


@part
def _dense(projection: Any, plan: Any, rows: Any, first: Any, last: Any, ring: Any, at: Any) -> Any:
    """Add the rows of the spikes rows[first:last] to the accumulators that begin at `at`."""
    stride, weight, shift = projection[tb.P_STRIDE], projection[tb.P_WEIGHT], i32(projection[tb.P_SHIFT])
    wide = stride // TILE * TILE
    narrow = projection[tb.P_KIND] == tb.ROWS8
    limit = 255 if narrow else 127  # rows whose sum surely fits 16 bits
    while first < last:
        end = min(first + limit, last)
        if narrow:
            for c in range(0, wide, TILE):
                _add_rows8(plan.weight8, rows, first, end, stride, weight + c, ring, at + c, shift)
            for c in range(wide, stride, tb.ALIGN):
                _add_rows8_narrow(plan.weight8, rows, first, end, stride, weight + c, ring, at + c, shift)
        else:
            for c in range(0, wide, TILE):
                _add_rows16(plan.weight16, rows, first, end, stride, weight + c, ring, at + c, shift)
            for c in range(wide, stride, tb.ALIGN):
                _add_rows16_narrow(plan.weight16, rows, first, end, stride, weight + c, ring, at + c, shift)
        first = end


@part
def _scaled(weights: Any, begin: Any, n: Any, factor: Any, ring: Any, at: Any) -> Any:
    """Add n neighbouring weights times `factor`."""
    for j in range(n):
        ring[at + j] = i32(ring[at + j] + i32(i32(weights[begin + j]) * factor))


@part
def _scattered(post: Any, weights: Any, n: Any, factor: Any, ring: Any) -> Any:
    """Add n weights times `factor` to the accumulators that `post` names."""
    for j in range(n):
        place = np.int64(post[j])
        ring[place] = i32(ring[place] + i32(i32(weights[j]) * factor))


@part
def _columns(post: Any, projection: Any, plan: Any, sent: Any, first: Any, last: Any, ring: Any, slot: Any, slots: Any) -> Any:  # fmt: skip  # noqa: E501
    """Send spikes through compressed columns; there is a segment per source and delay. ring: of the target."""
    # Fields are read here, once: after every sum that is written the compiler would have to read them again.
    stride, rows, delays = projection[tb.P_STRIDE], projection[tb.P_ROWS], projection[tb.P_DELAYS]
    begins = _from(plan.pointer, projection[tb.P_SEGMENTS])
    post, weights = _from(post, projection[tb.P_POST]), _from(plan.weight16, projection[tb.P_WEIGHT])
    fan_out = _from(plan.fan_out, projection[tb.P_FAN])
    plain = rows < 0 and delays < 0 and not sent.graded
    now, factor = _from(ring, slot * stride), i32(1 << projection[tb.P_SHIFT])
    crossed = 0
    if plain:
        for k in range(first, last):
            pre = np.int64(sent.event[k])
            begin = begins[pre]
            n = begins[pre + 1] - begin
            crossed += n
            _scattered(_from(post, begin), _from(weights, begin), n, factor, now)
        return crossed
    for k in range(first, last):
        pre, value = np.int64(sent.event[k]), factor
        crossed += fan_out[pre]
        if sent.graded:
            value = i32(factor * i32(sent.value[k]))
        begin_segment, end_segment = pre, pre + 1
        if rows >= 0:
            begin_segment, end_segment = plan.pointer[rows + pre], plan.pointer[rows + pre + 1]
        for segment in range(begin_segment, end_segment):
            here = slot
            if delays >= 0:
                here += np.int64(plan.delay[delays + segment])
                here -= slots if here >= slots else 0
            begin = begins[segment]
            n = begins[segment + 1] - begin
            _scattered(_from(post, begin), _from(weights, begin), n, value, _from(ring, here * stride))
    return crossed


@part
def _vector(weights: Any, n: Any, ring: Any) -> Any:
    """Add n neighbouring weights to as many accumulators; n is small, so the compiler's own vector loop is not used."""
    k = 0
    while k + 16 <= n:
        _add16(weights, k, ring, k)
        k += 16
    if k + 8 <= n:
        _add8(weights, k, ring, k)
        k += 8
    if k + 4 <= n:
        _add4(weights, k, ring, k)
        k += 4
    while k < n:
        ring[k] = i32(ring[k] + i32(weights[k]))
        k += 1


@part
def _convolve(projection: Any, plan: Any, sent: Any, first: Any, last: Any, ring: Any, slot: Any, slots: Any) -> Any:
    """Send spikes through a convolution: the taps that land, by the tables of `geometry.py`. ring: of the target."""
    stride, delays, shift = projection[tb.P_STRIDE], projection[tb.P_DELAYS], projection[tb.P_SHIFT]
    channels, width = projection[tb.C_CHANNELS], projection[tb.C_WIDTH]
    area, channels_last = projection[tb.C_HEIGHT] * width, projection[tb.C_LAST]
    rows, columns = _from(plan.geometry, projection[tb.C_ROWS]), _from(plan.geometry, projection[tb.C_COLUMNS])
    each, group, out, line = projection[tb.C_EACH], projection[tb.C_GROUP], projection[tb.C_OUT], projection[tb.C_LINE]
    kernel_row, kernel_size = projection[tb.C_TAPS] * each, projection[tb.C_KERNEL]
    weights, fan_out = _from(plan.weight16, projection[tb.P_WEIGHT]), _from(plan.fan_out, projection[tb.P_FAN])
    crossed = 0
    for k in range(first, last):
        source, factor = np.int64(sent.event[k]), i32(1 << shift)
        crossed += fan_out[source]
        if sent.graded:
            factor = i32(factor * i32(sent.value[k]))
        if channels_last:
            place = np.int64(np.uint32(source) // np.uint32(channels))
            channel = source - place * channels
        else:
            channel = np.int64(np.uint32(source) // np.uint32(area))
            place = source - channel * area
        y = np.int64(np.uint32(place) // np.uint32(width))
        x = place - y * width
        here = slot
        if delays >= 0:
            here += np.int64(plan.delay[delays + channel])
            here -= slots if here >= slots else 0
        base = here * stride + (0 if group == channels else channel // group * each)
        kernel = channel * kernel_size
        left, right = np.int64(columns[x]), np.int64(columns[x + 1])
        for i in range(np.int64(rows[y]), np.int64(rows[y + 1]), 2):
            w_line = kernel + np.int64(plan.geometry[i]) * kernel_row
            a_line = base + np.int64(plan.geometry[i + 1]) * line
            for j in range(left, right, 3):
                w = _from(weights, w_line + np.int64(plan.geometry[j]) * each)
                a = _from(ring, a_line + np.int64(plan.geometry[j + 1]) * out)
                n = np.int64(plan.geometry[j + 2]) * each
                if factor == 1:
                    _vector(w, n, a)
                else:
                    _scaled(w, 0, n, factor, a, 0)
    return crossed


@part
def _rows(projection: Any, plan: Any, sent: Any, first: Any, last: Any, ring: Any, slot: Any, slots: Any) -> Any:
    """Send spikes through dense rows. ring: of the target."""
    stride, delays, fan_out = projection[tb.P_STRIDE], projection[tb.P_DELAYS], projection[tb.P_FAN]
    crossed = 0
    for k in range(first, last):
        crossed += plan.fan_out[fan_out + np.int64(sent.event[k])]
    if not sent.graded and delays < 0:
        _dense(projection, plan, sent.event, first, last, ring, slot * stride)
        return crossed
    for k in range(first, last):
        pre, here = np.int64(sent.event[k]), slot
        if delays >= 0:
            here += np.int64(plan.delay[delays + pre])
            here -= slots if here >= slots else 0
        if not sent.graded:
            _dense(projection, plan, sent.event, k, k + 1, ring, here * stride)
            continue
        factor = i32(np.int64(sent.value[k]) << projection[tb.P_SHIFT])
        weight = projection[tb.P_WEIGHT] + pre * stride
        if projection[tb.P_KIND] == tb.ROWS8:
            _scaled(plan.weight8, weight, stride, factor, ring, here * stride)
        else:
            _scaled(plan.weight16, weight, stride, factor, ring, here * stride)
    return crossed


@part
def _send(projection: Any, plan: Any, work: Any, first: Any, last: Any, t: Any) -> Any:
    """Put the spikes work.event[first:last] of step t on their way; return the synapses that they cross."""
    source = _from(plan.nodes, projection[tb.P_SOURCE] * tb.N_COLUMNS)
    target = _from(plan.nodes, projection[tb.P_TARGET] * tb.N_COLUMNS)
    slots, kind = target[tb.N_SLOTS], projection[tb.P_KIND]
    ring, slot = _from(work.ring, target[tb.N_RING]), (t + 1 + projection[tb.P_DELAY]) % slots
    sent = tb.Sent(work.event, work.value, source[tb.N_GRADED])
    if kind == tb.SPARSE16:
        return _columns(plan.post16, projection, plan, sent, first, last, ring, slot, slots)
    if kind == tb.SPARSE32:
        return _columns(plan.post32, projection, plan, sent, first, last, ring, slot, slots)
    if kind == tb.CONVOLUTION:
        return _convolve(projection, plan, sent, first, last, ring, slot, slots)
    return _rows(projection, plan, sent, first, last, ring, slot, slots)


@part
def _listen(node: Any, row: Any, x: Any, work: Any, end: Any) -> Any:
    """List the bins of x[row : row + size] that are not 0, from work.event[end] on; return the end, or -1."""
    size, allowed, graded = node[tb.N_SIZE], node[tb.N_MAX], node[tb.N_GRADED]
    for at in range(0, size, WORD):
        if at + WORD <= size:
            word = _nonzero(x, row + at)
        else:
            word = np.uint64(0)
            for i in range(size - at):
                word |= np.uint64(x[row + at + i] != 0) << np.uint64(i)
        while word:
            i = at + _lowest(word)
            word &= word - np.uint64(1)
            if x[row + i] > allowed:
                return -1
            work.event[end] = i
            if graded:
                work.value[end] = x[row + i]
            end += 1
    return end


@part
def _collect(node: Any, work: Any, end: Any) -> Any:
    """List the neurons that spike in this step, from work.event[end] on; return the end."""
    size = node[tb.N_SIZE]
    for at in range(0, size, WORD):
        word = _nonzero(work.spike, at)
        if size - at < WORD:  # beyond its end lie padding and spikes of larger populations
            word &= (np.uint64(1) << np.uint64(size - at)) - np.uint64(1)
        while word:
            work.event[end] = at + _lowest(word)
            word &= word - np.uint64(1)
            end += 1
    return end


@part
def _note(node: Any, index: Any, sample: Any, n_samples: Any, t: Any, n_steps: Any, first: Any, last: Any, plan: Any, work: Any, out: Any) -> Any:  # fmt: skip  # noqa: E501
    """Write down what was asked for of the events [first, last) of one node, sample and step."""
    size, order = node[tb.N_SIZE], node[tb.N_ORDER]
    if out.to_counts[index] >= 0:
        out.per_step[(index * n_samples + sample) * n_steps + t] = last - first
        row = out.to_counts[index] + sample * size
        for k in range(first, last):
            i = np.int64(work.event[k])
            out.counts[row + (i if order < 0 else np.int64(plan.order[order + i]))] += 1
    if out.to_spikes[index] >= 0:
        row = out.to_spikes[index] + (sample * n_steps + t) * size
        for k in range(first, last):
            i = np.int64(work.event[k])
            value = np.uint8(1)
            if node[tb.N_GRADED]:
                value = work.value[k]
            out.spikes[row + (i if order < 0 else np.int64(plan.order[order + i]))] = value
    if out.to_states[index] >= 0:
        row = out.to_states[index] + (sample * n_steps + t) * size
        for j in range(size):
            i = row + (j if order < 0 else np.int64(plan.order[order + j]))
            out.current[i] = work.current[node[tb.N_STATE] + j]
            out.voltage[i] = work.voltage[node[tb.N_STATE] + j]


@compiled
def run_samples(plans: Any, works: Any, outs: Any, inputs: Any, x_steps: Any, low: Any, high: Any, block: Any) -> Any:
    """Run the samples low..high-1, `block` steps of every component at a time; return -1, or the input at fault."""
    n_nodes, n_components, n_neurons, n_ring = (
        plans.nodes.shape[0],
        plans.component.size - 1,
        works.current.size,
        works.ring.size,
    )
    _, n_samples, n_steps = outs.per_step.shape
    counting, row_steps = outs.events.size > 0, works.until.shape[1]
    plan, work, out, given = _pointers(plans), _pointers(works), _pointers(outs), _pointers(inputs)
    for sample in range(low, high):
        for i in range(n_neurons):
            work.current[i], work.voltage[i] = i32(0), plan.initial[i]
        for i in range(n_ring):
            work.ring[i] = i32(0)
        for begin in range(0, n_steps, block):
            stop = min(begin + block, n_steps)
            for index in range(n_nodes):
                node = _from(plan.nodes, index * tb.N_COLUMNS)
                until = _from(work.until, index * row_steps)
                until[0] = node[tb.N_EVENT]
                if node[tb.N_STATE] < 0:
                    for t in range(begin, stop):
                        first = end = until[t - begin]
                        if t < x_steps:
                            row = given.start[index] + (sample * x_steps + t) * node[tb.N_SIZE]
                            end = _listen(node, row, given.x, work, first)
                            if end < 0:
                                return index
                        until[t - begin + 1] = end
                        _note(node, index, sample, n_samples, t, n_steps, first, end, plan, work, out)
            for component in range(n_components):
                from_member, to_member = plan.component[component], plan.component[component + 1]
                for t in range(begin, stop):
                    for member in range(from_member, to_member):
                        index = plan.members[member]
                        node = _from(plan.nodes, index * tb.N_COLUMNS)
                        _advance(node, plan, work, node[tb.N_RING] + t % node[tb.N_SLOTS] * node[tb.N_PAD])
                        until = _from(work.until, index * row_steps + t - begin)
                        first = until[0]
                        end = _collect(node, work, first)
                        until[1] = end
                        _note(node, index, sample, n_samples, t, n_steps, first, end, plan, work, out)
                    for member in range(from_member, to_member):
                        node = _from(plan.nodes, plan.members[member] * tb.N_COLUMNS)
                        for which in range(node[tb.N_FIRST], node[tb.N_LAST]):
                            projection = _from(plan.projections, which * tb.P_COLUMNS)
                            until = _from(work.until, projection[tb.P_SOURCE] * row_steps + t - begin)
                            crossed = _send(projection, plan, work, until[0], until[1], t)
                            if counting:
                                out.events[(which * n_samples + sample) * n_steps + t] = crossed
    return -1
