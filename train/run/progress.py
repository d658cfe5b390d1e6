"""Progress bars of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

LEVELS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return a curve of at most `width` characters, from the least to the greatest value."""
    shown = [values[-(-(i + 1) * len(values) // width) - 1] for i in range(width)] if len(values) > width else values
    low, high = min(shown), max(shown)
    top = len(LEVELS) - 1
    return "".join(LEVELS[round((value - low) / (high - low) * top) if high > low else 0] for value in shown)


class _WithNotes(Progress):
    """Bars with lines of text below them, which do not fit beside them in 80 columns."""

    notes: tuple[str, ...] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bars, then the lines."""
        yield self.make_tasks_table(self.tasks)
        yield from (Text(note, overflow="ellipsis", no_wrap=True) for note in self.notes)


class Bars:
    """A bar over epochs and one over the batches of the current epoch, on stderr; implements trainer.Progress.

    Below them the results of the newest epoch (loss, accuracy, spike rate, structure, waiting), and the curves of the
    main metric on validation and of the synapses absent over the epochs of this call.
    """

    def __init__(self, n_epochs: int, *, quiet: bool = False, console: Console | None = None) -> None:
        self._bars = _WithNotes(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console or Console(stderr=True),
            disable=quiet,
            transient=False,
        )
        self._epochs = self._bars.add_task("epochs ", total=n_epochs, note="")
        self._batches = self._bars.add_task("batches", total=1, note="")
        self._curves: tuple[list[float], list[float]] = ([], [])

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.remove_task(self._batches)
        self._bars.stop()

    def batch(self, epoch: int, batch: int, n_batches: int, loss: float) -> None:
        """Show a finished batch."""
        self._bars.update(self._batches, total=n_batches, completed=batch + 1, note=f"loss {loss:.3f}")

    def epoch(self, line: dict[str, Any]) -> None:
        """Show a finished epoch."""
        rate = sum(line["spike_rates"]) / len(line["spike_rates"])
        units = sum(layer["alive_units"] for layer in line["layers"])
        total = sum(layer["units"] for layer in line["layers"])
        metrics, absent = self._curves
        metrics.append(_main_metric(line)[1])
        absent.append(line["connection_sparsity"])
        self._bars.notes = (
            f"loss {line['loss']:.3f}, {_metrics(line)}, spike rate {rate:.1%}",
            f"synapses absent {line['connection_sparsity']:.1%}, units alive {units} of {total}, "
            f"waiting for data {line.get('waiting', 0):.0%}",
            f"on validation {sparkline(metrics)}  absent {sparkline(absent)}",
        )
        self._bars.update(self._epochs, completed=line["epoch"] + 1)


def _metrics(line: dict[str, Any]) -> str:
    """Return the accuracies of an epoch, or the main metric of a task without classes."""
    if "validation_accuracy" in line:
        return f"accuracy {line['train_accuracy']:.1%}, on validation {line['validation_accuracy']:.1%}"
    name, value = _main_metric(line)
    return f"{name.replace('_', ' ')} on validation {value:.4g}"


def _main_metric(line: dict[str, Any]) -> tuple[str, float]:
    """Return name and value of what validation compares."""
    if "validation_accuracy" in line:
        return "accuracy", line["validation_accuracy"]
    name, value = next(iter(line["validation"].items()))
    return name, value
