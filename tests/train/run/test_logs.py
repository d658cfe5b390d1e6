"""Logs: history.csv holds the history, TensorBoard's files hold the same numbers, and a resumed run repeats none."""

from __future__ import annotations

import csv
import importlib.util
import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from sdsnn.train.run.config import RunConfig, load_config
from sdsnn.train.run.progress import Bars, sparkline
from sdsnn.train.run.run_folder import RunFolder
from sdsnn.train.run.train import train
from sdsnn.train.run.trainer import NoProgress
from sdsnn_core.errors import MissingDependency

SMALL = ["optimiser.epochs=4", "model.hidden=[24, 16]", "data.n_steps=8", "optimiser.batch_size=256", "threads=1"]
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs TensorBoard: pip install tensorboard"
)


class Stop(NoProgress):
    """Interrupts the run in the middle of epoch 2, as Ctrl-C does."""

    def batch(self, epoch: int, batch: int, n_batches: int, loss: float) -> None:
        if (epoch, batch) == (2, 1):
            raise KeyboardInterrupt


def config(*more: str) -> RunConfig:
    return load_config("digits", [*SMALL, *more])


def interrupted_and_resumed(folder: Path, made: RunConfig) -> RunFolder:
    run = RunFolder.create(folder, made)
    with pytest.raises(KeyboardInterrupt):
        train(made, run, progress=Stop())
    train(made, run, resume=True)
    return run


def test_csv_holds_the_history(tmp_path: Path) -> None:
    run = interrupted_and_resumed(tmp_path / "run", config())
    with open(run.path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    history = run.history()
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    for row, line in zip(rows, history, strict=True):
        for name in (
            "loss",
            "train_accuracy",
            "validation_accuracy",
            "learning_rate",
            "connection_sparsity",
            "waiting",
        ):
            assert float(row[name]) == line[name]
        assert float(row["spike_rate/1"]) == line["spike_rates"][1]
        for layer in line["layers"]:
            assert float(row[f"{layer['layer']}/synapses"]) == layer["synapses"]
            assert float(row[f"{layer['layer']}/pruned"]) == layer["pruned"]


def test_no_csv_where_none_is_wanted(tmp_path: Path) -> None:
    made = config("log.csv=false", "optimiser.epochs=1")
    run = RunFolder.create(tmp_path / "run", made)
    train(made, run)
    assert not (run.path / "history.csv").exists()
    assert not (run.path / "tensorboard").exists()


def test_missing_tensorboard_is_one_line_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch.utils.tensorboard", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    made = config("log.tensorboard=true")
    run = RunFolder.create(tmp_path / "run", made)
    with pytest.raises(MissingDependency, match=r"log\.tensorboard: needs TensorBoard: pip install") as caught:
        train(made, run)
    assert "\n" not in str(caught.value)
    assert run.history() == []


@needs_tensorboard
def test_tensorboard_holds_the_history_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = interrupted_and_resumed(tmp_path / "run", config("log.tensorboard=true"))
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    history = run.history()
    for name in ("loss", "validation_accuracy", "connection_sparsity"):
        scalars = events.Scalars(name)
        assert [scalar.step for scalar in scalars] == [0, 1, 2, 3]
        assert [scalar.value for scalar in scalars] == pytest.approx([line[name] for line in history])
    assert "blocks.0/synapses" in events.Tags()["scalars"]


def test_progress_shows_it_all_in_80_columns() -> None:
    text = io.StringIO()
    bars = Bars(4, console=Console(file=text, force_terminal=True, width=80))
    layers = [{"alive_units": 7, "units": 9}, {"alive_units": 10, "units": 10}]
    line = {"loss": 1.23456, "train_accuracy": 0.5, "validation_accuracy": 0.625, "spike_rates": [0.1, 0.02]}
    with bars:
        bars.batch(0, 2, 5, 0.75)
        bars._bars.refresh()
        bars.epoch({**line, "epoch": 1, "connection_sparsity": 0.4, "layers": layers, "waiting": 0.03})
    shown = text.getvalue()
    for part in (
        "loss 0.750", "loss 1.235", "accuracy 50.0%", "on validation 62.5%", "spike rate 6.0%", "synapses absent 40.0%",
        "units alive 17 of 19", "waiting for data 3%", "2/4", "-:--:--", "on validation ▁  absent ▁",
    ):  # fmt: skip
        assert part in shown, part


def test_a_sparkline_ends_with_the_newest_value() -> None:
    assert sparkline([0.0, 0.5, 1.0, 0.25]) == "▁▅█▃"
    assert sparkline([2.0, 2.0]) == "▁▁"
    long = [0.0] * 99 + [1.0]
    assert sparkline(long, 10) == "▁▁▁▁▁▁▁▁▁█"
    assert len(sparkline(list(range(25)))) == 24
