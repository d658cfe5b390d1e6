"""The event engine equals the reference: every bin, state, count and synaptic event, for every network and layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import assert_same_activity, random_network

from sdsnn.deploy.engine import Engine, compile_network, run
from sdsnn.deploy.engine import tables as tb
from sdsnn.deploy.engine.order import components
from sdsnn_core import reference
from sdsnn_core.activity import Activity, random_spikes
from sdsnn_core.network import NEVER_FIRES, Convolution, Input, Network, Output, Population, Synapses

KINDS = {tb.ROWS8: "rows8", tb.ROWS16: "rows16", tb.SPARSE16: "sparse16", tb.CONVOLUTION: "convolution"}


def compare(network: Network, x: Any, **options: Any) -> tuple[int, Activity]:
    """Compare spikes and states in all layouts; return (bins, the reference's activity)."""
    states = list(network.populations)
    expected = reference.run(network, x, record_state=states)
    bins = 0
    for layout in ("auto", "dense", "sparse"):
        got = compile_network(network, layout=layout).run(x, record_state=states, **options)
        bins += assert_same_activity(got, expected, states=True)
        for kind in ("counts", "spikes_per_step", "events"):
            for name, values in getattr(got, kind).items():
                assert values.dtype == np.int64, (kind, name)
    return bins, expected


@pytest.mark.parametrize("first", range(0, 300, 60))
def test_random_networks_equal_the_reference_in_every_bin_and_state(first: int) -> None:
    bins = spikes = 0
    seen = {"delay": 0, "recurrent": 0, "graded": 0, "exponent": 0, "bias": 0, "grouped": 0, "dilated": 0, "strided": 0}
    kinds: set[int] = set()
    for seed in range(first, first + 60):
        rng = np.random.default_rng(seed)
        network = random_network(rng, graded=seed % 3 == 0, even=seed % 4 == 0)
        x = random_spikes(rng, network, 2, 30)
        compared, expected = compare(network, x, n_threads=1 + seed % 2)
        bins += compared
        spikes += sum(int(expected.counts[name].sum()) for name in network.populations)
        for layout in ("dense", "sparse"):
            kinds |= set(Engine(network, layout=layout).kinds.values())
        seen["graded"] += network.inputs["input"].max_value > 1
        seen["bias"] += any(p.bias.any() for p in network.populations.values())
        for projection in network.projections.values():
            seen["delay"] += bool(projection.delay.any())
            seen["recurrent"] += projection.source == projection.target
            seen["exponent"] += projection.weight_exp > 0
            if isinstance(projection, Convolution):
                seen["grouped"] += projection.groups > 1
                seen["dilated"] += max(projection.dilation) > 1
                seen["strided"] += max(projection.stride) > 1
    assert bins > 500_000
    assert spikes > 10**4
    assert min(seen.values()) > 0, seen
    assert kinds == set(KINDS), {KINDS[kind] for kind in kinds}


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(1, 9),
    steps=st.integers(1, 90),
    threads=st.integers(1, 4),
    wild=st.booleans(),
)
def test_any_seed_samples_steps_and_threads(seed: int, samples: int, steps: int, threads: int, wild: bool) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, graded=bool(seed % 2), wild=wild, max_layers=3, max_size=40)
    compare(network, random_spikes(rng, network, samples, steps), n_threads=threads)


@pytest.mark.parametrize("seed", range(12))
def test_the_result_does_not_depend_on_threads_batches_blocks_or_earlier_runs(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1000 + seed)
    network = random_network(rng, graded=seed % 2 == 0)
    x = random_spikes(rng, network, 7, 25)["input"]
    states = list(network.populations)
    engine = Engine(network)
    one = engine.run(x, record_state=states, n_threads=1)
    assert_same_activity(engine.run(x, record_state=states, n_threads=2), one, states=True)
    assert_same_activity(engine.run(x, record_state=states, n_threads=5), one, states=True)
    single = [engine.run(x[i : i + 1], record_state=states) for i in range(7)]
    for name in (*network.populations, "input"):
        np.testing.assert_array_equal(np.concatenate([a.spikes[name] for a in single]), one.spikes[name])
        np.testing.assert_array_equal(np.concatenate([a.counts[name] for a in single]), one.counts[name])
    for name in states:
        np.testing.assert_array_equal(np.concatenate([a.voltage[name] for a in single]), one.voltage[name])
    # Room for two or three of the seven samples: one waits in the batch and is copied from there.
    room = (
        engine.workspace.work_bytes(25)
        + 3 * engine.workspace.sample_bytes(25, engine.workspace.names, states)
        + x[0].size
    )
    parts = list(engine.stream(iter(x), record=None, record_state=states, n_threads=1, memory_limit=room))
    assert 2 < len(parts) < 7
    assert sum(part.n_samples for part in parts) == 7
    for name in network.projections:
        np.testing.assert_array_equal(np.concatenate([a.events[name] for a in parts]), one.events[name])
    for name in states:
        np.testing.assert_array_equal(np.concatenate([a.current[name] for a in parts]), one.current[name])
    for budget in (0, 4 * 7 * sum(engine.workspace.sizes)):  # blocks of one step and of seven, which do not divide 25
        monkeypatch.setattr("sdsnn.deploy.engine.workspace.EVENT_BYTES", budget)
        blocked = Engine(network)
        assert blocked.workspace.block_steps(25) == (7 if budget else 1)
        assert_same_activity(blocked.run(x, record_state=states), one, states=True)


def test_a_longer_run_begins_like_a_shorter_one_and_silence_pads() -> None:
    rng = np.random.default_rng(3)
    network = random_network(rng, recurrent=True)
    x = random_spikes(rng, network, 3, 40)["input"]
    engine = Engine(network)
    whole, cut, padded = engine.run(x), engine.run(x, 15), engine.run(x, 60)
    for name in whole.spikes:
        np.testing.assert_array_equal(whole.spikes[name][:, :15], cut.spikes[name])
        np.testing.assert_array_equal(whole.spikes[name], padded.spikes[name][:, :40])
    assert not padded.spikes["input"][:, 40:].any()
    assert_same_activity(padded, reference.run(network, x, 60))


def single(n_post: int, weight: Any, *, max_value: int = 1, exp: int = 0, delay: Any = 0, **parameters: Any) -> Network:
    """One input channel for every column of `weight`, and one population."""
    values = {"current_decay": 0, "voltage_decay": 0, "threshold": NEVER_FIRES} | parameters
    weight = np.broadcast_to(weight, (n_post, np.shape(weight)[-1]))
    nodes = {
        "input": Input((weight.shape[1],), max_value),
        "pop": Population((n_post,), **values),
        "out": Output("pop"),
    }
    return Network(nodes, {"wire": Synapses.from_dense("input", "pop", weight, delay, exp)})


def test_current_wraps_once_and_voltage_saturates_at_24_bits() -> None:
    # 255 * 255 * 2**7 * 64 is far beyond 24 bits, so that one subtraction of 2**24 does not bring it back.
    network = single(3, [[255] * 4], max_value=255, exp=7)
    x = np.full((1, 30, 4), 255, np.uint8)
    bins, expected = compare(network, x)
    assert bins
    assert np.abs(expected.current["pop"]).max() > 2**24
    assert expected.voltage["pop"].max() == 2**23 - 1
    _, negative = compare(single(3, [[-256] * 4], max_value=255, exp=7), x)
    assert negative.voltage["pop"].min() == -(2**23) + 1


def test_accumulators_are_32_bits_wide() -> None:
    # 300 sources of 255 * 255 * 2**7 * 64 pass 2**32 many times over.
    for sign in (255, -256):
        network = single(40, np.full((1, 300), sign), max_value=255, exp=7, current_decay=4096)
        x = np.random.default_rng(0).integers(200, 256, (2, 12, 300)).astype(np.uint8)
        total = abs(int(x[0, 0].astype(np.int64).sum()) * sign * 2**13)
        assert total > 2**33
        compare(network, x)


@pytest.mark.parametrize("weight", [254, -256, 255, 127, -128])
def test_sums_of_hundreds_of_rows_in_16_bits_do_not_overflow(weight: int) -> None:
    network = single(200, np.full((1, 700), weight), current_decay=4096)
    compare(network, np.ones((1, 4, 700), np.uint8))


@pytest.mark.parametrize("size", [1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300])
def test_sizes_around_the_widths_of_vectors(size: int) -> None:
    rng = np.random.default_rng(size)
    weight = rng.integers(-100, 127, (size, size)) * 2
    nodes = {
        "input": Input((size,)),
        "a": Population((size,), 1024, 128, 300),
        "b": Population((size,), rng.integers(0, 4097, size), 410, rng.integers(0, 2000, size)),
        "output": Output("b"),
    }
    wires = {"x": Synapses.from_dense("input", "a", weight // 2), "y": Synapses.from_dense("a", "b", weight)}
    bins, _ = compare(Network(nodes, wires), (rng.random((2, 20, size)) < 0.2).astype(np.uint8))
    assert bins


def test_the_longest_delay_and_delays_per_synapse() -> None:
    rng = np.random.default_rng(5)
    for delay in (62, rng.integers(0, 63, 30), rng.integers(0, 63, (50, 30))):
        network = single(50, rng.integers(-90, 120, (50, 30)) * 2, delay=delay, threshold=300)
        bins, expected = compare(network, (rng.random((2, 100, 30)) < 0.1).astype(np.uint8))
        assert bins
        assert expected.counts["pop"].any()


def test_targets_beyond_65536_use_wide_indices() -> None:
    rng = np.random.default_rng(6)
    n = 70_000
    pre = np.sort(rng.integers(0, 40, 5000)).astype(np.int32)
    post = np.concatenate([np.sort(rng.choice(n, int(k), replace=False)) for k in np.bincount(pre, minlength=40)])
    weight = rng.integers(1, 200, pre.size)
    for delay in (0, rng.integers(0, 5, pre.size)):
        nodes = {"input": Input((40,)), "pop": Population((n,), 2048, 1024, 100), "out": Output("pop")}
        network = Network(nodes, {"wire": Synapses("input", "pop", pre, post, weight, delay)})
        x = (rng.random((1, 12, 40)) < 0.3).astype(np.uint8)
        engine = Engine(network)
        assert engine.kinds == {"wire": tb.SPARSE32}
        got, expected = engine.run(x), reference.run(network, x)
        assert_same_activity(got, expected)
        assert expected.counts["pop"].any()
    shared = np.shares_memory(
        Engine(Network(nodes, {"w": Synapses("input", "pop", pre, post, weight)})).plan.post32, post
    )
    assert not shared  # int64 indices of the caller had to be converted; the network's own are shared:
    network = Network(nodes, {"w": Synapses("input", "pop", pre, post, weight)})
    plan = Engine(network).plan
    assert np.shares_memory(plan.post32, network.projections["w"].post)
    assert np.shares_memory(plan.weight16, network.projections["w"].weight)


@pytest.mark.parametrize("seed", range(30))
def test_convolution_geometry(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, size = int(rng.choice([1, 1, 2, 3])), rng.integers(10, 15, 2)
    kernel = (groups * int(rng.integers(1, 21)), int(rng.integers(1, 3)), *rng.integers(1, 5, 2))
    pairs = {"stride": rng.integers(1, 5, 2), "padding": rng.integers(0, 4, 2), "dilation": rng.integers(1, 4, 2)}
    made = Convolution("input", "a", rng.integers(-120, 128, kernel), **pairs, groups=groups)
    shape = (int(kernel[1]) * groups, *map(int, size))
    middle = made.output_shape(shape)
    after = Convolution("a", "b", rng.integers(-60, 90, (5, middle[0], 1, 1)) * 2, weight_exp=1)
    nodes = {
        "input": Input(shape, 1 + seed % 2),
        "a": Population(middle, 1024, 410, rng.integers(50, 900, (middle[0], 1, 1)), rng.integers(-5, 6, middle)),
        "b": Population(after.output_shape(middle), 4096, 410, 64),
        "output": Output("b"),
    }
    # Projections from and to maps that are held with channels last must find the right neurons.
    pairs = np.sort(rng.choice(nodes["a"].size * nodes["b"].size, 5, replace=False))
    skip = Synapses("b", "a", *np.divmod(pairs, nodes["a"].size), rng.integers(1, 90, 5), 1)
    network = Network(nodes, {"conv": made, "pointwise": after, "skip": skip})
    bins, expected = compare(network, random_spikes(rng, network, 2, 12))
    assert bins
    assert expected.counts["a"].any()


def test_components_come_upstream_first_and_hold_circles_together() -> None:
    def population(_: int) -> Population:
        return Population((1,), 0, 0, 1)

    def graph(*edges: str) -> list[set[str]]:
        names = {name for edge in edges for name in edge} - {"i"}
        nodes = {"i": Input((1,)), **{name: population(0) for name in sorted(names)}, "out": Output(min(names))}
        wires = {f"w{a}{b}": Synapses(a, b, [0], [0], [1]) for a, b in edges}
        return [set(group) for group in components(Network(nodes, wires))]

    assert graph("ia", "ab", "bc") == [{"a"}, {"b"}, {"c"}]
    assert graph("ic", "cb", "ba") == [{"c"}, {"b"}, {"a"}]
    assert graph("ia", "ab", "ba", "bc", "cc") == [{"a", "b"}, {"c"}]
    assert graph("id", "da", "ab", "bc", "ca", "ce", "ef", "fe") == [{"d"}, {"a", "b", "c"}, {"e", "f"}]


def test_a_chain_of_a_thousand_populations() -> None:
    n = 1000
    nodes = {"p0": Input((2,)), **{f"p{i}": Population((2,), 4096, 4096, 1) for i in range(n, 0, -1)}}
    wires = {f"w{i}": Synapses.from_dense(f"p{i}", f"p{i + 1}", np.eye(2, dtype=int) * 2) for i in range(n)}
    network = Network({**nodes, "out": Output(f"p{n}")}, wires)
    x = np.ones((1, 12, 2), np.uint8)
    assert_same_activity(run(network, x), reference.run(network, x))


def test_several_inputs_and_a_population_that_nothing_reaches() -> None:
    rng = np.random.default_rng(8)
    nodes = {
        "b": Input((5,), 3),
        "a": Input((2, 3, 3)),
        "p": Population((4,), 1024, 410, 100),
        "alone": Population((3,), 0, 0, 10, 5),
        "out": Output("p"),
    }
    wires = {
        "x": Synapses.from_dense("a", "p", rng.integers(-50, 90, (4, 18)) * 2),
        "y": Synapses.from_dense("b", "p", rng.integers(-50, 90, (4, 5)) * 2, 3),
    }
    network = Network(nodes, wires)
    x = random_spikes(rng, network, 3, 20)
    bins, expected = compare(network, x)
    assert bins
    assert expected.counts["alone"].any()
    compare(Network(nodes, {}), x)


@pytest.mark.slow
def test_a_million_neurons_and_a_hundred_million_synapses() -> None:
    resource = pytest.importorskip("resource", reason="no resource module on Windows")
    n, fan_out = 1_000_000, 100
    post = np.empty((n, fan_out), np.int32)
    rng = np.random.default_rng(0)
    for row in range(0, n, 10_000):  # distinct, ascending targets for every source
        steps = rng.integers(1, n // fan_out, (10_000, fan_out), dtype=np.int32)
        post[row : row + 10_000] = np.cumsum(steps, axis=1) - 1
    assert int(post.max()) < n
    weight = (rng.integers(1, 100, n * fan_out, dtype=np.int16)) * np.int16(2)
    pre = np.repeat(np.arange(n, dtype=np.int32), fan_out)
    for array in (pre, post, weight):
        array.flags.writeable = False  # so the network shares them
    nodes = {"input": Input((n,)), "pop": Population((n,), 1024, 410, 600), "out": Output("pop")}
    network = Network(nodes, {"wire": Synapses("input", "pop", pre, post.reshape(-1), weight)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine = Engine(network)
    x = (rng.random((1, 5, n)) < 0.01).astype(np.uint8)
    activity = engine.run(x, record="counts")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert int(activity.events["wire"].sum()) == int(x.sum()) * fan_out
    assert activity.counts["pop"].any()
    # Indices and weights are shared with the network: the engine adds less than a byte per synapse.
    assert grown < n * fan_out
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < 24 * 10**9


@pytest.mark.parametrize("decays", [(4096, 0), (1000, 0), (4096, 500), (300, 40), (0, 0), (4096, 4096)])
@pytest.mark.parametrize("each", [False, True])
def test_neurons_at_rest_are_passed_over_and_miss_nothing(rng: np.random.Generator, decays: Any, each: bool) -> None:
    """Rare spikes to some of 200 neurons, long silences, both signs, delays, a bias in one population: every state."""
    current, voltage = decays
    matrix = rng.integers(-60, 90, (200, 40)) * (rng.random((200, 40)) < 0.05)
    population = Population(
        (200,),
        current,
        voltage,
        rng.integers(40, 80, 200) if each else 60,
        initial_voltage=rng.integers(-9000, 9000, 200),
    )
    nodes = {
        "input": Input((40,)), "a": population, "b": Population((70,), 4096, 100, 30, bias=-1), "output": Output("b"),
    }  # fmt: skip
    wires = {
        "w": Synapses.from_dense("input", "a", matrix),
        "loop": Synapses.from_dense("a", "a", -8 * np.eye(200, dtype=int), delay=np.asarray(3)),
        "v": Synapses.from_dense("a", "b", rng.integers(-5, 9, (70, 200)) * 2),
    }
    network = Network(nodes, wires)
    x = (rng.random((2, 300, 40)) < 0.002).astype(np.uint8)
    x[:, 100:200] = 0
    _, expected = compare(network, x)
    assert expected.counts["a"].sum() > 0
