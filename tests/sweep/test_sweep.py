"""`sdsnn sweep`: plans, searches, resuming, and a worker that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")
pytest.importorskip("optuna")

from distributed import Client, LocalCluster

from sdsnn.sweep import sweep as sweep_module
from sdsnn.sweep.cluster import connect
from sdsnn.sweep.job import run_job
from sdsnn.sweep.plan import Job, SweepConfig, grid_points, jobs_of, read_sweep
from sdsnn.sweep.sweep import Point, run_sweep
from sdsnn.sweep.table import front, rows
from sdsnn_core.errors import BackendError, ConfigError, SdsnnError

TINY = '"optimiser.epochs=3", "threads=1", "data.n_steps=6", "model.hidden=[8]"'


def write(folder: Path, text: str) -> Path:
    path = folder / "s.toml"
    path.write_text(text)
    return path


def test_a_grid_has_every_combination_and_every_seed(tmp_path: Path) -> None:
    text = 'config = "digits"\nseeds = [3, 5]\n[grid]\n"optimiser.epochs" = [1, 2]\n"model.hidden" = [[8], [9, 7]]\n'
    config = read_sweep(write(tmp_path, text))
    points = grid_points(config)
    assert [(point["optimiser.epochs"], point["model.hidden"]) for point in points] == [
        (1, [8]), (1, [9, 7]), (2, [8]), (2, [9, 7]),
    ]  # fmt: skip
    jobs = jobs_of(config, tmp_path, 3, points[3])
    assert [job.name for job in jobs] == ["003-seed3", "003-seed5"]
    assert jobs[1].settings == ("optimiser.epochs=2", "model.hidden=[9, 7]", "seed=5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('config = "digits"', "expected \\[grid\\] or \\[search\\], got neither"),
        ('config = "digits"\nseeds = []\n[grid]\nthreads = [1]', "seeds"),
        ('config = "digits"\nseeds = [1, 1]\n[grid]\nthreads = [1]', "one twice"),
        ('config = "digits"\n[grid]\n"optimiser.epoch" = [1]', "optimiser.epoch=1"),
        ('config = "digits"\n[grid]\nthreads = []', "grid.threads"),
        ('config = "digits"\n[search.space]\n"optimiser.lr" = {low = 1, high = 0}', "low below high"),
        ('config = "digits"\n[search.space]\n"optimiser.lr" = {low = 0, high = 1, log = true}', "low above 0"),
        (
            'config = "digits"\n[search]\nmaximise = ["test_accuracy"]\n[search.space]\nthreads = {choices = [1]}',
            "maximise",
        ),
    ],
)
def test_a_bad_plan_is_refused_before_the_first_run(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_sweep(write(tmp_path, text))
    assert str(caught.value).startswith("sweep ")


def test_no_scheduler_answers() -> None:
    with (
        pytest.raises(BackendError, match=r"--scheduler tcp://127\.0\.0\.1:9: expected a Dask scheduler"),
        connect("tcp://127.0.0.1:9", 1),
    ):
        pass


@pytest.fixture(scope="module")
def threads() -> Iterator[Client]:
    """A cluster of two workers that are threads of this process, so that `run_job` can be replaced."""
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster, Client(cluster) as client:
        yield client


def numbers(job: Job) -> dict[str, Any]:
    """Made-up numbers: the widest network is the most accurate and costs the most."""
    width = int(next(part.partition("=")[2] for part in job.settings if part.startswith("data.n_steps")))
    seed = int(job.settings[-1].partition("=")[2])
    accuracy = 0.5 + width / 100 + seed / 1000
    return {
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy,
        "synaptic_operations_per_inference": width,
        "cores": 1,
    }


def search(trials: int, out: Path, client: Client) -> list[Point]:
    config = SweepConfig.model_validate(
        {"config": "digits", "seeds": (0, 1), "search": {
            "trials": trials, "sampler": "random", "space": {"data.n_steps": {"low": 1, "high": 30, "integer": True}},
            "maximise": ["validation_accuracy"], "minimise": ["synaptic_operations_per_inference"]}}
    )  # fmt: skip
    return run_sweep(config, out, client)


def test_a_search_goes_on_with_the_trials_that_it_began(
    tmp_path: Path, threads: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def fails_at_the_third(job: Job) -> dict[str, Any]:
        started.append(job.name)
        return {"error": "no space"} if job.point == 2 else numbers(job)

    monkeypatch.setattr(sweep_module, "run_job", fails_at_the_third)
    with pytest.raises(SdsnnError, match=r"run 002-seed\d \(data.n_steps=\d+, seed=\d\): no space"):
        search(4, tmp_path / "a", threads)
    monkeypatch.setattr(sweep_module, "run_job", numbers)
    points = search(4, tmp_path / "a", threads)
    assert [point.number for point in points] == [0, 1, 2, 3]
    stored = json.loads((tmp_path / "a" / "sweep.json").read_text())["points"]
    assert [point["values"] for point in stored] == [point.values for point in points]
    assert all(len(point.runs) == 2 for point in points)


def test_a_folder_holds_one_sweep(tmp_path: Path, threads: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "run_job", numbers)
    search(1, tmp_path / "a", threads)
    with pytest.raises(ConfigError, match=r"expected the sweep that it holds, got another"):
        search(2, tmp_path / "a", threads)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes").write_text("mine")
    with pytest.raises(ConfigError, match="expected an empty folder"):
        search(1, tmp_path / "b", threads)


def test_the_table_has_means_spreads_and_a_front() -> None:
    def point(number: int, accuracies: list[float], cost: float) -> Point:
        runs = [
            {"validation_accuracy": a, "test_accuracy": a, "synaptic_operations_per_inference": cost}
            for a in accuracies
        ]
        return Point(number, {"threads": number}, runs)

    points = [point(0, [0.9, 0.8], 100), point(1, [0.84, 0.84], 200), point(2, [0.95, 0.93], 300)]
    assert front(points) == [0, 2]
    table = rows(points)
    assert table[1][:2] == ["0 *", "85.00% ± 7.07%"]
    assert table[2][0] == "1"
    assert table[1][table[0].index("cores")] == "not recorded"


@pytest.mark.parametrize(
    ("sizes", "seeds"), [([64, 128, 256], [0]), pytest.param([32, 64, 128, 256], [0, 1], marks=pytest.mark.slow)]
)
def test_a_killed_worker_loses_no_run(tmp_path: Path, sizes: list[int], seeds: list[int]) -> None:
    """Two worker processes, one of which is killed while it trains, end with the table of runs made one by one."""
    head = f'config = "digits"\nseeds = {seeds}\nsettings = [{TINY}]\nsamples = 2\n'
    text = head + f'[grid]\n"optimiser.batch_size" = {sizes}\n'
    config = read_sweep(write(tmp_path, text))
    out = tmp_path / "killed"
    killed: list[int] = []

    with connect(None, 2) as client:
        pids = client.run(os.getpid)

        def kill_one_that_trains() -> None:
            while not killed:
                if list(out.glob("*/history.jsonl")):
                    killed.append(next(iter(pids.values())))
                    os.kill(killed[0], signal.SIGKILL)
                time.sleep(0.05)

        thread = threading.Thread(target=kill_one_that_trains)
        thread.start()
        points = run_sweep(config, out, client)
        thread.join()
    alone = [
        Point(i, values, [run_job(job) for job in jobs_of(config, tmp_path / "alone", i, values)])
        for i, values in enumerate(grid_points(config))
    ]
    assert killed
    assert [point.runs for point in points] == [point.runs for point in alone]
    assert rows(points) == rows(alone)
