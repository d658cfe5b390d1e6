"""From a network alone to its energy: simulate, place, price."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdsnn_core.activity import Activity
from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Network

from ..energy.energy import price
from ..energy.prices import load_price_list
from ..energy.result import EnergyReport
from ..placement.chip import Chip, load_chip
from ..placement.objective.drive import check_objective
from ..placement.place import place
from ..sanafe.compare import check_target, compare
from ..simulate.measure import measure
from ..simulate.simulation import Options
from .run_data import read_for_placement


def price_network(
    network: str | Path | Network,
    *,
    data: Any = None,
    rate: float | None = None,
    chip: str = "loihi2",
    prices: Sequence[str] = (),
    samples: int | None = None,
    options: Options | None = None,
    objective: str = "cores",
    target: str | None = None,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> EnergyReport:
    """Simulate a network on data or random spikes, place it on a chip, and price one inference.

    network: a .nir or .net file, a run folder, or a Network. data, rate, samples, options: see `measure`; default: the
    test split of a run folder. prices: names or files of price lists; default: every list. objective: of the placement,
    see `place`. target: "sanafe" replays the spikes on SANA-FE too. progress: called with what is being done and its
    share. Raises DoesNotFit where a core of the chip is too small, and what `check_target` and `replay` raise.
    """
    check_target(target)
    chip_used, tables = load_chip(chip), [load_price_list(name) for name in prices] or None
    check_objective(chip_used, objective)
    loaded, before = (network, None) if isinstance(network, Network) else read_for_placement(Path(network))
    if data is None and rate is None:
        if isinstance(network, Network) or not Path(network).is_dir():
            raise NetworkError("price: expected --data or --rate, which say what the network runs on, got neither")
        data = network
    place_now = functools.partial(place, loaded, chip_used, progress=functools.partial(progress, "placing"))
    placement = place_now() if objective == "cores" else None
    progress("simulating", 0)
    activity = measure(loaded, data, rate, samples=samples, options=options).activity
    if placement is None:
        placement = place_now(objective=objective, activity=activity)
    report = price(activity, loaded, tables, placement=placement, unpruned=before, chip=chip_used.name)
    if target is None:
        return report
    progress("replaying on SANA-FE", 0)
    return replace(report, second=compare(loaded, activity, placement, report.counts))


def activity_for_placement(
    network: Network,
    path: Path,
    chip: Chip,
    objective: str,
    data: Any,
    rate: float | None,
    samples: int,
    options: Options | None,
) -> Activity | None:
    """Return the activity that a placement for `objective` is judged by; None where neither it nor the user asks.

    Default: the test split of a run folder. Raises what `check_objective` and `measure` raise, before a simulation.
    """
    check_objective(chip, objective)
    if data is None and rate is None:
        if objective == "cores":
            return None
        if not path.is_dir():
            raise NetworkError(f"objective {objective}: expected --data, --rate or a run folder, got none of them")
        data = path
    return measure(network, data, rate, samples=samples, options=options).activity
