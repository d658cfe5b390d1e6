"""Engine: a compiled network, and runs of it on any number of samples, threads and steps."""

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NoReturn, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity, event_dtype, prepare_inputs
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network, Shape
from sdsnn_core.neurons.resets import check_resets

from . import tables as tb
from .inputs import batches, gather
from .plan import Builder, Layout
from .workspace import Workspace

MEMORY_LIMIT = 4 * 2**30  # default limit of the bytes of input, results and buffers of a run
BATCH = 64  # samples per thread that `stream` takes at once, as far as memory allows


def default_threads() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


@final
class Engine:
    """A network laid out for the compiled code; the event engine. Threads may share one.

    Args:
        network: what to run.
        layout: how to store projections. "auto" chooses dense rows, compressed columns or direct convolution by their
            measured costs; "dense" and "sparse" force one where possible. Results do not depend on it.

    Raises:
        NetworkError: the layout has another name.

    Examples:
        ```python
        engine = Engine(network)
        activity = engine.run(spikes, record="counts")
        activity.counts["output"]  # (samples, size) int64
        ```
    """

    def __init__(self, network: Network, *, layout: Layout = "auto") -> None:
        if layout not in ("auto", "dense", "sparse"):
            raise NetworkError(f"layout: expected auto, dense or sparse, got {layout}")
        self.network = network
        builder = Builder(network, layout)
        self.plan = builder.build()
        self.kinds: Mapping[str, int] = builder.kinds
        self.workspace = Workspace(network, builder, self.plan)

    @property
    def plan_bytes(self) -> int:
        """Bytes of the tables, with the arrays that are shared with the network."""
        return sum(array.nbytes for array in self.plan)

    def prepare(self) -> None:
        """Load or compile the machine code now; otherwise the first run does."""
        self.run(
            {name: np.zeros((1, 1, node.size), event_dtype(node)) for name, node in self.network.inputs.items()},
            record=(),
        )

    def _wanted(
        self, record: Collection[str] | str | None, states: Collection[str]
    ) -> tuple[list[str], list[str], bool]:
        """Return (nodes whose spikes are kept, populations whose states are kept, whether to count)."""
        names = self.workspace.names
        states = [states] if isinstance(states, str) else list(states)
        if isinstance(record, str) and record not in self.workspace.indices:
            modes: dict[str, list[str]] = {"nothing": [], "counts": [], "spikes": names}
            if record not in modes:
                raise NetworkError(f"record: expected node names, {', '.join(modes)}, got {record}")
            keep = modes[record]
        else:
            keep = names if record is None else [record] if isinstance(record, str) else list(record)
        for name in (*keep, *states):
            if name not in self.workspace.indices or (name in states and name not in self.network.populations):
                kind = "record_state" if name in states else "record"
                known = sorted(self.network.populations if name in states else names)
                raise NetworkError(f"{kind}: expected {', '.join(known)}, got {name}")
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
        reset_every: int = 0,
        reset_offset: int = 1,
    ) -> Activity:
        """Simulate all samples from the initial state, bit for bit as `sdsnn_core.reference.run` does.

        Args:
            spikes: (steps, *shape) or (samples, steps, *shape) of an integer or bool type, numpy or torch, or a mapping
                of input names to such; or events, see `events_to_dense`.
            n_steps: steps to run; fewer than given cut the input, more pad it with silence. Default: as given.
            record: names of the nodes whose spikes to keep (None: all), or "spikes" (all), "counts" (spikes per neuron
                and per step and synaptic events of everything, no spikes) or "nothing" (an empty Activity, for timing).
            record_state: populations whose current and voltage to keep.
            n_threads: default every core. The result does not depend on it.
            memory_limit: bytes that input, results and buffers may take; default 4 GiB.
            bin_width: duration of a step in the events' unit of time.
            sensor_shape: (channels, height, width) of the events' sensor, where the input is flat.
            reset_every, reset_offset: as of `reference.run`.

        Returns:
            The Activity: counts (samples, size) int64, spikes_per_step and events (samples, steps) int64, spikes
            (samples, steps, size) uint8, current and voltage (samples, steps, size) int32, each by name.

        Raises:
            NetworkError: the data do not match the network, or the memory limit is too small.
        """
        keep, states, counts = self._wanted(record, record_state)
        arrays, samples, given, steps = gather(self.network, spikes, n_steps, bin_width, sensor_shape)
        check_resets(reset_every)
        threads = min(samples, default_threads() if n_threads is None else n_threads)
        if threads < 1:
            raise NetworkError(f"n_threads: expected 1 or more, got {n_threads}")
        limit = MEMORY_LIMIT if memory_limit is None else memory_limit
        need = samples * self.workspace.sample_bytes(steps, keep, states, counts) + threads * self.workspace.work_bytes(
            steps
        )
        if need > limit:
            raise NetworkError(
                f"run: expected up to {limit / 2**20:.3g} MiB of memory, got {need / 2**20:.3g} MiB for {samples} "
                f"samples of {steps} steps; record less, give fewer samples at once (stream does), or raise it "
                "(memory_limit, --memory)"
            )
        out = self.workspace.results(samples, steps, keep, states, counts)
        fault = self._execute(out, self.laid_out(arrays), given, samples, threads, (reset_every, reset_offset))
        if fault >= 0:
            self.explain(arrays, steps, fault)
        return self.workspace.activity(out, keep, states, counts)

    def laid_out(self, arrays: Mapping[str, npt.NDArray[Any]]) -> tb.Given:
        """Lay the bins of all inputs end to end, those of one kind; a single input is shared, not copied."""
        start = np.zeros(len(self.workspace.names), np.int64)
        pools: dict[bool, list[npt.NDArray[Any]]] = {False: [], True: []}
        for name, array in arrays.items():
            index = self.workspace.indices[name]
            pool = pools[self.workspace.wide[index]]
            start[index] = sum(part.size for part in pool)
            pool.append(array.reshape(-1))
        x, wide = (
            pool[0] if len(pool) == 1 else np.concatenate([*pool, np.zeros(1, np.uint8)]) for pool in pools.values()
        )
        return tb.Given(start, tb.constant(x, np.uint8), tb.constant(wide, np.int32))

    def explain(self, arrays: Mapping[str, npt.NDArray[Any]], steps: int, fault: int) -> NoReturn:
        """Raise the error of the input `fault`, whose values the compiled code refused."""
        prepare_inputs(self.network, arrays, steps)
        raise AssertionError(f"input {self.workspace.names[fault]} was refused without reason")

    def _execute(
        self, out: tb.Out, inputs: tb.Given, given: int, samples: int, threads: int, resets: tuple[int, int]
    ) -> int:
        """Run all samples; return -1, or the index of an input whose values are out of range."""
        from .running import run_samples

        steps = out.per_step.shape[2]
        block = self.workspace.block_steps(steps)
        # Several portions per thread, so that one slow core does not delay the others.
        portion = -(-samples // (4 * threads)) if threads > 1 else samples
        portions = iter(range(0, samples, portion))
        faults: list[int] = []
        errors: list[BaseException] = []
        lock = threading.Lock()

        def worker() -> None:
            try:
                entry = self.workspace.take(steps)
                while not errors and not faults:
                    with lock:
                        low = next(portions, None)
                    if low is None:
                        break
                    window = (given, low, min(low + portion, samples), block, 0, *resets)
                    fault = run_samples(*entry[1:], out, inputs, window)
                    if fault >= 0:
                        faults.append(int(fault))
                self.workspace.give_back(entry)
            except BaseException as error:
                errors.append(error)

        # Threads live only as long as the run: a fork later loses nothing.
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
        reset_every: int = 0,
        reset_offset: int = 1,
    ) -> Iterator[Activity]:
        """Run samples one after another as they come, in bounded memory.

        Args:
            samples: single samples: arrays (steps, *shape), tensors, or events. As many run at once as fit
                `memory_limit`, at most 64 per thread. Those of one Activity are padded with silence to the longest.
            n_steps: steps to run for every sample; default its own.
            memory_limit, n_threads, record, record_state, bin_width, sensor_shape, reset_every, reset_offset: as in
                `run`.

        Yields:
            An Activity of the next few samples, in order.

        Raises:
            NetworkError: as in `run`, or the network has several inputs.
        """
        shared: dict[str, Any] = {
            "memory_limit": memory_limit, "n_threads": n_threads, "record": record, "record_state": record_state,
        }  # fmt: skip
        for x in self.portions(samples, n_steps, bin_width=bin_width, sensor_shape=sensor_shape, **shared):
            yield self.run(x, n_steps, reset_every=reset_every, reset_offset=reset_offset, **shared)

    def portions(
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
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield what `stream` runs at once, (samples, steps, size) uint8; arguments as there."""
        keep, states, counts = self._wanted(record, record_state)
        threads = default_threads() if n_threads is None else n_threads
        limit = MEMORY_LIMIT if memory_limit is None else memory_limit
        if len(self.network.inputs) != 1:
            raise NetworkError(f"stream: expected a network of one input, got {', '.join(sorted(self.network.inputs))}")
        name, node = next(iter(self.network.inputs.items()))

        def singles() -> Iterator[npt.NDArray[np.uint8]]:
            for sample in samples:
                arrays, n, *_ = gather(self.network, sample, n_steps, bin_width, sensor_shape)
                if n != 1:
                    raise NetworkError(f"stream: expected single samples, got {n} at once")
                yield arrays[name][0]

        def need(n: int, steps: int) -> int:
            # A sample waits and is then copied into the padded input, so its input counts twice.
            each = self.workspace.sample_bytes(steps, keep, states, counts) + node.size * steps
            return n * each + min(threads, n) * self.workspace.work_bytes(steps)

        yield from batches(singles(), n_steps, need, limit, BATCH * threads)


def compile_network(network: Network, *, layout: Layout = "auto") -> Engine:
    """Return `Engine(network, layout=layout)`."""
    return Engine(network, layout=layout)


def run(network: Network, spikes: Any, n_steps: int | None = None, **options: Any) -> Activity:
    """Run a network once: `Engine(network).run(spikes, n_steps, **options)`."""
    return Engine(network).run(spikes, n_steps, **options)
