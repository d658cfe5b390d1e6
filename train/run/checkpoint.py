"""Checkpoints, replaced atomically: written aside, synced, renamed; loaded without running pickled code.

A file is one line of magic and SHA-256 of the rest, then the zip archive of torch.save; the first runs had the archive
alone. The checkpoint before stays as `<name>.previous`, which loading falls back to when the newest is damaged.
"""

import hashlib
import io
import os
import warnings
from pathlib import Path
from typing import Any, Protocol

import torch

from sdsnn_core.errors import ConfigError, FileError, one_line
from sdsnn_core.files import atomic_path

from .config import RunConfig, deciding, parse_toml

_MAGIC = b"sdsnn-checkpoint sha256 "
_ARCHIVE = b"PK\3\4"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values to `path`, all or nothing; the checkpoint before stays as `<path>.previous`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    # The view is released before an error passes: Python 3.13 would complain that the buffer went first.
    with buffer.getbuffer() as content, atomic_path(path) as aside:
        with open(aside, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            link = path.with_name(f".{path.name}.{os.getpid()}.link.tmp")
            link.unlink(missing_ok=True)
            os.link(path, link)
            os.replace(link, previous(path))
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)


def previous(path: Path) -> Path:
    """Return the path of the checkpoint before the newest."""
    return path.with_name(f"{path.name}.previous")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU. Raises FileError where it is missing or corrupt."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileError(f"checkpoint {path}: no such file") from None
    except OSError as error:
        raise FileError(f"checkpoint {path}: cannot be read ({error.strerror})") from None
    if not content.startswith(_ARCHIVE):
        head, _, content = content.partition(b"\n")
        if head != _MAGIC + hashlib.sha256(content).hexdigest().encode():
            raise FileError(f"checkpoint {path}: corrupt or not a checkpoint (its checksum does not match)")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise FileError(f"checkpoint {path}: corrupt or not a checkpoint ({one_line(error)[:120]})") from None
    if not isinstance(state, dict) or not isinstance(state.get("format"), int) or state["format"] != 1:
        raise FileError(f"checkpoint {path}: expected a checkpoint of sdsnn (format 1), got another file")
    return state


class Restorable(Protocol):
    """A model, an optimiser or a developer."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take the tensors and values of a saved state."""


def check_config(state: dict[str, Any], config: RunConfig) -> None:
    """Raise ConfigError if a checkpoint was made with another configuration, FileError if it has none."""
    if not isinstance(text := state.get("config"), str):
        raise FileError("checkpoint: expected the configuration of its run, got none")
    saved, ours = deciding(parse_toml(text)), deciding(config)
    if saved != ours:
        pairs = zip(saved.to_toml().splitlines(), ours.to_toml().splitlines(), strict=False)
        changed = next((f"{a!r} against {b!r}" for a, b in pairs if a != b), "its length")
        raise ConfigError([f"checkpoint: was made with another configuration; the first difference is {changed}"])


def restore(state: dict[str, Any], **parts: Restorable) -> None:
    """Load a checkpoint into the parts of a run, each from the entry of its name; FileError if it does not fit."""
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise FileError(f"checkpoint: does not fit the network of its configuration ({one_line(error)})") from None


def best_of(state: dict[str, Any]) -> tuple[int, float]:
    """Return the epoch that validation chose and its score there. Raises FileError where a checkpoint has none."""
    try:
        best = state["best"]
        return int(best["epoch"]), float(best["score"][1])
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError):
        raise FileError("checkpoint: expected the epoch that validation chose, got none") from None


def load_newest(path: Path) -> dict[str, Any]:
    """Read a checkpoint or, with a warning, the one before it where the newest is missing or corrupt."""
    try:
        return load_checkpoint(path)
    except FileError as error:
        try:
            state = load_checkpoint(previous(path))
        except FileError:
            raise error from None
        warnings.warn(f"{error}; going on from {previous(path)}", RuntimeWarning, stacklevel=2)
        return state
