"""State and messages of neurons: counted on every core, held against a chip's limits, named where it has none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from networks import random_network
from placement_recount import assert_legal, small_chip, words

from sdsnn.deploy.placement.bound import lower_bounds
from sdsnn.deploy.placement.chip import Chip, DoesNotFit, load_chip
from sdsnn.deploy.placement.explain import explain
from sdsnn.deploy.placement.network_limits import message_bits, whole_chip_lines
from sdsnn.deploy.placement.place import place
from sdsnn.deploy.placement.text import placement_to_json
from sdsnn.deploy.placement.tight_bound import tight_bounds
from sdsnn_core.network import AdaptiveLif, Delta, Input, Network, Output, Population, Sigma, SigmaDelta, Synapses


def chain(*populations: Population, max_value: int = 1, min_value: int = 0) -> Network:
    """Return populations one behind the other, one to one."""
    size = populations[0].size
    nodes = {"in": Input((size,), max_value, min_value), **{f"p{i}": p for i, p in enumerate(populations)}}
    every, names = np.arange(size), list(nodes)
    wires = {f"w{i}": Synapses(*names[i : i + 2], every, every, np.full(size, 2)) for i in range(len(populations))}
    return Network({**nodes, "out": Output(names[-1])}, wires)


def cuba(size: int) -> Population:
    return Population((size,), 1024, 128, 80)


def sigma_delta(size: int = 4) -> Network:
    shape = (size,)
    return chain(
        Delta(shape, 1), SigmaDelta(shape, 1), SigmaDelta(shape, 1, cumulative=True), Sigma(shape), max_value=9
    )


def without(chip: Chip, **tables: object) -> Chip:
    return Chip.model_validate({**chip.model_dump(), **tables})


def test_networks_of_all_models_are_placed_within_the_limit_of_state() -> None:
    cut = 0
    for seed in range(40):
        rng = np.random.default_rng([16, seed])
        network = random_network(rng, wild=False, models=True)
        limit = int(rng.choice([12, 24, 60]))
        chip = small_chip("loihi2", state_words=limit)
        placement = place(network, chip)
        assert_legal(network, placement, chip)
        assert max(placement.use["state_words"]) <= limit
        needed = sum(words(network, name) * p.size for name, p in network.populations.items())
        for bounds in (lower_bounds(network, chip, cores=9), tight_bounds(network, chip, cores=9)):
            assert -(-needed // limit) <= bounds["state_words"] <= placement.n_cores
        cut += placement.n_cores > place(network, "loihi2").n_cores
    assert cut > 20


def test_a_neuron_with_more_state_than_a_chip_allows_is_one_line() -> None:
    chip = small_chip("loihi2")
    four = {"state_words": {**chip.per_neuron["state_words"].model_dump(), "value": 3, "note": ""}}
    chip = without(chip, per_neuron=four)
    assert place(chain(cuba(3)), chip).n_cores == 1
    message = (
        r"\Anode 'p1' does not fit small chip: state of a neuron \(words of 32 bits\): "
        r"expected at most 3 per neuron, got 4\Z"
    )
    with pytest.raises(DoesNotFit, match=message):
        place(chain(cuba(3), AdaptiveLif((3,), 1024, 128, 64, 410, 80, 8)), chip)


def test_loihi_1_sends_no_messages() -> None:
    with pytest.raises(
        DoesNotFit, match=r"node 'p0' .*bits of a message: expected at most 1 per neuron, got 32 \(Loihi 1"
    ):
        place(sigma_delta(), "loihi1")
    assert explain(sigma_delta(), load_chip("loihi1")).refusal is not None
    assert place(sigma_delta(), "loihi2").use["state_words"].tolist() == [4 * (2 + 3 + 4 + 1)]


@pytest.mark.parametrize(("high", "low", "bits"), [(1, 0, 1), (3, 0, 2), (255, 0, 8), (1, -1, 2), (3, -128, 9)])
def test_the_bits_of_an_input_hold_its_values(high: int, low: int, bits: int) -> None:
    node = Input((2,), high, low)
    assert message_bits(node) == bits
    assert -(2 ** (bits - (low < 0))) <= low <= high < 2 ** (bits - (low < 0))
    notes = place(chain(cuba(2), max_value=high, min_value=low), "loihi1").notes
    assert any(f"input 'in': values of {bits} bits" in note for note in notes) == (bits > 1)


def test_other_models_than_those_of_a_chip_are_noted() -> None:
    network = chain(cuba(2), AdaptiveLif((2,), 1024, 128, 64, 410, 80, 8))
    note = "population 'p1': expected CubaLif, RefractoryLif, the neurons of Intel Loihi 1, got AdaptiveLif"
    assert note in place(network, "loihi1").notes
    assert not any("population" in note for note in place(network, "loihi2").notes)


def test_a_chip_without_limits_of_a_neuron_says_not_counted() -> None:
    chip = without(small_chip("loihi2"), per_neuron={})
    notes = place(sigma_delta(), chip).notes
    assert "state of a neuron (words of 32 bits): up to 4, not counted: no limit was published" in notes
    assert "bits of a message: up to 32, not counted: no limit was published" in notes
    fits, lines = whole_chip_lines(chain(cuba(2)), load_chip("xylo"))
    assert fits
    assert sum("not counted" in line for line in lines) == 2


def test_the_limits_of_a_neuron_are_in_the_json(tmp_path: Path) -> None:
    data = json.loads(json.dumps(placement_to_json(explain(sigma_delta(), load_chip("loihi2"), advice=False))))
    assert {name: entry["value"] for name, entry in data["neuron_limits"].items()} == {
        "state_words": 1024,
        "message_bits": 32,
    }
    assert data["per_core"]["state_words"] == [40]
