"""Development towards a chip: the target is found, the search leaves the model alone, the network fits at the end."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from developing_runs import EPOCHS, Run
from placement_recount import small_chip

from sdsnn.deploy.placement.chip import Chip, load_chip
from sdsnn.deploy.placement.objective.cost import NO_CORES, chip_cost
from sdsnn.deploy.placement.place import place
from sdsnn.train.development.chip_prices import masked_costs
from sdsnn.train.development.chip_target import TOLERANCE, ChipTarget
from sdsnn.train.run.config import load_config
from sdsnn.train.run.parts.build import group_of, trainer_for
from sdsnn.train.run.parts.chip import check_chip
from sdsnn.train.slayer.graph.names import population_names
from sdsnn.train.slayer.lowering import lower
from sdsnn.train.slayer.tracing import read_graph
from sdsnn_core import reference
from sdsnn_core.compaction import compact
from sdsnn_core.development import DevelopmentConfig, stop_criteria
from sdsnn_core.development.chip_costs import ChipCost
from sdsnn_core.errors import ConfigError, FileError, NetworkError
from sdsnn_core.network import Network

ON = {"pruning": False, "regeneration": False, "constraint": False, "synapse_stage": True, "chip": "small"}
STAGE = {"synapse_begin": 0.7, "synapse_end": 0.85}  # three epochs of the stage, two after it
CHIP = small_chip(neurons=64, synapse_bits=2048)


def network_of(model: torch.nn.Module) -> Network:
    return compact(lower(model, (14,))).network


def fitted(chip: Chip = CHIP, kind: str = "dense", **criteria: Any) -> Run:
    run = Run(kind, **ON, **STAGE, **criteria)
    assert run.developer is not None
    shape = tuple(run.x.shape[1:-1])
    spikes = (np.random.default_rng(0).random((2, 8, *shape)) < 0.4).astype(np.uint8)
    needed = None if set(criteria) == {"stop_cores"} else spikes

    def measure(model: torch.nn.Module) -> ChipCost:
        compaction = compact(lower(model, shape))
        cost = chip_cost(compaction.network, chip, needed)
        marginal = cost.marginal
        assert marginal is not None
        return replace(cost, marginal=lambda limit: masked_costs(compaction, marginal(limit)))

    graph, masked = read_graph(run.model, run.x[:1]), run.developer.layers
    names = dict(zip((id(call.block) for call in graph.calls), population_names(graph), strict=True))
    of_layers = [names[id(layer.block)] for layer in masked]
    run.developer.sparsifier.fit = ChipTarget(run.model, run.developer.config, measure, masked, of_layers)
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


def test_where_neurons_bind_whole_units_go() -> None:
    """Single synapses would have to go until units have none: of 20 + 12 hidden units, 16 or 17 may stay."""
    chip = small_chip(neurons=10, synapse_bits=2**20)
    sizes = {}
    for cost in ("chip", "none"):
        run = fitted(chip, stop_cores=2, synapse_cost=cost)
        developer = run.developer
        assert developer is not None
        developer.next_epoch = developer.schedule.synapse_first
        for _ in range(3):
            developer.epoch_end(run.optimiser)
        network = network_of(run.model)
        assert place(network, chip).n_cores == 2
        assert developer.layers[-1].unit_gate.all()
        sizes[cost] = sum(p.n_weights for p in network.projections.values())
        if cost == "chip":
            for before, layer in zip([None, *developer.layers[:-1]], developer.layers, strict=True):
                inputs = torch.ones(14, dtype=torch.bool) if before is None else before.unit_gate
                present = layer.mask.flatten(1)[layer.unit_gate][:, inputs]
                assert float(present.float().mean()) > 0.8
    assert sizes["chip"] > 1.5 * sizes["none"]


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


@pytest.mark.parametrize("short", ["synapse_bits", "neurons"])
def test_the_limit_that_more_synapses_exceed_decides_and_not_a_nearer_one_with_room(short: str) -> None:
    model = torch.nn.Linear(32, 24)
    config = DevelopmentConfig(synapse_stage=True, chip="x", stop_cores=1)
    kept = 768
    other = {"synapse_bits": "neurons", "neurons": "synapse_bits"}[short]

    def measure(_: torch.nn.Module) -> ChipCost:
        need = {other: 0.97, short: kept / 431}
        binds = max(need, key=lambda limit: need[limit])
        return ChipCost(1 + (need[binds] > 1), binds=binds, need=need[binds])

    def apply(keep: int) -> None:
        nonlocal kept
        kept = keep

    target = ChipTarget(model, config, measure)
    target.keep = 100  # where the other need alone is within the tolerance of the limit
    keep = target.search(apply, 1, 768, phase=0.5)
    assert keep is not None
    assert 431 / 1.1 <= keep <= 431
    assert target.by_units == (short == "neurons")
    again = ChipTarget(model, config, measure)
    again.load_state_dict(target.state_dict())
    assert again.by_units == target.by_units


def test_a_limit_out_of_reach_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    model = torch.nn.Linear(4, 4)
    config = DevelopmentConfig(synapse_stage=True, chip="x", stop_cores=2)
    target = ChipTarget(model, config, lambda _: ChipCost(5, binds="neurons"))
    with caplog.at_level(logging.WARNING, "sdsnn.development"):
        assert target.search(lambda keep: None, 3, 16) is None
        assert target.search(lambda keep: None, 3, 16) is None
    line = "development.stop_cores: 2 is not reached, the network is at 5 with 3 synapses; neurons binds"
    assert [record.getMessage() for record in caplog.records] == [line]


def lost_by_core(cost_of_synapses: str) -> tuple[np.ndarray, int]:
    """Return the share of its synapses that each core of a toy network loses in one step, and the busiest core."""
    run = fitted(stop_busiest=1.0, synapse_cost=cost_of_synapses, synapse_turnover=0.0)
    developer = run.developer
    assert developer is not None
    fit = developer.sparsifier.fit
    assert fit is not None
    fit.update()
    network, kept = network_of(run.model), compact(lower(run.model, (14,))).kept
    spikes = (np.random.default_rng(0).random((2, 8, 14)) < 0.4).astype(np.uint8)
    placement, activity = place(network, CHIP), reference.run(network, spikes)
    events, before, after = (np.zeros(placement.n_cores) for _ in range(3))
    for p in network.projections.values():
        fired = activity.counts[p.source].sum(0)
        np.add.at(events, placement.core_of[p.target][p.post], fired[p.pre])
    synapses = [synapse for layer in developer.layers for synapse in layer.synapses]
    scores = developer.sparsifier._drop_scores(synapses)
    present = sum(int(synapse.mask.sum()) for synapse in synapses)
    masks = developer.sparsifier._exchange(synapses, present * 7 // 10, 0.0, scores)
    for name, synapse in zip(("dense0", "dense1", "dense2"), synapses, strict=True):
        core = np.full(synapse.mask.shape[0], -1)
        core[kept[name]] = placement.core_of[name]
        for unit, at in enumerate(core.tolist()):
            if at >= 0:
                before[at] += int(synapse.mask[unit].sum())
                after[at] += int(masks[synapse][unit].sum())
    return 1 - after / before, int(events.argmax())


def test_removal_goes_to_the_busiest_core() -> None:
    plain, busiest = lost_by_core("none")
    priced, same = lost_by_core("chip")
    assert busiest == same
    assert len(plain) > 1
    others = np.arange(len(plain)) != busiest
    assert priced[busiest] > plain[busiest] + 0.05
    assert priced[busiest] >= priced[others].max()
    assert priced[others].min() < plain[others].min() - 0.05


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


def test_what_a_chip_lacks_is_one_line_before_the_training(tmp_path: Path) -> None:
    data = load_chip("loihi2").model_dump()
    without = Chip.model_validate({**data, "prices": None, "name": "mine"})
    cost = lambda network, _, spikes: chip_cost(network, without, spikes)  # noqa: E731
    check_chip(cost, "mine", [])
    line = "development.stop_busiest: expected a chip with `prices`, a price list with times, got mine"
    with pytest.raises(ConfigError, match=f"^{line}$"):
        check_chip(cost, "mine", ["stop_busiest"])
    with pytest.raises(NetworkError, match="chip xylo: expected a chip whose cores are known"):
        check_chip(chip_cost, "xylo", [])
    with pytest.raises(FileError, match=r"nowhere\.toml: cannot be read"):
        check_chip(chip_cost, str(tmp_path / "nowhere.toml"), [])
    untimed = Chip.model_validate({**data, "prices": "kerasspiking", "name": "mine"})
    with pytest.raises(ConfigError, match="price list kerasspiking: expected times_ns, got a list without times"):
        check_chip(lambda network, _, spikes: chip_cost(network, untimed, spikes), "mine", ["stop_time"])


def test_a_chip_is_measured_with_samples_from_the_whole_validation_split() -> None:
    """Recordings lie by class in many data sets: the first ones are all alike, and may be the busiest."""
    seen: list[Any] = []

    def measured(network: Network, chip: str, spikes: Any) -> ChipCost:
        seen.append(spikes)
        return ChipCost(1, busiest=1.0)

    keys = ["data.n_steps=4", "development.synapse_stage=true", "development.chip=loihi2", "development.stop_busiest=9"]
    config = load_config("digits", keys)
    trainer = trainer_for(config, group_of(config), chip_cost=measured)
    fit = trainer.developer.sparsifier.fit
    assert fit is not None
    fit.update()
    split = trainer.data.validation.spikes
    places = [int(np.flatnonzero((split == sample).all(axis=(1, 2)))[0]) for sample in seen[-1]]
    assert len(places) == 8
    gaps = np.diff([-1, *places, len(split)])
    assert gaps.max() <= 2 * len(split) / 8


def test_convolutions_are_not_emptied_for_the_events_of_their_many_neurons() -> None:
    run = fitted(load_chip("loihi2"), "conv", stop_busiest=1000.0)
    developer = run.developer
    assert developer is not None
    fit = developer.sparsifier.fit
    assert fit is not None
    before = fit.measure(run.model).busiest
    developer.next_epoch = developer.schedule.synapse_first
    for _ in range(3):
        developer.epoch_end(run.optimiser)
    after = fit.measure(run.model).busiest
    assert before is not None
    assert after is not None
    assert after <= 1000 < before
    assert min(float(layer.mask.float().mean()) for layer in developer.layers) > 0.3  # 0.18 where each place is counted
