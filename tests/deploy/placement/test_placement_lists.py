"""Synapse lists: memory as nengo-loihi counts it, weight formats, and lists that a convolution shares."""

import itertools
import json
import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from placement_recount import assert_legal, small_chip

from sdsnn.deploy.placement.boxes import boxes, interval
from sdsnn.deploy.placement.chip import Chip, load_chip
from sdsnn.deploy.placement.place import place
from sdsnn.deploy.placement.synapse_lists import list_bits, list_format
from sdsnn_core.network import Convolution, Input, Network, Output, Population, Synapses

GOLDEN = Path(__file__).parents[2] / "golden"


def test_bits_of_a_list_by_hand() -> None:
    layout = load_chip("loihi1").synapses
    assert layout is not None
    # 1 synapse of 8 bits: 18 bits -> 64. 64: 522 -> 576. 65: 576 + 64. Sparse, 10 index bits: 6 * 18 + 10 = 118 -> 128.
    assert list_bits([0, 1, 64, 65], 8, layout).tolist() == [0, 64, 576, 640]
    assert list_bits([3, 4, 6], 18, layout).tolist() == [64, 128, 128]


def test_memory_is_what_nengo_loihi_counts() -> None:
    # tests/golden/make_list_bits.py asks the package itself.
    golden = json.loads((GOLDEN / "list_bits.json").read_text())
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
    assert_legal(network, shared, load_chip("loihi1"), exact=True)
    for stride, padding, dilation in [((2, 2), (0, 0), (1, 1)), ((1, 2), (1, 2), (2, 1))]:
        other = Convolution("input", "a", kernel, stride=stride, padding=padding, dilation=dilation)
        nodes = {**network.nodes, "a": Population(other.output_shape((2, 16, 16)), 0, 0, 1)}
        chip = small_chip(neurons=60)
        cut = place(Network(nodes, {"w": other}), chip)
        assert cut.n_cores > 2
        assert_legal(Network(nodes, {"w": other}), cut, chip, exact=True)
    data = load_chip("loihi1").model_dump()
    data["synapses"]["shared_convolution"] = False
    apart = place(network, Chip.model_validate(data))
    assert apart.use["synapse_bits"].sum() > 5 * shared.use["synapse_bits"].sum()
    assert len(shared.axons["w"]) == len(apart.axons["w"]) == 2 * 16 * 16


def test_the_package_itself_still_counts_so(tmp_path: Path) -> None:
    # nengo-loihi needs numpy < 1.24, which sdsnn does not take: it lives in an environment of its own.
    python = os.environ.get("SDSNN_NENGO_LOIHI") or (sys.executable if util.find_spec("nengo_loihi") else None)
    if python is None:
        pytest.skip("nengo-loihi is not installed here; SDSNN_NENGO_LOIHI may name a Python that has it")
    made = tmp_path / "list_bits.json"
    subprocess.run([python, "-W", "ignore", str(GOLDEN / "make_list_bits.py"), str(made)], check=True, timeout=300)
    assert json.loads(made.read_text()) == json.loads((GOLDEN / "list_bits.json").read_text())


def test_intervals_cover_a_population_once() -> None:
    rng = np.random.default_rng(1)
    for by_place in (False, True):
        for _ in range(30):
            shape = tuple(int(n) for n in rng.integers(1, 7, 3))
            units = shape[1] * shape[2] if by_place else shape[0] * shape[1]
            ends = np.unique([0, *rng.integers(0, units + 1, 3), units]).tolist()
            found = [
                box.neurons(shape)
                for first, last in itertools.pairwise(ends)
                for box in interval(shape, first, last, by_place)
            ]
            assert np.array_equal(np.sort(np.concatenate(found)), np.arange(np.prod(shape)))
