"""Where the taps of a convolution land, as tables, so that the compiled code needs no division and no test of edges."""

import numpy as np
import numpy.typing as npt

from sdsnn_core.network import Convolution, Shape


def landings(taps: npt.NDArray[np.int64], size: int) -> list[list[tuple[int, int]]]:
    """Return for every source place along one axis the (tap, target place) pairs that it reaches; taps: of the axis."""
    result: list[list[tuple[int, int]]] = [[] for _ in range(size)]
    for tap, target in np.argwhere(taps >= 0).tolist():
        result[taps[tap, target]].append((tap, target))
    return result


def tap_order(kernel: int, stride: int, dilation: int) -> list[int]:
    """Return the taps of a row in the order of storage: those that one source place reaches lie together.

    A place reaches taps of one residue (tap * dilation modulo stride); the target moves right as the tap moves left.
    """
    return sorted(range(kernel), key=lambda tap: (tap * dilation % stride, -tap))


def tables(convolution: Convolution, source_shape: Shape, offset: int) -> tuple[list[int], int, int]:
    """Return (numbers, rows, columns) of the geometry that `convolving.send_convolved` reads, to be put at `offset`.

    rows: where the pointers of the source lines begin; each points at pairs (kernel row, target line). columns:
    likewise for source columns, with triples (first stored tap, target column, taps): a run of taps that lie next
    to each other both in storage and in the target.
    """
    row_taps, column_taps = convolution.taps(source_shape)
    numbers: list[int] = []

    def add(entries: list[list[int]]) -> int:
        """Store pointers and what they point at; return where the pointers begin."""
        begin = offset + len(numbers)
        at = begin + len(entries) + 1
        pointers = [at]
        for entry in entries:
            at += len(entry)
            pointers.append(at)
        numbers.extend(pointers)
        for entry in entries:
            numbers.extend(entry)
        return begin

    rows = add([[n for pair in pairs for n in pair] for pairs in landings(row_taps, source_shape[1])])
    stored = {
        tap: position
        for position, tap in enumerate(tap_order(len(column_taps), convolution.stride[1], convolution.dilation[1]))
    }
    lines = []
    for pairs in landings(column_taps, source_shape[2]):
        runs: list[list[int]] = []
        for position, target in sorted((stored[tap], target) for tap, target in pairs):
            # With groups a target place holds other groups' channels too, so taps do not follow each other.
            last = runs[-1] if runs and convolution.groups == 1 else None
            if last and position == last[0] + last[2] and target == last[1] + last[2]:
                last[2] += 1
            else:
                runs.append([position, target, 1])
        lines.append([n for run in runs for n in run])
    return numbers, rows, add(lines)


def stored_kernel(convolution: Convolution) -> npt.NDArray[np.int16]:
    """Return the kernel as (C_in, kh, kw in `tap_order`, C_out / groups) int16."""
    c_out, c_in, kh, kw = convolution.kernel.shape
    grouped = convolution.kernel.reshape(convolution.groups, c_out // convolution.groups, c_in, kh, kw)
    by_source = grouped.transpose(0, 2, 3, 4, 1).reshape(convolution.groups * c_in, kh, kw, -1)
    order = tap_order(kw, convolution.stride[1], convolution.dilation[1])
    return np.ascontiguousarray(by_source[:, :, order], dtype=np.int16)
