"""The one free number of a population: how many state units a float unit is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.arithmetic import decay
from sdsnn_core.network import THRESHOLD_MAX

from .graph import LinearMap
from .nodes import FloatNeurons, Floats

LOWEST, HIGHEST, STEP = -256, 254, 2  # even weights: 8 bits with a sign, legal on a chip and in netx
CANDIDATES: Final = 48  # scales looked at, over two octaves below the largest that clips nothing
TRIED: Final = 6  # of them run on data, and as many that clip the largest weights
CLIPPING: Final = (1.1, 1.25, 1.5, 2.0)


def integer_weights(wanted: Floats) -> tuple[npt.NDArray[np.int64], int, int, float]:
    """Return even integers for weights in 1/64, how many were clipped, how many became 0, and the largest error.

    The error is relative to the largest weight.
    """
    rounded = STEP * np.rint(wanted / STEP)
    clipped = np.clip(rounded, LOWEST, HIGHEST)
    largest = float(np.abs(wanted).max(initial=0.0))
    error = float(np.abs(clipped - wanted).max(initial=0.0)) / largest if largest else 0.0
    return (
        clipped.astype(np.int64),
        int((rounded != clipped).sum()),
        int(((clipped == 0) & (wanted != 0)).sum()),
        error,
    )


def search_scale(
    neurons: FloatNeurons,
    arriving: Mapping[str, LinearMap],
    delays: Mapping[str, npt.NDArray[np.int64]],
    data: Mapping[str, npt.NDArray[Any]] | None,
    wanted: npt.NDArray[np.uint8],
    depth: int,
) -> float:
    """Return the scale of a population, in state units per float unit.

    Among CANDIDATES scales the one whose integers keep weight / threshold best; with data (name -> (samples, steps,
    size), what the sources emit) the one of the TRIED best, and of some that clip, whose neurons differ in the fewest
    bins from `wanted` (samples, steps, size), each population by itself. delays: of the maps, in steps.
    """
    weights = [m.matrix.data * neurons.gain[m.matrix.tocoo().row] for m in arriving.values()]
    flat = np.concatenate(weights) if weights else np.zeros(0)
    flat = flat[flat != 0]
    if not flat.size:
        return 4096.0
    largest = 64 * min(
        HIGHEST / flat.max() if flat.max() > 0 else np.inf, LOWEST / flat.min() if flat.min() < 0 else np.inf
    )
    threshold = neurons.threshold[neurons.threshold > 0] if neurons.fires else np.zeros(0)
    if threshold.size:
        largest = min(largest, 64 * THRESHOLD_MAX / float(threshold.max()))
    scales = largest * 2.0 ** -np.linspace(0, 2, CANDIDATES)
    errors = [_static_error(flat, threshold, scale) for scale in scales]
    ranked = scales[np.argsort(errors, kind="stable")]
    if data is None or not neurons.fires:
        return float(ranked[0])
    drive = _drive(arriving, delays, data)
    trials = [*ranked[:TRIED], *(largest * factor for factor in CLIPPING)]
    differing = [_differing(neurons, arriving, drive, scale, wanted, depth) for scale in trials]
    return float(trials[int(np.argmin(differing))])


def _static_error(weights: Floats, threshold: Floats, scale: float) -> float:
    """Return the mean squared error of weights in units of the threshold, as far as rounding makes it."""
    integers = STEP * np.rint(weights * scale / 64 / STEP)
    ratio = 1.0
    if threshold.size:
        whole = threshold * scale / 64
        ratio = float(np.mean(np.maximum(np.rint(whole), 0.5) / whole))
    return float(np.mean((integers * 64 / scale / ratio - weights) ** 2))


def _drive(
    arriving: Mapping[str, LinearMap], delays: Mapping[str, npt.NDArray[np.int64]], data: Mapping[str, Any]
) -> dict[str, npt.NDArray[Any]]:
    """Return what the sources of each map emitted, (samples, steps, size), as late as it arrives."""
    result = {}
    for key, m in arriving.items():
        train = np.asarray(data[m.source], np.int64)
        late = np.zeros_like(train)
        for d in np.unique(delays[key]):
            here = delays[key] == d
            if d + 1 < train.shape[1]:
                late[:, d + 1 :, here] = train[:, : train.shape[1] - d - 1, here]
        result[key] = late
    return result


def _differing(
    neurons: FloatNeurons,
    arriving: Mapping[str, LinearMap],
    drive: Mapping[str, npt.NDArray[Any]],
    scale: float,
    wanted: npt.NDArray[np.uint8],
    depth: int,
) -> int:
    """Return in how many bins the integers differ, driven by what the float graph's sources emitted."""
    n_samples, n_steps, size = wanted.shape
    total = np.zeros((n_samples, n_steps, size), np.int64)
    for key, m in arriving.items():
        matrix = m.matrix.tocoo()
        integers, *_ = integer_weights(matrix.data * neurons.gain[matrix.row] * (scale / 64))
        matrix.data = integers
        train = drive[key]
        total += (matrix.tocsr() @ train.reshape(-1, train.shape[2]).T).T.reshape(total.shape)
    a, b = (np.rint(4096 * x).astype(np.int64) for x in (neurons.a, neurons.b))
    held = sum((neurons.gain * m.bias for m in arriving.values()), np.zeros(size))
    held = np.divide(held, neurons.a, out=np.zeros(size), where=neurons.a > 0)
    bias = np.rint((neurons.bias + held) * scale).astype(np.int64)
    limit = 64 * np.rint(neurons.threshold * scale / 64).astype(np.int64)
    u = np.zeros((n_samples, size), np.int64)
    v = np.tile(np.rint(neurons.start * scale).astype(np.int64), (n_samples, 1))
    differing = 0
    for t in range(depth, n_steps):
        u = decay(u, a) + 64 * total[:, t]
        v = decay(v, b) + u + bias
        spike = v > limit
        v[spike] = 0
        differing += int((spike != wanted[:, t]).sum())
    return differing
