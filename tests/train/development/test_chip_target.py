"""Development towards a chip: the target is found, the search leaves the model alone, the network fits at the end."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from developing_runs import EPOCHS, Run
from placement_recount import small_chip

from sdsnn.deploy.placement.objective.cost import NO_CORES, chip_cost
from sdsnn.deploy.placement.place import place
from sdsnn.train.development.chip_target import TOLERANCE, ChipTarget
from sdsnn.train.slayer.lowering import lower
from sdsnn_core.compaction import compact
from sdsnn_core.development import DevelopmentConfig, stop_criteria
from sdsnn_core.development.chip_costs import ChipCost, list_costs
from sdsnn_core.errors import ConfigError
from sdsnn_core.network import Network

ON = {"pruning": False, "regeneration": False, "constraint": False, "synapse_stage": True, "chip": "small"}
STAGE = {"synapse_begin": 0.7, "synapse_end": 0.85}  # three epochs of the stage, two after it
CHIP = small_chip(neurons=64, synapse_bits=2048)


def network_of(model: torch.nn.Module) -> Network:
    return compact(lower(model, (14,))).network


def fitted(**criteria: float) -> Run:
    run = Run("dense", **ON, **STAGE, **criteria)
    assert run.developer is not None
    spikes = (np.random.default_rng(0).random((2, 8, 14)) < 0.4).astype(np.uint8)
    needed = None if set(criteria) == {"stop_cores"} else spikes
    measure = lambda model: chip_cost(network_of(model), CHIP, needed)  # noqa: E731
    run.developer.sparsifier.fit = ChipTarget(run.model, run.developer.config, measure)
    return run


def test_the_stage_ends_within_the_limits_of_the_chip() -> None:
    run = fitted(stop_cores=2)
    developer = run.developer
    assert developer is not None
    assert place(network_of(run.model), CHIP).n_cores > 2
    developer.next_epoch = developer.schedule.synapse_first
    sizes = []
    for _ in range(3):
        developer.epoch_end(run.optimiser)
        sizes.append(developer.connection_sparsity())
    assert sizes == sorted(sizes)
    placement = place(network_of(run.model), CHIP)
    cost = developer.metrics().chip
    assert cost is not None
    assert placement.n_cores == cost.cores == 2
    assert not stop_criteria.unmet(developer.config, developer.metrics())


@pytest.mark.slow
@pytest.mark.parametrize("criteria", [{"stop_cores": 2}, {"stop_busiest": 40.0, "stop_time": 1.5e-6}])
def test_a_run_ends_within_the_limits_of_the_chip(criteria: dict[str, float]) -> None:
    run = fitted(**criteria)
    developer = run.developer
    assert developer is not None
    before = place(network_of(run.model), CHIP).n_cores
    run.go()
    cost = developer.metrics().chip
    assert cost is not None
    network = network_of(run.model)
    placement = place(network, CHIP)
    assert placement.n_cores == cost.cores
    assert not stop_criteria.unmet(developer.config, developer.metrics())
    if "stop_cores" in criteria:
        assert cost.cores <= criteria["stop_cores"] < before


@pytest.mark.slow
def test_a_run_goes_on_from_a_saved_state() -> None:
    run = fitted(stop_cores=2).go(EPOCHS - 3)
    state = run.state()
    other = fitted(stop_cores=2)
    other.load(state)
    assert run.developer is not None
    assert other.developer is not None
    assert other.developer.metrics().chip == run.developer.metrics().chip
    run.go()
    other.records = run.records[: EPOCHS - 3]
    other.go()
    for one, two in zip(run.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("known", [None, 30, 430, 700])
@pytest.mark.parametrize("limit", [40, 431, 640])
def test_the_search_finds_the_greatest_number_and_changes_nothing(limit: int, known: int | None) -> None:
    model = torch.nn.Linear(32, 24)
    config = DevelopmentConfig(synapse_stage=True, chip="x", stop_cores=1)
    kept = 768
    tried: list[int] = []

    def measure(_: torch.nn.Module) -> ChipCost:
        tried.append(kept)
        return ChipCost(1 if kept <= limit else 2)

    def apply(keep: int) -> None:
        nonlocal kept
        kept = keep
        model.weight.zero_()

    weight = model.weight.detach().clone()
    target = ChipTarget(model, config, measure)
    target.keep = known
    keep = target.search(apply, 1, 768)
    assert keep is not None
    assert limit * (1 - TOLERANCE) - 1 <= keep <= limit
    assert torch.equal(model.weight, weight)
    assert len(tried) <= 18


def test_a_limit_out_of_reach_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    model = torch.nn.Linear(4, 4)
    config = DevelopmentConfig(synapse_stage=True, chip="x", stop_cores=2)
    target = ChipTarget(model, config, lambda _: ChipCost(5, binds="neurons"))
    with caplog.at_level(logging.WARNING, "sdsnn.development"):
        assert target.search(lambda keep: None, 3, 16) is None
        assert target.search(lambda keep: None, 3, 16) is None
    line = "development.stop_cores: 2 is not reached, the network is at 5 with 3 synapses; neurons binds"
    assert [record.getMessage() for record in caplog.records] == [line]


def test_costs_of_lists_against_a_count_of_words() -> None:
    rng = np.random.default_rng(0)
    for bits, pieces, units in ((14, 1, 90), (9, 3, 100), (20, 4, 7)):
        mask = rng.random((units, 6)) < 0.7
        costs = list_costs(torch.from_numpy(mask), pieces, "synapse_bits", bits).numpy()
        each = np.zeros(mask.shape)
        for rows in np.array_split(np.arange(units), pieces):
            for source in range(6):
                n = count = int(mask[rows, source].sum())
                words = 0
                while n > 0:
                    words += -(-(min(n, 64) * bits + 10) // 64)
                    n -= 64
                each[rows, source] = words / max(count, 1)
        each /= each[mask].mean()
        np.testing.assert_allclose(costs[mask], each[mask])
    one = list_costs(torch.ones(4, 4, dtype=torch.bool), 2, "neurons", 14)
    assert torch.equal(one, torch.ones(4, 4, dtype=torch.float64))


def test_what_a_criterion_lacks_is_one_line() -> None:
    with pytest.raises(ConfigError, match="stop_cores: expected chip beside it, got none"):
        DevelopmentConfig(synapse_stage=True, stop_cores=3)
    with pytest.raises(ConfigError, match="stop_time: expected synapse_stage = true beside it, got none"):
        DevelopmentConfig(chip="loihi2", stop_time=1e-6)
    with pytest.raises(ConfigError, match=r"chip: expected one of stop_cores, .* beside it, got none"):
        DevelopmentConfig(synapse_stage=True, chip="loihi2")
    with pytest.raises(ConfigError, match="chip: expected mode corrected, got adaptive"):
        DevelopmentConfig(mode="adaptive", chip="loihi2", stop_cores=3)


def test_a_network_that_no_core_takes_is_too_large() -> None:
    network = network_of(Run("dense").model)
    cost = chip_cost(network, small_chip(neurons=8, synapse_bits=64))
    assert cost == ChipCost(NO_CORES, binds="synapse_bits")
