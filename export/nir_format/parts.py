"""Single nodes of a NIR graph as parts of a Network: populations, synapses and convolutions, from the floats."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError
from sdsnn_core.geometry import Window, padding_pair, pair
from sdsnn_core.network import DECAY_UNITY, Convolution, CubaLif, Shape, Synapses

from .dialect import (
    LSB,
    METADATA_KEY,
    Int64Array,
    bias_mantissas,
    delay_steps,
    in_form,
    population_integers,
    smallest_form,
    unfolded,
    weight_integers,
    weight_mantissas,
)
from .graph import Graph


def population_of(
    node: Any, shape: Shape, dt: float, where: str, extra: Int64Array, hints: Mapping[str, Any] | None
) -> CubaLif:
    """Build a population from a CubaLIF node; extra: (size,) state units of bias that arrive by its Affine nodes."""
    integers = {key: value.reshape(shape) for key, value in population_integers(node, dt, where).items()}
    state = integers.pop("bias") + extra.reshape(shape)
    integers["bias"], exponent = bias_mantissas(
        state, f"{where} v_leak", int(hints["bias_exp"]) if hints else 6, "/4096"
    )
    own = node.metadata.get(METADATA_KEY, {}) if hints else {}
    start = np.asarray(own["initial_voltage"]) if "initial_voltage" in own else np.zeros((), np.int64)
    if hints is None:
        return CubaLif(shape, **{k: smallest_form(v) for k, v in integers.items()}, bias_exp=exponent)
    forms = {key: tuple(form) for key, form in hints["forms"].items()}
    form = forms["initial_voltage"]
    start = np.broadcast_to(start, form) if start.size == 1 and not start.ndim else start.reshape(form)
    values = {key: in_form(value, forms[key]) for key, value in integers.items()}
    return CubaLif(shape, **values, bias_exp=exponent, initial_voltage=start)


Weights = tuple[Int64Array, Int64Array, npt.NDArray[Any]]  # pre, post, float weights
Ends = tuple[str, str]  # names of the source and the target in the Network
Part = tuple[str | None, str]  # delay node, weight node


def _matrix(node: Any, n_post: int, n_pre: int, where: str) -> Weights:
    """Return the weights of an Affine, Linear or full-size Conv2d node."""
    weight = np.asarray(node.weight)
    if weight.ndim == 4 and weight.shape[1] == n_pre and weight.shape[2:] != (1, 1):  # from a column to an image
        weight = unfolded(weight)
    if weight.shape[0] != n_post or weight.size != n_post * n_pre:
        raise NetworkError(f"{where} weight: expected {n_post} x {n_pre} entries, got shape {weight.shape}")
    matrix = weight.reshape(n_post, n_pre)
    pre, post = np.nonzero(matrix.T)
    return pre, post, matrix[post, pre]


def _scale(node: Any, n_post: int, n_pre: int, where: str) -> Weights:
    """Return the one-to-one weights of a Scale node."""
    scale = np.asarray(node.scale).reshape(-1)
    if n_post != n_pre or scale.size not in (1, n_pre):
        raise NetworkError(f"{where} scale: expected 1 or {n_pre} values, got {scale.size} for {n_post} neurons")
    scale = np.broadcast_to(scale, n_pre)
    (every,) = np.nonzero(scale)
    return every, every, scale[every]


WIRES: Final = {"Affine": _matrix, "Linear": _matrix, "Conv2d": _matrix, "Scale": _scale}


def bias_of(node: Any, population: Any, dt: float, shape: Shape, where: str) -> Int64Array:
    """Return the bias of a weight node in state units, (size,): exact only where the current forgets at once."""
    size = int(np.prod(shape))
    bias = np.asarray(getattr(node, "bias", 0.0), np.float64)
    if not bias.any():
        return np.zeros(size, np.int64)
    steps = np.asarray(population.tau_syn, np.float64) / dt
    if not np.allclose(DECAY_UNITY / steps, DECAY_UNITY, rtol=0, atol=1e-3):
        raise NetworkError(
            f"{where} bias: expected 0, or tau_syn = dt, got values up to {np.abs(bias).max():.6g} into neurons with "
            "tau_syn > dt: a bias goes to the voltage, not through the current"
        )
    state = np.rint(bias / LSB)
    if not np.allclose(state * LSB, bias, rtol=0, atol=1e-2 * LSB):
        raise NetworkError(f"{where} bias: expected k/4096, got other values")
    whole = state.reshape(-1, 1, 1) if state.ndim == 1 and len(shape) == 3 else state
    return np.broadcast_to(whole, shape).reshape(-1).astype(np.int64)


def _wires(graph: Graph, parts: list[Part], n_pre: int, n_post: int, dt: float) -> list[Int64Array]:
    """Return pre, post, weight in 1/64 and delay of the (delay node, weight node) pairs, in order of (pre, post)."""
    wires = []
    for delay_node, weight_node in parts:
        where = f"node {weight_node!r}"
        pre, post, floats = WIRES[graph.kinds[weight_node]](graph.nodes[weight_node], n_post, n_pre, where)
        wires.append((pre, post, weight_integers(floats, where), delays_of(graph, delay_node, n_pre, dt)[pre]))
    columns = [np.concatenate(column) for column in zip(*wires, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    return [column[order] for column in columns]


def delays_of(graph: Graph, name: str | None, n_pre: int, dt: float) -> Int64Array:
    """Return the steps of a Delay node, (n_pre,) int64; 0 for None."""
    if name is None:
        return np.zeros(n_pre, np.int64)
    steps = delay_steps(graph.nodes[name], dt, f"node {name!r}").reshape(-1)
    if steps.size not in (1, n_pre):
        raise NetworkError(f"node {name!r} delay: expected 1 or {n_pre}, got {steps.size} values")
    return np.broadcast_to(steps, (n_pre,))


class Form(NamedTuple):
    """How a projection is stored: one delay where all are equal, its exponent, its groups before they were undone."""

    one_delay: bool = True
    weight_exp: int = 0
    groups: int = 1


def synapses_of(graph: Graph, ends: Ends, parts: list[Part], sizes: tuple[int, int], dt: float, form: Form) -> Synapses:
    """Build Synapses from the (delay node, weight node) pairs between two populations."""
    pre, post, weights, delay = _wires(graph, parts, *sizes, dt)
    weight, exponent = weight_mantissas(weights, f"node {parts[0][1]!r}", form.weight_exp, "/64")
    if form.one_delay and len(parts) == 1:
        everywhere = delays_of(graph, parts[0][0], sizes[0], dt)
        if (everywhere == everywhere[0]).all():
            delay = np.asarray(everywhere[0])
    return Synapses(*ends, pre, post, weight, delay, exponent)


def window_of(node: Any, where: str) -> Window:
    """Return stride, padding and dilation of a Conv2d node, also where its padding is 'same' or 'valid'."""
    stride, dilation = (pair(getattr(node, key), f"{where} {key}") for key in ("stride", "dilation"))
    return Window(stride, padding_pair(node.padding, node.weight.shape[2:], stride, dilation, where), dilation)


def convolution_of(graph: Graph, ends: Ends, part: Part, source_shape: Shape, dt: float, form: Form) -> Convolution:
    """Build a Convolution, with the groups of `form` where the floats of an ungrouped kernel still allow them."""
    delay_node, name = part
    node, where = graph.nodes[name], f"node {name!r}"
    kernel, exponent = weight_mantissas(weight_integers(node.weight, where), where, form.weight_exp, "/64")
    in_file = int(np.asarray(node.groups).reshape(-1)[0])
    if in_file == 1 and form.groups > 1:
        kernel, in_file = _grouped(kernel, form.groups)
    whole = delays_of(graph, delay_node, int(np.prod(source_shape)), dt).reshape(source_shape[0], -1)
    if (whole != whole[:, :1]).any():
        raise NetworkError(f"node {delay_node!r} delay: expected one per channel, got several")
    delay = whole[:, 0]
    if form.one_delay and (delay == delay[0]).all():
        delay = np.asarray(delay[0])
    return Convolution(*ends, kernel, *window_of(node, where)[:3], in_file, delay, exponent)


def _grouped(kernel: Int64Array, groups: int) -> tuple[Int64Array, int]:
    """Undo the writer's ungrouping; a kernel with weights between groups stays whole."""
    out, into = kernel.shape[0] // groups, kernel.shape[1] // groups
    blocks = [kernel[g * out : (g + 1) * out, g * into : (g + 1) * into] for g in range(groups)]
    small = np.concatenate(blocks)
    return (small, groups) if np.count_nonzero(small) == np.count_nonzero(kernel) else (kernel, 1)
