"""Short runs of float32 in kernels. LLVM takes loops of 16 or 32 lanes for too short to be vectors; these are."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sdsnn_core.system.compiled import compiled


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, index: int, lanes: int) -> Any:
    """Return a pointer to `lanes` floats of the array in argument `index`, at the place in the argument after it."""
    array = context.make_array(signature.args[index])(context, builder, arguments[index])
    place = builder.gep(array.data, [arguments[index + 1]])
    return builder.bitcast(place, ir.VectorType(ir.FloatType(), lanes).as_pointer())


def _adder(lanes: int) -> Any:
    """Return a function for kernels: add(target, to, source, at) adds `lanes` floats of one vector to another."""

    def type_and_code(_context: Any, target: Any, _to: Any, source: Any, _at: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointers = [_pointer(context, builder, signature, arguments, index, lanes) for index in (0, 2)]
            builder.store(builder.fadd(*(builder.load(each, align=4) for each in pointers)), pointers[0], align=4)
            return context.get_dummy_value()

        return types.void(target, types.intp, source, types.intp), code

    return intrinsic(type_and_code)


def _copier(lanes: int) -> Any:
    """Return a function for kernels: copy(target, to, source, at) copies `lanes` floats."""

    def type_and_code(_context: Any, target: Any, _to: Any, source: Any, _at: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            to, source = (_pointer(context, builder, signature, arguments, index, lanes) for index in (0, 2))
            builder.store(builder.load(source, align=4), to, align=4)
            return context.get_dummy_value()

        return types.void(target, types.intp, source, types.intp), code

    return intrinsic(type_and_code)


_add_16, _add_4, _copy_16, _copy_4 = _adder(16), _adder(4), _copier(16), _copier(4)


@compiled
def add_run(target: Any, to: int, source: Any, at: int, n: int) -> None:
    """target[to : to + n] += source[at : at + n]; both one axis, contiguous float32, inside."""
    done = 0
    while done + 16 <= n:
        _add_16(target, to + done, source, at + done)
        done += 16
    while done + 4 <= n:
        _add_4(target, to + done, source, at + done)
        done += 4
    while done < n:
        target[to + done] += source[at + done]
        done += 1


@compiled
def copy_run(target: Any, to: int, source: Any, at: int, n: int) -> None:
    """target[to : to + n] = source[at : at + n]; both one axis, contiguous float32, inside."""
    done = 0
    while done + 16 <= n:
        _copy_16(target, to + done, source, at + done)
        done += 16
    while done + 4 <= n:
        _copy_4(target, to + done, source, at + done)
        done += 4
    while done < n:
        target[to + done] = source[at + done]
        done += 1
