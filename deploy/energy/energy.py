"""Energy and time of an inference, from counted activity and published prices. Every figure names its source.

`price` multiplies counts by each price list and puts the lists side by side. Nothing is filled in: a term without a
price is listed with the reason, and a total that lacks one says 'partial'. The definitions are in docs/energy.md.
"""

from collections.abc import Sequence

from sdsnn_core.activity import Activity
from sdsnn_core.network import Network

from ..placement.types import Placement
from .baselines import baselines
from .counts import count
from .dense_shapes import Unpruned
from .prices import PriceList, default_price_lists
from .pricing import link_time, price_counts, static_share, step_time
from .result import EnergyReport


def price(
    activity: Activity,
    network: Network,
    tables: Sequence[PriceList] | None = None,
    *,
    placement: Placement | None = None,
    unpruned: Unpruned = None,
    unpruned_activity: Activity | None = None,
    chip: str = "loihi2",
) -> EnergyReport:
    """Price one inference by published energies per event.

    Args:
        activity: counts and events of `network`, with spikes where active updates are to be exact.
        network: the network that ran.
        tables: price lists; the default is every list of the package.
        placement: cores of the neurons. Without it packets and hops are unpriced, and there is no time.
        unpruned: the network before pruning, its shapes, or node -> units it had.
        unpruned_activity: counts of an unpruned Network. Without it the same spikes are counted on full matrices.
        chip: chip that the network is meant for. Prices of another chip are worded '<that chip>-priced'.

    Returns:
        Joules per inference (one sample, all its steps), mean over the samples, by every list.

    Raises:
        NetworkError: `activity` is not of `network`, or `unpruned` does not fit it.

    Examples:
        >>> import numpy as np, sdsnn
        >>> nodes = {"in": sdsnn.Input((4,)), "a": sdsnn.Population((3,), 4096, 410, 64), "out": sdsnn.Output("a")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses.from_dense("in", "a", np.full((3, 4), 20))})
        >>> activity = sdsnn.simulate(network, np.ones((2, 5, 4), np.uint8))
        >>> report = sdsnn.price(activity, network, placement=sdsnn.place(network))
        >>> report.label, report.wording
        ('partial', 'Loihi-1-priced')
    """
    lists = default_price_lists() if tables is None else list(tables)
    counts = count(network, activity, placement)
    inputs_graded = [name for name, node in network.inputs.items() if node.max_value > 1]
    notes = []
    if not all(span.exact for span in counts.active.values()):
        notes.append("spikes were not recorded: active neuron updates are known only as bounds")
    if inputs_graded:
        notes.append(f"graded input {', '.join(inputs_graded)}: an event counts once, whatever its value")
    if counts.packets_between_chips:
        notes.append(f"{counts.packets_between_chips:,.4g} packets go to another chip; that link is not priced")
    if placement is not None and placement.n_chips > 1:
        notes += [f"barrier of several chips: {fact.value:.3g} s ({fact.citation})" for fact in placement.barriers]
    return EnergyReport(
        chip=chip,
        counts=counts,
        priced=tuple(price_counts(counts, table, chip) for table in lists),
        baselines=tuple(baselines(network, activity, counts, lists, unpruned, unpruned_activity, chip)),
        step_times=tuple(step_time(counts, table) for table in lists if table.times_ns and placement is not None),
        static=tuple(static_share(counts, lists, placement, network.dt_s)) if placement is not None else (),
        placed=placement is not None,
        notes=tuple(notes),
        link=None if placement is None else link_time(counts, placement),
    )
