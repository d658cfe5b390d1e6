"""Run a sweep on a cluster, point by point of its grid or trial by trial of its search."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sdsnn_core.errors import ConfigError, SdsnnError
from sdsnn_core.files import write_json

from .job import run_job
from .plan import Job, SweepConfig, grid_points, jobs_of
from .study import Study

if TYPE_CHECKING:
    from distributed import Client

RETRIES = 2  # of a run whose worker raised something unexpected; a lost worker's runs are always made again
Progress = Callable[[int, int | None], None]
"""(finished runs, all runs)"""


class Point(NamedTuple):
    """A point with the headline numbers of its runs, in the order of the seeds."""

    number: int
    values: dict[str, Any]
    runs: list[dict[str, Any]]


def run_sweep(config: SweepConfig, out: Path, client: Client, progress: Progress | None = None) -> list[Point]:
    """Make every run of a sweep that is not finished, and return all points with their numbers.

    Args:
        config: from `read_sweep`.
        out: folder of the sweep; runs lie in it as NNN-seedS. All workers must see it.
        client: of a Dask cluster.
        progress: called with the numbers of finished and of all runs.

    Returns:
        The points in order. sweep.json in `out` holds the same.

    Raises:
        ConfigError: `out` holds another sweep.
        SdsnnError: a run cannot be made; the line names it.
    """
    _claim(config, out)
    source = _Grid(grid_points(config)) if config.search is None else Study(config.search, out / "optuna.journal")
    report = progress or (lambda done, total: None)
    total = source.n_points * len(config.seeds)
    report(0, total)
    points = sorted(_finished(config, out, client, source, lambda done: report(done, total)), key=lambda p: p.number)
    write_json(out / "sweep.json", {"format": 1, "points": [point._asdict() for point in points]})
    return points


class _Grid:
    """The points of a grid, as a study gives its own."""

    def __init__(self, points: Sequence[dict[str, Any]]) -> None:
        self._points = list(enumerate(points))
        self.n_points = len(points)

    def ask(self) -> tuple[int, dict[str, Any]] | None:
        return self._points.pop(0) if self._points else None

    def tell(self, number: int, runs: Sequence[Mapping[str, Any]]) -> None:
        """A grid learns nothing from its results."""


def _claim(config: SweepConfig, out: Path) -> None:
    """Write down which sweep the folder holds. Raises ConfigError where it holds another."""
    file, content = out / "sweep_config.json", config.model_dump(mode="json", exclude={"out"})
    if file.is_file():
        if json.loads(file.read_text(encoding="utf-8")) != content:
            raise ConfigError([f"{out}: expected the sweep that it holds, got another; choose another --out"])
        return
    if out.exists() and any(out.iterdir()):
        raise ConfigError([f"{out}: expected an empty folder, got one with files; choose another --out"])
    out.mkdir(parents=True, exist_ok=True)
    write_json(file, content)


def _finished(
    config: SweepConfig, out: Path, client: Client, source: _Grid | Study, report: Callable[[int], None]
) -> Iterator[Point]:
    """Yield each point when its last run is finished. A grid is submitted whole, a search a worker's load at a time."""
    from distributed import as_completed

    width = None if config.grid else max(1, len(client.scheduler_info()["workers"]) // len(config.seeds))
    running: dict[int, dict[str, Any]] = {}  # number of a point -> its values
    jobs: dict[str, Job] = {}
    results: dict[str, dict[str, Any]] = {}
    futures: Any = as_completed(with_results=True)

    def fill() -> None:
        while (width is None or len(running) < width) and (asked := source.ask()) is not None:
            running[asked[0]] = asked[1]
            for job in jobs_of(config, out, *asked):
                jobs[job.name] = job
                futures.add(client.submit(run_job, job, key=job.name, retries=RETRIES, pure=False))

    fill()
    for future, numbers in futures:
        job = jobs[future.key]
        if "error" in numbers:
            client.cancel(list(jobs))
            raise SdsnnError(f"run {job.name} ({', '.join(job.settings)}): {numbers['error']}")
        results[job.name] = numbers
        report(len(results))
        own = [other.name for other in jobs.values() if other.point == job.point]
        if all(name in results for name in own):
            runs = [results[name] for name in own]
            source.tell(job.point, runs)
            yield Point(job.point, running.pop(job.point), runs)
            fill()
