"""Progress bars of a training run."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bars:
    """A bar over epochs and one over the batches of the current epoch, on stderr; implements loop.Progress."""

    def __init__(self, n_epochs: int, *, quiet: bool = False) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            disable=quiet,
            transient=False,
        )
        self._epochs = self._bars.add_task("epochs ", total=n_epochs, note="")
        self._batches = self._bars.add_task("batches", total=1, note="")

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
        note = (
            f"loss {line['loss']:.3f}  "
            f"validation {line['validation_accuracy']:.1%}  synapses gone {line['connection_sparsity']:.1%}  "
            f"spike rate {sum(line['spike_rates']) / len(line['spike_rates']):.1%}  "
            f"waiting for data {line.get('waiting', 0):.0%}"
        )
        self._bars.update(self._epochs, completed=line["epoch"] + 1, note=note)
