"""A placement report as JSON, as tables and as lines of text."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .chip import RESOURCES
from .explain import MANY, MANY_NEURONS, PlacementReport
from .objective.binding import KINDS, binding, cores_to_json, work_lines, work_to_json
from .types import Placement

FORMAT = 1


def placement_to_json(report: PlacementReport) -> dict[str, Any]:
    """Return the report as data, keys as in docs/placement.md; core_idx and total_mpds are Loihi2Memory's names."""
    chip, placement = report.chip, report.placement
    data: dict[str, Any] = {
        "format": FORMAT,
        "chip": chip.name,
        "fits": placement is not None,
        "refusal": None if report.refusal is None else str(report.refusal),
        "limits": {
            name: {"value": item.value, "brochure": item.brochure, "unit": item.unit, "citation": item.citation}
            for name, item in chip.limits.items()
        },
        "neuron_limits": {
            name: {"value": item.value, "unit": item.unit, "citation": item.citation}
            for name, item in chip.per_neuron.items()
        },
        "unpruned": _unpruned(report.unpruned),
        "changes": [change.as_dict() for change in report.changes],
        "without_limit": [change.as_dict() for change in report.lifted],
        "best_change": report.best_change and report.best_change.as_dict(),
        "binding": report.binding and dict(zip(("resource", "cores"), report.binding, strict=True)),
    }
    if placement is None:
        return data
    on_chip, x, y = placement.mesh.place(np.arange(placement.n_cores))
    return {
        **data,
        "cores": placement.n_cores,
        "chips": placement.n_chips,
        "bound": "tight" if placement.tight_bound else "simple",
        "lower_bound": placement.lower_bound,
        "lower_bounds": dict(placement.bounds),
        "gap": placement.n_cores / placement.lower_bound - 1,
        "closest_limit": placement.binding,
        "load": dict(placement.load),
        "per_core": {
            "core_idx": list(range(placement.n_cores)),
            "chip_idx": on_chip.tolist(),
            "tile_x": x.tolist(),
            "tile_y": y.tolist(),
            **{name: amount.tolist() for name, amount in placement.use.items()},
            "neuron_room": placement.neuron_room.tolist(),
            **cores_to_json(placement),
        },
        "objective": placement.objective,
        "work": work_to_json(placement) or None,
        "total_mpds": placement.synapse_bits // (chip.synapses.word_bits if chip.synapses else 64),
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


def _unpruned(unpruned: Placement | str | None) -> dict[str, Any] | None:
    if unpruned is None:
        return None
    if isinstance(unpruned, str):
        return {"fits": False, "refusal": unpruned}
    return {
        "fits": True,
        "cores": unpruned.n_cores,
        "chips": unpruned.n_chips,
        "synapse_bits": unpruned.synapse_bits,
        "lower_bound": unpruned.lower_bound,
    }


class Table(NamedTuple):
    """A table of text. left: the column that is aligned to the left."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left: int = 0


def placement_tables(report: PlacementReport, *, max_cores: int = 24) -> list[Table]:
    """Return tables of limits, populations, and cores (the first `max_cores`)."""
    placement = report.placement
    if placement is None:
        return []
    limits = []
    for name, use in placement.use.items():
        limit, highest = placement.limits[name], f"{int(use.max()):,}"
        shown = ("none published", highest) if limit is None else (f"{limit:,}", f"{highest} ({use.max() / limit:.0%})")
        numbers = (shown[0], f"{use.mean():,.0f}", shown[1], str(int(use.argmax())))
        limits.append((RESOURCES[name], *numbers, str(placement.bounds.get(name, ""))))
    nodes = []
    for name, core_of in placement.core_of.items():
        tables = [placement.axons[key] for key, _ in report.network.incoming(name)]
        axons, in_sparse = sum(map(len, tables)), sum(int(t.sparse.sum()) for t in tables)
        synapses, bits = (sum(int(getattr(t, key).sum()) for t in tables) for key in ("synapses", "bits"))
        share = f"{in_sparse / axons:.0%}" if axons else "-"
        counts = (f"{core_of.size:,}", str(placement.pieces[name]), f"{synapses:,}")
        nodes.append((name, *counts, share, f"{bits / 8192:,.1f}"))
    cores = []
    room = placement.limits["synapse_bits"]
    chips, *_ = placement.mesh.place(np.arange(placement.n_cores))
    work = _work_columns(placement)
    for core in range(min(max_cores, placement.n_cores)):
        used = {name: int(amount[core]) for name, amount in placement.use.items()}
        memory = f"{used['synapse_bits'] / room:.1%}" if room else f"{used['synapse_bits']:,} bit"
        names = ", ".join(name for name, core_of in placement.core_of.items() if (core_of == core).any())
        counts = (f"{used['neurons']:,}", f"{used['input_axons']:,}", f"{used['output_axons']:,}")
        cores.append((str(core), str(chips[core]), names, *counts, memory, *work[core]))
    of_limits = ("resource", "limit", "mean", "highest", "on core", "lower bound")
    of_nodes = ("population", "neurons", "cores", "synapses in", "sparse lists", "memory (KiB)")
    of_cores: tuple[str, ...] = ("core", "chip", "populations", "neurons", "input axons", "output axons", "memory")
    of_cores += ("events", "packets", "busy (us)", "binds") if placement.work is not None else ()
    return [
        Table(f"{report.chip.title}: use per core", of_limits, limits),
        Table("populations", of_nodes, nodes),
        Table(f"cores (first {len(cores)} of {placement.n_cores})", of_cores, cores, left=2),
    ]


def _work_columns(placement: Placement) -> list[tuple[str, ...]]:
    """Return for each core its events, packets, time and what binds it; empty tuples without an activity."""
    work = placement.work
    if work is None:
        return [()] * placement.n_cores
    kinds = binding(placement).kind.tolist()
    packets = work.packets_in + work.packets_out
    return [
        (f"{work.events[i]:,.0f}", f"{packets[i]:,.0f}", f"{work.busy[i] * 1e6:.2f}", KINDS[kind])
        for i, kind in enumerate(kinds)
    ]


def placement_lines(report: PlacementReport) -> list[str]:
    """Return lines: cores and chips, gap, binding limit, best change, unpruned network."""
    placement = report.placement
    lines = []
    if placement is None:
        lines.append(str(report.refusal))
    else:
        gap = placement.n_cores / placement.lower_bound - 1
        bound = "tight lower bound" if placement.tight_bound else "lower bound"
        lines.append(
            f"{report.chip.title}: {_counted(placement.n_cores, 'core')} on {_counted(placement.n_chips, 'chip')}; "
            f"{bound} {placement.lower_bound} (gap {gap:.0%})"
        )
        lines += work_lines(placement)
        closest = placement.binding
        lines.append(f"closest to its limit: {RESOURCES[closest]}, {placement.load[closest]:.1%} used on average")
        if report.binding:
            resource, saved = report.binding
            lines.append(f"binding limit: {RESOURCES[resource]}; without it {_counted(saved, 'core')} fewer")
        elif report.lifted:
            lines.append("no binding limit: lifting any one of them saves no core")
        else:
            size = f"{MANY:,} weights or {MANY_NEURONS:,} neurons"
            lines.append(f"variants not tried (--no-advice, or more than {size}): binding limit unknown")
    best = report.best_change
    if best is not None and best.cores is not None and best.bits is not None:
        lines.append(f"largest saving: {best.title}: {_counted(best.cores, 'core')}, {best.bits / 8192:,.1f} KiB")
    if isinstance(report.unpruned, str):
        lines.append(f"unpruned network: {report.unpruned}")
    elif report.unpruned is not None:
        memory = report.unpruned.synapse_bits / 8192
        now = "" if placement is None else f" (now {placement.synapse_bits / 8192:,.1f} KiB)"
        lines.append(
            f"unpruned network: {_counted(report.unpruned.n_cores, 'core')} on "
            f"{_counted(report.unpruned.n_chips, 'chip')}, {memory:,.1f} KiB of synaptic memory{now}"
        )
    if placement is not None:
        lines += [f"note: {note}" for note in placement.notes]
    return lines


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
