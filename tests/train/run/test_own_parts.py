"""Losses, metrics, optimisers, schedulers, callbacks and factories of the user's own; what is wrong is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sdsnn
from sdsnn.train.run.checkpoint import load_checkpoint
from sdsnn.train.run.config import RunConfig, load_config
from sdsnn.train.run.parts.build import trainer_for
from sdsnn.train.run.parts.own import NOTHING
from sdsnn.train.run.start import go_on
from sdsnn.train.run.trainer import NoProgress
from sdsnn.train.slayer.losses import build_loss, own_loss
from sdsnn_core.errors import ConfigError, SdsnnError, UnsupportedNode
from sdsnn_core.lava.compat import import_slayer

SMALL = ["threads=1", "model.hidden=[12]", "data.n_steps=4", "optimiser.batch_size=400", "optimiser.epochs=3"]


def config(*more: str) -> RunConfig:
    return load_config("digits", [*SMALL, *more])


def mean_loss(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(output.sum(-1) * 0.7, labels)


def decay(optimiser: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.5)


def weights(result: Any) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = result.trainer.model.state_dict()
    return state


def test_means_of_the_user_become_sums_and_sums_stay() -> None:
    output, labels = torch.rand(7, 10, 4), torch.arange(7)
    total = float(build_loss("cross_entropy", gain=0.7)(output, labels))
    assert float(own_loss(mean_loss, "mean")(output, labels)) == pytest.approx(total, rel=1e-5)
    losses = import_slayer().loss
    for reduction in ("mean", "sum"):
        loss = losses.SpikeRate(0.9, 0.02, reduction=reduction)
        # SLAYER's mean is over classes, too.
        factor = 10 if reduction == "mean" else 1
        expected = float(build_loss("spike_rate")(output, labels))
        assert factor * float(own_loss(loss, "rate")(output, labels)) == pytest.approx(expected, rel=1e-5)


def test_parts_by_name_and_as_objects_are_the_same(tmp_path: Path) -> None:
    here = __name__
    names = ["optimiser.loss={}:mean_loss", "optimiser.scheduler={}:decay", "optimiser.algorithm=torch.optim:SGD"]
    by_name = sdsnn.train(config(*(name.format(here) for name in names)), tmp_path / "names")
    parts = sdsnn.Parts(loss=mean_loss, optimiser=torch.optim.SGD, scheduler=decay)
    objects = sdsnn.train(config(), tmp_path / "objects", parts=parts)
    assert all(torch.equal(value, weights(objects)[key]) for key, value in weights(by_name).items())
    rates = [line["learning_rate"] for line in objects.folder.history()]
    assert rates == pytest.approx([rates[0], rates[0] / 2, rates[0] / 4])
    assert isinstance(objects.trainer.optimiser, torch.optim.SGD)


class Stop(NoProgress):
    def epoch(self, line: dict[str, Any]) -> None:
        if line["epoch"] == 1:
            raise KeyboardInterrupt


def test_a_run_with_parts_of_the_user_resumes_to_the_same_result(tmp_path: Path) -> None:
    parts = sdsnn.Parts(loss=mean_loss, optimiser=torch.optim.RMSprop, scheduler=decay)
    sdsnn.train(config(), tmp_path / "whole", parts=parts)
    with pytest.raises(KeyboardInterrupt):
        sdsnn.train(config(), tmp_path / "cut", parts=parts, progress=Stop())
    go_on(tmp_path / "cut", own=NOTHING._replace(parts=parts)).train()
    states = [load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "cut")]
    assert states[0]["scheduler"] == states[1]["scheduler"]
    assert all(torch.equal(value, states[1]["model"][key]) for key, value in states[0]["model"].items())


def test_callbacks_get_the_lines_of_the_history(tmp_path: Path) -> None:
    class Keep:
        def __init__(self) -> None:
            self.lines: list[dict[str, Any]] = []

        def on_epoch_end(self, line: dict[str, Any]) -> None:
            self.lines.append(line)

    keep = Keep()
    result = sdsnn.train(config(), tmp_path / "run", callbacks=[keep])
    assert json.loads(json.dumps(keep.lines)) == result.folder.history()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"loss": lambda output: output}, r"optimiser\.loss: expected .* to take output \(400, 10, 4\) and targets"),
        ({"loss": lambda output, labels: output}, r"expected a tensor of one value from .*, got shape \(400, 10, 4\)"),
        ({"loss": lambda output, labels: 3.0}, "expected a tensor of one value from .*, got float"),
        (
            {"optimiser": lambda parameters: None},
            r"optimiser\.algorithm: expected .* to take \(parameters, lr, weight_",
        ),
        ({"optimiser": lambda parameters, **keys: 3}, r"expected a torch\.optim\.Optimizer from .*, got int"),
        ({"scheduler": lambda: None}, r"optimiser\.scheduler: expected .* to take an optimiser"),
        ({"scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau}, "expected a torch scheduler that steps by epochs"),
        ({"metric": 3}, r"task\.metric: expected a function or class, got int"),
    ],
)
def test_parts_that_do_not_work_are_one_line(parts: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        sdsnn.train(config(), tmp_path / "run", parts=sdsnn.Parts(**parts))
    assert "\n" not in str(caught.value)


# -- factories --------------------------------------------------------------------------------------------------------

NEURON = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.1}


class Net(torch.nn.Module):
    def __init__(self, shape: Any, n: int, after: Any = None, **options: Any) -> None:
        super().__init__()
        cuba = import_slayer().block.cuba
        self.first = cuba.Dense(NEURON, shape[0], 8, **options)
        self.second = cuba.Dense(NEURON, 8, n, **options)
        self.after = after

    def forward(self, x: torch.Tensor) -> Any:
        y = self.second(self.first(x))
        return y if self.after is None else self.after(y)


def raising(error: Exception) -> Any:
    def make(*_: Any) -> Any:
        raise error

    return make


FACTORIES: dict[str, Any] = {
    "needs_more": lambda shape, n, more: Net(shape, n),
    "no_module": lambda shape, n: [Net(shape, n)],
    "class_not_object": lambda shape, n: Net,
    "nothing": lambda shape, n: None,
    "no_blocks": lambda shape, n: torch.nn.Linear(64, n),
    "raises": raising(RuntimeError("two\nlines")),
    "raises_key": raising(KeyError("x")),
    "forward_raises": lambda shape, n: Net(shape, n, raising(ZeroDivisionError("division"))),
    "forward_text": lambda shape, n: Net(shape, n, lambda y: "text"),
    "forward_nothing": lambda shape, n: Net(shape, n, lambda y: None),
    "forward_empty": lambda shape, n: Net(shape, n, lambda y: ()),
    "too_few": lambda shape, n: Net(shape, n - 1),
    "too_many": lambda shape, n: Net(shape, n + 1),
    "other_input": lambda shape, n: Net((3,), n),
    "flat": lambda shape, n: Net(shape, n, lambda y: y.sum(-1)),
    "no_shift": lambda shape, n: Net(shape, n, delay_shift=False),
    "no_quantiser": lambda shape, n: Net(shape, n, pre_hook_fx=None),
    "scaled": lambda shape, n: Net(shape, n, lambda y: y * 0.5),
}
globals().update({f"make_{name}": function for name, function in FACTORIES.items()})
ONLY_LOWERING = ("no_shift", "no_quantiser", "scaled")


@pytest.mark.parametrize("name", FACTORIES)
def test_factories_that_do_not_work_are_one_line_before_any_epoch(name: str, tmp_path: Path) -> None:
    made = config(f"model.factory={__name__}:make_{name}", "optimiser.epochs=1")
    with pytest.raises(SdsnnError) as caught:
        sdsnn.train(made, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "history.jsonl").exists()
    if name in ONLY_LOWERING:
        assert isinstance(caught.value, UnsupportedNode)
        assert "--train-only" in str(caught.value)
        assert sdsnn.train(made, tmp_path / "run", train_only=True).best_epoch == 0
    else:
        assert "model.factory" in str(caught.value)


@pytest.mark.parametrize("source", ["def build(:", "1 / 0", "import nowhere_at_all", "build = 3", "x = 1"])
def test_modules_that_cannot_be_imported_are_one_line(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"user_module_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"model\.factory") as caught:
        trainer_for(config(f"model.factory={name}:build"))
    assert "\n" not in str(caught.value)
