"""Engine: a compiled network, and runs of it on any number of samples, threads and steps."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity, prepare_inputs
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network, Shape

from . import tables as tb
from .inputs import gather
from .plan import Builder, Layout

MEMORY_LIMIT = 4 * 2**30  # bytes of input, results and working memory that a run may take, unless told otherwise
EVENT_BYTES = 64 * 2**20  # of the spikes of one block of steps; only what is used of it is ever touched


def default_threads() -> int:
    """Number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


@final
class Engine:
    """A network laid out for the compiled code. Running it changes nothing in it; threads may share it."""

    def __init__(self, network: Network, *, layout: Layout = "auto") -> None:
        if layout not in ("auto", "dense", "sparse"):
            raise NetworkError(f"layout: got {layout!r}, allowed 'auto', 'dense' or 'sparse'")
        self.network = network
        builder = Builder(network, layout)
        self.plan = builder.build()
        self.names, self.projection_names = builder.names, builder.projection_names
        self.kinds: Mapping[str, int] = builder.kinds
        self._indices, self._ring = builder.indices, builder.ring
        self._sizes = [int(size) for size in self.plan.nodes[:, tb.N_SIZE]]
        self._spare: list[tuple[int, tb.Plan, tb.Work]] = []
        self._lock = threading.Lock()

    @property
    def plan_bytes(self) -> int:
        """Bytes of the tables; arrays that are shared with the network count too."""
        return sum(array.nbytes for array in self.plan)

    def block_steps(self, n_steps: int) -> int:
        """Steps that every component is run for before the next one's turn."""
        return max(1, min(n_steps, EVENT_BYTES // (4 * sum(self._sizes))))

    def work_bytes(self, n_steps: int) -> int:
        """Bytes of one thread's working memory."""
        block = self.block_steps(n_steps)
        return 8 * self.plan.initial.size + 4 * self._ring + 4 * block * sum(self._sizes) + 8 * len(self.names) * block

    def sample_bytes(
        self, n_steps: int, record: Collection[str], record_state: Collection[str], counts: bool = True
    ) -> int:
        """Bytes of one sample's input and results."""
        size = dict(zip(self.names, self._sizes, strict=True))
        total = sum(size[name] for name in self.network.inputs) * n_steps
        total += sum(size[name] for name in record) * n_steps + sum(8 * size[name] for name in record_state) * n_steps
        return total + (8 * sum(self._sizes) if counts else 0) + 8 * n_steps * (len(size) + len(self.projection_names))

    def _work(self, n_steps: int) -> tuple[int, tb.Plan, tb.Work]:
        """Take working memory for blocks of the right length, and the plan with graded values placed in it."""
        block = self.block_steps(n_steps)
        with self._lock:
            for at, entry in enumerate(self._spare):
                if entry[0] >= block:
                    return self._spare.pop(at)
        nodes = self.plan.nodes.copy()
        events = values = 0
        for node in nodes:
            node[tb.N_EVENT] = events
            events += block * int(node[tb.N_SIZE])
            if node[tb.N_GRADED]:
                values = events
        work = tb.Work(
            current=np.empty(self.plan.initial.size, np.int32),
            voltage=np.empty(self.plan.initial.size, np.int32),
            ring=np.empty(self._ring, np.int32),
            spike=np.zeros(-(-max(self._sizes) // 64) * 64, np.uint8),
            event=np.empty(events, np.uint32),
            value=np.empty(max(1, values), np.uint8),
            until=np.zeros((len(self.names), block + 1), np.int64),
        )
        return block, self.plan._replace(nodes=tb.constant(nodes, np.int64)), work

    def _out(self, samples: int, steps: int, keep: Collection[str], states: Collection[str], counts: bool) -> tb.Out:
        sizes, cells = self._sizes, samples * steps
        bases = np.full((3, len(sizes)), -1, np.int64)
        ends = [0, 0, 0]
        for index, (name, size) in enumerate(zip(self.names, sizes, strict=True)):
            wanted = ((counts, samples), (name in keep, cells), (name in states, cells))
            for which, (here, times) in enumerate(wanted):
                if here:
                    bases[which, index] = ends[which]
                    ends[which] += times * size
        return tb.Out(
            to_counts=bases[0],
            to_spikes=bases[1],
            to_states=bases[2],
            counts=np.zeros(ends[0], np.int64),
            per_step=np.zeros((len(sizes), samples, steps), np.int64),
            events=np.zeros((len(self.projection_names) if counts else 0, samples, steps), np.int64),
            spikes=np.zeros(ends[1], np.uint8),
            current=np.empty(ends[2], np.int32),
            voltage=np.empty(ends[2], np.int32),
        )

    def _wanted(
        self, record: Collection[str] | str | None, states: Collection[str]
    ) -> tuple[list[str], list[str], bool]:
        """Return (nodes whose spikes to keep, populations whose state to keep, whether to count)."""
        states = [states] if isinstance(states, str) else list(states)
        if isinstance(record, str) and record not in self._indices:
            modes: dict[str, list[str]] = {"nothing": [], "counts": [], "spikes": self.names}
            if record not in modes:
                raise NetworkError(f"record: got {record!r}, allowed node names, {', '.join(map(repr, modes))}")
            keep = modes[record]
        else:
            keep = self.names if record is None else [record] if isinstance(record, str) else list(record)
        for name in (*keep, *states):
            if name not in self._indices or (name in states and name not in self.network.populations):
                kind = "record_state" if name in states else "record"
                allowed = sorted(self.network.populations if name in states else self.names)
                raise NetworkError(f"{kind}: no such node {name!r}, allowed {', '.join(allowed)}")
        return keep, states, record != "nothing"

    def run(
        self,
        spikes: Any,
        n_steps: int | None = None,
        *,
        record: Collection[str] | str | None = None,
        record_state: Collection[str] = (),
        n_threads: int | None = None,
        memory_limit: int | None = None,
        bin_width: float | None = None,
        sensor_shape: Shape | None = None,
    ) -> Activity:
        """Simulate all samples from the initial state; the same result as `sdsnn_core.reference.run`.

        spikes: what `prepare_inputs` takes, a torch tensor, or events (`bin_width`, `sensor_shape`: see
        `events_to_dense`). n_steps: default the steps given; fewer cut, more pad with silence. record: names of nodes
        whose spikes to keep (None: all), or 'spikes' (all), 'counts' (counts, totals per step and synaptic events of
        everything, no spikes) or 'nothing' (an empty Activity; for timing). record_state: populations whose current
        and voltage to keep. n_threads: default every core; the result does not depend on it. memory_limit: bytes
        (default 4 GiB) that input, results and working memory may take.
        Raises NetworkError where the data do not match the network or the limit is too small.
        """
        keep, states, counts = self._wanted(record, record_state)
        arrays, samples, given, steps = gather(self.network, spikes, n_steps, bin_width, sensor_shape)
        threads = min(samples, default_threads() if n_threads is None else n_threads)
        if threads < 1:
            raise NetworkError(f"n_threads: got {n_threads}, allowed 1 and more")
        limit = MEMORY_LIMIT if memory_limit is None else memory_limit
        need = samples * self.sample_bytes(steps, keep, states, counts) + threads * self.work_bytes(steps)
        if need > limit:
            raise NetworkError(
                f"run: {samples} samples of {steps} steps need {need / 2**20:.3g} MiB, the limit is "
                f"{limit / 2**20:.3g} MiB; record less, give fewer samples at once (stream does), or raise memory_limit"
            )
        start = np.zeros(len(self.names), np.int64)
        if len(arrays) == 1:
            x = next(iter(arrays.values())).reshape(-1)
        else:
            ends = np.cumsum([0, *(array.size for array in arrays.values())])
            start[[self._indices[name] for name in arrays]] = ends[:-1]
            x = np.concatenate([array.reshape(-1) for array in arrays.values()])
        out = self._out(samples, steps, keep, states, counts)
        fault = self._execute(out, tb.Given(start, tb.constant(x, np.uint8)), given, samples, threads)
        if fault >= 0:
            prepare_inputs(self.network, arrays, steps)
            raise AssertionError(f"input {self.names[fault]!r} was refused without reason")
        return self._activity(out, samples, steps, keep, states, counts)

    def _execute(self, out: tb.Out, inputs: tb.Given, given: int, samples: int, threads: int) -> int:
        from .running import run_samples

        block = self.block_steps(out.per_step.shape[2])
        # Several portions per thread, so that a core that is slowed down does not keep the others waiting.
        portion = -(-samples // (4 * threads)) if threads > 1 else samples
        portions = iter(range(0, samples, portion))
        faults: list[int] = []
        errors: list[BaseException] = []

        def worker() -> None:
            try:
                entry = self._work(out.per_step.shape[2])
                while not errors:
                    with self._lock:
                        low = next(portions, None)
                    if low is None:
                        break
                    high = min(low + portion, samples)
                    fault = run_samples(entry[1], entry[2], out, inputs, given, low, high, block)
                    if fault >= 0:
                        faults.append(int(fault))
                        break
                with self._lock:
                    self._spare.append(entry)
            except BaseException as error:
                errors.append(error)

        others = [threading.Thread(target=worker, daemon=True) for _ in range(threads - 1)]
        for thread in others:
            thread.start()
        worker()
        for thread in others:
            thread.join()
        if errors:
            raise errors[0]
        return faults[0] if faults else -1

    def _activity(
        self, out: tb.Out, samples: int, steps: int, keep: Collection[str], states: Collection[str], counts: bool
    ) -> Activity:
        def cut(pool: npt.NDArray[Any], bases: Any, name: str, *shape: int) -> npt.NDArray[Any]:
            index = self._indices[name]
            begin, size = int(bases[index]), self._sizes[index]
            return pool[begin : begin + samples * size * (steps if len(shape) == 2 else 1)].reshape(*shape, size)

        return Activity(
            n_steps=steps,
            n_samples=samples,
            counts={n: cut(out.counts, out.to_counts, n, samples) for n in self.names} if counts else {},
            spikes_per_step=dict(zip(self.names, out.per_step, strict=True)) if counts else {},
            events=dict(zip(self.projection_names, out.events, strict=False)),
            spikes={n: cut(out.spikes, out.to_spikes, n, samples, steps) for n in self.names if n in keep},
            current={n: cut(out.current, out.to_states, n, samples, steps) for n in states},
            voltage={n: cut(out.voltage, out.to_states, n, samples, steps) for n in states},
        )

    def stream(
        self,
        samples: Iterable[Any],
        n_steps: int | None = None,
        *,
        memory_limit: int | None = None,
        n_threads: int | None = None,
        record: Collection[str] | str | None = "counts",
        record_state: Collection[str] = (),
        bin_width: float | None = None,
        sensor_shape: Shape | None = None,
    ) -> Iterator[Activity]:
        """Run samples one after another as they come, yielding an Activity for every few of them, in order.

        samples: an iterable of single samples: arrays (steps, *shape), tensors, or events. As many are taken at once
        as fit `memory_limit`, at most 64 per thread. Samples of one Activity are padded with silence to the
        length of the longest, unless n_steps is given. Other arguments: see `run`.
        """
        keep, states, counts = self._wanted(record, record_state)
        threads = default_threads() if n_threads is None else n_threads
        limit = MEMORY_LIMIT if memory_limit is None else memory_limit
        name, node = next(iter(self.network.inputs.items()))
        if len(self.network.inputs) != 1:
            raise NetworkError(f"stream: the network has inputs {sorted(self.network.inputs)}, allowed is one")
        options: dict[str, Any] = {"n_threads": n_threads, "record": record, "record_state": record_state}
        batch: list[npt.NDArray[Any]] = []
        longest = 0

        def run() -> Activity:
            x = np.zeros((len(batch), longest, node.size), np.uint8)
            for row, sample in zip(x, batch, strict=True):
                row[: len(sample)] = sample
            return self.run({name: x}, n_steps, memory_limit=limit, **options)

        for sample in samples:
            arrays, n, given, _ = gather(self.network, sample, n_steps, bin_width, sensor_shape)
            if n != 1:
                raise NetworkError(f"stream: got {n} samples as one, allowed is one at a time")
            following = max(longest, n_steps or given)
            # A sample waits in the batch and is then copied into the padded input, so its input counts twice.
            each = self.sample_bytes(following, keep, states, counts) + node.size * following
            fits = (len(batch) + 1) * each + min(threads, len(batch) + 1) * self.work_bytes(following) <= limit
            if batch and (not fits or len(batch) >= 64 * threads):
                yield run()
                batch, following = [], n_steps or given
            batch.append(arrays[name][0])
            longest = following
        if batch:
            yield run()


def compile_network(network: Network, *, layout: Layout = "auto") -> Engine:
    """Lay `network` out for the compiled code.

    layout: 'auto' chooses dense rows, compressed columns or direct convolution by measured density; 'dense' and
    'sparse' force one where possible. The result does not depend on it.
    """
    return Engine(network, layout=layout)


def run(
    network: Network,
    spikes: Any,
    n_steps: int | None = None,
    *,
    record: Collection[str] | str | None = None,
    record_state: Collection[str] = (),
    n_threads: int | None = None,
    memory_limit: int | None = None,
    bin_width: float | None = None,
    sensor_shape: Shape | None = None,
) -> Activity:
    """Compile `network` and run it once; see `Engine.run`. To run it again, keep what `compile_network` returns."""
    return compile_network(network).run(
        spikes,
        n_steps,
        record=record,
        record_state=record_state,
        n_threads=n_threads,
        memory_limit=memory_limit,
        bin_width=bin_width,
        sensor_shape=sensor_shape,
    )
