"""What a placement says: what binds, what would help, the network before pruning, JSON and the picture."""

import json

import numpy as np
import pytest
from placement_recount import layers

from sdsnn.deploy.energy.dense_shapes import DenseShapes, unpruned_network
from sdsnn.deploy.placement.chip import load_chip
from sdsnn.deploy.placement.explain import explain
from sdsnn.deploy.placement.text import placement_lines, placement_tables, placement_to_json
from sdsnn.deploy.placement.types import Placement
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Convolution, Input, Network, Output, Population, Synapses


def test_what_binds_and_what_would_help() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.choice([-256, 254, 6], (300, 1024)) * (rng.random((300, 1024)) < 0.5)
    network = Network(
        {"input": Input((1024,)), "a": Population((300,), 1024, 128, 80), "output": Output("a")},
        {"w": Synapses.from_dense("input", "a", matrix, 5)},
    )
    report = explain(network, load_chip("loihi1"), {"a": 600})
    assert report.placement is not None
    assert report.binding is not None
    assert report.binding[0] == "synapse_bits"
    # Without the limit on memory one core takes all 300 neurons and their 1024 axons.
    assert report.placement.n_cores - report.binding[1] == 1
    assert report.best_change is not None
    assert report.best_change.cores < report.placement.n_cores
    assert {change.title for change in report.changes} == {
        "half of the weights of w pruned as well",
        "no delays",
        "weights of 4 bits, sign included",
    }
    assert isinstance(report.unpruned, Placement)
    assert report.unpruned.n_cores > 2 * report.placement.n_cores
    lines = "\n".join(placement_lines(report))
    assert "binding limit: synaptic memory" in lines
    assert f"{report.placement.n_cores} cores on 1 chip; lower bound" in lines
    assert "unpruned network:" in lines
    data = json.loads(json.dumps(placement_to_json(report)))
    assert data["cores"] == len(data["per_core"]["core_idx"]) == report.placement.n_cores
    assert data["binding"]["resource"] == "synapse_bits"
    assert data["unpruned"]["cores"] == report.unpruned.n_cores
    assert sum(data["per_core"]["neurons"]) == 300
    assert [len(table.rows) for table in placement_tables(report)] == [8, 1, report.placement.n_cores]


def test_what_was_not_tried_is_said() -> None:
    lines = placement_lines(explain(layers(8, 4), load_chip("loihi1"), advice=False))
    assert (
        "variants not tried (--no-advice, or more than 3,000,000 weights or 50,000 neurons): binding limit unknown"
        in lines
    )


def test_large_networks_are_placed_without_variants_unless_asked_for() -> None:
    network = layers(2, 50_001, sparse=0.001)
    shares: dict[str, list[float]] = {}
    report = explain(
        network, load_chip("loihi2"), progress=lambda what, share: shares.setdefault(what, []).append(share)
    )
    assert report.placement is not None
    assert not report.changes
    assert not report.lifted
    assert list(shares) == ["placing the network", "placing the unpruned network"]
    each = shares["placing the network"]
    assert each == sorted(each)
    assert 0 < each[0] <= each[-1] <= 1


def test_a_refusal_is_reported_with_what_would_help() -> None:
    report = explain(layers(5000, 1), load_chip("loihi1"))
    assert report.placement is None
    assert report.refusal is not None
    assert "expected at most 4,096 per core, got 5,000" in str(report.refusal)
    data = placement_to_json(report)
    assert not data["fits"]
    assert data["best_change"]["cores"] == 1  # half of the weights and axons pruned


def test_unpruned_network_is_full() -> None:
    full = unpruned_network(layers(8, 4, 3, sparse=0.5), {"l0": 6})
    assert full is not None
    assert [p.n_weights for p in full.projections.values()] == [8 * 6, 6 * 3]
    assert full.populations["l0"].size == 6
    with pytest.raises(NetworkError, match="unpruned size: expected one of input, l0, got 'zz'"):
        unpruned_network(layers(8, 4), {"zz": 6})
    with pytest.raises(NetworkError, match="unpruned size of 'l0': expected at least 4, as it has now, got 3"):
        unpruned_network(layers(8, 4), {"l0": 3})


def test_unpruned_convolution_from_what_export_tells() -> None:
    # Two of three channels are left of a 1-3-2 stack; export.json holds the shapes that were.
    kernel, second = np.full((2, 1, 3, 3), 2), np.full((2, 2, 3, 3), 2)
    now = Network(
        {
            "input": Input((1, 7, 7)),
            "a": Population((2, 4, 4), 0, 0, 1),
            "b": Population((2, 4, 4), 0, 0, 1),
            "output": Output("b"),
        },
        {
            "c": Convolution("input", "a", kernel, stride=(2, 2), padding=(1, 1)),
            "d": Convolution("a", "b", second, padding=(1, 1)),
        },
    )
    export = {
        "nodes": {"input": {"shape": [1, 7, 7]}, "a": {"shape": [3, 4, 4]}, "b": {"shape": [2, 4, 4]}},
        "projections": {"c": {"kernel": [3, 1, 3, 3], "groups": 1}, "d": {"kernel": [2, 3, 3, 3], "groups": 1}},
    }
    before = DenseShapes.of_export(export)
    full = unpruned_network(now, before)
    assert full is not None
    for name, p in full.projections.items():
        wires = p.synapses(full.nodes[p.source].shape)  # type: ignore[arg-type, union-attr]
        assert before.connections(now, name) == wires.n_weights
        fan_out = np.bincount(wires.pre, minlength=full.size_of(p.source))
        assert before.fan_out(now, name).tolist() == fan_out[: now.size_of(p.source)].tolist()
    assert unpruned_network(now, {"a": 48}) is None  # which channels went, and their kernel, is not known
    with pytest.raises(NetworkError, match=r"export.json: expected shapes before pruning, got KeyError\('nodes'\)"):
        DenseShapes.of_export({})


def test_the_bound_is_named() -> None:
    network = layers(64, 3000, 1500, sparse=0.01)
    simple, tight = (explain(network, load_chip("loihi1"), advice=False, tight_bound=tight) for tight in (False, True))
    assert placement_to_json(simple)["bound"] == "simple"
    assert placement_to_json(tight)["bound"] == "tight"
    assert "; lower bound 5 (gap 0%)" in placement_lines(simple)[0]
    assert "; tight lower bound 5 (gap 0%)" in placement_lines(tight)[0]
