"""`sdsnn import`: somebody's NIR file becomes a Network, exactly where its floats are integers, else quantised.

Before anything is rounded, the maps that the file was read as are compared with the graph run node by node
(`oracle.py`); afterwards what cannot work is stopped (`problems.py`).
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from sdsnn.train.data.hdf5 import open_hdf5
from sdsnn.train.data.spike_files import read_spikes
from sdsnn_core.errors import FileError, NetworkError, SdsnnError, UnsupportedNode
from sdsnn_core.network import DELAY_MAX, Network
from sdsnn_core.neurons.models import REFRACTORY_MAX

from ..nir_format.reader import read_nir
from ..nir_format.writer import import_nir
from .conventions import EULER, WRITERS
from .file import read_float_file
from .graph import FloatGraph, read_graph
from .oracle import refuse_misreading
from .problems import likely_cause, problems_of
from .quantise import NodeReport, Quantised, quantise
from .run import float_run, start_steps

RANDOM_SAMPLES: Final = 4
RANDOM_STEPS: Final = 64
RANDOM_RATES: Final = (0.1, 0.2, 0.4, 0.8, 1.0)  # the first at which something spikes
RANDOM_BINS: Final = 2**22  # (neuron, step) bins of random input that a large network is run on at most
ORACLE_SAMPLES, ORACLE_STEPS = 2, 24  # beyond the steps that the deepest neurons start late


@final
@dataclass(frozen=True, eq=False)
class Imported:
    """What `import_file` made of a file.

    network: the integers. exact: the floats stood for integers, nothing was rounded. writer: whose conventions were
    used. data: what rates were measured on. reports: one per population. notes: what was assumed. checked: bins in
    which the reading was compared with the graph run node by node. problems: what will not work; empty without
    `force`. samples: samples of `data`. silent, silent_float: those in which no output spiked, in integers and floats.
    """

    network: Network
    exact: bool
    writer: str
    data: str
    reports: tuple[NodeReport, ...]
    notes: tuple[str, ...] = ()
    checked: int = 0
    problems: tuple[str, ...] = ()
    samples: int = 0
    silent: int = 0
    silent_float: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "format": 1,
            "network_sha256": self.network.digest(),
            "exact": self.exact,
            "writer": self.writer,
            "data": self.data,
            "nodes": [report.as_dict() for report in self.reports],
            "notes": list(self.notes),
            "checked": self.checked,
            "problems": list(self.problems),
            "samples": self.samples,
            "silent": self.silent,
            "silent_float": self.silent_float,
        }


def import_file(
    path: str | Path,
    dt: float | None = None,
    *,
    writer: str | None = None,
    calibrate: str | Path | npt.NDArray[Any] | None = None,
    seed: int = 0,
    input_max: int | None = None,
    refractory: int = 0,
    force: bool = False,
) -> Imported:
    """Read a file of another tool as a Network.

    Args:
        path: a NIR file (.nir, .hdf5, .h5), or a netx .net, whose integers are taken as they are.
        dt: its step in seconds, which NIR does not store; not needed for a .net.
        writer: a key of `conventions.WRITERS`; None recognises it by the parameters.
        calibrate: spikes or counts by which scales are chosen and rates compared: an array (samples, steps, ...), or
            a file with one (.npy, .npz). Without it rates are compared on random spikes.
        seed: of the random spikes.
        input_max: largest value of an input bin, 1..255; None takes it from the data.
        refractory: steps after that of a spike in which a neuron's voltage stays at its reset value, 0..62. NIR has no
            place for it, so the tool's own setting is given here.
        force: go on where the result would not work; the problems are then listed in the result.

    Returns:
        The network with a report for each population.

    Raises:
        FileError, NetworkError, UnsupportedNode: one line that names file and node.

    Examples:
        >>> import sdsnn
        >>> nodes = {"in": sdsnn.Input((2,)), "out": sdsnn.Population((1,), 4096, 410, 64), "o": sdsnn.Output("out")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses("in", "out", [0, 1], [0, 0], [60, 80])})
        >>> imported = sdsnn.import_(sdsnn.write(network, "floats.nir"), dt=1e-4)
        >>> imported.exact, imported.network.populations["out"].threshold.item()
        (True, 64)
    """
    path = Path(path)
    if not 0 <= refractory <= REFRACTORY_MAX:
        raise NetworkError(f"refractory: expected 0 to {REFRACTORY_MAX} steps, got {refractory}")
    if path.suffix == ".net":
        if refractory:
            raise NetworkError(f"{path}: expected a NIR graph for a refractory period, got a .net file, which has none")
        from ..files import read_network

        return Imported(read_network(path, input_max=input_max), True, "netx", "", ())
    if dt is None or not (dt > 0 and np.isfinite(dt)):
        raise NetworkError(f"dt: expected a positive number of seconds (NIR does not store it), got {dt}")
    if writer is not None and writer not in WRITERS:
        raise NetworkError(f"writer: expected one of {', '.join(WRITERS)}, got {writer}")
    if input_max is not None and not 1 <= input_max <= 255:
        raise NetworkError(f"input-max: expected 1 to 255, got {input_max}")
    file = read_float_file(path)
    if not refractory and (writer is None or WRITERS[writer].reads_as(EULER)):
        try:
            return Imported(read_nir(path, dt=dt), True, "sdsnn's dialect", "", ())
        except (NetworkError, UnsupportedNode, FileError):
            pass  # floats that stand for no integers
    try:
        graph = _with_refractory(read_graph(file, dt, writer), refractory)
        return _quantised(graph, calibrate, seed, input_max, force)
    except FileError:
        raise
    except SdsnnError as error:
        raise type(error)(f"{path}: {error}") from error
    except MemoryError:
        raise NetworkError(f"{path}: expected a graph that fits into memory, got one that needs more") from None


def read_nir_graph(path: Path) -> Any:
    """Return a file's graph as the nir package reads it, without its type check. Raises FileError in one line."""
    with open_hdf5(path, "a NIR graph (.nir)") as file:
        return import_nir().dict2NIRNode({**file["node"].plain(), "type_check": False})


def _with_refractory(graph: FloatGraph, steps: int) -> FloatGraph:
    """Give all neurons with a state that fire a refractory period."""
    changed = {
        name: replace(graph.neurons[name], refractory=steps)
        for name, node in graph.nodes.items()
        if node.kind in ("LIF", "CubaLIF", "IF")
    }
    return replace(graph, neurons={**graph.neurons, **changed})


def _quantised(
    graph: FloatGraph,
    calibrate: str | Path | npt.NDArray[Any] | None,
    seed: int,
    input_max: int | None,
    force: bool,
) -> Imported:
    inputs, data = _random(graph, seed, input_max or 1)
    few = ORACLE_STEPS + _late(graph)
    checked = refuse_misreading(graph, {name: x[:ORACLE_SAMPLES, :few] for name, x in inputs.items()})
    if calibrate is not None:
        inputs, data = _given(graph, calibrate, input_max)
        checked += refuse_misreading(graph, {name: x[:ORACLE_SAMPLES, :few] for name, x in inputs.items()})
    result = quantise(graph, inputs, calibrate=calibrate is not None, input_max=input_max)
    problems = problems_of(graph, result, inputs)
    if problems and not force:
        raise NetworkError(f"{'; '.join(problems)}. {likely_cause(graph, graph.dt)} (--force goes on)")
    return _imported(graph, result, data, checked, problems)


def _imported(graph: FloatGraph, result: Quantised, data: str, checked: int, problems: tuple[str, ...]) -> Imported:
    return Imported(
        result.network, False, graph.writer, data, result.reports, graph.notes, checked, problems,
        samples=result.samples, silent=result.silent, silent_float=result.silent_float,
    )  # fmt: skip


def _late(graph: FloatGraph) -> int:
    """Return the steps after which an input can show everywhere: depth of the graph, and delays."""
    own = sum(int(np.rint(m.delay.max(initial=0.0) / graph.dt)) for m in graph.maps.values())
    return max(start_steps(graph).values(), default=0) + min(own, DELAY_MAX)


def _random(graph: FloatGraph, seed: int, largest: int) -> tuple[dict[str, npt.NDArray[np.uint8]], str]:
    """Return random input and its description, at the lowest rate at which all neurons that can spike in it do."""
    best: tuple[int, dict[str, npt.NDArray[np.uint8]], float] | None = None
    size = sum(math.prod(graph.shape_of(name)) for name in (*graph.inputs, *graph.neurons))
    few = max(1, min(RANDOM_SAMPLES * RANDOM_STEPS, RANDOM_BINS // size))  # steps of all samples together
    samples = max(1, min(RANDOM_SAMPLES, few // 16))
    steps = max(16, min(RANDOM_STEPS, few // samples)) + _late(graph)
    for rate in RANDOM_RATES:
        rng = np.random.default_rng(seed)
        inputs = {}
        for name, shape in graph.inputs.items():
            form = (samples, steps, int(np.prod(shape)))
            spikes = (rng.random(form) < rate).astype(np.uint8)
            inputs[name] = spikes if largest == 1 else spikes * rng.integers(1, largest + 1, form).astype(np.uint8)
        trains, _ = float_run(graph, inputs)
        active = sum(bool(train.any()) for name, train in trains.items() if graph.neurons[name].fires)
        if best is None or active > best[0]:
            best = (active, inputs, rate)
        if active == sum(neurons.fires for neurons in graph.neurons.values()):
            break
    assert best is not None
    raised = "" if best[2] == RANDOM_RATES[0] else f", raised from {RANDOM_RATES[0]} until neurons spiked"
    return best[1], f"random spikes, rate {best[2]}{raised}"


def _given(
    graph: FloatGraph, data: str | Path | npt.NDArray[Any], input_max: int | None
) -> tuple[dict[str, npt.NDArray[np.uint8]], str]:
    """Return calibration data as input of the graph, and its description."""
    if len(graph.inputs) != 1:
        raise NetworkError(f"calibration data: expected a graph with one input, got {', '.join(graph.inputs)}")
    name, shape = next(iter(graph.inputs.items()))
    if isinstance(data, str | Path):
        (spikes, _), what, where = read_spikes(Path(data)), Path(data).name, f"data {data}"
    else:
        spikes, what, where = np.asarray(data), "the calibration data", "calibration data"
    size = int(np.prod(shape))
    if spikes.ndim < 3 or int(np.prod(spikes.shape[2:])) != size:
        raise FileError(f"{where}: expected shape (samples, steps, {size}), got {spikes.shape}")
    whole = spikes.reshape(*spikes.shape[:2], size)
    top = input_max or 255
    if whole.size == 0 or whole.min() < 0 or whole.max() > top or np.any(whole != np.rint(whole)):
        span = f"{whole.min():g}..{whole.max():g}" if whole.size else "no values"
        raise FileError(f"{where}: expected whole numbers 0..{top}, got {span}")
    return {name: whole.astype(np.uint8)}, what
