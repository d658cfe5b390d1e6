"""A Network as plain values and tensors, in which checkpoints keep the network that a run began with."""

import dataclasses
from typing import Any

import numpy as np
import torch

from sdsnn_core import network as types
from sdsnn_core.errors import FileError, SdsnnError
from sdsnn_core.network import Network


def network_state(network: Network) -> dict[str, Any]:
    """Return the state of a network."""
    return {
        "nodes": {name: _plain(node) for name, node in network.nodes.items()},
        "projections": {name: _plain(projection) for name, projection in network.projections.items()},
        "dt_s": network.dt_s,
    }


def network_from(state: dict[str, Any]) -> Network:
    """Return the network of a state. Raises FileError if it is none."""
    try:
        nodes, projections = (
            {name: _object(entry) for name, entry in state[key].items()} for key in ("nodes", "projections")
        )
        return Network(nodes, projections, state["dt_s"])
    except (KeyError, TypeError, AttributeError, SdsnnError) as error:
        raise FileError(f"initial network: damaged ({error})") from None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {spec.name: _plain(getattr(value, spec.name)) for spec in dataclasses.fields(value) if spec.init}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, (np.ndarray, np.generic)):
        return torch.from_numpy(np.array(value, np.int64))
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _object(value: Any) -> Any:
    if isinstance(value, dict):
        return getattr(types, value["type"])(**{key: _object(each) for key, each in value.items() if key != "type"})
    if isinstance(value, torch.Tensor):
        return value.numpy()
    return tuple(map(_object, value)) if isinstance(value, list) else value
