"""The back ends of this stage, which `sdsnn export` and `sdsnn verify` compare too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdsnn.export.commands import EXTRA_BACKENDS

if TYPE_CHECKING:
    from sdsnn_core.network import Network


def run_engine(network: Network, spikes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the spikes of every population by the event engine."""
    from .engine import run

    return run(network, spikes, record=list(network.populations)).spikes


def register() -> None:
    """Enter them where the earlier stage, which cannot import this one, looks for more."""
    EXTRA_BACKENDS["engine"] = run_engine
