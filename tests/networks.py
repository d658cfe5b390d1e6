"""Random networks over the whole legal range, and comparisons that name the first difference."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import get_args

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity, first_difference
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import (
    BIAS_MAX,
    DECAY_UNITY,
    DELAY_MAX,
    NEVER_FIRES,
    THRESHOLD_MAX,
    AdaptiveLif,
    Convolution,
    CubaLif,
    Delta,
    Input,
    Network,
    Neurons,
    Node,
    Output,
    Population,
    Projection,
    RefractoryLif,
    Resonator,
    Shape,
    Sigma,
    SigmaDelta,
    Synapses,
)
from sdsnn_core.neurons.models import REFRACTORY_MAX

Rng = np.random.Generator
KINDS: tuple[type, ...] = get_args(Neurons)


def random_population(
    rng: Rng, shape: Shape, *, bias: bool = False, per_neuron: bool = False, wild: bool = False
) -> Population:
    """Draw a population.

    wild: anywhere in the legal range, extremes included, which mostly never fires or always does; otherwise values
    at which spikes are neither absent nor constant. bias: with biases. per_neuron: one value per neuron or channel.
    """
    size: Shape = ()
    if per_neuron:
        size = shape if len(shape) == 1 or rng.random() < 0.5 else (shape[0], 1, 1)

    def draw(common: list[int], low: int, high: int) -> npt.NDArray[np.int64]:
        if wild and rng.random() < 0.5:
            if rng.random() < 0.5:
                return rng.integers(low, high + 1, size)
            # Uniform in the logarithm, so that small thresholds, which spikes need, are drawn as often as large ones.
            magnitude = np.exp2(rng.uniform(0, np.log2(high + 1), size)) - 1
            return np.asarray(magnitude).astype(np.int64) * (rng.choice([-1, 1], size) if low < 0 else 1)
        return rng.choice(common, size)

    return Population(
        shape,
        current_decay=draw([0, 1, 410, 1024, 2048, 4095, 4096], 0, DECAY_UNITY),
        voltage_decay=draw([0, 1, 128, 410, 2048, 4096], 0, DECAY_UNITY),
        threshold=draw([0, 1, 64, 80, 81, 256, 1000], 0, NEVER_FIRES),
        bias=draw([-40, -1, 0, 1, 2, 30], -BIAS_MAX, BIAS_MAX) if bias else np.zeros((), int),
        bias_exp=int(rng.integers(0, 8)) if bias else 6,
        initial_voltage=np.asarray(rng.integers(-(2**23), 2**23, size) if bias and rng.random() < 0.5 else 0),
    )


def random_neurons(rng: Rng, shape: Shape, kind: type, *, wild: bool = False) -> Population:
    """Draw a population of any model; parameters as in `random_population`."""
    size: Shape = () if rng.random() < 0.5 else shape

    def draw(common: list[int], low: int, high: int) -> npt.NDArray[np.int64]:
        if wild and rng.random() < 0.5:
            return np.asarray(rng.integers(low, high + 1, size))
        return np.asarray(rng.choice(common, size))

    decay = [1, 128, 410, 1024, 4096]
    if kind is AdaptiveLif:
        decays = [draw(decay, 0, DECAY_UNITY) for _ in range(4)]
        bias = draw([-2, 0, 1], -BIAS_MAX, BIAS_MAX) if rng.random() < 0.3 else 0
        thresholds = draw([0, 1, 40, 80], 0, THRESHOLD_MAX), draw([0, 1, 8, 60], 0, THRESHOLD_MAX)
        return AdaptiveLif(shape, *decays, *thresholds, bias)
    if kind is RefractoryLif:
        decays = [draw([0, *decay], 0, DECAY_UNITY) for _ in range(2)]
        bias = draw([-2, 0, 1], -BIAS_MAX, BIAS_MAX) if rng.random() < 0.3 else 0
        periods = draw([1, 2, 5, 12], 1, REFRACTORY_MAX)
        start = draw([-3000, 0, 700], -(2**23), 2**23 - 1) if rng.random() < 0.3 else 0
        threshold = draw([0, 1, 40, 80], 0, THRESHOLD_MAX)
        return RefractoryLif(shape, *decays, threshold, periods, bias, initial_voltage=start)
    if kind is Resonator:
        parts = draw([1, 1200, 2600], 0, DECAY_UNITY - 1), draw([0, 2900, 3600], 0, DECAY_UNITY - 1)
        return Resonator(shape, *parts, draw([0, 1, 40, 80], 0, THRESHOLD_MAX), reset=bool(rng.random() < 0.5))
    if kind in (Delta, SigmaDelta):
        exponents = (6, 6) if rng.random() < 0.6 else tuple(rng.integers(0, 8, 2).tolist())
        limit = (2**31 - 1) >> sum(exponents)
        more = {"spike_exp": exponents[0], "state_exp": exponents[1], "cumulative": bool(rng.random() < 0.3)}
        if kind is SigmaDelta:
            bias = draw([-8, 0, 3], -limit, limit) if rng.random() < 0.5 else 0
            more |= {"bias": bias, "relu": bool(rng.random() < 0.7)}
        return kind(shape, draw([0, 1, 6, 40], 0, limit), **more)
    return Sigma(shape) if kind is Sigma else random_population(rng, shape, wild=wild)


def random_weights(rng: Rng, shape: tuple[int, ...], density: float, *, even: bool = False) -> npt.NDArray[np.int64]:
    """Draw weights in -256..254, a fraction `density` of them present; now and then of one sign only."""
    weights = rng.integers(-128, 128, shape) * 2
    if not even:
        weights += rng.integers(0, 2, shape) * (weights < 254)
    if rng.random() < 0.2:
        weights = np.abs(weights) if rng.random() < 0.5 else -np.abs(weights)
        weights = np.clip(weights, -256, 254)
    return weights * (rng.random(shape) < density)


def random_network(
    rng: Rng,
    *,
    convolution: bool = True,
    recurrent: bool = True,
    delays: bool = True,
    bias: bool = True,
    wild: bool = True,
    even: bool = False,
    weight_exp: bool = True,
    skip: bool = True,
    graded: bool = False,
    models: bool = False,
    max_layers: int = 4,
    max_size: int = 24,
) -> Network:
    """Draw a network of one input, one to `max_layers` populations and one output.

    Each switch allows a feature, it does not force it: layers by convolution (stride, padding, dilation, groups) and
    by synapses, recurrent projections, skip projections, delays, biases, weight exponents, graded input, and neurons of
    every model.
    """

    def chance(allowed: bool, probability: float = 0.5) -> bool:
        return allowed and rng.random() < probability

    shape: Shape = (int(rng.integers(1, max_size + 1)),)
    if chance(convolution):
        shape = (int(rng.integers(1, 5)), int(rng.integers(3, 9)), int(rng.integers(3, 9)))
    port = Input(shape, int(rng.integers(2, 9)) if chance(graded) else 1)
    if chance(models):
        port = Input(shape, *rng.choice([[9, -9], [2**12, -(2**12)], [2**31 - 1, 0], [300, 0]]).tolist())
    nodes: dict[str, Node] = {"input": port}
    projections: dict[str, Projection] = {}
    previous = "input"
    for index in range(int(rng.integers(1, max_layers + 1))):
        name = f"layer{index}"
        exp = int(rng.integers(0, 8)) if chance(weight_exp, 0.2) else 0
        projection: Projection | None = None
        if len(shape) == 3 and chance(convolution, 0.7):
            projection = _random_convolution(rng, previous, name, shape, even=even, delays=chance(delays, 0.3), exp=exp)
        if isinstance(projection, Convolution):
            target = projection.output_shape(shape)
        else:
            target = (int(rng.integers(1, max_size + 1)),)
            projection = _random_synapses(rng, previous, name, shape, target, even=even, delays=chance(delays), exp=exp)
        kind = KINDS[rng.integers(len(KINDS))] if models else CubaLif
        if kind is CubaLif:
            neurons = random_population(rng, target, bias=chance(bias, 0.3), per_neuron=chance(True), wild=chance(wild))
        else:
            neurons = random_neurons(rng, target, kind, wild=chance(wild, 0.3))
        late = delays and kind is not Resonator
        if kind is Resonator:  # for which no process has delays
            projection = replace(projection, delay=np.zeros((), np.uint8))
            if isinstance(projection, Convolution) and chance(True):
                drawn = random_weights(rng, projection.kernel.shape, 0.7, even=even)
                part: Projection = replace(projection, kernel=drawn)
            else:
                part = _random_synapses(rng, previous, name, shape, target, even=even, delays=False, exp=exp)
            projections[f"{previous}-{name}-imaginary"] = replace(part, imaginary=True)
        nodes[name] = neurons
        projections[f"{previous}-{name}"] = projection
        if chance(recurrent, 0.25):
            projections[f"{name}-{name}"] = _random_synapses(
                rng, name, name, target, target, even=even, delays=chance(late), exp=0
            )
        if chance(skip and index > 0, 0.25):
            projections[f"input-{name}"] = _random_synapses(
                rng, "input", name, port.shape, target, even=even, delays=chance(late), exp=0
            )
        previous, shape = name, target
    nodes["output"] = Output(previous)
    return Network(nodes, projections)


def _random_synapses(
    rng: Rng, source: str, target: str, pre: Shape, post: Shape, *, even: bool, delays: bool, exp: int
) -> Synapses:
    size = (int(np.prod(post)), int(np.prod(pre)))
    weight = random_weights(rng, size, float(rng.choice([0.0, 0.05, 0.3, 1.0], p=[0.03, 0.27, 0.35, 0.35])), even=even)
    delay: npt.ArrayLike = 0
    if delays:
        delay = rng.integers(0, int(rng.choice([2, 8, DELAY_MAX + 1])), size if rng.random() < 0.5 else size[1:])
    return Synapses.from_dense(source, target, weight, delay, exp)


def _random_convolution(
    rng: Rng, source: str, target: str, shape: Shape, *, even: bool, delays: bool, exp: int
) -> Convolution | None:
    channels = shape[0]
    groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
    kernel = (
        groups * int(rng.integers(1, 4)),
        channels // groups,
        int(rng.integers(1, 4)),
        int(rng.integers(1, 4)),
    )
    made = Convolution(
        source,
        target,
        random_weights(rng, kernel, float(rng.choice([0.3, 1.0])), even=even),
        stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
        padding=(int(rng.integers(0, 3)), int(rng.integers(0, 3))),
        dilation=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
        groups=groups,
        delay=np.asarray(rng.integers(0, 6, channels) if delays else 0),
        weight_exp=exp,
    )
    try:
        made.output_shape(shape)
    except NetworkError:  # a dilated kernel can be larger than a small source
        return None
    return made


def assert_same_network(a: Network, b: Network) -> None:
    """Raise AssertionError naming the first node, projection or field in which two networks differ."""
    for kind in ("nodes", "projections"):
        group_a, group_b = getattr(a, kind), getattr(b, kind)
        assert list(group_a) == list(group_b), f"{kind}: {list(group_a)} != {list(group_b)}"
        for name, item in group_a.items():
            other = group_b[name]
            assert type(item) is type(other), f"{name}: {type(item).__name__} != {type(other).__name__}"
            for spec in fields(item):
                left, right = getattr(item, spec.name), getattr(other, spec.name)
                if isinstance(left, np.ndarray):
                    np.testing.assert_array_equal(left, right, err_msg=f"{name}.{spec.name}")
                    assert left.dtype == right.dtype, f"{name}.{spec.name}: {left.dtype} != {right.dtype}"
                else:
                    assert left == right, f"{name}.{spec.name}: {left!r} != {right!r}"
    assert a.digest() == b.digest()


def assert_same_activity(a: Activity, b: Activity, *, states: bool = False) -> int:
    """Compare every count and bin that both recorded; return the number of bins compared, at least one."""
    difference = first_difference(a.spikes, b.spikes)
    assert difference is None, "spikes differ first at node {}, sample {}, step {}, neuron {}".format(*difference)
    for kind in ("counts", "spikes_per_step", "events", *(("current", "voltage") if states else ())):
        left, right = getattr(a, kind), getattr(b, kind)
        assert set(left) == set(right), f"{kind}: {sorted(left)} != {sorted(right)}"
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], err_msg=f"{kind} of {name}")
    bins = sum(a.spikes[name].size for name in a.spikes if name in b.spikes)
    assert bins, "no node was recorded by both"
    return bins
