"""Development in a loop of the user's own: clocks, gradient scalers, and state saved at any step."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from developing_runs import NEURON, same

from sdsnn import Developer, DevelopmentConfig
from sdsnn.train.slayer.block_spikes import reset_state
from sdsnn_core.errors import ConfigError
from sdsnn_core.lava.compat import import_slayer

EPOCHS, BATCHES = 8, 3
CONFIG = DevelopmentConfig(persistence=1, protect_first=False, synapse_stage=True, synapse_target=0.6)


class Loop:
    """A user's loop. scaler: of a loss whose gradients are scaled. clock: keywords of the Developer."""

    def __init__(self, scaler: Any = None, config: DevelopmentConfig = CONFIG, **clock: int) -> None:
        torch.manual_seed(0)
        dense = import_slayer().block.cuba.Dense
        sizes = (10, 16, 12, 3)
        pairs = itertools.pairwise(sizes)
        self.model = torch.nn.Sequential(*(dense(dict(NEURON), n, m, weight_scale=4) for n, m in pairs))
        self.x = (torch.rand(BATCHES, 4, 10, 12) < 0.5).float()
        self.labels = torch.tensor([0, 1, 2, 0])
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.05)
        self.developer = Developer(self.model, self.x[0, :1], EPOCHS, config, **clock)
        self.scaler = scaler
        self.clock = bool(clock)
        self.steps = 0
        self.regrown = 0

    def gradients(self, samples: slice, factor: float = 1.0) -> None:
        reset_state(self.model)
        output = self.model(self.x[self.steps % BATCHES, samples]).sum(-1)
        loss = torch.nn.functional.cross_entropy(output, self.labels[samples], reduction="sum") * factor
        torch.autograd.backward(loss if self.scaler is None else self.scaler.scale(loss))

    def step(self, factor: float = 1.0) -> None:
        """Take a step on a batch in two parts; a factor of infinity makes the scaler skip it."""
        self.optimiser.zero_grad()
        with self.developer.accumulating(self.scaler):
            self.gradients(slice(0, 2), factor)
            self.gradients(slice(2, 4), factor)
        if self.scaler is None:
            self.optimiser.step()
        else:
            self.scaler.step(self.optimiser)
            self.scaler.update()
        self.developer.step(self.optimiser)
        if factor != 1:
            return
        self.steps += 1
        if not self.clock and self.steps % BATCHES == 0:
            self.developer.epoch_end(self.optimiser)
        self.regrown += sum(record["regrown"] for record in self.developer.records)

    def go(self, until: int = EPOCHS * BATCHES) -> Loop:
        while self.steps < until:
            self.step()
        return self

    def state(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimiser": self.optimiser, "developer": self.developer}
        return copy.deepcopy({name: part.state_dict() for name, part in parts.items()})

    def load(self, state: dict[str, Any], steps: int) -> Loop:
        state = copy.deepcopy(state)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.developer.load_state_dict(state["developer"])
        self.steps = steps
        return self


def scaler(growth_interval: int = 2) -> Any:
    """Powers of two scale exactly, so a scaled run has the bits of a plain one."""
    return torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=growth_interval)


@pytest.fixture(scope="module")
def plain() -> Loop:
    loop = Loop().go()
    assert loop.developer.connection_sparsity() == pytest.approx(0.6, abs=0.05)
    assert loop.regrown > 0
    return loop


def test_a_clock_of_steps_develops_as_epochs_do(plain: Loop) -> None:
    loop = Loop(steps_per_epoch=BATCHES).go()
    assert same(loop.state(), plain.state())
    assert loop.developer.next_epoch == EPOCHS


def test_the_step_that_ends_an_epoch_says_so() -> None:
    loop = Loop(steps_per_epoch=2)
    ended = []
    for _ in range(5):
        loop.developer.step(loop.optimiser)
        ended.append([record["layer"] for record in loop.developer.records])
    assert ended == [[], ["0", "1", "2"], [], ["0", "1", "2"], []]


def test_scaled_gradients_count_unscaled(plain: Loop) -> None:
    loop = Loop(scaler()).go()
    assert loop.scaler.get_scale() > 1024
    assert same(loop.state(), plain.state())


@pytest.mark.parametrize("every", [1, 2])
def test_skipped_steps_do_not_count(every: int) -> None:
    config = DevelopmentConfig(**{**CONFIG.__dict__, "grow_score_every": every})
    expected = Loop(config=config).go().state()
    for clock in ({}, {"steps_per_epoch": BATCHES}):
        loop = Loop(scaler(), config, **clock)
        for _ in range(EPOCHS * BATCHES):
            before = loop.scaler.get_scale()
            loop.step(float("inf"))
            assert loop.scaler.get_scale() < before
            loop.step()
        assert same(loop.state(), expected)


@pytest.mark.parametrize("steps", [5, 13])
@pytest.mark.parametrize("make", [Loop, lambda: Loop(steps_per_epoch=BATCHES)], ids=["epochs", "steps"])
def test_a_loop_resumes_at_any_step(make: Callable[[], Loop], steps: int, plain: Loop) -> None:
    state = make().go(steps).state()
    assert same(make().load(state, steps).go().state(), plain.state())


def test_between_epochs_a_state_has_the_keys_of_older_ones() -> None:
    loop = Loop()
    assert set(loop.go(BATCHES).developer.state_dict()) == {"next_epoch", "operations", "thinning", "layers"}
    assert "begun" in loop.go(BATCHES + 1).developer.state_dict()


def test_a_clock_counts_at_least_one_step() -> None:
    with pytest.raises(ConfigError, match="expected at least one epoch of one step, got 8, 0"):
        Loop(steps_per_epoch=0)
