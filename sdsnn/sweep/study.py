"""A search by Optuna: which point comes next, and what a point's runs say of it."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdsnn_core.errors import MissingDependency

from .plan import RangeConfig, SearchConfig


class Study:
    """An Optuna study. Its journal lies in the sweep's folder: an interrupted sweep goes on with its trials."""

    def __init__(self, search: SearchConfig, journal: Path) -> None:
        try:
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend
        except ImportError:
            raise MissingDependency(
                "sweep: expected the package optuna, got none; pip install 'sdsnn[sweep]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._search, self.n_points = optuna, search, search.trials
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name="sdsnn",
            load_if_exists=True,
            sampler=_sampler(optuna, search, journal),
            directions=["maximize"] * len(search.maximise) + ["minimize"] * len(search.minimise),
        )
        # Trials of an earlier process, finished ones too: their runs are read from their folders.
        self._known = [
            (trial.number, dict(trial.params)) for trial in self._study.trials if len(trial.params) == len(search.space)
        ]

    def ask(self) -> tuple[int, dict[str, Any]] | None:
        """Return the next point, or None after the last."""
        if self._known:
            return self._known.pop(0)
        if len(self._study.trials) >= self.n_points:
            return None
        trial = self._study.ask()
        return trial.number, {key: _suggest(trial, key, values) for key, values in self._search.space.items()}

    def tell(self, number: int, runs: Sequence[Mapping[str, Any]]) -> None:
        """Give the study the means over the seeds of a point's runs."""
        metrics = (*self._search.maximise, *self._search.minimise)
        means = [statistics.fmean(float(run[metric]) for run in runs) for metric in metrics]
        self._study.tell(number, means, skip_if_finished=True)


def _sampler(optuna: Any, search: SearchConfig, journal: Path) -> Any:
    """Return the sampler. After an interruption it draws from another seed, not the same numbers again."""
    seed = search.seed + (journal.stat().st_size if journal.exists() else 0)
    samplers = optuna.samplers
    kinds = {
        "tpe": samplers.TPESampler,
        "random": samplers.RandomSampler,
        "nsga2": samplers.NSGAIISampler,
        "qmc": samplers.QMCSampler,
    }
    return kinds[search.sampler](seed=seed)


def _suggest(trial: Any, key: str, values: RangeConfig) -> Any:
    """Draw the value of a key."""
    if values.choices:
        return trial.suggest_categorical(key, list(values.choices))
    if values.integer:
        return trial.suggest_int(key, int(values.low or 0), int(values.high or 0), log=values.log)
    return trial.suggest_float(key, values.low, values.high, log=values.log)
