"""Every table of rules has a rule for every type that it must cover."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from sdsnn.deploy.energy import counts, dense_shapes
from sdsnn.deploy.engine import plan as engine
from sdsnn.deploy.placement import bound, cut, explain, synapse_lists
from sdsnn.deploy.report import graph, metrics
from sdsnn.export.check import network as checks
from sdsnn.export.lava import neurons as lava
from sdsnn.export.lava import processes
from sdsnn.export.netx import limits, neurons
from sdsnn.export.netx import writer as netx
from sdsnn.export.nir_format import dialect, writer
from sdsnn.train.slayer.graph import raised_neurons
from sdsnn_core import activity, compaction, reachability
from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.network import Input, Neurons, Node, Projection, Synapses
from sdsnn_core.neurons import steps
from sdsnn_core.rules import Rules

NODES = get_args(Node)
PROJECTIONS = get_args(Projection)
NEURONS = get_args(Neurons)
# Each room adds its tables here: (table, the types that it must cover).
TABLES: list[tuple[Rules[Any], tuple[type, ...]]] = [
    (dialect.KERNELS, PROJECTIONS),
    (processes.PROCESSES, PROJECTIONS),
    (lava.NEURONS, NEURONS),
    (raised_neurons.RAISED, NEURONS),
    (writer.HINTS, (*NODES, *PROJECTIONS)),
    (writer.NODES, NODES),
    (checks.CHECKS, (*NODES, *PROJECTIONS)),
    (limits.NETX_LIMITS, (*NODES, *PROJECTIONS)),
    (limits.OUR_LIMITS, (*NODES, *PROJECTIONS)),
    (neurons.FORMS, NEURONS),
    (neurons.NEURONS, NEURONS),
    (netx.LAYERS, PROJECTIONS),
    (activity.FAN_OUT, PROJECTIONS),
    (compaction.BY_CHANNEL, PROJECTIONS),
    (compaction.SHRINK, PROJECTIONS),
    (compaction.SHRINK_NODE, NODES),
    (reachability.MAY_FIRE, NEURONS),
    (reachability.SUMS, PROJECTIONS),
    (steps.STEPS, NEURONS),
    (engine.NODES, (Input, *NEURONS)),
    (engine.PROJECTIONS, PROJECTIONS),
    (dense_shapes.FAN_OUT, PROJECTIONS),
    (dense_shapes.DENSE_TWIN, PROJECTIONS),
    (counts.DENSE_KINDS, PROJECTIONS),
    (synapse_lists.WEIGHTS, PROJECTIONS),
    (cut.COUNTERS, PROJECTIONS),
    (bound.NEEDS, PROJECTIONS),
    (explain.HALVED, PROJECTIONS),
    (explain.REWEIGHTED, PROJECTIONS),
    (graph.KIND, PROJECTIONS),
    (metrics.WEIGHT_SHAPE, PROJECTIONS),
]


@pytest.mark.parametrize(("table", "kinds"), TABLES, ids=[table.name for table, _ in TABLES])
def test_no_rule_is_missing(table: Rules[Any], kinds: tuple[type, ...]) -> None:
    missing = [kind.__name__ for kind in kinds if kind not in table]
    assert not missing, f"{table.name}: no rule for {', '.join(missing)}"


def test_a_projection_type_knows_its_own_synapses() -> None:
    for kind in PROJECTIONS:
        for name in ("synapses", "check_ends", "n_dense", "n_weights"):
            assert hasattr(kind, name), f"{kind.__name__} has no {name}"


def test_every_slayer_block_has_a_rule_or_a_reason() -> None:
    from sdsnn.train.slayer.graph.builder import block_rules
    from sdsnn.train.slayer.graph.names import REASONS
    from sdsnn_core.lava.compat import import_slayer

    block = import_slayer().block
    rooms = (block.cuba, block.alif, block.rf, block.rf_iz, block.adrf, block.adrf_iz, block.sigma_delta)
    kinds = {
        (room.__name__.rsplit(".", 1)[-1], kind)
        for room in rooms
        for kind in vars(room).values()
        if isinstance(kind, type) and kind.__module__ == room.__name__ and not kind.__name__.startswith("Abstract")
    }
    assert len(kinds) > 60
    missing = [
        f"{room}.{kind.__name__}"
        for room, kind in kinds
        if kind not in block_rules() and not {kind.__name__, room, f"{room} {kind.__name__}"} & set(REASONS)
    ]
    assert not missing, f"neither a rule nor a reason for {', '.join(missing)}"


def test_a_missing_rule_is_named() -> None:
    class Pooling:
        pass

    with pytest.raises(UnsupportedNode, match="expected one of Convolution, Synapses, got Pooling"):
        activity.FAN_OUT.for_(Pooling())


def test_a_type_has_one_rule() -> None:
    table: Rules[int] = Rules("table", {Synapses: 1})
    with pytest.raises(AssertionError, match="two rules for Synapses"):
        table.of(Synapses)(2)
