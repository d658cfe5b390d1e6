"""Run a model on a split: what the task reads, metrics, loss and spikes per layer."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from sdsnn_core.lava.compat import import_slayer
from sdsnn_core.tasks.task import LABEL, Signal, Task

from ..data.load import Split
from ..run.processes import ProcessGroup
from .block_spikes import reset_state
from .graph.graded import is_graded, is_sum, late_by, lateness
from .losses import Loss
from .operations import arrivals
from .tracing import ModelGraph, output_of, random_example, read_graph


@final
@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a model does on a split.

    Attributes:
        loss: mean over samples.
        readings: what the task keeps of the outputs: of task label the spike counts (n, classes) int64.
        labels: the targets.
        rates: mean spikes per neuron and step, one per block.
        sent: spikes per unit and sample of the input and of every block, each (*shape,) float64.
        graph: the calls of the blocks, in the order of `rates` and `sent`.
        task: what the output is read as.
    """

    loss: float
    readings: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    rates: list[float]
    sent: list[torch.Tensor] = field(default_factory=list)
    graph: ModelGraph = field(default_factory=lambda: ModelGraph((), (), (), ()))
    task: Task = LABEL

    @functools.cached_property
    def scores(self) -> dict[str, float]:
        """Metrics of the task, the main one first."""
        return self.task.scores(self.readings, self.labels)

    @property
    def main(self) -> float:
        """The main metric."""
        return next(iter(self.scores.values()))

    @property
    def accuracy(self) -> float | None:
        """Share of right classes; a silent output has none. None for a task without classes."""
        return self.scores.get("accuracy")

    @property
    def answers(self) -> int:
        """Samples (or labelled steps) that have a class; 0 for a task without classes."""
        return self.task.right(self.readings, self.labels)[1]

    @property
    def silent(self) -> int:
        """Samples (or labelled steps) without a class, because the output was silent."""
        return self.task.silent(self.readings, self.labels)


def to_slayer(spikes: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return (batch, steps, *shape) bins as the (batch, *shape, steps) float32 tensor that SLAYER takes."""
    return torch.from_numpy(np.moveaxis(spikes, 1, -1).astype(np.float32))


def as_targets(labels: npt.NDArray[Any]) -> torch.Tensor:
    """Return targets as losses take them: int64, or float32."""
    return torch.from_numpy(labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64))


def output_signal(model: torch.nn.Module) -> Signal:
    """Return what the output of a model is: the voltage of an Affine block, sums of sigma-delta neurons, or spikes."""
    affine = import_slayer().block.base.AbstractAffine
    reads = (isinstance(module, affine) or is_sum(module) for module in model.modules())
    return "voltage" if any(reads) else "spikes"


def evaluate(
    model: torch.nn.Module,
    split: Split,
    loss: Loss,
    batch_size: int = 256,
    group: ProcessGroup | None = None,
    *,
    task: Task = LABEL,
) -> Evaluation:
    """Run the whole split without gradients and without learning running means.

    Several processes share the batches; the result is the same to the last bit: nothing is added in another order.
    """
    signal = output_signal(model)
    group = group or ProcessGroup()
    graph = read_graph(model, random_example(tuple(split.spikes.shape[2:]), group.device))
    late = max((lateness(graph)[source] for source in graph.output_sources()[:1]), default=0)
    was_training = model.training
    model.eval()
    starts = range(0, len(split), batch_size)
    losses = torch.zeros(len(starts), dtype=torch.float64)
    spent = torch.zeros(len(starts), 2, len(graph.calls), dtype=torch.float64)  # spikes and bins of every block
    readings: torch.Tensor | None = None
    sent: list[torch.Tensor] = []  # whole numbers in float64: their sum does not depend on the order
    batches = range(group.rank, len(starts), group.world_size)
    with torch.no_grad(), _Recorder(graph) as recorder:
        # More ranks than batches: a rank without one runs a sample for the shapes, and counts nothing of it.
        for batch in batches or (None,):
            part = slice(0, 1) if batch is None else slice(starts[batch], starts[batch] + batch_size)
            spikes = to_slayer(split.spikes[part]).to(group.device)
            reset_state(model)
            recorder.clear()
            output = output_of(model(spikes))
            emitted = [arrivals(spikes), *recorder.emitted]
            sent = sent or [torch.zeros_like(each) for each in emitted]
            labels = split.labels[part]
            reading = torch.from_numpy(task.read(late_by(output.cpu().numpy(), late), signal, labels))
            if readings is None:
                readings = torch.zeros(len(split), *reading.shape[1:], dtype=reading.dtype)
            if batch is None:
                break
            spent[batch] = torch.tensor(recorder.totals, dtype=torch.float64).T
            losses[batch] = float(loss(output, as_targets(labels).to(group.device)))
            sent = [old + new for old, new in zip(sent, emitted, strict=True)]
            readings[part] = reading
    assert readings is not None
    group.all_reduce([readings])
    group.all_reduce(sent)
    group.all_reduce([losses, spent])
    model.train(was_training)
    fired, bins = spent.sum(0).numpy()
    sent = [total / len(split) for total in sent]
    rates = (fired / bins).tolist()
    mean_loss = sum(losses.tolist()) / len(split)
    return Evaluation(mean_loss, readings.numpy(), split.labels, rates, sent, graph, task)


class _Recorder:
    """Counts what the blocks of a graph emit, in the order of their calls, while it is entered."""

    def __init__(self, graph: ModelGraph) -> None:
        self.blocks = list({id(call.block): call.block for call in graph.calls}.values())
        self.handles: list[Any] = []
        self.clear()

    def clear(self) -> None:
        """Begin a batch."""
        self.emitted: list[torch.Tensor] = []  # spikes of each unit
        self.totals: list[tuple[float, int]] = []  # spikes and bins

    def _record(self, block: Any, _inputs: Any, output: Any) -> None:
        spikes = output_of(output)
        self.emitted.append(arrivals(spikes))
        fired = (spikes != 0).sum() if is_graded(block) else spikes.sum()
        self.totals.append((float(fired), spikes.numel()))

    def __enter__(self) -> _Recorder:
        self.handles = [block.register_forward_hook(self._record) for block in self.blocks]
        return self

    def __exit__(self, *_error: object) -> None:
        for handle in self.handles:
            handle.remove()
