"""Single nodes of a NIR graph as parts of a Network: populations, synapses and convolutions, from the floats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import NetworkError
from sdsnn_core.geometry import Window, padding_pair, pair
from sdsnn_core.network import (
    BIAS_EXP_MAX,
    BIAS_MAX,
    DECAY_UNITY,
    WEIGHT_EXP_MAX,
    WEIGHT_MAX,
    WEIGHT_MIN,
    Convolution,
    Population,
    Shape,
    Synapses,
)

from .dialect import (
    LSB,
    METADATA_KEY,
    Int64Array,
    delay_steps,
    in_form,
    population_integers,
    smallest_form,
    weight_integers,
    with_exponent,
)
from .graph import Graph


def population_of(
    node: Any, shape: Shape, dt: float, where: str, extra: Int64Array, hints: Mapping[str, Any] | None
) -> Population:
    """Build a population from a CubaLIF node; extra: (size,) state units of bias that arrive by its Affine nodes."""
    integers = {key: value.reshape(shape) for key, value in population_integers(node, dt, where).items()}
    state = integers.pop("bias") + extra.reshape(shape)
    split = with_exponent(state, -BIAS_MAX, BIAS_MAX, BIAS_EXP_MAX, int(hints["bias_exp"]) if hints else 6)
    if split is None:
        raise NetworkError(
            f"{where} v_leak: expected biases up to {BIAS_MAX} times a power of two up to 2**{BIAS_EXP_MAX}, got "
            f"{state.min()}..{state.max()} in 1/4096"
        )
    integers["bias"] = split[0]
    own = node.metadata.get(METADATA_KEY, {}) if hints else {}
    start = np.asarray(own["initial_voltage"]) if "initial_voltage" in own else np.zeros((), np.int64)
    if hints is None:
        return Population(shape, **{k: smallest_form(v) for k, v in integers.items()}, bias_exp=split[1])
    forms = {key: tuple(form) for key, form in hints["forms"].items()}
    form = forms["initial_voltage"]
    start = np.broadcast_to(start, form) if start.size == 1 and not start.ndim else start.reshape(form)
    values = {key: in_form(value, forms[key]) for key, value in integers.items()}
    return Population(shape, **values, bias_exp=split[1], initial_voltage=start)


def _mantissas(values: Int64Array, where: str, preferred: int) -> tuple[Int64Array, int]:
    split = with_exponent(values, WEIGHT_MIN, WEIGHT_MAX, WEIGHT_EXP_MAX, preferred)
    if split is None:
        raise NetworkError(
            f"{where} weight: expected k/64 with k in {WEIGHT_MIN}..{WEIGHT_MAX}, times one power of two up to "
            f"2**{WEIGHT_EXP_MAX}, got {values.min()}/64..{values.max()}/64"
        )
    return split


Weights = tuple[Int64Array, Int64Array, npt.NDArray[Any]]  # pre, post, float weights


def _matrix(node: Any, n_post: int, n_pre: int, where: str) -> Weights:
    """Return the weights of an Affine, Linear or full-size Conv2d node."""
    weight = np.asarray(node.weight)
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


@dataclass(frozen=True)
class _Wires:
    """Synapses of one projection before they are split into mantissa and exponent; weights in 1/64."""

    pre: Int64Array
    post: Int64Array
    weight: Int64Array
    delay: Int64Array


def _wires(graph: Graph, parts: list[tuple[str | None, str]], n_pre: int, n_post: int, dt: float) -> _Wires:
    """Collect the synapses of the given (delay node, weight node) pairs, in order of (pre, post)."""
    found = []
    for delay_node, weight_node in parts:
        where = f"node {weight_node!r}"
        pre, post, floats = WIRES[graph.kinds[weight_node]](graph.nodes[weight_node], n_post, n_pre, where)
        weight = weight_integers(floats, where)
        delay = np.zeros(n_pre, np.int64)
        if delay_node is not None:
            delay = delays_of(graph, delay_node, n_pre, dt)
        found.append((pre, post, weight, delay[pre]))
    pre, post, weight, delay = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((post, pre))
    return _Wires(pre[order], post[order], weight[order], delay[order])


def delays_of(graph: Graph, name: str, n_pre: int, dt: float) -> Int64Array:
    """Return the steps of a Delay node, (n_pre,) int64."""
    steps = delay_steps(graph.nodes[name], dt, f"node {name!r}").reshape(-1)
    if steps.size not in (1, n_pre):
        raise NetworkError(f"node {name!r} delay: expected 1 or {n_pre}, got {steps.size} values")
    return np.broadcast_to(steps, (n_pre,))


def synapses_of(
    graph: Graph,
    source: str,
    target: str,
    parts: list[tuple[str | None, str]],
    sizes: tuple[int, int],
    dt: float,
    *,
    one_delay: bool | None,
    weight_exp: int,
) -> Synapses:
    """Build Synapses; one_delay: True stores one value if it is one, False one per synapse, None the smaller."""
    wires = _wires(graph, parts, *sizes, dt)
    weight, exponent = _mantissas(wires.weight, f"node {parts[0][1]!r}", weight_exp)
    delay: Int64Array = wires.delay
    if one_delay is not False and len(parts) == 1:
        node = parts[0][0]
        everywhere = np.zeros(1, np.int64) if node is None else delays_of(graph, node, sizes[0], dt)
        if (everywhere == everywhere[0]).all():
            delay = np.asarray(everywhere[0])
    return Synapses(source, target, wires.pre, wires.post, weight, delay, exponent)


def window_of(node: Any, where: str) -> Window:
    """Return stride, padding and dilation of a Conv2d node, also where its padding is 'same' or 'valid'."""
    stride, dilation = (pair(getattr(node, key), f"{where} {key}") for key in ("stride", "dilation"))
    return Window(stride, padding_pair(node.padding, node.weight.shape[2:], stride, dilation, where), dilation)


def convolution_of(
    graph: Graph,
    source: str,
    target: str,
    part: tuple[str | None, str],
    source_shape: Shape,
    dt: float,
    *,
    one_delay: bool | None,
    groups: int,
    weight_exp: int,
) -> Convolution:
    """Build a Convolution; groups: how many the ungrouped kernel was made from, if its floats still say so."""
    delay_node, name = part
    node, where = graph.nodes[name], f"node {name!r}"
    kernel, exponent = _mantissas(weight_integers(node.weight, where), where, weight_exp)
    in_file = int(np.asarray(node.groups).reshape(-1)[0])
    if in_file == 1 and groups > 1:
        kernel, in_file = _grouped(kernel, groups)
    delay: Int64Array = np.zeros((), np.int64)
    if delay_node is not None:
        size = int(np.prod(source_shape))
        whole = delays_of(graph, delay_node, size, dt).reshape(source_shape[0], -1)
        if (whole != whole[:, :1]).any():
            raise NetworkError(f"node {delay_node!r} delay: expected one per channel, got several")
        delay = whole[:, 0]
    same = not delay.ndim or (delay == delay[0]).all()
    if one_delay is not False and same:
        delay = np.asarray(delay.reshape(-1)[0])
    elif one_delay is False and not delay.ndim:
        delay = np.zeros(source_shape[0], np.int64)
    return Convolution(
        source,
        target,
        kernel,
        *window_of(node, where)[:3],
        in_file,
        delay,
        exponent,
    )


def _grouped(kernel: Int64Array, groups: int) -> tuple[Int64Array, int]:
    """Undo the writer's ungrouping; a kernel with weights between groups stays whole."""
    out, into = kernel.shape[0] // groups, kernel.shape[1] // groups
    blocks = [kernel[g * out : (g + 1) * out, g * into : (g + 1) * into] for g in range(groups)]
    small = np.concatenate(blocks)
    return (small, groups) if np.count_nonzero(small) == np.count_nonzero(kernel) else (kernel, 1)
