"""Checkpoints that are whole or absent: written aside, synced, renamed; loaded without running pickled code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from sdsnn_core.errors import FileError
from sdsnn_core.files import atomic_path


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values to `path`, all or nothing."""
    with atomic_path(path) as aside:
        try:
            torch.save(state, aside)
        except RuntimeError as error:  # torch reports a full disk this way
            raise FileError(f"checkpoint {path}: cannot be written ({str(error).splitlines()[0]})") from None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU. Raises FileError where it is missing or corrupt."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileError(f"checkpoint {path}: no such file") from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FileError(f"checkpoint {path}: corrupt or not a checkpoint ({reason[:120]})") from None
    if not isinstance(state, dict) or state.get("format") != 1:
        raise FileError(f"checkpoint {path}: not a checkpoint of sdsnn (format 1)")
    return state
