"""The portable NIR dialect: which shapes nodes get, and the floats that stand for a neuron's integers.

With a = A/4096, b = B/4096, theta = M/64 (the integers of a `Population`) a CubaLIF node says

    tau_syn = dt / a    w_in = 1 / a    tau_mem = dt / b    r = 1 / b    v_reset = 0
    v_threshold = theta + 0.1 LSB       v_leak = bias / b

and forward Euler of step dt then gives I <- (1 - a) I + x, V <- (1 - b) V + I + bias: the same recursion as the
integers', without their rounding. 1 LSB = 1/4096 is one integer state unit. A tenth of it on the threshold decides
ties V == theta the same way in readers that spike at `>` and in those that spike at `>=`, and moves no other spike.
A decay of 0 has no finite time constant; dt * 2**30 stands for it (inf turns into NaN in norse). Measured in
norse, snnTorch, spikingjelly and lava-dl's reader: no spike differs from the float reference.

dt is free: only dt / tau can be observed. 1e-4 is what most readers have built in.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError
from sdsnn_core.network import (
    DECAY_UNITY,
    Convolution,
    CubaLif,
    Network,
    Output,
    Projection,
    Shape,
    Synapses,
)
from sdsnn_core.nodes import BIAS_EXP_MAX, BIAS_MAX, WEIGHT_EXP_MAX, WEIGHT_MAX, WEIGHT_MIN
from sdsnn_core.rules import Rules

FloatArray = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

METADATA_KEY: Final = "sdsnn"
METADATA_VERSION: Final = 1
PORTABLE_DT: Final = 1e-4  # seconds; built into snnTorch 1.0, NIR's lava-dl reader, spikingjelly's default
LSB: Final = 1 / 4096  # one integer state unit in the float units of weights and thresholds
TIE_SHIFT: Final = 0.1 * LSB
NEVER_DECAYS: Final = 2.0**30  # steps; an exact power of two, so that r * b == 1 exactly
WEIGHT_SCALE: Final = 64
MAX_BYTES: Final = 2**33  # of one projection's dense matrices
PARAMETERS: Final = ("current_decay", "voltage_decay", "threshold", "bias", "initial_voltage")


def kernel_of(network: Network, projection: Projection) -> Convolution | None:
    """Return the convolution that a projection is or amounts to, None where it is none.

    One-to-one synapses between two images, with one weight and delay per channel, amount to a 1 x 1 convolution with
    one group per channel. Written as a matrix they would take the square of the image.
    """
    return KERNELS.for_(projection)(network, projection)


KERNELS: Rules[Callable[[Network, Any], Convolution | None]] = Rules("NIR: kernel of a projection")
KERNELS.of(Convolution)(lambda network, projection: projection)


@KERNELS.of(Synapses)
def _one_by_one(network: Network, projection: Synapses) -> Convolution | None:
    shape = network.shape_of(projection.source)
    if (
        projection.imaginary
        or len(shape) != 3
        or network.shape_of(projection.target) != shape
        or projection.source == projection.target
    ):
        return None
    if not is_one_to_one(projection, math.prod(shape)):
        return None
    weight, delay = (
        np.broadcast_to(values, math.prod(shape)).reshape(shape[0], -1)
        for values in (projection.weight, projection.delay)
    )
    if (weight != weight[:, :1]).any() or (delay != delay[:, :1]).any():
        return None
    delays = delay[:, 0] if projection.delay.ndim else projection.delay
    kernel = weight[:, :1, None, None]
    return Convolution(
        projection.source, projection.target, kernel, groups=shape[0], delay=delays, weight_exp=projection.weight_exp
    )


def is_one_to_one(synapses: Synapses, size: int) -> bool:
    """Return whether each of `size` source neurons has one synapse, to the target neuron of its own number."""
    every = np.arange(size)
    return np.array_equal(synapses.pre, every) and np.array_equal(synapses.post, every)


def spatial_nodes(network: Network) -> frozenset[str]:
    """Return the names of the nodes that keep their (C, H, W) shape in NIR.

    A population keeps it if only convolutions (`kernel_of`) from such nodes arrive there. Where a convolution starts or
    ends, synapses may arrive too: from a column (N, 1, 1), or one-to-one from an image. NIR has no node for dense
    synapses between two images.
    """
    spatial = {name for name, node in network.nodes.items() if not isinstance(node, Output) and len(node.shape) == 3}
    kernels = {name for name, p in network.projections.items() if kernel_of(network, p) is not None}
    ends = {end for p in network.projections.values() if isinstance(p, Convolution) for end in (p.source, p.target)}

    def arrives(target: str, name: str, projection: Projection) -> bool:
        if projection.source in spatial:
            return name in kernels or (target in ends and is_scale(network, projection))
        return target in ends and isinstance(projection, Synapses)

    while True:
        kept = {name for name in spatial if all(arrives(name, key, p) for key, p in network.incoming(name))}
        if kept == spatial:
            return frozenset(spatial)
        spatial = kept


def is_scale(network: Network, projection: Projection) -> bool:
    """Return whether a projection is one weight for each place of an image, to the same place of another image."""
    shape = network.shape_of(projection.source)
    return (
        isinstance(projection, Synapses)
        and shape == network.shape_of(projection.target)
        and is_one_to_one(projection, math.prod(shape))
    )


def unfolding(matrix: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """Return a matrix (neurons of an image, N) as the kernel that leads a column (N, 1, 1) to the image.

    Padded by its size less one on every side, the column meets each tap of the kernel in one place of the image.
    """
    return np.ascontiguousarray(matrix.reshape(*shape, -1).transpose(0, 3, 1, 2)[:, :, ::-1, ::-1])


def unfolded(kernel: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the matrix of a kernel that `unfolding` made."""
    return np.asarray(kernel[:, :, ::-1, ::-1].transpose(0, 2, 3, 1).reshape(-1, kernel.shape[1]))


def nir_shapes(network: Network) -> dict[str, Shape]:
    """Return the shape that every input and population has in NIR.

    Images stay images. Everything else is a vector (N,); in a network that has an image it is a column (N, 1, 1), so
    that convolutions with a kernel of full size reach it and no Flatten node is needed, on which readers disagree.
    """
    spatial = spatial_nodes(network)
    column = (1, 1) if spatial else ()
    return {
        name: node.shape if name in spatial else (node.size, *column)
        for name, node in network.nodes.items()
        if not isinstance(node, Output)
    }


def population_floats(population: CubaLif, shape: Shape, dt: float) -> dict[str, FloatArray]:
    """Return the parameters of a CubaLIF node, float64 arrays of `shape`, for the integers of `population`."""

    def full(name: str) -> FloatArray:
        return population.per_neuron(name).astype(np.float64).reshape(shape)

    def steps(decay: FloatArray) -> FloatArray:
        count: FloatArray = np.full(shape, NEVER_DECAYS)
        np.divide(DECAY_UNITY, decay, out=count, where=decay > 0)
        return count

    synapse, membrane = steps(full("current_decay")), steps(full("voltage_decay"))
    return {
        "tau_syn": dt * synapse,
        "tau_mem": dt * membrane,
        "r": membrane,
        "w_in": synapse,
        "v_leak": full("bias") * 2.0**population.bias_exp * LSB * membrane,
        "v_threshold": full("threshold") / WEIGHT_SCALE + TIE_SHIFT,
        "v_reset": np.zeros(shape),
    }


def population_integers(node: Any, dt: float, where: str) -> dict[str, Int64Array]:
    """Return current_decay, voltage_decay, threshold and bias (in state units) of a CubaLIF node, int64 of its shape.

    The inverse of `population_floats`, exact for float64 and float32. Raises NetworkError naming the parameter whose
    floats stand for no integer.
    """

    def decay(tau: str, gain: str) -> Int64Array:
        steps = np.asarray(getattr(node, tau), np.float64) / dt
        factor = np.asarray(getattr(node, gain), np.float64)
        if not (np.isfinite(steps).all() and (steps > 0).all()):
            raise NetworkError(f"{where} {tau}: expected positive finite seconds, got {_span(steps * dt)}")
        if not np.allclose(factor, steps, rtol=1e-5, atol=0):
            raise NetworkError(f"{where} {gain}: expected {tau}/dt = {_span(steps)} (dt {dt:g} s), got {_span(factor)}")
        return _integers(DECAY_UNITY / steps, f"{where} {tau}", "dt/tau of k/4096", 1e-3, 1e-3)

    for name, expected in (("v_reset", "0"), ("v_leak", "finite values"), ("v_threshold", "finite values")):
        values = np.asarray(getattr(node, name), np.float64)
        if not np.isfinite(values).all() or (name == "v_reset" and values.any()):
            raise NetworkError(f"{where} {name}: expected {expected}, got {_span(values)}")
    current, voltage = decay("tau_syn", "w_in"), decay("tau_mem", "r")
    # Up to 1/64 of a threshold unit above the integer: the tie shift, and what float32 does to it.
    threshold = np.asarray(node.v_threshold, np.float64) * WEIGHT_SCALE
    bias = np.asarray(node.v_leak, np.float64) / np.asarray(node.r, np.float64) / LSB
    return {
        "current_decay": current,
        "voltage_decay": voltage,
        "threshold": _integers(threshold, f"{where} v_threshold", "k/64 (+0.1/4096)", 1e-3, 1 / 64),
        "bias": _integers(bias, f"{where} v_leak", "a bias (v_leak * dt/tau_mem) of k/4096", 0.1, 0.1),
    }


def weight_integers(values: npt.NDArray[Any], where: str) -> Int64Array:
    """Return weights times 64 as int64, refusing any that are not k/64."""
    return _integers(np.asarray(values, np.float64) * WEIGHT_SCALE, f"{where} weight", "k/64", 0.0, 0.0)


def delay_steps(node: Any, dt: float, where: str) -> Int64Array:
    """Return the delays of a nir.Delay node in steps, int64, refusing fractions of a step."""
    return _integers(np.asarray(node.delay, np.float64) / dt, f"{where} delay", "whole steps of dt", 1e-3, 1e-3)


def _integers(values: FloatArray, where: str, expected: str, below: float, above: float) -> Int64Array:
    """Round to integers k where k - below <= value <= k + above; otherwise say what came."""
    nearest = np.rint(values)
    off = values - nearest
    bad = ~((off >= -below) & (off <= above))
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise NetworkError(
            f"{where}: expected {expected}, got {int(bad.sum())} of {bad.size} values that stand for no integer, the "
            f"first at [{', '.join(map(str, first))}] for {float(values[first]):.9g}"
        )
    return nearest.astype(np.int64)


def _span(values: npt.NDArray[Any]) -> str:
    if values.size == 0:
        return "nothing"
    low, high = float(values.min()), float(values.max())
    return f"{low:.6g}" if low == high or low != low else f"{low:.6g}..{high:.6g}"


def smallest_form(values: Int64Array) -> Int64Array:
    """Return `values` as one value, as one per channel, or whole: the smallest that says the same."""
    if values.size and (values == values.flat[0]).all():
        return np.asarray(values.flat[0])
    if values.ndim == 3 and (values == values[:, :1, :1]).all():
        return values[:, :1, :1]
    return values


def in_form(values: Int64Array, form: tuple[int, ...]) -> Int64Array:
    """Return `values` (whole shape) reduced to shape `form` if they are constant there, else in their smallest form."""
    if form and len(form) != values.ndim:
        return smallest_form(values)
    index = tuple(slice(0, 1) if size == 1 else slice(None) for size in form)
    reduced = values[index] if form else np.asarray(values.reshape(-1)[0])
    return reduced if (np.broadcast_to(reduced, values.shape) == values).all() else smallest_form(values)


def weight_mantissas(values: Int64Array, where: str, preferred: int, unit: str = "") -> tuple[Int64Array, int]:
    """Split weights into mantissas and one exponent: the preferred one if it does, else the smallest that does."""
    return _mantissas(values, f"{where} weight", (WEIGHT_MIN, WEIGHT_MAX, WEIGHT_EXP_MAX), preferred, unit)


def bias_mantissas(values: Int64Array, where: str, preferred: int, unit: str = "") -> tuple[Int64Array, int]:
    """Split biases in state units likewise."""
    return _mantissas(values, where, (-BIAS_MAX, BIAS_MAX, BIAS_EXP_MAX), preferred, unit)


def _mantissas(
    values: Int64Array, where: str, limits: tuple[int, int, int], preferred: int, unit: str
) -> tuple[Int64Array, int]:
    low, high, largest = limits
    for exponent in (preferred, *range(largest + 1)):
        mantissa = values >> exponent
        if (mantissa << exponent == values).all() and low <= mantissa.min(initial=0) <= mantissa.max(initial=0) <= high:
            return mantissa, exponent
    raise NetworkError(
        f"{where}: expected {f'k{unit} with k in ' if unit else ''}{low}..{high} times one power of two, got "
        f"{values.min()}{unit}..{values.max()}{unit}"
    )


def check_size(projection: str, n_entries: int, max_bytes: int, who: str = "NIR") -> None:
    """Refuse a dense matrix that would not fit: neither NIR nor netx has a sparse one."""
    if 4 * n_entries > max_bytes:
        raise NetworkError(
            f"projection {projection!r}: expected up to {max_bytes} bytes (max_bytes), got {n_entries:.3g} entries of "
            f"4 bytes: {who} stores weights densely"
        )
