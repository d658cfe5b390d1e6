"""Every rule of `sdsnn check` finds its trap, and finds nothing in a network that has none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import numpy.typing as npt
import pytest

from sdsnn.export.check.blocks import BLOCK_RULES
from sdsnn.export.check.check import INTEGERS, LOWERING, READABLE
from sdsnn.export.check.check import check as check_path
from sdsnn.export.check.floats import IMPORT, REFUSED
from sdsnn.export.check.network import CHECKS
from sdsnn.export.check.nir_files import NIR_RULES
from sdsnn.export.check.parts import check_parts
from sdsnn.export.check.rule import PAGE, Finding, Rule
from sdsnn.export.netx.traps import NETX_RULES
from sdsnn.export.nir_format.writer import to_nir
from sdsnn_core import reference
from sdsnn_core.network import (
    NEVER_FIRES,
    AdaptiveLif,
    Convolution,
    CubaLif,
    Delta,
    Input,
    Network,
    Output,
    Population,
    RefractoryLif,
    Sigma,
    SigmaDelta,
    Synapses,
)

NETWORK_RULES = tuple({rule.name: rule for kind in CHECKS for rule in CHECKS[kind]}.values())
Matrix = npt.NDArray[np.int64]
GOOD: Matrix = np.array([[60, -20, 10], [-30, 80, 40], [50, 50, -254], [8, 20, 40]])
ADAPTIVE = {"threshold_decay": 64, "refractory_decay": 400, "threshold_step": 4}


def chain(
    matrix: Any = GOOD,
    *,
    second: Any = None,
    delay: int = 0,
    weight_exp: int = 0,
    max_value: int = 1,
    kind: type = CubaLif,
    **of: Any,
) -> Network:
    """Return input -> a -> b, whose population a has parameters `of`."""
    matrix = np.asarray(matrix)
    second = np.full((2, len(matrix)), 64) if second is None else np.asarray(second)
    a = kind((len(matrix),), **{"current_decay": 2048, "voltage_decay": 400, "threshold": 60, **of})
    nodes = {
        "input": Input((matrix.shape[1],), max_value), "a": a, "b": Population((len(second),), 4096, 128, 70),
        "output": Output("b"),
    }  # fmt: skip
    first = Synapses.from_dense("input", "a", matrix, weight_exp=weight_exp)
    return Network(nodes, {"w": first, "v": Synapses.from_dense("a", "b", second, delay=np.asarray(delay))})


def neurons(population: Population) -> Network:
    nodes = {"input": Input((3,)), "a": population, "output": Output("a")}
    return Network(nodes, {"w": Synapses.from_dense("input", "a", GOOD)})


def images(*, channels: int = 2, groups: int = 1, delay: int = 0, kernel: tuple[int, int] = (3, 3)) -> Network:
    weights = np.full((channels, channels // groups, *kernel), 20)
    convolution = Convolution("input", "a", weights, (1, 1), (0, 0), (1, 1), groups, np.asarray(delay))
    shape = convolution.output_shape((channels, 6, 6))
    nodes = {"input": Input((channels, 6, 6)), "a": Population(shape, 4096, 400, 60), "output": Output("a")}
    return Network(nodes, {"w": convolution})


def recurrent(delay: int) -> Network:
    nodes = {"input": Input((3,)), "a": Population((4,), 2048, 400, 60), "output": Output("a")}
    first = Synapses.from_dense("input", "a", GOOD, delay=np.asarray(delay))
    return Network(nodes, {"w": first, "loop": Synapses.from_dense("a", "a", np.eye(4, dtype=int) * 8 - 2)})


def large(weights: int) -> Network:
    matrix = np.zeros((256, 256), int)
    matrix[np.arange(256), np.arange(256)] = 100
    matrix[: weights // 256, :] = 80
    return chain(matrix, second=np.full((2, 256), 10))


# rule -> (a network with the trap, the same without it, where the finding points)
NETWORKS: dict[str, tuple[Callable[[], Network], Callable[[], Network], str]] = {
    "adaptive-in-netx": (lambda: chain(kind=AdaptiveLif, **ADAPTIVE), chain, "population 'a'"),
    "refractory-in-netx": (lambda: chain(kind=RefractoryLif, refractory=3), chain, "population 'a'"),
    "delta-in-netx": (lambda: neurons(Delta((4,), 3)), lambda: neurons(Sigma((4,))), "population 'a'"),
    "neurons-in-netx": (
        lambda: neurons(SigmaDelta((4,), 3, relu=False)), lambda: neurons(SigmaDelta((4,), 3)), "population 'a'",
    ),
    "programmed-neurons": (lambda: neurons(SigmaDelta((4,), 3)), chain, "population 'a'"),
    "all-zero-layer": (lambda: chain(GOOD * 0), chain, "projection 'w'"),
    "netx-weights": (lambda: chain(np.array([[-128, 0], [0, -4]])), chain, "projection 'w'"),
    "odd-weights": (lambda: chain(GOOD + 1), chain, "projection 'w'"),
    "conv-delay": (lambda: images(delay=3), images, "projection 'w'"),
    "recurrent-delay": (lambda: recurrent(2), lambda: recurrent(0), "projection 'w'"),
    "bias-first-step": (lambda: chain(bias=64), lambda: chain(bias=64, initial_voltage=-4540), "population 'a'"),
    "bias-in-netx": (lambda: chain(bias=63, bias_exp=0), lambda: chain(bias=64, bias_exp=0), "population 'a' bias"),
    "netx-start": (lambda: chain(initial_voltage=-64), chain, "population 'a'"),
    "start-range": (
        lambda: chain(initial_voltage=2**23), lambda: chain(initial_voltage=2**23 - 1), "population 'a'",
    ),
    "bias-and-delay": (lambda: chain(bias=4, delay=1), lambda: chain(bias=4), "projection 'v'"),
    "readout": (lambda: chain(threshold=NEVER_FIRES), chain, "population 'a'"),
    "graded-input": (lambda: chain(max_value=3), chain, "input 'input'"),
    "conv-int8": (lambda: images(channels=128, groups=128), images, "projection 'w'"),
    "overflow": (
        lambda: chain(np.full((2, 512), 254), second=np.full((2, 2), 64), max_value=3),
        lambda: chain(np.full((2, 512), 254), second=np.full((2, 2), 64)),
        "population 'a'",
    ),
    "never-fires": (lambda: chain(GOOD, current_decay=4096, voltage_decay=4096, threshold=80), chain, "population 'a'"),
    "sparse-flag": (lambda: large(256), lambda: large(256 * 40), "projection 'w'"),
}  # fmt: skip


def only(rules: tuple[Rule, ...], name: str) -> Rule:
    (rule,) = (rule for rule in rules if rule.name == name)
    return rule


def found_by(rules: tuple[Rule, ...], name: str, subject: Any) -> list[str]:
    return sound(name, only(rules, name).findings(subject))


def found_in(network: Network, name: str) -> list[Finding]:
    return [finding for finding in check_parts(CHECKS, network) if finding.rule == name]


def sound(name: str, findings: list[Finding]) -> list[str]:
    for finding in findings:
        assert finding.rule == name
        assert finding.what
        assert finding.help
        assert "\n" not in f"{finding.where}{finding.what}{finding.help}"
    return [finding.where for finding in findings]


def test_every_rule_has_an_example_here() -> None:
    assert set(NETWORKS) == {rule.name for rule in NETWORK_RULES}
    assert set(LAYERS) == {rule.name for rule in NETX_RULES}
    assert set(GRAPHS) == {rule.name for rule in NIR_RULES}
    for rule in (*NETWORK_RULES, *NETX_RULES, *NIR_RULES):
        assert rule.look.__doc__


def test_every_rule_has_its_section_in_the_docs_and_no_section_is_without_a_rule() -> None:
    rules = (*BLOCK_RULES, *NETWORK_RULES, *NETX_RULES, *NIR_RULES, IMPORT, REFUSED, INTEGERS, LOWERING, READABLE)
    page = (Path(__file__).parents[3] / PAGE).read_text(encoding="utf-8")
    names = [rule.name for rule in rules]
    assert len(names) == len(set(names))
    headings = re.findall(r"^### (\S+)$", page, re.MULTILINE)
    assert headings == sorted(headings)
    assert headings == sorted(names)
    for rule in rules:
        section = page.split(f"### {rule.name}\n")[1].split("\n### ")[0]
        assert section.strip().startswith(f"*{rule.severity}*"), rule.name
        assert "**Do:**" in section, rule.name


@pytest.mark.parametrize("name", NETWORKS)
def test_rules_on_networks(name: str) -> None:
    trapped, clean, where = NETWORKS[name]
    assert sound(name, found_in(trapped(), name)) == [where]
    assert found_in(clean(), name) == []


def test_the_neurons_that_never_fire_are_counted_not_guessed() -> None:
    """With decays of 4096 nothing adds up: weights 60, 10 and 80, 40 reach 70 and 120, the third 100, the last 68."""
    (finding,) = found_in(chain(GOOD, current_decay=4096, voltage_decay=4096, threshold=80), "never-fires")
    assert finding.what.startswith("2 of 4 neurons can never reach their threshold")


def test_a_neuron_that_fires_when_its_current_wraps_is_no_finding() -> None:
    """A negative current leaves 24 bits and comes back positive: the network fires 150 times in 200 steps."""
    nodes = {
        "input": Input((1,)),
        "a": Population((2,), 0, 0, 5000),
        "b": Population((1,), 4096, 4096, 10),
        "output": Output("b"),
    }
    first = Synapses.from_dense("input", "a", [[-256], [-256]], weight_exp=7)
    network = Network(nodes, {"w": first, "x": Synapses.from_dense("a", "b", [[20, 20]])})
    counts = reference.run(network, np.ones((200, 1))).counts
    assert all(count.any() for name, count in counts.items())
    assert found_in(network, "never-fires") == []


def layer(kind: str = "dense", weight: Any = GOOD, neuron: Any = (), **more: Any) -> dict[str, Any]:
    """Return one layer as h5py shows it: names -> datasets and groups."""
    parts: dict[str, Any] = {"type": data(kind), **{name: data(value) for name, value in more.items()}}
    if weight is not None:
        parts["weight"] = data(weight)
    if neuron is not None:
        parts["neuron"] = {"type": data("CUBA"), **{name: data(value) for name, value in dict(neuron).items()}}
    return {"layer 0": parts}


def behind(last: dict[str, Any]) -> dict[str, Any]:
    """Return a layer behind another one."""
    return {**layer(), "layer 1": last["layer 0"]}


class Dataset:
    """What the rules use of an HDF5 dataset: its whole value."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __getitem__(self, whole: tuple[()]) -> Any:
        assert whole == ()
        return self.value


def data(value: Any) -> Dataset:
    return Dataset(np.array([value], dtype="S") if isinstance(value, str) else np.asarray(value))


LAYERS: dict[str, list[dict[str, Any]]] = {
    "layer-type": [layer("pool"), layer("average"), layer("attention")],
    "neuron-type": [layer(neuron={"type": "ALIF"}), layer(neuron={"type": "ADRF"})],
    "activation": [layer(neuron={"type": "SDNN", "activation": "tanh"})],
    "missing-neuron": [layer(neuron=None), layer("conv", np.ones((1, 1, 3, 3, 1)), None)],
    "ignored-field": [
        layer(neuron={"gradedSpike": 1}), layer(neuron={"weight_exp": 2}), layer(neuron={"refDelay": 3}),
        layer(neuron={"messageBits": 8}),
    ],
    "fractions": [layer(weight=GOOD + 0.5)],
    "delays": [
        layer("conv", np.ones((2, 1, 3, 3, 1)), delay=[1, 2]), layer(delay=[0, 63, 1]),
        layer("dense_rec", delay=[1] * 4),
    ],
    "square-delays": [layer(weight=np.eye(3) * 20, delay=[1, 2, 3])],
    "input-neurons": [layer("input", None)],
    "old-dialect": [
        layer("recurrent", recWeight=np.eye(4) * 2), behind(layer("average", None, None)), behind(layer(neuron=None)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_rules_on_layers_of_a_net_file(name: str) -> None:
    for layers in LAYERS[name]:
        (where,) = found_by(NETX_RULES, name, layers)
        assert where.startswith(f"layer {len(layers) - 1}"), layers
    clean = layer(
        neuron={"iDecay": 400, "vDecay": 100, "vThMant": 64, "gradedSpike": 0, "refDelay": 0}, delay=[1, 2, 0]
    )
    clean |= {"layer 1": layer("flatten", None, None)["layer 0"]}
    assert found_by(NETX_RULES, name, clean) == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ALIF", "at which netx stops"),
        ("ADRF_IZ", "which netx takes for RF neurons"),
    ],
)
def test_neurons_are_refused_for_their_own_reason_once_a_file(kind: str, words: str) -> None:
    layers = {f"layer {index}": layer(neuron={"type": kind})["layer 0"] for index in range(3)}
    (finding,) = only(NETX_RULES, "neuron-type").findings(layers)
    assert finding.where == "neurons of layers 0, 1, 2"
    assert f"got {kind!r}, {words}" in finding.what
    assert "CUBA" in finding.help
    alone = [rule.name for rule in NETX_RULES if rule.findings(layers)]
    assert alone == ["neuron-type"], "no rule of CUBA neurons on other neurons"


@pytest.mark.parametrize(
    ("kind", "datasets", "rule"),
    [
        ("dense", {"weight": GOOD * 0}, "all-zero-layer"),
        ("dense", {"weight": [[255, -2]]}, "netx-weights"),
        ("dense", {"weight": [[-128, 0]]}, "netx-weights"),
        ("dense", {"weight": [[300, 2]]}, "netx-weights"),
        ("dense", {"weight": [[301, 2]]}, "readable"),
        ("dense_rec", {"weight": [[300, 2]], "weight_rec": [[2]]}, "netx-weights"),
        ("dense", {"weight": GOOD, "bias": [3, 0, 0, 0]}, "bias-first-step"),
        ("dense", {"weight": GOOD, "neuron/vThMant": 2**18 - 1}, "readout"),
    ],
)
def test_traps_of_the_network_in_a_net_file_are_found_once(
    kind: str, datasets: dict[str, Any], rule: str, tmp_path: Path
) -> None:
    """Whoever wrote the file: the rules are those of any network."""
    neuron = {"type": np.array([b"CUBA"]), "iDecay": 400, "vDecay": 100, "vThMant": 64}
    values = {
        "type": np.array([kind.encode()]),
        **{f"neuron/{key}": value for key, value in neuron.items()},
        **datasets,
    }
    values["shape"] = [len(values["weight"])]
    with h5py.File(tmp_path / "a.net", "w") as file:
        for name, value in values.items():
            file[f"layer/0/{name}"] = value
    rules = [finding.rule for finding in check_path(tmp_path / "a.net")]
    assert rules.count(rule) == 1
    assert set(rules) <= {rule, "odd-weights", "never-fires", "readout"}


def node(**of: Any) -> nir.NIRGraph:
    one = np.ones(2)
    values = {"tau_syn": one, "tau_mem": one, "r": one, "v_leak": one * 0, "v_threshold": one, "w_in": one, **of}
    return graph(nir.CubaLIF(**values, v_reset=one * 0))


def graph(middle: Any, metadata: Any = None) -> nir.NIRGraph:
    nodes = {"input": nir.Input(np.array([2])), "middle": middle, "output": nir.Output(np.array([2]))}
    edges = [("input", "middle"), ("middle", "output")]
    return nir.NIRGraph(nodes, edges, metadata=metadata or {}, type_check=False)


def convolution(kernel: tuple[int, int], groups: int = 1) -> nir.Conv2d:
    weights = np.ones((2, 2 // groups, *kernel), np.float32)
    return nir.Conv2d((4, 4), weights, 1, 0, 1, groups, np.zeros(2, np.float32))


GRAPHS: dict[str, list[Callable[[], Any]]] = {
    "finite": [lambda: node(tau_mem=np.array([np.inf, 1.0]))],
    "leak": [lambda: node(v_leak=np.array([0.0, 0.25]))],
    "grouped": [lambda: graph(convolution((3, 3), 2))],
    "square": [lambda: graph(convolution((3, 2)))],
    "disputed": [
        lambda: graph(nir.Flatten({"input": np.array([1, 2, 1])}, 0, -1)),
        lambda: graph(nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))),
        lambda: graph(nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))),
        lambda: graph(nir.Delay(np.array([1e-4, 0.0]))),
        lambda: graph(graph(nir.Threshold(np.ones(2)))),
    ],
    "step": [node],
}


@pytest.mark.parametrize("name", GRAPHS)
def test_rules_on_nodes_of_a_nir_file(name: str) -> None:
    for made in GRAPHS[name]:
        assert found_by(NIR_RULES, name, made()) == ["file" if name == "step" else "node 'middle'"]
    assert found_by(NIR_RULES, name, to_nir(chain())) == []
