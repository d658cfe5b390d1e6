"""Placement: known optima, an independent recount of every core, the lower bound, and who cannot fit and why."""

import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from sdsnn.deploy.chip import Chip, load_chip
from sdsnn.deploy.energy import price
from sdsnn.deploy.placement import place
from sdsnn.deploy.placement_cost import DoesNotFit
from sdsnn.deploy.placement_lists import list_bits, list_format
from sdsnn.deploy.placement_picture import core_grid, core_shares, save_placement_picture
from sdsnn.deploy.placement_report import explain, placement_lines, placement_tables, placement_to_json
from sdsnn.deploy.placement_tiles import boxes
from sdsnn.deploy.placement_types import Mesh, Placement
from sdsnn.deploy.unpruned import Before, unpruned_network
from sdsnn_core import reference
from sdsnn_core.convolution import expand
from sdsnn_core.errors import FileError, NetworkError
from sdsnn_core.network import Convolution, Input, Network, Output, Population, Synapses
from sdsnn_core.testing import random_network


def small_chip(base: str = "loihi1", **limits: int) -> Chip:
    """A chip with other limits than `base`, so that small networks need many cores."""
    data = load_chip(base).model_dump()
    for name, value in limits.items():
        data["limits"][name] = {
            "value": value,
            "unit": "per core",
            "source": "a test",
            "year": 2026,
            "grade": "inferred",
        }
    return Chip.model_validate({**data, "name": "small", "title": "small chip"})


def dense(n_in: int, *sizes: int, weight: int = 2, sparse: float = 1.0, seed: int = 0) -> Network:
    """Layers of the given sizes, full matrices of one weight, or a fraction of it."""
    rng = np.random.default_rng(seed)
    nodes: dict = {"input": Input((n_in,))}
    wires = {}
    previous, before = "input", n_in
    for i, size in enumerate(sizes):
        nodes[f"l{i}"] = Population((size,), 1024, 128, 80)
        matrix = np.where(rng.random((size, before)) < sparse, weight, 0)
        wires[f"w{i}"] = Synapses.from_dense(previous, f"l{i}", matrix)
        previous, before = f"l{i}", size
    nodes["output"] = Output(previous)
    return Network(nodes, wires)


# A recount that shares nothing with the code: synapse by synapse, in python.


def plain_bits(n: int, width: int) -> int:
    total = 0
    while n > 0:
        block = min(n, 64)
        total += -(-(block * width + 10) // 64) * 64
        n -= block
    return total


def plain_weight_bits(weights: list[int]) -> int:
    if not weights:
        return 1
    while all(w % 2 == 0 for w in weights):
        weights = [w // 2 for w in weights]
    for bits in (1, 2, 3, 4, 5, 6, 8):
        if min(weights) >= 0 and max(weights) < 2**bits:
            return bits
        if max(weights) <= 0 and -min(weights) < 2**bits:
            return bits
        if min(weights) >= -(2 ** (bits - 1)) and max(weights) < 2 ** (bits - 1):
            return bits
    return 8


def check_legal(network: Network, placement: Placement, chip: Chip, *, exact: bool = False) -> None:
    """Recount all that a placement uses, compare with what it says, and hold it against the limits.

    exact: no two lists of a convolution are equal by chance, so its memory must agree to the bit as well.
    """
    order = {}  # (population, neuron) -> rank of the neuron on its core within its population
    for name, population in network.populations.items():
        where = placement.core_of[name]
        assert where.shape == (population.size,)
        assert where.min() >= 0
        assert where.max() < placement.n_cores
        for core in np.unique(where):
            for rank, neuron in enumerate(np.flatnonzero(where == core)):
                order[name, int(neuron)] = rank
    lists: dict = defaultdict(lambda: defaultdict(list))  # core -> (projection, source neuron) -> [(rank, weight)]
    widths, delays = {}, {}
    into_delay: dict = defaultdict(int)
    for name, p in network.projections.items():
        wires = p if isinstance(p, Synapses) else expand(p, network.nodes[p.source].shape)
        kernel = wires.weight if isinstance(p, Synapses) else p.kernel[p.kernel != 0]
        widths[name] = plain_weight_bits(kernel.tolist())
        delay = int(p.delay.max()) if kernel.size and p.delay.size else 0
        delays[name] = len(f"{delay:b}") if delay else 0
        into_delay[p.target] = max(into_delay[p.target], delay)
        for pre, post, weight in zip(wires.pre.tolist(), wires.post.tolist(), wires.weight.tolist(), strict=True):
            core = int(placement.core_of[p.target][post])
            lists[core][name, pre].append((order[p.target, post], weight))
    outgoing: dict = defaultdict(set)
    for core in range(placement.n_cores):
        here = {name: np.flatnonzero(where == core) for name, where in placement.core_of.items()}
        neurons = sum(where.size for where in here.values())
        assert neurons == placement.use["neurons"][core]
        longest = max((into_delay[name] for name, where in here.items() if where.size), default=0)
        limit = chip.limit("neurons")
        if chip.name != "loihi2" and longest > 7:
            limit = min(limit, 8192 // {4: 16, 5: 32, 6: 64}[len(f"{longest:b}")])
        assert neurons <= limit
        axons = {
            (network.projections[name].source, pre, isinstance(network.projections[name], Convolution))
            for name, pre in lists[core]
        }
        assert len(axons) == placement.use["input_axons"][core]
        for source, pre, convolution in axons:
            if source in placement.core_of:
                outgoing[int(placement.core_of[source][pre])].add((source, pre, convolution, core))
        index = min(bits for bits in chip.synapses.index_bits if neurons <= 2**bits)
        memory, stored = 0, set()
        for (name, _pre), entries in lists[core].items():
            entries = sorted(entries)
            if isinstance(network.projections[name], Convolution):
                # Pixels with the same relative list, weights included, use one stored list.
                key = (name, tuple((rank - entries[0][0], weight) for rank, weight in entries))
                if key in stored:
                    continue
                stored.add(key)
            width = widths[name] + delays[name]
            span = entries[-1][0] - entries[0][0] + 1
            memory += min(plain_bits(span, width), plain_bits(len(entries), width + index))
        reported = placement.use["synapse_bits"][core]
        if not exact and any(isinstance(p, Convolution) for p in network.projections.values()):
            # The placement does not look at weights, so lists that are equal by chance are stored twice.
            assert memory <= reported
        else:
            assert memory == reported
        assert reported <= (chip.limit("synapse_bits") or reported)
    for core in range(placement.n_cores):
        slots = sum(2 if convolution else 1 for _, _, convolution, _ in outgoing[core])
        assert slots == placement.use["output_axons"][core]
    for resource, amount in placement.use.items():
        if resource != "neurons" and chip.limit(resource) is not None:
            assert amount.max() <= chip.limit(resource), resource
    for name, table in placement.axons.items():
        counted = sorted((pre, core, len(e)) for core in lists for (n, pre), e in lists[core].items() if n == name)
        given = zip(table.source.tolist(), table.core.tolist(), table.synapses.tolist(), strict=True)
        assert counted == sorted(given)
    assert sum(int(t.bits.sum()) for t in placement.axons.values()) == placement.use["synapse_bits"].sum()


def test_random_networks_are_placed_legally_and_above_the_bound() -> None:
    cut = 0
    refused = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        network = random_network(rng, wild=False)
        chip = small_chip(
            neurons=int(rng.choice([8, 20, 1024])),
            input_axons=int(rng.choice([60, 200, 4096])),
            synapse_bits=int(rng.choice([8192, 20000, 2**20])),
            output_axons=int(rng.choice([100, 4096])),
        )
        try:
            placement = place(network, chip)
        except DoesNotFit as error:
            refused.append(error)
            continue
        check_legal(network, placement, chip)
        assert placement.lower_bound <= placement.n_cores
        cut += placement.n_cores > 1
    assert cut > 20
    assert len(refused) < 30
    assert all(error.amount > error.limit for error in refused)


def test_random_networks_on_the_real_chips() -> None:
    for seed in range(20):
        network = random_network(np.random.default_rng(1000 + seed))
        for name in ("loihi1", "loihi2"):
            placement = place(network, name)
            check_legal(network, placement, load_chip(name))
            assert placement.lower_bound <= placement.n_cores


def test_known_optimum_by_neurons() -> None:
    placement = place(dense(4, 2048), "loihi1")
    assert placement.n_cores == placement.lower_bound == 2
    assert placement.use["neurons"].tolist() == [1024, 1024]
    # 2.5 cores of one layer and 0.5 of the other fit on three; the remainders share the last one.
    placement = place(dense(4, 2560, 512, sparse=0.002), "loihi1")
    assert placement.n_cores == placement.lower_bound == 3


def test_known_optimum_by_memory() -> None:
    # Full matrix of 8-bit mixed weights: a list of 64 targets takes 64*8+10 = 522 bits, so 576. 1024 inputs make
    # 589,824 bits per 64 neurons: one core of 2**20 bits holds 64 and not 128 neurons.
    rng = np.random.default_rng(0)
    matrix = rng.choice([-256, 254, 2, -2], (256, 1024))
    network = Network(
        {"input": Input((1024,)), "a": Population((256,), 0, 0, 1), "output": Output("a")},
        {"w": Synapses.from_dense("input", "a", matrix)},
    )
    placement = place(network, "loihi1")
    # 112 targets: one full block (576) and 48*8+10 = 394 -> 448 bits: 1024 * 1024 = 2**20. So 112 fit, three cores.
    assert placement.n_cores == placement.lower_bound == 3
    assert placement.use["neurons"].max() == 86  # cut evenly, 85 or 86 each
    assert placement.binding == "synapse_bits"


def test_bits_of_a_list_by_hand() -> None:
    layout = load_chip("loihi1").synapses
    assert layout is not None
    # 1 synapse of 8 bits: 18 bits -> 64. 64: 522 -> 576. 65: 576 + 64. Sparse, 10 index bits: 6 * 18 + 10 = 118 -> 128.
    assert list_bits([0, 1, 64, 65], 8, layout).tolist() == [0, 64, 576, 640]
    assert list_bits([3, 4, 6], 18, layout).tolist() == [64, 128, 128]


def test_memory_is_what_nengo_loihi_counts() -> None:
    # tests/golden/make_list_bits.py asks the package itself.
    golden = json.loads((Path(__file__).parent / "golden" / "list_bits.json").read_text())
    layout = load_chip("loihi1").synapses
    assert layout is not None
    for item in golden["lists"]:
        assert list_bits([item["synapses"]], item["bits_each"], layout).tolist() == [item["bits"]]
    for item in golden["matrices"]:
        pre, post = np.indices((item["n_pre"], item["n_post"]))
        here = (pre * 37 + post * 53 + pre * post) % 100 < item["percent"]
        signs = np.where((pre + post) % 2, 254, -256)  # eight bits of both signs
        network = Network(
            {"input": Input((item["n_pre"],)), "a": Population((item["n_post"],), 0, 0, 1), "output": Output("a")},
            {"w": Synapses.from_dense("input", "a", np.where(here, signs, 0).T)},
        )
        placement = place(network, small_chip(synapse_bits=2**30))
        table = placement.axons["w"]
        assert placement.n_cores == 1
        total = int(table.bits.sum())
        # We choose the shorter encoding for each list, nengo-loihi one for all of them.
        assert total == item["bits"] if item["percent"] in (5, 10, 100) else total <= item["bits"]


@pytest.mark.parametrize(
    ("weights", "bits", "signs", "exact"),
    [
        ([2, -2], 2, "mixed", True),  # 1 and -1, one shared power of two
        ([254, -256], 8, "mixed", True),
        ([255, -1], 8, "mixed", False),  # nine bits
        ([255, 1], 8, "excitatory", True),
        ([-255], 8, "inhibitory", True),
        ([64, 128], 2, "excitatory", True),
        ([64], 1, "excitatory", True),
        ([-256], 1, "inhibitory", True),
        ([100, 36], 5, "excitatory", True),  # 25 and 9
        ([], 1, "none", True),
    ],
)
def test_weight_formats(weights: list[int], bits: int, signs: str, exact: bool) -> None:
    layout = load_chip("loihi1").synapses
    assert layout is not None
    n = len(weights)
    form = list_format(Synapses("a", "b", np.zeros(n, int), np.arange(n), np.array(weights, int)), layout)
    assert (form.weight_bits, form.signs, form.exact) == (bits, signs, exact)


def test_pruning_saves_memory_and_cores() -> None:
    rng = np.random.default_rng(1)
    full = rng.choice([-256, 254, 6], (512, 1024))
    kept = np.where(rng.random(full.shape) < 0.1, full, 0)
    placements = []
    for matrix in (full, kept):
        network = Network(
            {"input": Input((1024,)), "a": Population((512,), 0, 0, 1), "output": Output("a")},
            {"w": Synapses.from_dense("input", "a", matrix)},
        )
        placements.append(place(network, "loihi1"))
    assert placements[1].n_cores < placements[0].n_cores
    assert not placements[0].axons["w"].sparse.any()
    assert placements[1].axons["w"].sparse.any()


def test_delays_cost_bits_and_compartments() -> None:
    def network(delay: int) -> Network:
        return Network(
            {"input": Input((64,)), "a": Population((1024,), 0, 0, 1), "output": Output("a")},
            {"w": Synapses.from_dense("input", "a", np.full((1024, 64), 2), delay)},
        )

    uses = {delay: place(network(delay), "loihi1") for delay in (0, 7, 8, 62)}
    # One bit of weight and 0, 3, 4 or 6 bits of delay.
    assert uses[0].use["synapse_bits"].sum() == 64 * 16 * 128
    assert uses[7].use["synapse_bits"].sum() == 64 * 16 * 320
    assert [uses[delay].n_cores for delay in (0, 7, 8, 62)] == [1, 1, 2, 8]
    assert place(network(62), "loihi2").n_cores == 1


def test_threshold_tables_split_a_population() -> None:
    thresholds = np.arange(32) // 2 + 1
    network = Network(
        {"input": Input((2,)), "a": Population((32,), 0, 0, thresholds), "output": Output("a")},
        {"w": Synapses.from_dense("input", "a", np.full((32, 2), 2))},
    )
    placement = place(network, "loihi1")
    assert placement.n_cores == 2
    assert placement.use["threshold_configs"].max() == 8
    assert place(network, "loihi2").n_cores == 1


def test_boxes_cover_a_population_once() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        shape = tuple(int(n) for n in rng.integers(1, 9, 3))
        size = tuple(int(n) for n in rng.integers(1, 9, 3))
        found = np.concatenate([box.neurons(shape) for box in boxes(shape, size)])  # type: ignore[arg-type]
        assert np.array_equal(np.sort(found), np.arange(np.prod(shape)))


def test_convolution_shares_its_lists() -> None:
    kernel = np.arange(1, 4 * 2 * 3 * 3 + 1).reshape(4, 2, 3, 3)
    network = Network(
        {"input": Input((2, 16, 16)), "a": Population((4, 14, 14), 0, 0, 1), "output": Output("a")},
        {"w": Convolution("input", "a", kernel)},
    )
    shared = place(network, "loihi1")
    check_legal(network, shared, load_chip("loihi1"), exact=True)
    for stride, padding, dilation in [((2, 2), (0, 0), (1, 1)), ((1, 2), (1, 2), (2, 1))]:
        other = Convolution("input", "a", kernel, stride=stride, padding=padding, dilation=dilation)
        nodes = {**network.nodes, "a": Population(other.output_shape((2, 16, 16)), 0, 0, 1)}
        chip = small_chip(neurons=60)
        cut = place(Network(nodes, {"w": other}), chip)
        assert cut.n_cores > 2
        check_legal(Network(nodes, {"w": other}), cut, chip, exact=True)
    data = load_chip("loihi1").model_dump()
    data["synapses"]["shared_convolution"] = False
    apart = place(network, Chip.model_validate(data))
    assert apart.use["synapse_bits"].sum() > 5 * shared.use["synapse_bits"].sum()
    assert len(shared.axons["w"]) == len(apart.axons["w"]) == 2 * 16 * 16


def test_mesh_distances() -> None:
    mesh = Mesh(128, 4, 8)
    x, y, same = mesh.hops([0, 0, 0, 5, 127], [3, 4, 32, 127, 128])
    assert x.tolist() == [0, 1, 0, 6, 7]
    assert y.tolist() == [0, 0, 1, 3, 3]
    assert same.tolist() == [True, True, True, True, False]


def test_who_cannot_fit_is_told_by_node_limit_and_amount() -> None:
    wide = Network(
        {"input": Input((512, 3, 3)), "a": Population((1, 1, 1), 0, 0, 1), "output": Output("a")},
        {"w": Convolution("input", "a", np.full((1, 512, 3, 3), 2))},
    )
    with pytest.raises(DoesNotFit, match=r"input axons: needs 4,608, allowed 4,096 per core") as caught:
        place(wide, "loihi1")
    assert (caught.value.node, caught.value.resource, caught.value.amount) == ("a", "input_axons", 4608)
    with pytest.raises(DoesNotFit, match=r"node 'l0' does not fit Intel Loihi 1: input axons: needs 5,000"):
        place(dense(5000, 1), "loihi1")
    with pytest.raises(DoesNotFit, match=r"node 'l0' does not fit small chip: output axons: needs 8, allowed 4"):
        place(dense(4, 1, 512), small_chip(neurons=64, output_axons=4))
    with pytest.raises(NetworkError, match=r"chip xylo: only limits of the whole chip are known"):
        place(dense(4, 4), "xylo")


def test_output_axons_make_pieces_smaller() -> None:
    chip = small_chip(neurons=64, output_axons=128)
    network = dense(4, 64, 512, sparse=1.0)
    placement = place(network, chip)  # 64 neurons, each into 8 cores: at most 16 of them on a core
    assert placement.pieces["l0"] == 4
    check_legal(network, placement, chip)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sparse", "convolution"])
def test_a_million_neurons_in_a_minute(kind: str) -> None:
    rng = np.random.default_rng(0)
    if kind == "sparse":
        n = 2**20
        pre = np.sort(rng.integers(0, 4096, 10 * n))
        keys = np.unique(pre * n + rng.integers(0, n, pre.size))
        network = Network(
            {"input": Input((4096,)), "a": Population((n,), 0, 0, 1), "output": Output("a")},
            {"w": Synapses("input", "a", keys // n, keys % n, np.full(keys.size, 2))},
        )
    else:
        network = Network(
            {"input": Input((32, 128, 128)), "a": Population((64, 128, 128), 0, 0, 1), "output": Output("a")},
            {"w": Convolution("input", "a", rng.choice([-2, 4, 0], (64, 32, 3, 3)), padding=(1, 1))},
        )
    start = time.perf_counter()
    placement = place(network, "loihi1")
    assert time.perf_counter() - start < 60
    assert placement.n_cores >= 1024


def test_notes_and_json_free_types() -> None:
    placement = place(dense(4, 8), "loihi2")
    assert any("output axons" in note and "none was published" in note for note in placement.notes)
    assert any("nengo-loihi" in note for note in placement.notes)
    json.dumps(dict(placement.bounds))


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
    assert "the limit that binds: synaptic memory" in lines
    assert f"{report.placement.n_cores} cores on 1 chip; lower bound" in lines
    assert "unpruned network:" in lines
    data = json.loads(json.dumps(placement_to_json(report)))
    assert data["cores"] == len(data["per_core"]["core_idx"]) == report.placement.n_cores
    assert data["binding"]["resource"] == "synapse_bits"
    assert data["unpruned"]["cores"] == report.unpruned.n_cores
    assert sum(data["per_core"]["neurons"]) == 300
    assert [table.row_count for table in placement_tables(report)] == [7, 1, report.placement.n_cores]


def test_unpruned_network_is_full() -> None:
    full = unpruned_network(dense(8, 4, 3, sparse=0.5), {"l0": 6})
    assert full is not None
    assert [p.n_weights for p in full.projections.values()] == [8 * 6, 6 * 3]
    assert full.populations["l0"].size == 6
    with pytest.raises(NetworkError, match="unpruned size of 'zz'"):
        unpruned_network(dense(8, 4), {"zz": 6})
    with pytest.raises(NetworkError, match="unpruned size of 'l0': got 3, the pruned network has 4"):
        unpruned_network(dense(8, 4), {"l0": 3})


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
    told = {
        "nodes": {"input": {"shape": [1, 7, 7]}, "a": {"shape": [3, 4, 4]}, "b": {"shape": [2, 4, 4]}},
        "projections": {"c": {"kernel": [3, 1, 3, 3], "groups": 1}, "d": {"kernel": [2, 3, 3, 3], "groups": 1}},
    }
    before = Before.of_export(told)
    full = unpruned_network(now, before)
    assert full is not None
    for name, p in full.projections.items():
        wires = expand(p, full.nodes[p.source].shape)  # type: ignore[arg-type, union-attr]
        assert before.connections(now, name) == wires.n_weights
        fan_out = np.bincount(wires.pre, minlength=full.size_of(p.source))
        assert before.fan_out(now, name).tolist() == fan_out[: now.size_of(p.source)].tolist()
    assert unpruned_network(now, {"a": 48}) is None  # which channels went, and their kernel, is not known
    with pytest.raises(NetworkError, match=r"export.json: KeyError\('nodes'\) where shapes before pruning"):
        Before.of_export({})


def test_a_refusal_is_reported_with_what_would_help() -> None:
    report = explain(dense(5000, 1), load_chip("loihi1"))
    assert report.placement is None
    assert report.refusal is not None
    assert "needs 5,000, allowed 4,096" in report.refusal
    data = placement_to_json(report)
    assert not data["fits"]
    assert data["best_change"]["cores"] == 1  # half of the weights gone, half of the axons gone


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_picture(tmp_path, ending: str) -> None:
    placement = place(dense(64, 3000, 1500, sparse=0.01), "loihi1")
    path = tmp_path / f"cores{ending}"
    save_placement_picture(placement, path)
    assert path.stat().st_size > 5000
    assert core_grid(placement).shape == (placement.n_cores, 3)
    assert len({tuple(row) for row in core_grid(placement).tolist()}) == placement.n_cores
    shares, binding = core_shares(placement)
    assert 0 < shares.min() <= shares.max() <= 1
    assert set(binding) <= set(placement.use)
    with pytest.raises(FileError, match=r"got ending '.gif', allowed .png, .svg, .pdf"):
        save_placement_picture(placement, tmp_path / "x.gif")


def test_energy_with_a_placement_by_hand() -> None:
    # Two neurons on one core feed two on another one: chip with two neurons per core, one core per tile.
    chip = small_chip(neurons=2)
    data = chip.model_dump()
    data["layout"].update(cores_per_tile=1)
    chip = Chip.model_validate(data)
    network = dense(1, 2, 2, weight=254)
    spikes = np.zeros((1, 5, 1), np.uint8)
    spikes[0, 0] = 1
    activity = reference.run(network, spikes)
    placement = place(network, chip)
    assert placement.n_cores == 2
    fired = activity.counts["l0"].sum()
    assert fired > 0
    report = price(activity, network, placement=placement, chip="loihi1")
    counts = report.counts
    assert counts.packets_from_input == 1
    assert counts.packets == 1 + fired  # both targets are on one core
    assert (counts.hops_east_west, counts.hops_north_south) == (fired, 0)
    assert counts.load is not None
    assert counts.load.events.tolist() == [2 / 5, 2 * fired / 5]
    davies = report.by_list("davies2018")
    active, idle = counts.total_active.low, counts.total_updates - counts.total_active.low
    events = 2 + 2 * fired
    by_hand = events * 23.6 + active * 81 + idle * 52 + (1 + fired) * 1.7 + fired * 3.0
    assert davies.total.low == pytest.approx(by_hand * 1e-12, rel=1e-12)
    assert "hop" not in davies.unpriced
    assert davies.wording == "priced for Loihi-1"
    busiest = max(
        float(e) * 3.5 + float(a) * 8.4 + (float(n) - float(a)) * 5.3
        for e, a, n in zip(counts.load.events, counts.load.active, counts.load.neurons, strict=True)
    )
    time_by_davies = next(t for t in report.step_times if t.list_name == "davies2018")
    assert time_by_davies.core_s >= busiest * 1e-9 * (1 - 1e-12)
    assert time_by_davies.span_s.low == pytest.approx(time_by_davies.core_s + 113e-9)
    real = report.static[-1]
    assert real.joules.low == pytest.approx(0.104 * 5 * 1e-3)
    assert "Frady 2020" in real.source
