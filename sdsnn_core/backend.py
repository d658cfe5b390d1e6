"""Backend: the one protocol by which a network is run, whatever runs it."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from .activity import Activity
from .errors import NetworkError
from .network import Network


class Backend(Protocol):
    """Anything that runs a network on spikes: a function with the signature and the meaning of `reference.run`.

    Args:
        network: the network to run.
        spikes: (steps, *shape) or (samples, steps, *shape) integers, or a mapping by input name.
        n_steps: steps to run; default those of the spikes. Fewer cut, more pad with silence.
        record: nodes whose spikes to keep; default all.
        record_state: populations whose current and voltage to keep.

    Returns:
        The Activity of all samples, each from the initial state.

    Raises:
        SdsnnError: the network cannot run there, or the data do not match it.
    """

    def __call__(
        self,
        network: Network,
        spikes: Any,
        n_steps: int | None = None,
        *,
        record: Collection[str] | None = None,
        record_state: Collection[str] = (),
    ) -> Activity:
        """Run `network`."""


def pick(known: Mapping[str, Backend], name: str) -> Backend:
    """Return the back end `name` of `known`. Raises NetworkError where there is none of that name."""
    if name not in known:
        raise NetworkError(f"back end: expected one of {', '.join(known)}, got {name}")
    return known[name]
