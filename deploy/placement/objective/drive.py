"""What a placement is judged by: the spikes of some steps of a measured activity, and the times of a price list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sdsnn_core.activity import Activity
from sdsnn_core.errors import ConfigError, NetworkError
from sdsnn_core.network import Network

from ...energy.active import active_updates
from ...energy.prices import PriceList, load_price_list
from ..chip import Chip
from ..types import Floats

OBJECTIVES = ("cores", "latency", "energy", "balance")
STEPS = 96  # of all samples together, that are looked at one by one


@dataclass(frozen=True, eq=False)
class Drive:
    """Spikes of a network that runs.

    spikes: node -> (n_steps, size) sparse matrix of 0 and 1. rate: node -> (size,) mean spikes in a step. active:
    population -> (size,) share of the steps in which its update is active. prices: times and energies of events.
    """

    spikes: Mapping[str, Any]
    rate: Mapping[str, Floats]
    active: Mapping[str, Floats]
    prices: PriceList


def drive_of(network: Network, activity: Activity, prices: PriceList) -> Drive:
    """Return the spikes of up to STEPS steps spread over an activity.

    Raises NetworkError for an activity of another network or without spikes.
    """
    spikes: dict[str, Any] = {}
    rate: dict[str, Floats] = {}
    all_steps = activity.n_samples * activity.n_steps
    chosen = np.unique(np.linspace(0, all_steps - 1, min(STEPS, all_steps)).astype(np.int64))
    for name in (*network.inputs, *network.populations):
        expected = (activity.n_samples, network.size_of(name))
        got = activity.counts[name].shape if name in activity.counts else "none"
        if got != expected:
            raise NetworkError(f"activity of node {name!r}: expected counts of shape {expected}, got {got}")
        if name not in activity.spikes:
            raise NetworkError(f"activity of node {name!r}: expected recorded spikes, got counts alone")
        rows = activity.spikes[name].reshape(all_steps, -1)[chosen] != 0
        spikes[name] = sparse.csr_matrix(rows.astype(np.float64))
        rate[name] = activity.counts[name].sum(axis=0) / all_steps
    active = {name: active_updates(network, activity, name)[0] / all_steps for name in network.populations}
    return Drive(spikes, rate, active, prices)


def check_objective(chip: Chip, objective: str) -> PriceList | None:
    """Return the price list that the chip names for an objective, None where it names none and needs none.

    Raises ConfigError for an unknown objective, and for a chip or a price list without what it needs.
    """
    if objective not in OBJECTIVES:
        raise ConfigError([f"objective: expected one of {', '.join(OBJECTIVES)}, got {objective}"])
    if chip.prices is None:
        if objective == "cores":
            return None
        where = f"chip {chip.name}"
        raise ConfigError([f"{where}: expected `prices`, a price list with times, for objective {objective}, got none"])
    prices = load_price_list(chip.prices)
    if prices.times_ns is None:
        raise ConfigError([f"price list {prices.name}: expected times_ns, got a list without times"])
    return prices


def drive_for(network: Network, chip: Chip, objective: str, activity: Activity | None) -> Drive | None:
    """Return what a placement is judged by; None for the fewest cores without an activity.

    Raises what `check_objective` and `drive_of` raise, and NetworkError where the activity is missing.
    """
    prices = check_objective(chip, objective)
    if activity is None and objective != "cores":
        raise NetworkError(f"objective {objective}: expected an activity (data, a rate or a run), got none")
    return None if activity is None or prices is None else drive_of(network, activity, prices)
