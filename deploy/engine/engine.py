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
from .memory import Memory
from .plan import Builder, Layout
from .streaming import Batches

MEMORY_LIMIT = 4 * 2**30  # bytes of input, results and working memory that a run may take, unless told otherwise
BATCH = 64  # samples of a batch for each thread, where `stream` has memory for as many


def default_threads() -> int:
    """Return the number of cores that this process may use."""
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
        self.kinds: Mapping[str, int] = builder.kinds
        self.memory = Memory(network, builder, self.plan)

    @property
    def plan_bytes(self) -> int:
        """Bytes of the tables; arrays that are shared with the network count too."""
        return sum(array.nbytes for array in self.plan)

    def prepare(self) -> None:
        """Load the compiled code, or compile it where this machine has not yet; the first run does it otherwise."""
        self.run({name: np.zeros((1, 1, node.size), np.uint8) for name, node in self.network.inputs.items()}, record=())

    def _wanted(
        self, record: Collection[str] | str | None, states: Collection[str]
    ) -> tuple[list[str], list[str], bool]:
        """Return (nodes whose spikes to keep, populations whose state to keep, whether to count)."""
        names = self.memory.names
        states = [states] if isinstance(states, str) else list(states)
        if isinstance(record, str) and record not in self.memory.indices:
            modes: dict[str, list[str]] = {"nothing": [], "counts": [], "spikes": names}
            if record not in modes:
                raise NetworkError(f"record: got {record!r}, allowed node names, {', '.join(map(repr, modes))}")
            keep = modes[record]
        else:
            keep = names if record is None else [record] if isinstance(record, str) else list(record)
        for name in (*keep, *states):
            if name not in self.memory.indices or (name in states and name not in self.network.populations):
                kind = "record_state" if name in states else "record"
                allowed = sorted(self.network.populations if name in states else names)
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
        need = samples * self.memory.sample_bytes(steps, keep, states, counts) + threads * self.memory.work_bytes(steps)
        if need > limit:
            raise NetworkError(
                f"run: {samples} samples of {steps} steps need {need / 2**20:.3g} MiB, the limit is "
                f"{limit / 2**20:.3g} MiB; record less, give fewer samples at once (stream does), or raise it "
                "(memory_limit, --memory)"
            )
        names, indices = self.memory.names, self.memory.indices
        start = np.zeros(len(names), np.int64)
        if len(arrays) == 1:
            x = next(iter(arrays.values())).reshape(-1)
        else:
            ends = np.cumsum([0, *(array.size for array in arrays.values())])
            start[[indices[name] for name in arrays]] = ends[:-1]
            x = np.concatenate([array.reshape(-1) for array in arrays.values()])
        out = self.memory.results(samples, steps, keep, states, counts)
        fault = self._execute(out, tb.Given(start, tb.constant(x, np.uint8)), given, samples, threads)
        if fault >= 0:
            prepare_inputs(self.network, arrays, steps)
            raise AssertionError(f"input {names[fault]!r} was refused without reason")
        return self.memory.activity(out, keep, states, counts)

    def _execute(self, out: tb.Out, inputs: tb.Given, given: int, samples: int, threads: int) -> int:
        """Run all samples; return -1, or the index of an input whose values are not allowed."""
        from .running import run_samples

        steps = out.per_step.shape[2]
        block = self.memory.block_steps(steps)
        # Several portions per thread, so that a core that is slowed down does not keep the others waiting.
        portion = -(-samples // (4 * threads)) if threads > 1 else samples
        portions = iter(range(0, samples, portion))
        faults: list[int] = []
        errors: list[BaseException] = []
        lock = threading.Lock()

        def worker() -> None:
            try:
                entry = self.memory.take(steps)
                while not errors and not faults:
                    with lock:
                        low = next(portions, None)
                    if low is None:
                        break
                    fault = run_samples(*entry[1:], out, inputs, given, low, min(low + portion, samples), block)
                    if fault >= 0:
                        faults.append(int(fault))
                self.memory.give_back(entry)
            except BaseException as error:
                errors.append(error)

        # Threads live as long as the run: nothing is left behind that a fork would lose.
        others = [threading.Thread(target=worker, daemon=True) for _ in range(threads - 1)]
        for thread in others:
            thread.start()
        worker()
        try:
            for thread in others:
                thread.join()
        except KeyboardInterrupt as interruption:
            errors.append(interruption)  # which also stops the others, after their portion
        if errors:
            raise errors[0]
        return faults[0] if faults else -1

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
        if len(self.network.inputs) != 1:
            raise NetworkError(f"stream: the network has inputs {sorted(self.network.inputs)}, allowed is one")
        name, node = next(iter(self.network.inputs.items()))

        def singles() -> Iterator[npt.NDArray[np.uint8]]:
            for sample in samples:
                arrays, n, *_ = gather(self.network, sample, n_steps, bin_width, sensor_shape)
                if n != 1:
                    raise NetworkError(f"stream: got {n} samples as one, allowed is one at a time")
                yield arrays[name][0]

        batches = Batches(
            node.size,
            limit,
            BATCH * threads,
            lambda steps: self.memory.sample_bytes(steps, keep, states, counts),
            lambda steps, n: min(threads, n) * self.memory.work_bytes(steps),
        )
        for x in batches.of(singles(), n_steps):
            yield self.run(
                {name: x}, n_steps, memory_limit=limit, n_threads=n_threads, record=record, record_state=record_state
            )


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
