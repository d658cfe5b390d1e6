"""Run a model on a split: predictions, loss and spikes per layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from ..data.load import Split
from ..run.processes import ProcessGroup
from .block_spikes import reset_state
from .losses import Loss
from .operations import arrivals
from .tracing import ModelGraph, output_of, random_example, read_graph


@final
@dataclass(frozen=True, eq=False)
class Evaluation:
    """counts: (n, classes) int64 output spikes. rates: mean spikes per neuron and step, one per block.

    sent: spikes per unit and sample of the input and of every block, each (*shape,) float64. graph: the calls of the
    blocks, in the order of `rates` and `sent`.
    """

    loss: float
    counts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    rates: list[float]
    sent: list[torch.Tensor] = field(default_factory=list)
    graph: ModelGraph = field(default_factory=lambda: ModelGraph((), (), (), ()))

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """Class with most output spikes; ties go to the lower class."""
        return np.asarray(np.argmax(self.counts, axis=1))

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return float((self.predictions == self.labels).mean())


def to_slayer(spikes: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return (batch, steps, *shape) bins as the (batch, *shape, steps) float32 tensor that SLAYER takes."""
    return torch.from_numpy(np.moveaxis(spikes, 1, -1).astype(np.float32))


def evaluate(
    model: torch.nn.Module, split: Split, loss: Loss, batch_size: int = 256, group: ProcessGroup | None = None
) -> Evaluation:
    """Run the whole split without gradients and without learning running means.

    Several processes share the batches; the result is the same to the last bit: nothing is added in another order.
    """
    group = group or ProcessGroup()
    graph = read_graph(model, random_example(tuple(split.spikes.shape[2:]), group.device))
    was_training = model.training
    model.eval()
    starts = range(0, len(split), batch_size)
    losses = torch.zeros(len(starts), dtype=torch.float64)
    spent = torch.zeros(len(starts), 2, len(graph.calls), dtype=torch.float64)  # spikes and bins of every block
    counts: torch.Tensor | None = None
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
            counts = torch.zeros(len(split), output.shape[1], dtype=torch.int64) if counts is None else counts
            if batch is None:
                break
            spent[batch] = torch.tensor(recorder.totals, dtype=torch.float64).T
            losses[batch] = float(loss(output, torch.from_numpy(split.labels[part]).to(group.device)))
            sent = [old + new for old, new in zip(sent, emitted, strict=True)]
            counts[part] = output.sum(-1).cpu().to(torch.int64)
    assert counts is not None
    group.all_reduce([counts])
    group.all_reduce(sent)
    group.all_reduce([losses, spent])
    model.train(was_training)
    fired, bins = spent.sum(0).numpy()
    sent = [total / len(split) for total in sent]
    rates = (fired / bins).tolist()
    return Evaluation(sum(losses.tolist()) / len(split), counts.numpy(), split.labels, rates, sent, graph)


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

    def _record(self, _block: Any, _inputs: Any, output: Any) -> None:
        spikes = output_of(output)
        self.emitted.append(arrivals(spikes))
        self.totals.append((float(spikes.sum()), spikes.numel()))

    def __enter__(self) -> _Recorder:
        self.handles = [block.register_forward_hook(self._record) for block in self.blocks]
        return self

    def __exit__(self, *_error: object) -> None:
        for handle in self.handles:
            handle.remove()
