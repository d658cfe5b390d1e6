"""Placement: an independent recount of every core, known optima, the lower bound, and who cannot fit and why."""

import itertools
import json
import math

import numpy as np
import pytest
from networks import random_network
from placement_recount import assert_legal, layers, small_chip
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from sdsnn.deploy.placement.bound import lower_bounds
from sdsnn.deploy.placement.chip import DoesNotFit, load_chip
from sdsnn.deploy.placement.cut import Cutter
from sdsnn.deploy.placement.packing import finish, legal, ways
from sdsnn.deploy.placement.place import place
from sdsnn.deploy.placement.tight_bound import tight_bounds
from sdsnn.deploy.placement.types import Mesh
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Convolution, Input, Network, Output, Population, Synapses


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
        assert_legal(network, placement, chip)
        assert placement.lower_bound <= placement.n_cores
        cut += placement.n_cores > 1
    assert cut > 20
    assert len(refused) < 30
    assert all(error.amount > error.limit for error in refused)


def test_every_way_to_cut_and_pack_is_legal() -> None:
    tried = shared = 0
    for seed in range(5000, 5060):
        rng = np.random.default_rng(seed)
        network = random_network(rng, wild=False)
        chip = small_chip(
            neurons=int(rng.choice([8, 20, 50])),
            input_axons=int(rng.choice([60, 200, 4096])),
            synapse_bits=int(rng.choice([8192, 20000, 2**20])),
            output_axons=int(rng.choice([100, 4096])),
        )
        cutter = Cutter(network, chip)
        for way in ways(network):
            try:
                layout = legal(cutter, way)
            except DoesNotFit:
                continue
            bounds = lower_bounds(network, chip, cores=len(layout.cores))
            tight = tight_bounds(network, chip, cores=len(layout.cores))
            assert all(bounds[name] <= tight[name] for name in bounds)
            placement = finish(cutter, layout, tight, True)
            assert_legal(network, placement, chip)
            assert placement.lower_bound <= placement.n_cores
            tried += 1
            for pieces in layout.cores:
                runs = [piece.population for piece in pieces if not cutter.boxed[piece.population]]
                assert len(runs) == len(set(runs))  # the lower bound takes this for granted
                shared += len(pieces) > 1
    assert tried > 100
    assert shared > 100


def test_random_networks_on_the_real_chips() -> None:
    for seed in range(20):
        network = random_network(np.random.default_rng(1000 + seed))
        for name in ("loihi1", "loihi2"):
            placement = place(network, name, tight_bound=bool(seed % 2))
            assert_legal(network, placement, load_chip(name))
            assert placement.lower_bound <= placement.n_cores


def test_known_optimum_by_neurons() -> None:
    placement = place(layers(4, 2048), "loihi1")
    assert placement.n_cores == placement.lower_bound == 2
    assert placement.use["neurons"].tolist() == [1024, 1024]
    # 2.5 cores of one layer and 0.5 of the other fit on three; the remainders share the last one.
    placement = place(layers(4, 2560, 512, sparse=0.002), "loihi1")
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


def fewest_cores(cutter: Cutter, sizes: dict[str, int]) -> int:
    """Try every cut of two populations into runs, and every way in which a run of each may share a core."""
    one, other = sizes
    runs = {
        name: {(a, b): cutter.run(name, a, b) for a in range(size) for b in range(a + 1, size + 1)}
        for name, size in sizes.items()
    }
    alone = {name: {key for key, piece in each.items() if cutter.fits([piece])} for name, each in runs.items()}
    together = {(a, b) for a in alone[one] for b in alone[other] if cutter.fits([runs[one][a], runs[other][b]])}

    def cuts(name: str) -> list[list[tuple[int, int]]]:
        size = sizes[name]
        inner = [c for n in range(size) for c in itertools.combinations(range(1, size), n)]
        every = [list(itertools.pairwise([0, *c, size])) for c in inner]
        return [cut for cut in every if alone[name].issuperset(cut)]

    best = sum(sizes.values())
    for first, second in itertools.product(cuts(one), cuts(other)):
        pairs = np.array([[(a, b) in together for b in second] for a in first])
        shared = int((maximum_bipartite_matching(csr_matrix(pairs)) >= 0).sum())
        best = min(best, len(first) + len(second) - shared)
    return best


def test_the_bound_is_never_above_the_optimum_and_the_heuristic_rarely_far() -> None:
    optimal = simple = tight = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        sizes = {"a": 6, "b": 5}
        chip = small_chip(
            neurons=int(rng.choice([3, 4, 8])),
            input_axons=int(rng.choice([6, 9, 4096])),
            synapse_bits=int(rng.choice([450, 700, 2**20])),
        )
        into = rng.choice([-6, 4, 90], (6, 5)) * (rng.random((6, 5)) < 0.5)
        between = rng.choice([-6, 4, 90], (5, 6)) * (rng.random((5, 6)) < 0.5)
        network = Network(
            {"input": Input((5,)), **{n: Population((s,), 0, 0, 1) for n, s in sizes.items()}, "output": Output("b")},
            {
                "w": Synapses.from_dense("input", "a", into),
                "v": Synapses.from_dense("a", "b", between, int(rng.choice([0, 5]))),
            },
        )
        placement, by_program = place(network, chip), place(network, chip, tight_bound=True)
        assert by_program.n_cores == placement.n_cores
        assert_legal(network, placement, chip)
        best = fewest_cores(Cutter(network, chip), sizes)
        assert placement.lower_bound <= by_program.lower_bound <= best <= placement.n_cores <= best + 1
        optimal += best == placement.n_cores
        simple += best == placement.lower_bound
        tight += best == by_program.lower_bound
    assert optimal >= 38
    assert simple >= 25
    assert tight >= 36


def test_the_simple_bound_by_hand() -> None:
    # 8-bit weights of both signs: 62 synapses take 506 bits, so 512, the least for a synapse. Weights of one bit: 54
    # synapses take 64 bits. The convolution stores 8 * 9 weights of one bit in two words.
    rng = np.random.default_rng(0)
    weights, kernel = rng.choice([-256, 254, 2], (3000, 1500)), np.full((8, 2, 3, 3), 2)
    kernel[:, 1] = 0
    network = Network(
        {
            "input": Input((1500,)),
            "image": Input((2, 32, 32)),
            "a": Population((3000,), 0, 0, 1),
            "b": Population((8, 32, 32), 0, 0, 1),
            "output": Output("a"),
        },
        {
            "w": Synapses.from_dense("input", "a", weights),
            "again": Synapses.from_dense("input", "a", np.eye(3000, 1500, dtype=int) * 2),
            "c": Convolution("image", "b", kernel, padding=(1, 1)),
        },
    )
    bounds = lower_bounds(network, load_chip("loihi1"), cores=99)
    assert bounds == {
        "neurons": -(-(3000 + 8 * 32 * 32) // 1024),
        "synapse_bits": math.ceil((3000 * 1500 * 512 / 62 + 1500 * 64 / 54 + 128) / 2**20),
        "input_axons": 1,  # 1500 shared by both projections, 1024 of the one channel that the kernel keeps
        "output_axons": 1,
    }
    chain = layers(4, 1500, 1500, sparse=1.0)
    bounds = lower_bounds(chain, small_chip(input_axons=500, output_axons=100), cores=99)
    assert (bounds["input_axons"], bounds["output_axons"]) == (4, 15)


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


def test_who_cannot_fit_is_told_by_node_limit_and_amount() -> None:
    wide = Network(
        {"input": Input((512, 3, 3)), "a": Population((1, 1, 1), 0, 0, 1), "output": Output("a")},
        {"w": Convolution("input", "a", np.full((1, 512, 3, 3), 2))},
    )
    with pytest.raises(DoesNotFit, match=r"input axons: expected at most 4,096 per core, got 4,608") as caught:
        place(wide, "loihi1")
    assert (caught.value.node, caught.value.resource, caught.value.amount) == ("a", "input_axons", 4608)
    with pytest.raises(
        DoesNotFit,
        match=r"'l0' does not fit Intel Loihi 1: input axons: expected at most 4,096 per core, got 5,000",
    ):
        place(layers(5000, 1), "loihi1")
    with pytest.raises(
        DoesNotFit, match=r"'l0' does not fit small chip: output axons: expected at most 4 per core, got 8"
    ):
        place(layers(4, 1, 512), small_chip(neurons=64, output_axons=4))
    with pytest.raises(NetworkError, match=r"chip xylo: expected a chip whose cores are known"):
        place(layers(4, 4), "xylo")


def test_output_axons_make_pieces_smaller() -> None:
    chip = small_chip(neurons=64, output_axons=128)
    network = layers(4, 64, 512, sparse=1.0)
    placement = place(network, chip)  # 64 neurons, each into 8 cores: at most 16 of them on a core
    assert placement.pieces["l0"] == 4
    assert_legal(network, placement, chip)


def test_notes_and_json_free_types() -> None:
    placement = place(layers(4, 8), "loihi2")
    assert any("output axons" in note and "none was published" in note for note in placement.notes)
    assert any("nengo-loihi" in note for note in placement.notes)
    json.dumps(dict(placement.bounds))


def test_mesh_distances() -> None:
    mesh = Mesh(128, 4, 8)
    x, y, same = mesh.hops([0, 0, 0, 5, 127], [3, 4, 32, 127, 128])
    assert x.tolist() == [0, 1, 0, 6, 7]
    assert y.tolist() == [0, 0, 1, 3, 3]
    assert same.tolist() == [True, True, True, True, False]


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sparse", "convolution"])
def test_a_million_neurons(kind: str) -> None:
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
    placement = place(network, "loihi1")
    assert 1024 <= placement.lower_bound <= placement.n_cores < 2 * placement.lower_bound
    assert sum(np.unique(where).size for where in placement.core_of.values()) == placement.n_cores
