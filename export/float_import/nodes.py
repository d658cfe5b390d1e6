"""Nodes of a float NIR graph: linear ones as operators, neurons as one step of a recursion (see `conventions.py`)."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from sdsnn_core.errors import NetworkError, UnsupportedNode
from sdsnn_core.geometry import Pair, Shape, Window, pair

from .conventions import WRITERS, decay_per_step, gain_of
from .file import FloatNode
from .operators import Convolved, Floats, Identity, Matrix, Operator, scaled

SPIKING: Final = ("LIF", "CubaLIF", "IF", "Threshold")
INTEGRATORS: Final = ("LI", "CubaLI", "I")
NEURONS: Final = (*SPIKING, *INTEGRATORS)
LINEAR: Final = ("Linear", "Affine", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Scale", "Delay", "Port")
MOST_STEPS: Final = 2**16  # of a kernel, stride, padding or dilation along an axis
KNOWN: Final = ("Input", "Output", *NEURONS, *(kind for kind in LINEAR if kind != "Port"))


@dataclass(frozen=True, eq=False)
class FloatNeurons:
    """Neurons of one node, all parameters (size,) float64.

    a, b: decays of u and v per step. gain: g. bias: c. threshold, start: counted from the reset voltage. fires: False
    for a leaky integrator, which is read by its voltage. through_current: the bias of its weights has to pass u.
    at_threshold: they spike at v = threshold too. refractory: steps after that of a spike in which v stays as it is.
    """

    shape: Shape
    a: Floats
    b: Floats
    gain: Floats
    bias: Floats
    threshold: Floats
    start: Floats
    fires: bool
    through_current: bool
    at_threshold: bool = False
    refractory: int = 0


def linear_of(node: FloatNode, shape: Shape, where: str) -> tuple[Operator, Floats, Shape]:
    """Return (operator, bias (size,), shape of the output) of one linear node whose input has `shape`."""
    size = int(np.prod(shape))
    if node.kind in ("Flatten", "Port", "Delay"):
        return Identity(shape), np.zeros(size), (size,) if node.kind == "Flatten" else shape
    if node.kind == "Scale":
        return _scale(node, shape, where), np.zeros(size), shape
    if node.kind in ("Linear", "Affine"):
        weight = np.asarray(node["weight"], np.float64)
        if weight.ndim != 2 or weight.shape[1] != size:
            raise NetworkError(f"{where} weight: expected shape (N, {size}), got {weight.shape}")
        bias = np.asarray(node.get("bias", 0.0), np.float64).reshape(-1)
        if bias.size not in (1, weight.shape[0]):
            raise NetworkError(f"{where} bias: expected {weight.shape[0]} values, got {bias.size}")
        from scipy import sparse

        matrix = Matrix(shape, weight.shape[:1], sparse.csr_matrix(weight))
        return matrix, np.array(np.broadcast_to(bias, weight.shape[:1])), weight.shape[:1]
    conv, bias = _convolution(node, shape, where)
    out = conv.out_shape
    if bias.size not in (1, out[0]):
        raise NetworkError(f"{where} bias: expected {out[0]} values, got {bias.size}")
    return conv, np.array(np.broadcast_to(bias.reshape(-1, 1, 1), out)).reshape(-1), out


def _scale(node: FloatNode, shape: Shape, where: str) -> Operator:
    factor = np.asarray(node["scale"], np.float64)
    aligned = factor.reshape(factor.shape[0], 1, factor.shape[1]) if factor.ndim == 2 and len(shape) == 3 else factor
    if aligned.ndim == 1 and len(shape) == 3 and aligned.size == shape[0]:
        aligned = aligned.reshape(-1, 1, 1)
    try:
        full = np.broadcast_to(aligned.reshape(shape) if aligned.size == np.prod(shape) else aligned, shape)
    except ValueError:
        raise NetworkError(f"{where} scale: expected a value for each of {shape}, got shape {factor.shape}") from None
    return scaled(Identity(shape), np.array(full, np.float64).reshape(-1), where)


def _convolution(node: FloatNode, shape: Shape, where: str) -> tuple[Convolved, Floats]:
    """Return a convolution or pooling, and its bias as it is in the file."""
    if len(shape) != 3:
        raise NetworkError(f"{where}: expected an input of shape (C, H, W), got {shape}")
    if node.kind in ("SumPool2d", "AvgPool2d"):
        ky, kx = pair(node["kernel_size"], where)
        _check_range((ky, kx), 1, f"{where} kernel_size")
        kernel = np.full((shape[0], 1, ky, kx), 1.0 if node.kind == "SumPool2d" else 1.0 / (ky * kx))
        stride, dilation, groups, bias = pair(node["stride"], where), (1, 1), shape[0], np.zeros(1)
        padding = pair(node["padding"], where)
        before = after = padding
    else:
        kernel = np.asarray(node["weight"], np.float64)
        bias = np.asarray(node["bias"], np.float64).reshape(-1)
        one_axis = node.kind == "Conv1d"
        if kernel.ndim != (3 if one_axis else 4):
            raise NetworkError(f"{where} weight: expected {3 if one_axis else 4} axes, got shape {kernel.shape}")
        groups = pair(node["groups"], f"{where} groups")[0]
        if groups < 1 or kernel.shape[0] % groups:
            raise NetworkError(f"{where} groups: expected a divisor of {kernel.shape[0]} channels, got {groups}")
        kernel = kernel[:, :, None, :] if one_axis else kernel
        stride, dilation = (_axes(node[name], one_axis, 1, where) for name in ("stride", "dilation"))
        before, after = _padding(node["padding"], kernel.shape[2:], stride, dilation, one_axis, where)
    _check_range(stride, 1, f"{where} stride")
    _check_range((*before, *after), 0, f"{where} padding")
    _check_range(dilation, 1, f"{where} dilation")
    # One padding for both sides: what is missing in front stands in the kernel as zeros.
    padding = (max(before[0], after[0]), max(before[1], after[1]))
    gap = [(p - b) // d for p, b, d in zip(padding, before, dilation, strict=True)]
    kernel = np.pad(kernel, ((0, 0), (0, 0), (gap[0], 0), (gap[1], 0)))
    conv = Convolved(shape, kernel, Window(stride, padding, dilation, groups))
    try:
        conv.out_shape  # noqa: B018  (refuses what does not fit)
    except NetworkError as error:
        raise NetworkError(f"{where}: {error}") from None
    return conv, bias


def _check_range(values: tuple[int, ...], low: int, where: str) -> None:
    """Refuse what no convolution has, and what would need terabytes."""
    for value in values:
        if not low <= value <= MOST_STEPS:
            raise NetworkError(f"{where}: expected {low} to {MOST_STEPS}, got {value}")


def _axes(values: Any, one_axis: bool, default: int, where: str) -> Pair:
    return (default, pair(values, where)[0]) if one_axis else pair(values, where)


def _padding(
    given: Any, kernel: tuple[int, ...], stride: Pair, dilation: Pair, one_axis: bool, where: str
) -> tuple[Pair, Pair]:
    """Return the padding in front and behind, (y, x) each; 'same' with an odd reach has one more behind, as torch."""
    if not isinstance(given, str):
        both = _axes(given, one_axis, 0, where)
        return both, both
    if given == "valid":
        return (0, 0), (0, 0)
    if given != "same" or stride != (1, 1):
        raise UnsupportedNode(f"{where} padding: expected numbers, 'valid', or 'same' with stride 1, got {given!r}")
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if any(r % 2 and d > 1 for r, d in zip(reach, dilation, strict=True)):
        raise UnsupportedNode(f"{where} padding: expected numbers for a dilated even kernel, got 'same'")
    return (reach[0] // 2, reach[1] // 2), (reach[0] - reach[0] // 2, reach[1] - reach[1] // 2)


def neurons_of(node: FloatNode, shape: Shape, dt: float, writer: str, where: str) -> FloatNeurons:
    """Return a neuron node as one step of a recursion. Raises NetworkError for values that make no stable neuron."""
    size = int(np.prod(shape))

    def full(name: str, default: float = 0.0) -> Floats:
        values = np.asarray(node.get(name, default), np.float64)
        if values.size not in (1, size):
            raise NetworkError(f"{where} {name}: expected 1 or {size} values, got {values.size}")
        return np.array(np.broadcast_to(values.reshape(-1), (size,)))

    a = b = np.ones(size)
    if node.kind.startswith("Cuba"):
        a = decay_per_step(full("tau_syn"), dt, writer, f"{where} tau_syn")
        b = decay_per_step(full("tau_mem"), dt, writer, f"{where} tau_mem")
    elif node.kind in ("LIF", "LI"):
        b = decay_per_step(full("tau"), dt, writer, f"{where} tau")
    elif node.kind in ("IF", "I"):
        b = np.zeros(size)
    for name in ("r", "w_in"):
        full(name, 1.0)
    gain = gain_of(node, writer, dt, a, b, where)
    fires = node.kind in SPIKING
    reset = full("v_reset")
    theta = full("threshold" if node.kind == "Threshold" else "v_threshold") if fires else np.zeros(size)
    if fires and (theta < reset).any():
        raise NetworkError(f"{where} v_threshold: expected values from v_reset on, got values below it")
    leak = full("v_leak") if node.kind in ("LIF", "CubaLIF", "LI", "CubaLI") else reset
    at_threshold = WRITERS[writer].firing.at_threshold
    return FloatNeurons(
        shape, a, b, gain, b * (leak - reset), theta - reset, -reset, fires, node.kind.startswith("Cuba"), at_threshold
    )
