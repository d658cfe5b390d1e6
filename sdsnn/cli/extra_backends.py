"""What this stage adds to the commands of the one before: a back end, and the bundle of `sdsnn export --bundle`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .export import BUNDLERS, EXTRA_BACKENDS

if TYPE_CHECKING:
    from sdsnn_core.network import Network


def run_engine(network: Network, spikes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the spikes of every population by the event engine."""
    from sdsnn.deploy.engine import run

    return run(network, spikes, record=list(network.populations)).spikes


def bundle(run: Path) -> Path:
    """Make the folder for someone who has the chip."""
    from sdsnn.deploy.loihi2.bundle import make_bundle

    return make_bundle(run)


def register() -> None:
    """Enter them where the earlier stage, which cannot import this one, looks for more."""
    EXTRA_BACKENDS["engine"] = run_engine
    BUNDLERS[:] = [bundle]
