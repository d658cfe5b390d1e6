"""Float neurons and weights -> Loihi integers, with an account of what that costs, node by node.

`scale.py` chooses how many state units a float unit of each neuron is. Neurons deep in the graph run later in a Network
than in their framework (`run.start_steps`): delays keep paths of different length in step, and an initial voltage
undoes the steps in which only a bias arrived. A constant that has to pass a leaky current settles; that is held exactly
by its settled value as a bias, less a current that one neuron, which spikes in the first step alone, starts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.arithmetic import DECAY_UNITY
from sdsnn_core.network import (
    BIAS_MAX,
    NEVER_FIRES,
    THRESHOLD_MAX,
    Convolution,
    CubaLif,
    Input,
    Network,
    Node,
    Output,
    Projection,
    RefractoryLif,
    Synapses,
)
from sdsnn_core.nodes import legal_name

from ..nir_format.dialect import smallest_form
from .costs import Runs, costs_of, default_of
from .graph import FloatGraph
from .operators import Convolved, Identity, Matrix, matrix_of
from .plan import IntegerDynamics, Plan, judge_of, keep_clips_that_pay, plans_of, settling_drive
from .run import Trains, default_runs, float_run, framework_run, late_maps, simulate, start_steps
from .scale import (
    Arrival,
    search_scales,
    weights_of,
    with_weights,
)

Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class NodeReport:
    """What quantising one population changed.

    scale: median state units per float unit of voltage. weight_error: largest |error| of a weight, relative to the
    largest weight. threshold_error: largest relative error. decay_error: largest |error| of a decay (per step).
    saturated: weights, thresholds and biases that were clipped. weights, vanished: weights, and those that became 0.
    rate_float, rate: spikes per neuron and step. silenced: neurons that spiked in the float graph and no longer do.
    differing: share of (neuron, step) bins that differ. notes: what is only approximate. vanished_maps: the maps of
    which all weights became 0. rates_as: writer -> rate in floats, as its neurons fire by default, where that is not
    NIR's one spike and reset. bins: (sample, step, neuron) bins that were compared. costs: what a chip does otherwise
    -> the bins that this alone changes in floats.
    """

    name: str
    neurons: int
    scale: float
    weight_error: float
    threshold_error: float
    decay_error: float
    saturated: int
    vanished: int
    rate_float: float
    rate: float
    silenced: int
    differing: float
    notes: tuple[str, ...]
    weights: int = 0
    vanished_maps: tuple[str, ...] = ()
    rates_as: Mapping[str, float] = field(default_factory=dict)
    bins: int = 0
    costs: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@final
@dataclass(frozen=True, eq=False)
class Quantised:
    """The network, and a report for each population of the float graph in its order.

    samples: samples that it was run on. silent, silent_float: those in which no output spiked, in integers and in
    floats; 0 where the outputs are voltages.
    """

    network: Network
    reports: tuple[NodeReport, ...]
    samples: int = 0
    silent: int = 0
    silent_float: int = 0


def quantise(
    graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]], *, calibrate: bool, input_max: int | None = None
) -> Quantised:
    """Return the Network nearest to `graph`.

    Args:
        graph: what `read_graph` returned.
        inputs: name -> (samples, steps, size) spikes or counts, on which rates are compared.
        calibrate: let these inputs choose the scales too.
        input_max: largest value of an input bin; None takes it from the data.

    Raises:
        NetworkError: delays or thresholds that no integers can stand for.
    """
    trains, voltages = float_run(graph, inputs)
    plans = plans_of(graph)
    for name, plan in plans.items():
        judge = judge_of(plan, {**inputs, **trains}, trains[name]) if calibrate else None
        plan.unclipped, plan.scale = search_scales(plan.neurons, plan.arrivals, judge)
    if calibrate:
        keep_clips_that_pay(graph, plans, inputs, trains, voltages)
    nodes, projections, costs = _built(graph, plans, inputs, input_max)
    names = _names(graph)
    for name, source in graph.outputs.items():
        signal = "spikes" if graph.neurons[source].fires else "voltage"
        nodes[legal_name(name, {*nodes, *projections})] = Output(names[source], signal)  # type: ignore[arg-type]
    provenance = {"import": {"writer": graph.writer, "dt": graph.dt, "notes": list(graph.notes)}}
    network = Network(nodes, projections, graph.dt, provenance)
    got, _ = simulate(graph, inputs, IntegerDynamics(plans))
    wanted = _wanted(graph, inputs, trains)
    defaults = default_runs(graph, inputs)
    exact = {name for name, plan in plans.items() if plan.on_grid()}
    changed = costs_of(graph, inputs, Runs(trains, wanted, defaults), exact)
    for name, cost in costs.items():
        fires = graph.neurons[name].fires
        cost["rates_as"] = {writer: float(other[name].mean()) for writer, other in defaults.items() if fires}
        cost["notes"] += _firing_notes(graph, name, cost["rates_as"], trains[name], changed[name])
    reports = tuple(
        NodeReport(
            names[name],
            plan.neurons.a.size,
            rate_float=float(wanted[name].mean()),
            rate=float(got[name].mean()),
            silenced=int((wanted[name].any(axis=(0, 1)) & ~got[name].any(axis=(0, 1))).sum()),
            differing=float((wanted[name] != got[name]).mean()),
            bins=got[name].size,
            costs=changed[name],
            **costs[name],
        )
        for name, plan in plans.items()
    )
    samples = len(next(iter(inputs.values())))
    return Quantised(network, reports, samples, _silent(graph, got), _silent(graph, wanted))


def _silent(graph: FloatGraph, trains: Mapping[str, npt.NDArray[Any]]) -> int:
    """Return in how many samples no output spiked; 0 where an output is a voltage."""
    shown = [trains[source] for source in graph.outputs.values() if graph.neurons[source].fires]
    if len(shown) < len(graph.outputs) or not shown:
        return 0
    return int((~np.any([train.any(axis=(1, 2)) for train in shown], axis=0)).sum())


def _firing_notes(
    graph: FloatGraph, name: str, rates: Mapping[str, float], train: npt.NDArray[Any], costs: Mapping[str, int]
) -> tuple[str, ...]:
    """Return a line for each writer whose neurons would spike more or less often by default than NIR's."""
    cuba, own = graph.neurons[name].through_current, float(train.mean())
    causes = {default_of(writer, cuba): rate for writer, rate in rates.items()}
    return tuple(
        f"{cause}, is a rate of {rate:.4f} instead of {own:.4f} in floats; {costs.get(cause, 0)} of {train.size} bins "
        "differ"
        for cause, rate in causes.items()
        if rate != own
    )


def _wanted(graph: FloatGraph, inputs: Mapping[str, npt.NDArray[Any]], trains: Trains) -> Trains:
    """Return the float graph's spikes at a Network's steps, without the lateness of feedback over several layers."""
    if not late_maps(graph):
        return trains
    (own, _), start = framework_run(graph, inputs), start_steps(graph)
    shifted = {name: np.zeros_like(train) for name, train in own.items()}
    for name, train in own.items():
        shifted[name][:, start[name] :] = train[:, : train.shape[1] - start[name]]
    return shifted


def _built(
    graph: FloatGraph, plans: Mapping[str, Plan], inputs: Mapping[str, npt.NDArray[Any]], input_max: int | None
) -> tuple[dict[str, Node], dict[str, Projection], dict[str, dict[str, Any]]]:
    names = _names(graph)
    nodes: dict[str, Node] = {
        names[name]: Input(shape, input_max or max(1, int(inputs[name].max()))) for name, shape in graph.inputs.items()
    }
    projections: dict[str, Projection] = {}
    costs: dict[str, dict[str, Any]] = {}
    late = late_maps(graph)
    for name, plan in plans.items():
        nodes[names[name]], cost = _population(plan)
        for arrival in plan.arrivals:
            projection, rounded, n_weights = _projection(names[arrival.source], names[name], plan, arrival, graph)
            projections[legal_name(arrival.name, {*nodes, *projections, *names.values()})] = projection
            cost["saturated"] += rounded.clipped
            cost["vanished"] += rounded.vanished
            if n_weights and rounded.vanished == n_weights:
                cost["vanished_maps"] += (arrival.name,)
            cost["weights"] += n_weights
            cost["weight_error"] = max(cost["weight_error"], rounded.error)
        cost["notes"] += _settling(graph, name, plan, names, nodes, projections)
        if any(arrival.name in late for arrival in plan.arrivals):
            cost["notes"].append("feedback over several layers comes later than in its framework")
        cost["notes"] = tuple(dict.fromkeys(cost["notes"]))
        costs[name] = cost
    return nodes, projections, costs


def _names(graph: FloatGraph) -> dict[str, str]:
    taken: set[str] = set()
    result = {}
    for name in (*graph.inputs, *graph.neurons):
        result[name] = legal_name(name, taken)
        taken.add(result[name])
    return result


def _population(plan: Plan) -> tuple[CubaLif | RefractoryLif, dict[str, Any]]:
    neurons, s, made = plan.neurons, plan.per_neuron(), plan.integers()

    def shaped(values: npt.NDArray[Any]) -> Ints:
        return smallest_form(np.asarray(values, np.int64).reshape(neurons.shape))

    decay_error = max(
        float(np.abs(made.current_decay / DECAY_UNITY - neurons.a).max()),
        float(np.abs(made.voltage_decay / DECAY_UNITY - neurons.b).max()),
    )
    threshold = np.full(neurons.a.shape, NEVER_FIRES)
    threshold_error, saturated = 0.0, 0
    if neurons.fires:
        wanted, threshold = neurons.threshold * s / 64, made.threshold
        saturated = int((wanted > THRESHOLD_MAX + 1).sum())
        positive = wanted > 0
        if positive.any():
            threshold_error = float(np.max(np.abs(threshold - wanted)[positive] / wanted[positive]))
    constant, exponent = plan.constant * s, plan.exponent()
    saturated += int((np.abs(constant) > (BIAS_MAX + 0.5) * 2**exponent).sum())
    bias = made.bias >> exponent
    values: dict[str, Any] = {
        "current_decay": shaped(made.current_decay),
        "voltage_decay": shaped(made.voltage_decay),
        "threshold": shaped(threshold),
        "bias": shaped(bias),
        "bias_exp": exponent if bias.any() else 6,
        "initial_voltage": shaped(np.clip(made.start, -(2**31) + 1, 2**31 - 1)),
    }
    if neurons.refractory:
        values["refractory"] = np.asarray(neurons.refractory)
    population = (RefractoryLif if neurons.refractory else CubaLif)(neurons.shape, **values)
    notes = []
    if plan.start and neurons.fires and (made.start > neurons.threshold * s).any():
        notes.append("a negative bias needs a start above the threshold: the first steps differ")
    elif plan.start and (neurons.b >= 1).any() and (bias > 0).any():
        notes.append("with a voltage decay of 1 a bias acts before the first input")
    for what, wanted_decay, integer in (
        ("current", neurons.a, made.current_decay),
        ("voltage", neurons.b, made.voltage_decay),
    ):
        if n_lost := int(((wanted_decay > 0) & (integer == 0)).sum()):
            notes.append(f"{what} of {n_lost} neurons: a leak below 1/8192 per step becomes none")
    cost = {
        "scale": float(np.median(s)),
        "weight_error": 0.0,
        "threshold_error": threshold_error,
        "decay_error": decay_error,
        "saturated": saturated,
        "vanished": 0,
        "weights": 0,
        "vanished_maps": (),
        "notes": notes,
    }
    return population, cost


def _projection(
    source: str, target: str, plan: Plan, arrival: Arrival, graph: FloatGraph
) -> tuple[Projection, Any, int]:
    """Return the projection of a map, what rounding its weights did, and how many weights it had."""
    operator, delay = arrival.operator, arrival.delay
    rounded, n_weights = plan.rounded(arrival), int(np.count_nonzero(weights_of(operator)))
    shape = graph.shape_of(arrival.source)
    by_channel = delay.reshape(shape[0], -1)
    if len(shape) == 3 and (by_channel == by_channel[:, :1]).all() and not isinstance(operator, Matrix):
        late = by_channel[:, 0] if (delay != delay[0]).any() else np.asarray(delay[0])
        if isinstance(operator, Convolved) and operator.shape == shape:
            kernel = rounded.weights.reshape(operator.kernel.shape)
            return Convolution(source, target, kernel, *operator.window, late), rounded, n_weights
        per_channel = rounded.weights.reshape(shape[0], -1)
        if isinstance(operator, Identity) and plan.neurons.shape == shape and (per_channel == per_channel[:, :1]).all():
            kernel = per_channel[:, :1, None, None]
            return Convolution(source, target, kernel, groups=shape[0], delay=late), rounded, n_weights
    matrix = matrix_of(with_weights(operator, rounded.weights.astype(np.float64)), f"node {arrival.name!r}").tocoo()
    order = np.lexsort((matrix.row, matrix.col))
    order = order[matrix.data[order] != 0]
    each = delay[matrix.col[order]]
    one = np.asarray(delay[0]) if delay.size and (delay == delay[0]).all() else each
    values = np.rint(matrix.data[order]).astype(np.int64)
    return Synapses(source, target, matrix.col[order], matrix.row[order], values, one), rounded, n_weights


def _settling(
    graph: FloatGraph,
    name: str,
    plan: Plan,
    names: Mapping[str, str],
    nodes: dict[str, Node],
    projections: dict[str, Projection],
) -> list[str]:
    """Add the neuron that starts the settling of a constant behind a leaky current: it spikes once, in step 0."""
    neurons = plan.neurons
    through = neurons.gain * graph.biases[name]
    if not (neurons.through_current and through.any()):
        return []
    if (through[neurons.a == 0] != 0).any():
        return ["a bias behind a current without a leak grows without end, which is left out"]
    weights, exponent = settling_drive(plan)
    if not weights.any():
        return [] if (neurons.a == 1).all() else ["a bias that passes the current acts at once instead of settling"]
    starter = legal_name(f"{name}.start", {*nodes, *projections, *names.values()})
    one = np.ones((), np.int64)
    nodes[starter] = CubaLif((1,), one * DECAY_UNITY, one * 0, one * 0, initial_voltage=one * 64)
    target = np.flatnonzero(weights)
    projections[legal_name(f"{starter}-{name}", {*nodes, *projections, *names.values()})] = Synapses(
        starter, names[name], np.zeros_like(target), target, weights[target], np.asarray(plan.start - 1), exponent
    )
    return [f"the neuron {starter!r} starts the settling of its biases"]
