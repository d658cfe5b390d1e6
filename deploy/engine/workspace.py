"""Memory of a run: its size, the buffers of each thread, and the arrays of results."""

import threading
from collections.abc import Collection
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.network import Network

from . import tables as tb
from .plan import Builder

EVENT_BYTES = 64 * 2**20  # of the spikes of one block of steps; only pages that hold spikes are touched


@final
class Workspace:
    """Sizes of a network's nodes, buffers that threads borrow, and the arrays that a run writes to."""

    def __init__(self, network: Network, builder: Builder, plan: tb.Plan) -> None:
        self._plan, self._inputs = plan, list(network.inputs)
        self.names, self.projections = builder.names, builder.projection_names
        self.indices, self._ring, self._extra = builder.indices, builder.ring, builder.extra
        self.wide = [bool(wide) for wide in plan.nodes[:, tb.N_WIDE]]
        self.sizes = [int(size) for size in plan.nodes[:, tb.N_SIZE]]
        self._spare: list[tuple[int, tb.Plan, tb.Work]] = []
        self._lock = threading.Lock()

    def block_steps(self, n_steps: int) -> int:
        """Return the number of steps that a component runs before the next one does."""
        return max(1, min(n_steps, EVENT_BYTES // (4 * sum(self.sizes))))

    def work_bytes(self, n_steps: int) -> int:
        """Return the bytes of one thread's buffers."""
        block, neurons = self.block_steps(n_steps), int(self._plan.initial.size)
        return 8 * neurons + 4 * (self._ring + self._extra) + 4 * block * sum(self.sizes) + 8 * len(self.names) * block

    def sample_bytes(
        self, n_steps: int, record: Collection[str], record_state: Collection[str], counts: bool = True
    ) -> int:
        """Return the bytes of one sample's input and results."""
        size = dict(zip(self.names, self.sizes, strict=True))
        bins = {name: size[name] * (4 if self.wide[at] else 1) for at, name in enumerate(self.names)}
        total = sum(bins[name] for name in self._inputs) * n_steps
        total += sum(bins[name] for name in record) * n_steps + sum(8 * size[name] for name in record_state) * n_steps
        return total + (8 * sum(self.sizes) if counts else 0) + 8 * n_steps * (len(size) + len(self.projections))

    def take(self, n_steps: int) -> tuple[int, tb.Plan, tb.Work]:
        """Return (longest block, plan, work): buffers for runs of `n_steps`, and the plan that fits them."""
        block = self.block_steps(n_steps)
        with self._lock:
            for at, entry in enumerate(self._spare):
                if entry[0] >= block:
                    return self._spare.pop(at)
        nodes = self._plan.nodes.copy()
        events = values = 0
        for node in nodes:
            node[tb.N_EVENT] = events
            events += block * int(node[tb.N_SIZE])
            if node[tb.N_GRADED]:
                values = events
        work = tb.Work(
            current=tb.aligned(self._plan.initial.size, np.int32),
            voltage=tb.aligned(self._plan.initial.size, np.int32),
            extra=tb.aligned(self._extra, np.int32),
            ring=tb.aligned(self._ring, np.int32),
            awake=tb.aligned(self._plan.initial.size // tb.ALIGN, np.uint8),
            spike=tb.aligned(-(-max(self.sizes) // 64) * 64, np.uint8),
            message=tb.aligned(-(-max(self.sizes) // 64) * 64, np.int32),
            event=tb.aligned(events, np.uint32),
            value=tb.aligned(max(1, values), np.int32),
            until=np.zeros((len(self.names), block + 1), np.int64),
        )
        return block, self._plan._replace(nodes=tb.constant(nodes, np.int64)), work

    def give_back(self, entry: tuple[int, tb.Plan, tb.Work]) -> None:
        """Keep the buffers that `take` returned for the next run."""
        with self._lock:
            self._spare.append(entry)

    def results(self, samples: int, steps: int, keep: Collection[str], states: Collection[str], counts: bool) -> tb.Out:
        """Allocate the arrays that a run writes to."""
        cells = samples * steps
        bases = np.full((4, len(self.sizes)), -1, np.int64)
        ends = [0, 0, 0, 0]
        for index, (name, size) in enumerate(zip(self.names, self.sizes, strict=True)):
            wide = self.wide[index]
            wanted = (counts, name in keep and not wide, name in states, name in keep and wide)
            for which, is_wanted in enumerate(wanted):
                if is_wanted:
                    bases[which, index] = ends[which]
                    ends[which] += (samples if which == 0 else cells) * size
        bases[1] = np.maximum(bases[1], bases[3])
        return tb.Out(
            to_counts=bases[0],
            to_spikes=bases[1],
            to_states=bases[2],
            counts=np.zeros(ends[0], np.int64),
            per_step=np.zeros((len(self.sizes), samples, steps), np.int64),
            events=np.zeros((len(self.projections) if counts else 0, samples, steps), np.int64),
            spikes=np.zeros(ends[1], np.uint8),
            messages=np.zeros(ends[3], np.int32),
            current=np.empty(ends[2], np.int32),
            voltage=np.empty(ends[2], np.int32),
        )

    def activity(self, out: tb.Out, keep: Collection[str], states: Collection[str], counts: bool) -> Activity:
        """Return the results of a run by name, without copying them."""
        _, samples, steps = out.per_step.shape

        def cut(pool: npt.NDArray[Any], bases: Any, name: str, *shape: int) -> npt.NDArray[Any]:
            index = self.indices[name]
            begin, size = int(bases[index]), self.sizes[index]
            return pool[begin : begin + samples * size * (steps if len(shape) == 2 else 1)].reshape(*shape, size)

        return Activity(
            n_steps=steps,
            n_samples=samples,
            counts={n: cut(out.counts, out.to_counts, n, samples) for n in self.names} if counts else {},
            spikes_per_step=dict(zip(self.names, out.per_step, strict=True)) if counts else {},
            events=dict(zip(self.projections, out.events, strict=False)),
            spikes={
                n: cut(out.messages if wide else out.spikes, out.to_spikes, n, samples, steps)
                for n, wide in zip(self.names, self.wide, strict=True)
                if n in keep
            },
            current={n: cut(out.current, out.to_states, n, samples, steps) for n in states},
            voltage={n: cut(out.voltage, out.to_states, n, samples, steps) for n in states},
        )
