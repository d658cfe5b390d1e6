"""benchmarks/results.py: the plan is valid, no run is repeated or trained twice, tables say what the lines say."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sdsnn.train.run.config import load_config

pytest.importorskip("fcntl")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def results() -> Iterator[Any]:
    """Import the script as it imports itself: beside its folder `study`."""
    sys.path.insert(0, str(BENCHMARKS))
    import results

    yield results
    sys.path.remove(str(BENCHMARKS))
    for name in [name for name in sys.modules if name == "results" or name.partition(".")[0] == "study"]:
        del sys.modules[name]


def line(run: Any, **values: Any) -> dict[str, Any]:
    energy = {name: [1e-6, 2e-6, "partial"] for name in ("davies2018", "sanafe2025", "kerasspiking")}
    base = {
        "study": run.study, "row": run.row, "seed": run.seed, "overrides": list(run.overrides), "test": 0.9,
        "synapses": 1000, "connection_sparsity": 0.5, "compression": 0.4, "units": 10, "units_kept": 5, "cores": 1,
        "synaptic_operations": 70.0, "energy": energy, "bins_compared": 10, "bins_differ": 0, "date": "2026-01-01",
        "machine": "a machine", "epochs": 3, "test_samples": 50, "metric": "accuracy",
    }  # fmt: skip
    return base | values


def test_every_planned_run_is_a_valid_configuration_and_planned_once(results: Any) -> None:
    runs = list(results.planned())
    assert len({(run.study, run.row, run.seed) for run in runs}) == len(runs)
    for run in runs:
        assert load_config(run.recipe, run.overrides).seed == run.seed


def test_finished_runs_are_left_out_unless_their_settings_changed(results: Any, tmp_path: Path) -> None:
    runs, out = list(results.planned()), tmp_path / "results.jsonl"
    assert results.remaining(out, []) == runs
    changed = line(runs[1], overrides=["seed=1"])
    out.write_text("".join(json.dumps(each) + "\n" for each in (line(runs[0]), changed, {"recipe": "older"})))
    assert results.remaining(out, []) == runs[1:]
    chosen = results.remaining(out, [runs[0].study])
    assert chosen == [run for run in runs[1:] if run.study == runs[0].study]
    assert results.remaining(out, [f"{runs[3].study}/{runs[3].row}/{runs[3].seed}"]) == [runs[3]]


def test_a_run_that_another_process_trains_is_not_claimed(results: Any, tmp_path: Path) -> None:
    with results.claimed(tmp_path / "run.lock") as first:
        assert first
        with results.claimed(tmp_path / "run.lock") as second:
            assert not second
    with results.claimed(tmp_path / "run.lock") as again:
        assert again


def test_a_row_waits_for_its_teacher_and_finds_its_folder(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {run.row: run for run in results.planned() if run.study == "mnist_conv ways"}
    trained: list[tuple[Any, Path]] = []

    def measure(run: Any, folder: Path, device: str) -> dict[str, Any]:
        assert device == "cpu"
        trained.append((run, folder))
        return line(run, seconds=1.0)

    monkeypatch.setitem(sys.modules, "study.measure", SimpleNamespace(measure=measure))
    out, pupil = tmp_path / "results.jsonl", runs["distilled"]
    assert pupil.earlier == (("teacher", runs["dense"]),)
    assert not results.run_next(out, tmp_path, ["mnist_conv ways/distilled"])
    assert results.run_next(out, tmp_path, ["mnist_conv ways/dense"])
    assert results.run_next(out, tmp_path, ["mnist_conv ways/distilled"])
    assert [run for run, _ in trained] == [runs["dense"], pupil]
    assert trained[0][1] == trained[1][1].with_name(runs["dense"].folder)


def test_all_folds_begin_from_one_run_of_another_study_on_other_digits(results: Any) -> None:
    runs = list(results.planned())
    folds = [run for run in runs if run.study == "nmnist saccades"]
    (begin,) = {run for fold in folds for _, run in fold.earlier}
    assert {use for fold in folds for use, _ in fold.earlier} == {"init"}
    assert sorted({fold.seed for fold in folds}) == list(range(11))
    assert runs.index(begin) < min(map(runs.index, folds))
    config = load_config(begin.recipe, begin.overrides)
    assert config.data.images is not None
    assert config.data.images[0] >= 1000  # the small N-MNIST holds recordings of the digits before


@pytest.mark.slow
def test_a_row_begins_with_the_chosen_weights_of_the_earlier_run(results: Any, tmp_path: Path) -> None:
    from study.measure import measure

    small = ("threads=1", "model.hidden=[8]", "data.n_steps=4", "optimiser.batch_size=512", "optimiser.epochs=1")
    first = results.Run("a", "dense", 0, "digits", (*small, "optimiser.learning_rate=0.01", "seed=0"))
    second = results.Run("b", "later", 0, "digits", (*small, "seed=0"), (("init", first),))
    chosen = measure(first, tmp_path / first.folder)
    later = measure(second, tmp_path / second.folder)
    assert later["init"] == "a/dense/0"
    initial = json.loads((tmp_path / second.folder / "init.json").read_text())
    assert initial["source"] == str(tmp_path / first.folder)
    assert initial["validation"] == chosen["best_validation"]
    again = measure(second, tmp_path / second.folder)
    assert [again[key] for key in ("test", "synapses", "curve")] == [
        later[key] for key in ("test", "synapses", "curve")
    ]


def test_tables_hold_means_deviations_and_differences_of_equal_seeds(results: Any, tmp_path: Path) -> None:
    from study import tables

    runs = {(run.study, run.row, run.seed): run for run in results.planned()}
    lines = [
        line(runs["digits", row, seed], test=test)
        for row, seed, test in [
            ("dense", 0, 0.90), ("dense", 1, 0.92), ("units", 0, 0.91), ("units", 1, 0.91), ("units", 2, 0.1),
        ]
    ]  # fmt: skip
    for row, seed, test, validation in [("dense", 1, 0.9, 0.8), ("adaptive", 1, 0.88, 0.81)]:
        curve = {"validation_accuracy": [0.1, 0.1, *[validation - 0.02, validation + 0.02] * 2]}
        lines.append(line(runs["adaptive digits", row, seed], test=test, curve=curve))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table digits -->\nold\n<!-- end -->\nafter\n<!-- table adaptive -->\n<!-- end -->\n")
    tables.write(lines, page)
    text = page.read_text()
    tables.write(lines, page)
    assert page.read_text() == text  # writing twice changes nothing
    assert "| dense | 0-1 | - | 91.00 ± 1.41 | 1,000 ± 0 |" in text
    assert "| units | 0-2 | +0.00 ± 1.41 |" in text
    assert "1 to 2 |" in text
    assert "| digits | 1 | 80.00 | +1.00 | 90.00 | -2.00 | 50.0 | 1,000 |" in text
    assert text.startswith("before\n")
    assert "old" not in text


def test_the_table_of_tasks_has_the_metrics_of_each_task(results: Any) -> None:
    from study import tables

    runs = {(run.study, run.row, run.seed): run for run in results.planned()}
    more = {"silent": 3, "test_answers": 100}
    lines = [
        line(runs["task power_forecast", "dense", seed], scores={"rmse": rmse, "r2": 0.4}, **{**more, "silent": 0})
        for seed, rmse in ((0, 0.5), (1, 0.7))
    ]
    lines.append(line(runs["task braille", "developed", 2], scores={"accuracy": 0.75}, **more))
    table = tables.task_table(lines).splitlines()
    assert table[2] == (
        "| power_forecast | dense | 0-1 | rmse 0.600 ± 0.141, r2 0.400 ± 0.000 "
        "| 1,000 ± 0 | 1 ± 0 | 70 ± 0 | 1 to 2 | 0.0% | 20, 0 |"
    )
    assert table[3] == "| braille | developed | 2 | accuracy 0.750 | 1,000 | 1 | 70 | 1 to 2 | 3.0% | 10, 0 |"
