"""What binds each core: memory, compute or traffic."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..types import Floats, Ints, Placement

KINDS = ("memory", "compute", "traffic")


class Binding(NamedTuple):
    """Shares of what each core can do, arrays (n_cores,).

    memory: the highest share of a limit of the chip; resource: which one. compute, traffic: time of updates and events,
    and of packets, as a share of the longest time of a core. kind: index into KINDS of the greatest of the three.
    """

    memory: Floats
    resource: list[str]
    compute: Floats
    traffic: Floats
    kind: Ints


def closest_limits(placement: Placement) -> tuple[Floats, list[str]]:
    """Return (n_cores,) the highest share of a limit that each core uses, and of which resource."""
    limits = {name: np.asarray(limit) for name, limit in placement.limits.items() if limit}
    limits["neurons"] = placement.neuron_room
    shares = np.stack([placement.use[name] / limit for name, limit in limits.items()])
    return shares.max(axis=0), [list(limits)[i] for i in shares.argmax(axis=0)]


def binding(placement: Placement) -> Binding:
    """Return what binds each core of a placement whose work is known."""
    work = placement.work
    assert work is not None
    memory, resource = closest_limits(placement)
    longest = max(float((work.compute + work.traffic).max()), 1e-30)
    compute, traffic = work.compute / longest, work.traffic / longest
    return Binding(memory, resource, compute, traffic, np.stack([memory, compute, traffic]).argmax(axis=0))


def work_to_json(placement: Placement) -> dict[str, Any]:
    """Return the work of the cores as data; {} where no activity was given."""
    work = placement.work
    if work is None:
        return {}
    return {
        "prices": work.prices,
        "step_s": work.step,
        "barrier_s": work.barrier,
        "tiles": placement.n_tiles,
        "busiest_core": int(work.busy.argmax()),
        "busiest_core_events": work.busiest_events,
        "mean_over_busiest": float(work.busy.mean() / max(work.busy.max(), 1e-30)),
        "joules_per_step": work.joules,
    }


def cores_to_json(placement: Placement) -> dict[str, list[Any]]:
    """Return the work of each core as columns; {} where no activity was given."""
    work = placement.work
    if work is None:
        return {}
    bound = binding(placement)
    return {
        "events": work.events.tolist(),
        "packets_in": work.packets_in.tolist(),
        "packets_out": work.packets_out.tolist(),
        "compute_s": work.compute.tolist(),
        "traffic_s": work.traffic.tolist(),
        "busy_s": work.busy.tolist(),
        "memory_share": bound.memory.tolist(),
        "binds": [KINDS[kind] for kind in bound.kind.tolist()],
    }


def work_lines(placement: Placement) -> list[str]:
    """Return the time of a step, the busiest core, and how many cores each kind binds; [] without an activity."""
    work = placement.work
    if work is None:
        return []
    core, bound = int(work.busy.argmax()), binding(placement)
    counts = (f"{KINDS[kind]} {int((bound.kind == kind).sum())}" for kind in range(len(KINDS)))
    tiles = f"{placement.n_tiles} tile{'s' if placement.n_tiles > 1 else ''}"
    mine, every = work.busy[core] * 1e6, work.busy.mean() * 1e6
    compute, traffic = work.compute[core] * 1e6, work.traffic[core] * 1e6
    return [
        f"placed for {placement.objective}: a step takes {work.step * 1e6:.3g} us by {work.prices}, "
        f"{work.barrier * 1e6:.2g} us of it for the barrier of {tiles}; events and traffic {work.joules * 1e9:.3g} nJ",
        f"busiest core: {core}, {mine:.3g} us on average (mean of all cores {every:.3g} us): {compute:.3g} us of "
        f"updates and events, {traffic:.3g} us of packets; in a step the busiest core has "
        f"{work.busiest_events:,.0f} events",
        f"what binds, number of cores: {', '.join(counts)}",
    ]
