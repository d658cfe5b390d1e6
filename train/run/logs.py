"""Logs of a run for other tools: history.csv and TensorBoard's event files. Resuming reads history.jsonl."""

import csv
import io
from typing import Any

from sdsnn_core.errors import FileError, MissingDependency
from sdsnn_core.files import write_text

from .run_folder import RunFolder

_LAYER = ("units", "alive_units", "synapses", "absent", "pruned", "regrown", "pruning_percent", "regeneration_percent")


def flat(line: dict[str, Any]) -> dict[str, float]:
    """Return an epoch of the history as names and numbers: `spike_rate/0`, `0/synapses` of layer 0, ..."""
    values = {name: float(value) for name, value in line.items() if isinstance(value, (int, float))}
    values |= {f"spike_rate/{block}": rate for block, rate in enumerate(line["spike_rates"])}
    for layer in line["layers"]:
        values |= {f"{layer['layer']}/{name}": float(layer[name]) for name in _LAYER if name in layer}
    return values


class Logs:
    """A callback that writes logs after every epoch. Close it at the end.

    Args:
        folder: where they are written.
        n_done: epochs that the run had before; TensorBoard drops the records of later ones.
        csv: write history.csv.
        tensorboard: write TensorBoard's event files.
        writes: False in the processes that only check what they need.

    Raises:
        MissingDependency: TensorBoard is asked for and not installed.
    """

    def __init__(
        self, folder: RunFolder, n_done: int, *, csv: bool = True, tensorboard: bool = False, writes: bool = True
    ) -> None:
        self.folder = folder
        self.csv = csv and writes
        self.board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise MissingDependency("log.tensorboard: needs TensorBoard: pip install 'tensorboard>=2.15'") from None
            if writes:
                self.board = SummaryWriter(str(folder.path / "tensorboard"), purge_step=n_done)

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self.board is not None:
            self.board.close()

    def on_epoch_end(self, line: dict[str, Any]) -> None:
        """Add one epoch. The CSV file is written anew from the whole history, so it is never cut off or out of step."""
        if self.csv:
            rows = [flat(done) for done in self.folder.history()]
            names = list(dict.fromkeys(name for row in rows for name in row))
            text = io.StringIO()
            writer = csv.DictWriter(text, ["epoch", *(name for name in names if name != "epoch")], lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)
            write_text(self.folder.path / "history.csv", text.getvalue())
        if self.board is not None:
            try:
                for name, value in flat(line).items():
                    self.board.add_scalar(name, value, line["epoch"])
                self.board.flush()
            except OSError as error:
                raise FileError(f"{self.folder.path / 'tensorboard'}: cannot be written ({error.strerror})") from None
