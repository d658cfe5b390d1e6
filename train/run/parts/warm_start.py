"""Warm start: the weights (and the model, where there is no class) that a run begins with."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sdsnn_core.errors import ConfigError, FileError, one_line
from sdsnn_core.network import Network
from sdsnn_core.tasks.decoding import task_of

from ...data.load import SampleFormat
from ...development.masks import attach_masks
from ..checkpoint import load_checkpoint
from ..config import ModelConfig, RunConfig
from ..run_folder import RunFolder

_STATES = ("spike_state", "current_state", "voltage_state")  # of neurons, as large as the last batch
_WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys under which checkpoints keep a model


class Init(NamedTuple):
    """What a run begins with.

    Attributes:
        source: file, folder or object that it comes from, as errors name it.
        weights: state_dict for the model of the configuration; None with a network.
        network: network that becomes the model; None with weights.
    """

    source: str
    weights: Mapping[str, Tensor] | None = None
    network: Network | None = None


def read_init(source: Network | Mapping[str, Any] | str | Path, config: RunConfig) -> tuple[Init, RunConfig]:
    """Read what a run begins with, and return it with the configuration of that run.

    Args:
        source: a Network, a state_dict, a .pt file of one, or a run folder, whose model section then replaces that of
            the configuration.
        config: of the new run. A Network that names neurons per class keeps them.

    Raises:
        FileError: it cannot be read or holds no weights.
    """
    if isinstance(source, Network):
        name = str(source.provenance.get("file", "network"))
        per_class = max(task_of(source).outputs_per_class, config.model.outputs_per_class)
        model = ModelConfig(network=name, outputs_per_class=per_class)
        return Init(name, network=source), config.model_copy(update={"model": model})
    if isinstance(source, Mapping):
        return Init("init", weights=_weights("init", source)), config
    path = Path(source)
    if path.is_dir():
        folder = RunFolder.open(path)
        weights = load_checkpoint(folder.best_file)["model"]
        return Init(str(path), weights), config.model_copy(update={"model": folder.config().model})
    return Init(str(path), _weights(str(path), _read_pt(path))), config


def _read_pt(path: Path) -> Any:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"init {path}: cannot be read ({error.strerror})") from None
    if content.startswith(b"sdsnn-checkpoint"):
        return load_checkpoint(path)
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        message = one_line(error)
        raise FileError(
            f"init {path}: expected a state_dict that torch.load reads as weights only: {message[:160]}"
        ) from None


def _weights(source: str, state: Any) -> dict[str, Tensor]:
    """Return the state_dict in what was read: itself, or under the key of a checkpoint."""
    for key in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise FileError(f"init: expected a state_dict of tensors, got {type(state).__name__} without one")
    return dict(state)


def load_weights(model: torch.nn.Module, init: Init) -> None:
    """Load a state_dict into a model that ran forward once. Raises FileError if it does not fit."""
    assert init.weights is not None
    weights = {key: value for key, value in init.weights.items() if key.rpartition(".")[2] not in _STATES}
    if any(key.endswith((".unit_gate", ".mask")) for key in weights):
        attach_masks(model)
    expected = {key: value for key, value in model.state_dict().items() if key.rpartition(".")[2] not in _STATES}
    weights = _without_prefix(weights, set(expected))
    problems = [
        *(f"no {key}" for key in expected if key not in weights),
        *(f"{key}, which the model has not" for key in weights if key not in expected),
        *(
            f"{key} of shape {tuple(weights[key].shape)} for {tuple(value.shape)}"
            for key, value in expected.items()
            if key in weights and weights[key].shape != value.shape
        ),
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        got = ", ".join(problems[:3])
        raise FileError(f"init {init.source}: expected the state_dict of the configured model, got {got}{more}")
    try:
        model.load_state_dict(weights, strict=False)
    except (RuntimeError, ValueError) as error:
        raise FileError(f"init {init.source}: does not fit the model ({one_line(error)})") from None


def _without_prefix(weights: dict[str, Tensor], expected: set[str]) -> dict[str, Tensor]:
    """Return weights without the name of the attribute under which a training module kept the model."""
    prefixes = {key.partition(".")[0] for key in weights}
    if len(prefixes) == 1:
        shorter = {key.partition(".")[2]: value for key, value in weights.items()}
        if set(shorter) & expected and not set(weights) & expected:
            return shorter
    return weights


def raised(network: Network, samples: SampleFormat, outputs_per_class: int = 1) -> torch.nn.Module:
    """Return the SLAYER model of a network. Raises ConfigError if it does not fit the samples."""
    from ...slayer.raising import raise_

    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ConfigError(
            [f"init: expected one input and one output, got {len(network.inputs)} and {len(network.outputs)}"]
        )
    shape = next(iter(network.inputs.values())).shape
    if shape != samples.shape:
        raise ConfigError([f"init: expected input of shape {samples.shape}, as the data have, got {shape}"])
    size = network.size_of(next(iter(network.outputs.values())).source)
    if size != samples.n_classes * outputs_per_class:
        each = "one" if outputs_per_class == 1 else str(outputs_per_class)
        expected = f"{samples.n_classes * outputs_per_class} outputs, {each} for each class of the data"
        raise ConfigError([f"init: expected {expected}, got {size}"])
    model: torch.nn.Module = raise_(network)
    return model
