"""Functions written in LLVM's instructions, because numba's own code is too slow here: vectors, bits, bare pointers."""

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types as numba_types
from numba.extending import intrinsic

from . import tables as tb

WORD = 64  # spikes are looked for 64 bytes at a time
types: Any = numba_types  # its annotations are partial
VECTOR = 16  # weights of a convolution that are added at once
TILE = 128  # columns of a dense matrix whose sums stay in registers
# With 32 registers of 512 bits four tiles are passed over at once: fewer and longer reads.
WIDE = 4 * TILE if binding.get_host_cpu_features().get("avx512bw") else TILE


def instruction(function: Callable[..., Any]) -> Any:
    """Make a function for compiled code out of one that writes its LLVM instructions."""
    return intrinsic(function)


def _in_all_lanes(builder: Any, value: Any, vector: Any) -> Any:
    """Return a vector with the 32-bit integer `value` in every lane."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(vector, [0] * vector.count))


def _begin_rows(builder: Any, first: Any) -> Any:
    """Begin a loop over events from `first` on; return the block before it, its own, the one behind it, the event."""
    entry = builder.block
    loop, done = builder.append_basic_block("rows"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(ir.IntType(64))
    k.add_incoming(first, entry)
    return entry, loop, done, k


def _end_rows(builder: Any, k: Any, last: Any, loop: Any, done: Any) -> None:
    """End the loop before `last`, and go on behind it."""
    following = builder.add(k, ir.Constant(ir.IntType(64), 1))
    k.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, last), loop, done)
    builder.position_at_end(done)


def _tile(bits: int, columns: int) -> Any:
    """Make the function that adds rows of a dense matrix of `bits`-wide weights to `columns` accumulators."""
    lanes = 32

    @instruction
    def add_rows(_: Any, weight: Any, rows: Any, first: Any, last: Any, stride: Any, ring: Any, shift: Any) -> Any:
        signature = types.void(weight, rows, types.int64, types.int64, types.int64, ring, types.int32)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            # Sums of 16 bits in registers: the caller hands over so few rows that they cannot overflow.
            weights, indices, first, last, stride, sums, shift = args
            word = ir.IntType(64)
            narrow = ir.VectorType(ir.IntType(bits), lanes)
            half = ir.VectorType(ir.IntType(16), lanes)
            full = ir.VectorType(ir.IntType(32), lanes)
            entry, loop, done, k = _begin_rows(builder, first)
            partial = [builder.phi(half) for _ in range(columns // lanes)]
            row = builder.zext(builder.load(builder.gep(indices, [k])), word)
            start = builder.gep(weights, [builder.mul(row, stride)])
            added = []
            for i, phi in enumerate(partial):
                place = builder.gep(start, [ir.Constant(word, i * lanes)])
                values = builder.load(builder.bitcast(place, narrow.as_pointer()), align=1)
                added.append(builder.add(phi, values if bits == 16 else builder.sext(values, half)))
                phi.add_incoming(ir.Constant(half, None), entry)
                phi.add_incoming(added[-1], loop)
            _end_rows(builder, k, last, loop, done)
            shifts = _in_all_lanes(builder, shift, full)
            for i, value in enumerate(added):
                place = builder.gep(sums, [ir.Constant(word, i * lanes)])
                place = builder.bitcast(place, full.as_pointer())
                wide = builder.shl(builder.sext(value, full), shifts)
                builder.store(builder.add(builder.load(place, align=4), wide), place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add_rows


def _scaled_tile(bits: int, columns: int) -> Any:
    """Make the function that adds rows of `bits`-wide weights, each times the value of its event, shifted."""
    lanes = 16

    @instruction
    def add_rows(_: Any, weight: Any, events: Any, values: Any, ends: Any, stride: Any, ring: Any, shift: Any) -> Any:
        signature = types.void(weight, events, values, ends, types.int64, ring, types.int32)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            weights, events, values, ends, stride, sums, shift = args
            first, last = builder.extract_value(ends, 0), builder.extract_value(ends, 1)
            word, full = ir.IntType(64), ir.VectorType(ir.IntType(32), lanes)
            narrow = ir.VectorType(ir.IntType(bits), lanes)
            places = [
                builder.bitcast(builder.gep(sums, [ir.Constant(word, i)]), full.as_pointer())
                for i in range(0, columns, lanes)
            ]
            before = [builder.load(place, align=4) for place in places]
            entry, loop, done, k = _begin_rows(builder, first)
            totals = [builder.phi(full) for _ in places]
            row = builder.zext(builder.load(builder.gep(events, [k])), word)
            factors = _in_all_lanes(builder, builder.shl(builder.load(builder.gep(values, [k])), shift), full)
            start = builder.gep(weights, [builder.mul(row, stride)])
            added: list[Any] = []
            for i, (total, value) in enumerate(zip(totals, before, strict=True)):
                own = builder.bitcast(builder.gep(start, [ir.Constant(word, i * lanes)]), narrow.as_pointer())
                product = builder.mul(builder.sext(builder.load(own, align=1), full), factors)
                total.add_incoming(value, entry)
                added.append(builder.add(total, product))
                total.add_incoming(added[-1], loop)
            _end_rows(builder, k, last, loop, done)
            for place, total in zip(places, added, strict=True):
                builder.store(total, place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add_rows


add_rows8_wide, add_rows8, add_rows8_narrow = _tile(8, WIDE), _tile(8, TILE), _tile(8, tb.ALIGN)
add_rows16_wide, add_rows16, add_rows16_narrow = _tile(16, WIDE), _tile(16, TILE), _tile(16, tb.ALIGN)
add_values8, add_values8_narrow = _scaled_tile(8, TILE), _scaled_tile(8, tb.ALIGN)
add_values16, add_values16_narrow = _scaled_tile(16, TILE), _scaled_tile(16, tb.ALIGN)


def _lanes(lanes: int) -> Any:
    """Make the function that adds `lanes` neighbouring 16-bit weights to as many accumulators."""

    @instruction
    def add_lanes(_: Any, weight: Any, at: Any, ring: Any, to: Any) -> Any:
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


add16, add8, add4 = _lanes(16), _lanes(8), _lanes(4)


def _windows(scaled: bool) -> Any:
    """Make the function that adds the windows of one spike, times a factor if `scaled`; see `geometry.Geometry`."""

    @instruction
    def add_windows(_: Any, windows: Any, weights: Any, ring: Any, n: Any, factor: Any) -> Any:
        """windows[0] runs of n weights, n a multiple of VECTOR."""
        signature = types.void(windows, weights, ring, n, types.int32)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            table, kernel, sums, n, factor = args
            word = ir.IntType(64)
            half, full = ir.VectorType(ir.IntType(16), VECTOR), ir.VectorType(ir.IntType(32), VECTOR)
            factors = _in_all_lanes(builder, factor, full)
            entry = builder.block
            runs, vectors, after, done = map(builder.append_basic_block, ("runs", "vectors", "after", "done"))
            count = builder.sext(builder.load(table), word)
            builder.cbranch(builder.icmp_signed(">", count, ir.Constant(word, 0)), runs, done)
            builder.position_at_end(runs)
            at, left = builder.phi(table.type), builder.phi(word)
            at.add_incoming(table, entry)
            left.add_incoming(count, entry)
            begin, to = (builder.sext(builder.load(builder.gep(at, [ir.Constant(word, i)])), word) for i in (1, 2))
            own, target = builder.gep(kernel, [begin]), builder.gep(sums, [to])
            builder.branch(vectors)
            builder.position_at_end(vectors)
            k = builder.phi(word)
            k.add_incoming(ir.Constant(word, 0), runs)
            values = builder.load(builder.bitcast(builder.gep(own, [k]), half.as_pointer()), align=2)
            values = builder.sext(values, full)
            place = builder.bitcast(builder.gep(target, [k]), full.as_pointer())
            total = builder.add(builder.load(place, align=4), builder.mul(values, factors) if scaled else values)
            builder.store(total, place, align=4)
            # The compiler cannot count rounds that go through assembly, so it does not unroll them: they are few.
            step = builder.add(k, ir.Constant(word, VECTOR))
            following = builder.asm(ir.FunctionType(word, [word]), "", "=r,0", [step], False)
            k.add_incoming(following, vectors)
            builder.cbranch(builder.icmp_signed("<", following, n), vectors, after)
            builder.position_at_end(after)
            at.add_incoming(builder.gep(at, [ir.Constant(word, 2)]), after)
            fewer = builder.sub(left, ir.Constant(word, 1))
            left.add_incoming(fewer, after)
            builder.cbranch(builder.icmp_signed(">", fewer, ir.Constant(word, 0)), runs, done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, generate

    return add_windows


add_windows, add_scaled_windows = _windows(scaled=False), _windows(scaled=True)


@instruction
def nonzero(_: Any, array: Any, at: Any) -> Any:
    """Return a word whose bit i is set if array[at + i] is not 0, for the 64 bytes from `at`."""
    signature = types.uint64(array, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), WORD)
        place = builder.gep(args[0], [args[1]])
        values = builder.load(builder.bitcast(place, vector.as_pointer()), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", values, ir.Constant(vector, None)), ir.IntType(64))

    return signature, generate


@instruction
def silent(_: Any, array: Any, at: Any) -> Any:
    """Return whether the tb.ALIGN 32-bit numbers from array[at] are all 0."""
    signature = types.boolean(array, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(32), tb.ALIGN)
        place = builder.gep(args[0], [args[1]])
        values = builder.load(builder.bitcast(place, vector.as_pointer()), align=4)
        bits = builder.bitcast(builder.icmp_unsigned("!=", values, ir.Constant(vector, None)), ir.IntType(tb.ALIGN))
        return builder.icmp_unsigned("==", bits, ir.Constant(ir.IntType(tb.ALIGN), 0))

    return signature, generate


@instruction
def lowest(_: Any, word: Any) -> Any:
    """Return the index of the lowest set bit of a uint64 that is not 0."""
    signature = types.int64(types.uint64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return signature, generate


@instruction
def pointers(_: Any, arrays: Any) -> Any:
    """Return the same named tuple with a bare pointer to the first element in place of every array.

    The caller keeps the arrays alive. Numba counts references to arrays even in inner loops, which costs more
    than the work there.
    """
    fields = [types.CPointer(array.dtype) for array in arrays.types]
    result = types.NamedTuple(fields, arrays.instance_class)
    signature = result(arrays)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = []
        for i, kind in enumerate(signature.args[0].types):
            array = context.make_array(kind)(context, builder, builder.extract_value(args[0], i))
            values.append(array.data)
        return context.make_tuple(builder, signature.return_type, values)

    return signature, generate


@instruction
def moved(_: Any, pointer: Any, offset: Any) -> Any:
    """Return the pointer moved on by `offset` elements."""
    signature = pointer(pointer, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return signature, generate
