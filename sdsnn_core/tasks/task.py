"""What a network is for: how its output is read, which targets belong to it, and its metrics, the first one the main.

A reading is what is kept of an output (samples, size, steps): spikes of 0 and 1, or a voltage in units of weights.
SLAYER's evaluation and every back end read through the same functions, so their figures agree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError
from . import metrics
from .classes import NO_CLASS, class_sums, classes_of_counts

Array = npt.NDArray[Any]
Kind = Literal["label", "step_labels", "several_labels", "values", "spike_trains"]
Signal = Literal["spikes", "voltage"]
KINDS: Final = ("label", "step_labels", "several_labels", "values", "spike_trains")
UNLABELLED: Final = -1
"""A step that counts neither in losses nor in metrics."""


@final
@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        kind: label: one class per sample, targets (n,). step_labels: one class per step, targets (n, steps), -1 for
            steps that do not count. several_labels: any number of classes per sample, targets (n, size) of 0 and 1.
            values: regression, targets (n, size) or, a value per step, (n, size, steps). spike_trains: targets
            (n, size, steps) of 0 and 1.
        window: step_labels of spikes: the steps, up to this one, whose spikes are counted. values: the last steps that
            are averaged; of targets per step, the steps up to each.
        level: several_labels: spikes per step, or mean voltage, from which a class is present.
        tau: spike_trains: time constant of the van Rossum distance, in steps.
        outputs_per_class: neurons of the output that stand for each class, in a row. Their spikes (voltages) are added.
        metric: the user's own, (predictions, targets) -> value or values by name, higher is better; then the main one.
    """

    kind: Kind = "label"
    window: int = 1
    level: float = 0.5
    tau: float = 5.0
    metric: Callable[[Array, Array], float | Mapping[str, float]] | None = None
    outputs_per_class: int = 1

    def __post_init__(self) -> None:
        problems = [
            *([f"task.kind: expected one of {', '.join(KINDS)}, got {self.kind}"] if self.kind not in KINDS else []),
            *([f"task.window: expected at least 1 step, got {self.window}"] if self.window < 1 else []),
            *([f"task.tau: expected more than 0 steps, got {self.tau}"] if not self.tau > 0 else []),
        ]
        if self.outputs_per_class < 1:
            problems.append(f"model.outputs_per_class: expected at least 1 neuron, got {self.outputs_per_class}")
        elif self.outputs_per_class > 1 and self.kind in ("values", "spike_trains"):
            got = self.outputs_per_class
            problems.append(
                f"model.outputs_per_class: expected 1 for task {self.kind}, which has no classes, got {got}"
            )
        if problems:
            raise ConfigError(problems)

    @property
    def main(self) -> str:
        """Name of the metric that validation compares."""
        return "metric" if self.metric is not None else _MAIN[self.kind]

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value of the main metric is better."""
        return self.main not in ("rmse", "van_rossum")

    def signed(self, value: float) -> float:
        """Return the main metric so that higher is better."""
        return value if self.higher_is_better else -value

    def describe(self, value: float) -> str:
        """Return the main metric with its name, as tables and messages show it."""
        shown = f"{value:.2%}" if self.main in ("accuracy", "f1") else f"{value:.4g}"
        return f"{self.main.replace('_', ' ')} {shown}"

    @property
    def classifies(self) -> bool:
        """Whether the main metric is the share of right classes."""
        return self.kind in ("label", "step_labels")

    def read(self, output: Array, signal: Signal = "spikes", targets: Array | None = None) -> Array:
        """Return what is kept of an output.

        Args:
            output: (samples, neurons, steps): 0 and 1, or voltages.
            signal: what the output is.
            targets: of the samples; values: decides between one value per sample and one per step.
        """
        return _READ[self.kind](self, class_sums(output, self.outputs_per_class), signal, targets)

    def predictions(self, readings: Array) -> Array:
        """Return what readings stand for, in the form of the targets; NO_CLASS where a spiking output was silent."""
        if self.kind == "label":
            if readings.dtype.kind in "iu":
                return classes_of_counts(readings)
            return np.asarray(np.argmax(readings, axis=1))
        return readings >= self.level if self.kind == "several_labels" else readings

    def silent(self, readings: Array, targets: Array) -> int:
        """Return how many samples (or labelled steps) have no class because the output was silent."""
        if not self.classifies:
            return 0
        return int((self.predictions(readings) == NO_CLASS)[targets != UNLABELLED].sum())

    def scores(self, readings: Array, targets: Array) -> dict[str, float]:
        """Return the metrics, the main one first.

        Args:
            readings: of all samples, as `read` returns them.
            targets: of all samples.
        """
        predictions = self.predictions(readings)
        values = _SCORES[self.kind](self, predictions, targets)
        if self.metric is not None:
            own = self.metric(predictions, targets)
            named = dict(own) if isinstance(own, Mapping) else {"metric": own}
            values = {"metric": float(next(iter(named.values()))), **{k: float(v) for k, v in named.items()}, **values}
        return values

    def right(self, readings: Array, targets: Array) -> tuple[int, int]:
        """Return how many classes are right, and of how many; (0, 0) where a task has none."""
        if not self.classifies:
            return 0, 0
        counted = targets != UNLABELLED
        return int((self.predictions(readings) == targets)[counted].sum()), int(counted.sum())

    def problem(self, targets: Array, n_samples: int, n_steps: int, size: int) -> str | None:
        """Return why targets do not fit samples and output; None if they do.

        Args:
            targets: of all samples.
            n_samples, n_steps: of the data.
            size: classes of the output; neurons, of a task without classes.
        """
        known: dict[Kind, list[tuple[int, ...]]] = {
            "label": [(n_samples,)],
            "step_labels": [(n_samples, n_steps)],
            "several_labels": [(n_samples, size)],
            "values": [(n_samples, size), (n_samples, size, n_steps)],
            "spike_trains": [(n_samples, size, n_steps)],
        }
        shapes = known[self.kind]
        if targets.shape not in shapes:
            expected = " or ".join(map(str, shapes))
            return f"expected labels of shape {expected} for task {self.kind}, got {targets.shape}"
        if targets.dtype.kind not in ("iufb" if self.kind == "values" else "iub"):
            return f"expected numbers as labels of task {self.kind}, got {targets.dtype}"
        if not targets.size:
            return None
        if self.kind == "values":
            return None if np.isfinite(targets).all() else "expected finite targets, got NaN or infinity"
        low = UNLABELLED if self.kind == "step_labels" else 0
        high = size - 1 if self.classifies else 1
        if targets.min() < low or targets.max() > high:
            what = f"labels in {low}..{high}, one for each output" if self.classifies else "labels of 0 and 1"
            return f"expected {what}, got {targets.min()}..{targets.max()}"
        return None


LABEL: Final = Task()
"""One class per sample."""

_MAIN: Final = {
    "label": "accuracy",
    "step_labels": "accuracy",
    "several_labels": "f1",
    "values": "rmse",
    "spike_trains": "van_rossum",
}


def task_settings(task: Task) -> dict[str, Any]:
    """Return what a file carries of a task: all but a metric of the user's own."""
    settings = {"kind": task.kind, "window": task.window, "level": task.level, "tau": task.tau}
    return settings if task.outputs_per_class == 1 else {**settings, "outputs_per_class": task.outputs_per_class}


def trailing_sums(output: Array, window: int) -> Array:
    """Return the sums over the last `window` steps up to each step; before the first step there is nothing."""
    total = np.cumsum(output, axis=-1, dtype=np.float64)
    total[..., window:] -= total[..., :-window].copy()
    return np.asarray(total)


def _read_label(_task: Task, output: Array, signal: Signal, _targets: Array | None) -> Array:
    total = output.sum(-1, dtype=np.float64)
    return np.asarray(total.astype(np.int64) if signal == "spikes" else total)


def _read_step_labels(task: Task, output: Array, signal: Signal, _targets: Array | None) -> Array:
    if signal == "voltage":
        return np.asarray(np.argmax(output, axis=1))
    counts = trailing_sums(output, task.window)
    return np.where(counts.any(axis=1), np.argmax(counts, axis=1), NO_CLASS)


def _read_several_labels(task: Task, output: Array, _signal: Signal, _targets: Array | None) -> Array:
    return np.asarray(output.mean(-1, dtype=np.float64) / task.outputs_per_class)


def _read_values(task: Task, output: Array, _signal: Signal, targets: Array | None) -> Array:
    if targets is not None and targets.ndim == 3:
        steps = np.minimum(np.arange(1, output.shape[-1] + 1), task.window)
        return np.asarray(trailing_sums(output, task.window) / steps)
    return np.asarray(output[..., -task.window :].mean(-1, dtype=np.float64))


def _read_spike_trains(_task: Task, output: Array, _signal: Signal, _targets: Array | None) -> Array:
    return output.astype(np.uint8)


_READ: Final[dict[str, Callable[[Task, Array, Signal, Array | None], Array]]] = {
    "label": _read_label,
    "step_labels": _read_step_labels,
    "several_labels": _read_several_labels,
    "values": _read_values,
    "spike_trains": _read_spike_trains,
}


def _score_classes(_task: Task, predictions: Array, labels: Array) -> dict[str, float]:
    return {"accuracy": metrics.accuracy(predictions, labels)}


def _score_steps(_task: Task, predictions: Array, labels: Array) -> dict[str, float]:
    counted = labels != UNLABELLED
    n_classes = int(labels.max()) + 1
    values = metrics.f1_per_class(predictions[counted], labels[counted], n_classes)
    return {
        "accuracy": metrics.accuracy(predictions[counted], labels[counted]),
        "f1": float(np.nanmean(values)),
        **{f"f1_{label}": float(value) for label, value in enumerate(values)},
    }


def _score_several(_task: Task, predictions: Array, labels: Array) -> dict[str, float]:
    values = metrics.f1_per_class(predictions, labels, labels.shape[1])
    return {"f1": float(np.nanmean(values)), **{f"f1_{label}": float(value) for label, value in enumerate(values)}}


def _score_values(_task: Task, predictions: Array, targets: Array) -> dict[str, float]:
    return {"rmse": metrics.rmse(predictions, targets), "r2": metrics.r2(predictions, targets)}


def _score_trains(task: Task, predictions: Array, targets: Array) -> dict[str, float]:
    return {
        "van_rossum": metrics.van_rossum(predictions, targets, task.tau),
        "spike_time_error": metrics.spike_time_error(predictions, targets),
    }


_SCORES: Final[dict[str, Callable[[Task, Array, Array], dict[str, float]]]] = {
    "label": _score_classes,
    "step_labels": _score_steps,
    "several_labels": _score_several,
    "values": _score_values,
    "spike_trains": _score_trains,
}
