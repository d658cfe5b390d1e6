"""The spine rule against an oracle that walks one synapse at a time, written from the rule's description."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdsnn_core.development.ranges import around, clamp, init_ranges, spine_size, trust_regions, update_ranges


class Spine:
    """One synapse: runs of consecutive epochs are kept as plain counts of epochs."""

    def __init__(self, radius: float, weight: float) -> None:
        self.upper, self.lower, self.last = radius, -radius, abs(weight)
        self.above: list[float] = []  # overshoots of the current run of epochs outside, the first one included
        self.below: list[float] = []
        self.fading = 0  # epochs of the current run

    def epoch(self, weight: float, persistence: int, shrink: float, fade: float) -> None:
        # Both bounds are compared before any of them moves in this epoch.
        self.above = [*self.above, weight - self.upper] if weight >= self.upper else []
        self.below = [*self.below, weight - self.lower] if weight <= self.lower else []
        self.fading = self.fading + 1 if abs(weight) < (1 - fade) * self.last else 0
        if len(self.above) == persistence + 1:
            self.upper += sum(self.above[1:]) / persistence
            self.above = [0.0]  # the run goes on, the count starts anew
        if len(self.below) == persistence + 1:
            self.lower += sum(self.below[1:]) / persistence
            self.below = [0.0]
        if self.fading == persistence + 1:
            self.upper, self.lower, self.fading = self.upper * shrink, self.lower * shrink, 1
        self.last = abs(weight)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("persistence", [1, 2, 5])
def test_ranges_follow_the_rule_synapse_by_synapse(seed: int, persistence: int) -> None:
    rng = np.random.default_rng([seed, persistence])
    shape = (3, 4, 1, 1, 1)
    walk = rng.normal(0, 1, shape)
    drift = rng.normal(0, 0.3, shape)  # so that runs outside the range and of fading both occur
    fade = [0.0, 0.05][seed % 2]
    shrink = 0.75 if seed < 3 else 0.5
    state = init_ranges(torch.from_numpy(walk))
    radius = np.abs(walk).max()
    spines = [Spine(radius, w) for w in walk.flat]
    moved = 0
    for epoch in range(40):
        if epoch % 10 == 0:
            drift = -drift
        walk = walk + drift + rng.normal(0, 0.02, shape)
        before = state
        state = update_ranges(state, torch.from_numpy(walk), persistence, shrink=shrink, fade=fade)
        for spine, w in zip(spines, walk.flat, strict=True):
            spine.epoch(w, persistence, shrink, fade)
        np.testing.assert_allclose(state.upper.numpy().ravel(), [s.upper for s in spines], rtol=1e-12, err_msg=epoch)
        np.testing.assert_allclose(state.lower.numpy().ravel(), [s.lower for s in spines], rtol=1e-12)
        moved += int((state.upper != before.upper).sum() + (state.lower != before.lower).sum())
        assert (state.upper >= 0).all()
        assert (state.lower <= 0).all()
        if epoch > 20:  # clamped weights feed back, as in training
            walk = clamp(torch.from_numpy(walk), state).numpy()
    assert moved > 20


class Trust:
    """One synapse with a trust region: what it may gain in an epoch, and its runs of epochs."""

    def __init__(self, room: float, weight: float) -> None:
        self.room, self.weight = room, weight
        self.gained, self.lost, self.fading = 0, 0, 0  # consecutive epochs beyond the upper bound, the lower; of decay

    def epoch(self, weight: float, persistence: int, shrink: float, fade: float) -> None:
        upper, lower = max(self.weight, 0.0) + self.room, min(self.weight, 0.0) - self.room
        self.gained = self.gained + 1 if weight >= upper else 0
        self.lost = self.lost + 1 if weight <= lower else 0
        self.fading = self.fading + 1 if abs(weight) < (1 - fade) * abs(self.weight) else 0
        self.weight = min(max(weight, lower), upper)
        if persistence + 1 in (self.gained, self.lost):
            self.room /= shrink
        elif self.fading == persistence + 1:
            self.room *= shrink
        if self.gained == persistence + 1:
            self.gained = 1
        if self.lost == persistence + 1:
            self.lost = 1
        if self.fading == persistence + 1:
            self.fading = 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("persistence", [1, 3])
def test_trust_regions_follow_the_rule_synapse_by_synapse(seed: int, persistence: int) -> None:
    rng = np.random.default_rng([seed, persistence])
    walk = rng.normal(0, 1, (4, 5))
    drift = rng.normal(0, 0.5, walk.shape)
    fade, shrink = [0.0, 0.05][seed % 2], 0.75
    state = init_ranges(torch.from_numpy(walk), 0.3)
    state = around(state, torch.from_numpy(walk), state.upper)
    room = float(init_ranges(torch.from_numpy(walk), 0.3).upper[0, 0])
    synapses = [Trust(room, w) for w in walk.flat]
    rooms = set()
    for epoch in range(40):
        if epoch % 12 == 0:
            drift = -drift
        walk = walk * 0.98 + drift + rng.normal(0, 0.02, walk.shape)
        weight = torch.from_numpy(walk)
        kept = clamp(weight, state)
        state = trust_regions(state, weight, kept, persistence, shrink=shrink, fade=fade)
        for synapse, w in zip(synapses, walk.flat, strict=True):
            synapse.epoch(w, persistence, shrink, fade)
        walk = kept.numpy()
        np.testing.assert_allclose(walk.ravel(), [s.weight for s in synapses], rtol=1e-12, err_msg=epoch)
        upper = [max(s.weight, 0.0) + s.room for s in synapses]
        lower = [min(s.weight, 0.0) - s.room for s in synapses]
        np.testing.assert_allclose(state.upper.numpy().ravel(), upper, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(state.lower.numpy().ravel(), lower, rtol=1e-9, atol=1e-12)
        rooms |= {round(s.room, 6) for s in synapses}
    assert min(rooms) < room < max(rooms)


def test_widening_fires_after_persistence_plus_one_epochs_and_then_every_persistence() -> None:
    weight = torch.tensor([[1.0, 0.5]])
    state = init_ranges(weight)
    fired = []
    for epoch in range(1, 10):
        new = update_ranges(state, torch.tensor([[9.0, 0.5]]), 3)
        if new.upper[0, 0] != state.upper[0, 0]:
            fired.append(epoch)
        state = new
    # Out since epoch 1; counted from epoch 2; 3 counts at epoch 4. The bound moves to the weight itself, where the
    # weight is still "at or above" it, so the run goes on with an overshoot of 0.
    assert fired == [4]
    assert state.upper[0, 0] == 9.0
    assert state.over[0, 0] == (9 - 4) % 3


def test_shrinking_at_most_twice_before_the_first_pruning_epoch() -> None:
    """The spec's remark: by epoch 2T + 1 a spine has lost at most two factors, and a steady fade loses exactly two."""
    persistence = 18
    state = init_ranges(torch.full((1, 1), 8.0))
    for epoch in range(1, 2 * persistence + 2):
        state = update_ranges(state, torch.full((1, 1), 8.0 - 0.1 * epoch), persistence)
    assert state.upper.item() == pytest.approx(8 * 0.75**2)


def test_weights_at_rest_and_pruned_ones_keep_their_range() -> None:
    state = init_ranges(torch.tensor([[1.0, 0.0]]))
    for _ in range(20):
        state = update_ranges(state, torch.tensor([[0.5, 0.0]]), 2)
    assert state.upper.tolist() == [[1.0, 1.0]]


def test_creeping_weights_shrink_only_without_a_least_fade() -> None:
    """A weight that loses 0.1 % per epoch fades for the released code, and does not with fade = 1 %."""
    weights = [torch.tensor([[1.0, 0.1 * 0.999**epoch]]) for epoch in range(30)]
    ends = []
    for fade in (0.0, 0.01):
        state = init_ranges(weights[0])
        for weight in weights[1:]:
            state = update_ranges(state, weight, 4, fade=fade)
        ends.append(state.upper[0, 1].item())
    assert ends[0] == pytest.approx(0.75**7)
    assert ends[1] == 1.0


def test_initial_range_is_the_largest_magnitude_or_a_quantile() -> None:
    weight = torch.tensor([[-4.0, 1.0, 2.0, -3.0]])
    assert init_ranges(weight).upper.unique().tolist() == [4.0]
    assert init_ranges(weight, quantile=0.5).upper.unique().tolist() == [2.0]
    torch.testing.assert_close(clamp(weight, init_ranges(weight, quantile=0.5)), torch.tensor([[-2.0, 1.0, 2.0, -2.0]]))
    torch.testing.assert_close(spine_size(init_ranges(weight)), torch.full((1, 4), 8.0))


def test_arguments_are_not_changed() -> None:
    weight = torch.randn(4, 5)
    state = init_ranges(weight)
    copies = [value.clone() for value in state]
    update_ranges(state, weight * 2, 1)
    clamp(weight * 3, state)
    assert all(torch.equal(a, b) for a, b in zip(copies, state, strict=True))
