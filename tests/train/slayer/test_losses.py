"""Losses against their formulas; each pulls the right class up; schedule, early stop, clipping."""

from __future__ import annotations

import math

import pytest
import torch

from sdsnn.train.run.config import load_config
from sdsnn.train.run.parts.build import trainer_for
from sdsnn.train.run.parts.loop import Cosine
from sdsnn.train.run.trainer import Trainer
from sdsnn.train.slayer.losses import build_loss, even_train

LOSSES = ("cross_entropy", "spike_rate", "spike_max", "spike_moid", "spike_time")
SMALL = ["model.hidden=[12]", "data.n_steps=4", "threads=1", "optimiser.batch_size=400"]


def spikes(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    trains = (torch.rand(6, 5, 20, generator=generator) < 0.3).float()
    return trains, torch.tensor([0, 1, 2, 3, 4, 0])


def by_hand(name: str, trains: torch.Tensor, labels: torch.Tensor, gain: float) -> float:
    """The losses that have a closed form, sample by sample in plain Python."""
    total = 0.0
    for train, label in zip(trains.tolist(), labels.tolist(), strict=True):
        counts = [sum(row) for row in train]
        rates = [count / len(train[0]) for count in counts]
        if name == "spike_rate":
            total += sum((rate - (0.9 if i == label else 0.02)) ** 2 for i, rate in enumerate(rates))
        elif name == "spike_moid":
            chances = [1 / (1 + math.exp(-(rate - 0.02) * gain)) for rate in rates]
            total -= sum(math.log(p if i == label else 1 - p) for i, p in enumerate(chances))
        else:
            logits = [gain * count for count in counts] if name == "cross_entropy" else rates
            total += math.log(sum(math.exp(logit) for logit in logits)) - logits[label]
    return total


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "spike_time"])
def test_losses_are_their_formulas(name: str) -> None:
    trains, labels = spikes()
    found = float(build_loss(name, gain=0.6)(trains, labels))
    assert found == pytest.approx(by_hand(name, trains, labels, 0.6), rel=1e-5)


def test_spike_time_is_zero_at_its_target_only() -> None:
    labels = torch.tensor([1, 0])
    target = torch.stack([even_train(0.1, 20, torch.zeros(1)), even_train(0.5, 20, torch.zeros(1))])
    assert target.sum(1).tolist() == [2, 10]
    trains = torch.stack([target, target.flip(0)])
    loss = build_loss("spike_time", true_rate=0.5, false_rate=0.1)
    assert float(loss(trains, labels)) == 0
    assert float(loss(trains.flip(0), labels)) > 0


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_sums_over_the_batch_and_pull_the_right_class_up(name: str) -> None:
    trains, labels = spikes(1)
    trains[:, :, ::2] = 0  # far below the wanted rate, and still above the unwanted one
    loss = build_loss(name)
    parts = sum(float(loss(trains[i : i + 1], labels[i : i + 1])) for i in range(len(labels)))
    assert float(loss(trains, labels)) == pytest.approx(parts, rel=1e-5)
    trains.requires_grad_()
    loss(trains, labels).backward()
    pull = -trains.grad.sum(-1)  # type: ignore[union-attr]
    right = torch.nn.functional.one_hot(labels, 5).bool()
    assert bool((pull[right] > 0).all())
    assert float(pull[~right].mean()) < 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_run_takes_each_loss(name: str) -> None:
    trainer = trainer_for(load_config("digits", [*SMALL, f"optimiser.loss={name}", "optimiser.epochs=1"]))
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    line = trainer.run_epoch(Quiet())
    assert math.isfinite(line["loss"])
    assert not all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))


class Quiet:
    def batch(self, epoch: int, batch: int, n_batches: int, loss: float) -> None: ...

    def epoch(self, line: dict) -> None: ...


def test_schedule_warms_up_in_a_line_and_ends_in_half_a_cosine() -> None:
    rates = ["optimiser.learning_rate=0.8", "optimiser.final_learning_rate=0.1", "optimiser.epochs=11"]
    trainer = trainer_for(load_config("digits", [*SMALL, *rates, "optimiser.warmup_epochs=3"]))
    assert isinstance(trainer.scheduler, Cosine)
    found = [trainer.scheduler.rate(epoch) for epoch in range(11)]
    assert found[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert found[7] == pytest.approx((0.8 + 0.1) / 2)  # half of the eight epochs after the warm-up
    assert found[3:] == sorted(found[3:], reverse=True)
    assert trainer.scheduler.rate(11) == pytest.approx(0.1)
    line = trainer.run_epoch(Quiet())
    assert line["learning_rate"] == trainer.optimiser.param_groups[0]["lr"] == found[0]


def test_early_stop_counts_epochs_without_a_better_one_once_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_for(load_config("digits", [*SMALL, "optimiser.patience=3", "optimiser.epochs=50"]))
    assert not trainer.stops()
    trainer.best = {"epoch": 10, "score": [1, 0.9, -1.0]}
    for last, stops in ((12, False), (13, True), (14, True)):
        trainer.epochs_done = last + 1
        with monkeypatch.context() as patch:
            patch.setattr(type(trainer.developer), "settled", lambda self, epoch: True)
            assert trainer.stops() == stops
            patch.setattr(type(trainer.developer), "settled", lambda self, epoch: False)
            assert not trainer.stops()
    trainer.epochs_done = 50
    assert trainer.stops()


@pytest.mark.parametrize("bound", [1e-4, 1e4])
def test_clipping_bounds_the_norm_of_the_gradient(bound: float, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: dict[float | None, list[float]] = {}
    for clip in (None, bound):
        more = [] if clip is None else [f"optimiser.clip={clip}"]
        trainer = trainer_for(load_config("digits", [*SMALL, "optimiser.epochs=1", *more]))
        found = norms.setdefault(clip, [])
        step = trainer.optimiser.step

        def spy(found: list[float] = found, trainer: Trainer = trainer, step=step) -> None:  # type: ignore[no-untyped-def]
            squares = [float(p.grad.double().square().sum()) for p in trainer.model.parameters() if p.grad is not None]
            found.append(math.sqrt(sum(squares)))
            step()

        monkeypatch.setattr(trainer.optimiser, "step", spy)
        trainer.run_epoch(Quiet())
    assert all(norm <= bound * 1.001 for norm in norms[bound])
    if bound > 1:
        assert norms[bound] == norms[None]
    else:
        assert min(norms[None]) > bound
        assert norms[bound] == pytest.approx([bound] * len(norms[bound]), rel=1e-2)  # torch divides by norm + 1e-6
