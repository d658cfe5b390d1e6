"""A stream: a network whose state is kept between calls, for input that comes in chunks."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sdsnn_core.activity import Activity
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network
from sdsnn_core.neurons.resets import check_resets

from .engine import Engine
from .inputs import gather, is_events

STATES = ("current", "voltage", "extra", "ring", "awake")  # fields of Work that a step hands to the next one


@final
class Stream:
    """Independent runs of a network, fed chunk by chunk; bit for bit one long run of each.

    Args:
        engine: The compiled network.
        n_streams: How many independent runs there are.
        record: Nodes whose spikes `push` returns; default the sources of the outputs.
        record_state: Populations whose current and voltage it returns.
        reset_every: Steps between two resets of all neurons; 0: none. As of `Engine.run`.
        reset_offset: Step of the first reset of the populations behind the inputs.
        bin_width: Duration of a step in the unit of the events' time, where events are pushed.

    Raises:
        NetworkError: Less than one stream, or an unknown node.

    Examples:
        ```python
        stream = open(network)
        for chunk in chunks:  # (steps, size), of any length
            activity = stream.push(chunk)
        state = stream.save()
        ```
    """

    def __init__(
        self,
        engine: Engine,
        n_streams: int = 1,
        *,
        record: Collection[str] | None = None,
        record_state: Collection[str] = (),
        bin_width: float | None = None,
        reset_every: int = 0,
        reset_offset: int = 1,
    ) -> None:
        check_resets(reset_every)
        if n_streams < 1:
            raise NetworkError(f"stream: expected at least one, got {n_streams}")
        outputs = list(dict.fromkeys(output.source for output in engine.network.outputs.values()))
        self.engine, self.bin_width = engine, bin_width
        keep = outputs if record is None else record
        self._keep, self._states, self._counts = engine._wanted(keep, tuple(record_state))
        self._resets = reset_every, reset_offset
        self.steps = [0] * n_streams
        self._entry = engine.workspace.take(1)
        work = self._entry[2]
        self._kept = {
            name: np.zeros((n_streams, getattr(work, name).size), getattr(work, name).dtype) for name in STATES
        }

    def push(self, spikes: Any, n_steps: int | None = None) -> Activity:
        """Run a chunk on.

        Args:
            spikes: (steps, *shape) for one stream or (streams, steps, *shape), as of `Engine.run`; a mapping of such by
                input name; or the events of one stream, whose times go on from the chunks before.
            n_steps: Steps of this chunk; default those of `spikes`.

        Returns:
            The Activity of the chunk, with a row for every stream.

        Raises:
            NetworkError: Data that do not match the network or the number of streams, or events of steps that have run.
        """
        from .running import run_samples

        engine = self.engine
        if is_events(spikes):
            spikes = self._later(spikes)
        arrays, streams, given, steps = gather(engine.network, spikes, n_steps, self.bin_width, fewest=0)
        if streams != len(self.steps):
            raise NetworkError(f"stream: expected a chunk for each of {len(self.steps)} streams, got {streams}")
        workspace = engine.workspace
        if self._entry[0] < workspace.block_steps(steps):
            self._entry = workspace.take(steps)
        _, plan, work = self._entry
        out = workspace.results(streams, steps, self._keep, self._states, self._counts)
        inputs, block = engine.laid_out(arrays), workspace.block_steps(steps)
        for index, begun in enumerate(self.steps if steps else ()):
            own = work._replace(**{name: kept[index] for name, kept in self._kept.items()})
            fault = run_samples(plan, own, out, inputs, (given, index, index + 1, block, begun, *self._resets))
            if fault >= 0:
                engine.explain(arrays, steps, fault)
            self.steps[index] = begun + steps
        return workspace.activity(out, self._keep, self._states, self._counts)

    def _later(self, events: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return events in time since the end of the last chunk."""
        if self.bin_width is None:
            raise NetworkError("stream: expected a bin width for events (bin_width), got none")
        begun = self.steps[0] * self.bin_width
        if len(events) and events["t"].min() < begun:
            raise NetworkError(
                f"stream: expected events from step {self.steps[0]} on, got one of step "
                f"{int(events['t'].min() // self.bin_width)}, which has run"
            )
        later: npt.NDArray[Any] = events.copy()
        later["t"] = events["t"] - np.asarray(begun).astype(events["t"].dtype)
        return later

    def reset(self, streams: Sequence[int] | None = None) -> None:
        """Bring all streams, or those given by number, back to the initial state and step 0.

        Raises NetworkError for a number that no stream has.
        """
        every = range(len(self.steps))
        chosen = every if streams is None else streams
        if wrong := [index for index in chosen if index not in every]:
            raise NetworkError(f"stream: expected numbers 0..{len(every) - 1}, got {', '.join(map(str, wrong))}")
        for index in chosen:
            self.steps[index] = 0

    def save(self) -> dict[str, Any]:
        """Return the state: numpy arrays, the steps of each stream and the digest of the network; for `load`."""
        arrays = {name: kept.copy() for name, kept in self._kept.items()}
        return {"network": self.engine.network.digest(), "steps": list(self.steps), **arrays}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `save` returned.

        Raises NetworkError for one of another network or number, or with other arrays; the stream then stays as it was.
        """
        if missing := [name for name in ("network", "steps", *STATES) if name not in state]:
            raise NetworkError(f"stream: expected a state as `save` returns it, got one without {', '.join(missing)}")
        if str(state["network"]) != self.engine.network.digest():
            raise NetworkError("stream: expected a state of this network, got one of another")
        if len(state["steps"]) != len(self.steps):
            raise NetworkError(f"stream: expected a state of {len(self.steps)} streams, got {len(state['steps'])}")
        arrays = {name: np.asarray(state[name]) for name in STATES}
        for name, array in arrays.items():
            kept = self._kept[name]
            if (array.shape, array.dtype) != (kept.shape, kept.dtype):
                wanted, got = (f"{each.dtype} {each.shape}" for each in (kept, array))
                raise NetworkError(f"stream: expected a state whose {name} is {wanted}, got {got}")
        self.steps = [int(steps) for steps in state["steps"]]
        for name, array in arrays.items():
            self._kept[name][...] = array


def open_stream(network: Network, n_streams: int = 1, **options: Any) -> Stream:
    """Return a `Stream` of a network, which keeps its state between chunks of input."""
    return Stream(Engine(network), n_streams, **options)
