"""A placement as data, as a table of text, and as a picture of the chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sdsnn_core.network import Network

from ..energy.dense_shapes import Unpruned, unpruned_network
from .advice import MANY, Change, advise, without_limits
from .chip import RESOURCES, WHOLE_CHIP, Chip
from .cost import DoesNotFit
from .place import place
from .types import Placement

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = 1


@dataclass(frozen=True, eq=False)
class PlacementReport:
    """A placement with what explains it.

    refusal: why nothing was placed, or None. changes: variants, best first. lifted: what each limit costs in cores.
    unpruned: the same for the network before pruning: a placement, a message if it does not fit, or None.
    """

    chip: Chip
    network: Network
    placement: Placement | None
    refusal: str | None
    changes: Sequence[Change]
    lifted: Sequence[Change]
    unpruned: Placement | str | None

    @property
    def best_change(self) -> Change | None:
        """The variant that saves most: cores first, then bits; None if none saves anything."""
        best = self.changes[0] if self.changes else None
        if best is None or best.cores is None or self.placement is None:
            return best if best is not None and best.cores is not None else None
        assert best.bits is not None
        now = (self.placement.n_cores, int(self.placement.use["synapse_bits"].sum()))
        return best if (best.cores, best.bits) < now else None

    @property
    def binding(self) -> tuple[str, int] | None:
        """The limit that costs most, and how many cores fewer would do without it; None if none costs any."""
        if self.placement is None:
            return None
        saved = [(self.placement.n_cores - c.cores, c.kind) for c in self.lifted if c.cores is not None]
        amount, resource = max(saved, default=(0, ""))
        return (resource, amount) if amount > 0 else None


def explain(network: Network, chip: Chip, unpruned: Unpruned = None, *, advice: bool = True) -> PlacementReport:
    """Place `network` and say what binds, what would help, and what the unpruned network would need."""
    placement: Placement | None = None
    refusal: str | None = None
    try:
        placement = place(network, chip)
    except DoesNotFit as error:
        refusal = str(error)
    full = unpruned_network(network, unpruned)
    beside: Placement | str | None = None
    if full is not None:
        try:
            beside = place(full, chip)
        except DoesNotFit as error:
            beside = str(error)
    changes = advise(network, chip, placement) if advice else []
    lifted = without_limits(network, chip) if advice else []
    return PlacementReport(chip, network, placement, refusal, changes, lifted, beside)


def placement_to_json(report: PlacementReport) -> dict[str, Any]:
    """Return the report as data; keys are documented in docs/placement.md. core_idx and total_mpds are Loihi2Memory's
    names."""
    chip, placement = report.chip, report.placement
    data: dict[str, Any] = {
        "format": FORMAT,
        "chip": chip.name,
        "fits": placement is not None,
        "refusal": report.refusal,
        "limits": {
            name: {"value": item.value, "brochure": item.brochure, "unit": item.unit, "citation": item.citation}
            for name, item in chip.limits.items()
        },
        "unpruned": _beside(report.unpruned),
        "changes": [_change(change) for change in report.changes],
        "without_limit": [_change(change) for change in report.lifted],
    }
    best, binding = report.best_change, report.binding
    data["best_change"] = None if best is None else _change(best)
    data["binding"] = None if binding is None else {"resource": binding[0], "cores": binding[1]}
    if placement is None:
        return data
    x, y = placement.mesh.place(np.arange(placement.n_cores))[1:]
    return {
        **data,
        "cores": placement.n_cores,
        "chips": placement.n_chips,
        "lower_bound": placement.lower_bound,
        "lower_bounds": dict(placement.bounds),
        "gap": placement.n_cores / placement.lower_bound - 1,
        "closest_limit": placement.binding,
        "load": dict(placement.load),
        "per_core": {
            "core_idx": list(range(placement.n_cores)),
            "chip_idx": placement.mesh.place(np.arange(placement.n_cores))[0].tolist(),
            "tile_x": x.tolist(),
            "tile_y": y.tolist(),
            **{name: amount.tolist() for name, amount in placement.use.items()},
            "neuron_room": placement.neuron_room.tolist(),
        },
        "total_mpds": int(placement.use["synapse_bits"].sum()) // (chip.synapses.word_bits if chip.synapses else 64),
        "populations": {
            name: {"neurons": int(where.size), "cores": sorted(set(where.tolist()))}
            for name, where in placement.core_of.items()
        },
        "projections": {
            name: {
                "axons": len(table),
                "synapses": int(table.synapses.sum()),
                "sparse_axons": int(table.sparse.sum()),
                "bits": int(table.bits.sum()),
            }
            for name, table in placement.axons.items()
        },
        "notes": list(placement.notes),
    }


def _change(change: Change) -> dict[str, Any]:
    return {"change": change.title, "cores": change.cores, "synapse_bits": change.bits}


def _beside(unpruned: Placement | str | None) -> dict[str, Any] | None:
    if unpruned is None:
        return None
    if isinstance(unpruned, str):
        return {"fits": False, "refusal": unpruned}
    return {
        "fits": True,
        "cores": unpruned.n_cores,
        "chips": unpruned.n_chips,
        "synapse_bits": int(unpruned.use["synapse_bits"].sum()),
        "lower_bound": unpruned.lower_bound,
    }


def placement_tables(report: PlacementReport, *, max_cores: int = 24) -> list[Table]:
    """Return rich tables: limits, populations, cores (the first `max_cores`)."""
    from rich.table import Table

    placement = report.placement
    if placement is None:
        return []
    limits = Table(title=f"{report.chip.title}: use per core")
    for heading in ("resource", "limit", "mean", "greatest", "on core", "lower bound"):
        limits.add_column(heading, justify="left" if heading == "resource" else "right")
    for name, use in placement.use.items():
        limit = placement.limits[name]
        share = "" if not limit else f" ({use.max() / limit:.0%})"
        limits.add_row(
            RESOURCES[name],
            "none published" if limit is None else f"{limit:,}",
            f"{use.mean():,.0f}",
            f"{int(use.max()):,}{share}",
            str(int(use.argmax())),
            str(placement.bounds.get(name, "")),
        )
    nodes = Table(title="populations")
    for heading in ("population", "neurons", "cores", "synapses in", "sparse lists", "memory (KiB)"):
        nodes.add_column(heading, justify="left" if heading == "population" else "right")
    for name, where in placement.core_of.items():
        tables = [placement.axons[key] for key, _ in report.network.incoming(name)]
        axons = sum(len(table) for table in tables)
        nodes.add_row(
            name,
            f"{where.size:,}",
            str(placement.pieces[name]),
            f"{sum(int(t.synapses.sum()) for t in tables):,}",
            f"{sum(int(t.sparse.sum()) for t in tables) / axons:.0%}" if axons else "-",
            f"{sum(int(t.bits.sum()) for t in tables) / 8192:,.1f}",
        )
    cores = Table(title=f"cores (first {min(max_cores, placement.n_cores)} of {placement.n_cores})")
    for heading in ("core", "chip", "populations", "neurons", "input axons", "output axons", "memory"):
        cores.add_column(heading, justify="left" if heading == "populations" else "right")
    bits = placement.limits["synapse_bits"]
    for core in range(min(max_cores, placement.n_cores)):
        here = [name for name, where in placement.core_of.items() if (where == core).any()]
        memory = int(placement.use["synapse_bits"][core])
        cores.add_row(
            str(core),
            str(int(placement.mesh.place(core)[0])),
            ", ".join(here),
            f"{int(placement.use['neurons'][core]):,}",
            f"{int(placement.use['input_axons'][core]):,}",
            f"{int(placement.use['output_axons'][core]):,}",
            f"{memory / bits:.1%}" if bits else f"{memory:,} bit",
        )
    return [limits, nodes, cores]


def placement_lines(report: PlacementReport) -> list[str]:
    """Return the answer in lines: cores and chips, the gap, what binds, what would help, the unpruned network."""
    placement = report.placement
    lines = []
    if placement is None:
        lines.append(report.refusal or "")
    else:
        gap = placement.n_cores / placement.lower_bound - 1
        lines.append(
            f"{report.chip.title}: {_counted(placement.n_cores, 'core')} on {_counted(placement.n_chips, 'chip')}; "
            f"lower bound {placement.lower_bound} (gap {gap:.0%})"
        )
        closest = placement.binding
        lines.append(f"closest to its limit: {RESOURCES[closest]}, {placement.load[closest]:.1%} used on average")
        if report.binding:
            resource, saved = report.binding
            lines.append(f"the limit that binds: {RESOURCES[resource]}; without it {_counted(saved, 'core')} fewer")
        elif report.lifted:
            lines.append("no single limit binds: lifting any one of them saves no core")
        else:
            lines.append(f"which limit binds and what would help was not tried (asked so, or beyond {MANY:,} weights)")
    best = report.best_change
    if best is not None and best.cores is not None and best.bits is not None:
        lines.append(f"what would help most: {best.title}: {_counted(best.cores, 'core')}, {best.bits / 8192:,.1f} KiB")
    if isinstance(report.unpruned, str):
        lines.append(f"unpruned network: {report.unpruned}")
    elif report.unpruned is not None:
        memory = int(report.unpruned.use["synapse_bits"].sum()) / 8192
        now = "" if placement is None else f" (now {int(placement.use['synapse_bits'].sum()) / 8192:,.1f} KiB)"
        lines.append(
            f"unpruned network: {_counted(report.unpruned.n_cores, 'core')} on "
            f"{_counted(report.unpruned.n_chips, 'chip')}, {memory:,.1f} KiB of synaptic memory{now}"
        )
    if placement is not None:
        lines += [f"note: {note}" for note in placement.notes]
    return lines


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def whole_chip_amounts(network: Network) -> dict[str, int]:
    """Return what a network needs of the limits of a whole chip (see chips.WHOLE_CHIP)."""
    from sdsnn_core.convolution import expand
    from sdsnn_core.network import Convolution, Input, Population, Synapses

    fan_out: dict[str, Any] = {}
    synapses = kernel = 0
    for p in network.projections.values():
        wires = p if isinstance(p, Synapses) else expand(p, network.shape_of(p.source))
        synapses += int(wires.weight.size)
        each = np.bincount(wires.pre, minlength=network.size_of(p.source))
        fan_out[p.source] = fan_out.get(p.source, 0) + each
        if isinstance(p, Convolution):
            kernel = max(kernel, *p.kernel.shape[2:])
    nodes: list[Input | Population] = [*network.inputs.values(), *network.populations.values()]
    return {
        "neurons": sum(p.size for p in network.populations.values()),
        "synapses": synapses,
        "inputs": sum(p.size for p in network.inputs.values()),
        "outputs": sum(network.size_of(name) for name in network.outputs),
        "fan_out": max((int(each.max()) for each in fan_out.values()), default=0),
        "layers": len(network.populations),
        "kernel_size": kernel,
        "channels": max(node.shape[0] for node in nodes if len(node.shape) == 3) if kernel else 0,
        "input_extent": max(max(node.shape[1:], default=0) for node in network.inputs.values()),
    }


def whole_chip_lines(network: Network, chip: Chip) -> tuple[bool, list[str]]:
    """Hold a network against the limits of a whole chip: (within all of them, lines that say each)."""
    amounts = whole_chip_amounts(network)
    lines, fits = [f"{chip.title}: {chip.summary}"], True
    for name, limit in chip.whole_chip.items():
        within = amounts[name] <= limit.value
        fits &= within
        word = "within" if within else "EXCEEDS"
        lines.append(
            f"{WHOLE_CHIP[name]}: {amounts[name]:,}, {word} {int(limit.value):,} {limit.unit} ({limit.citation})"
        )
    lines += [f"not known: {name}: {why}" for name, why in chip.unknown.items()]
    return fits, lines
