"""The chip as SANA-FE reads it, in YAML: the mesh of a placement, and the energies and times of a price list.

A tile has its cores and one core more, the port, from which the input's spikes start: where on a chip the input comes
in was not published, so its way costs no hops. A neuron is a pair on its core. The receiver takes synaptic events and
is updated in every step. The sender replays the neuron's spikes: SANA-FE keeps one train per soma, so every sender has
a soma of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sdsnn_core.errors import ConfigError

from ..energy.prices import PriceList, Times

UNIT = 1024  # neurons that one soma or dendrite of SANA-FE holds
LINK_BUFFER = 16  # messages that a link holds, as in SANA-FE's own description of Loihi
KINDS = ("dense", "sparse", "convolution")


class CoreSize(NamedTuple):
    """Neurons that a core of SANA-FE holds: pairs count one receiver and one sender."""

    receivers: int
    senders: int


def architecture(prices: PriceList, tiles: Sequence[Sequence[CoreSize]], rows: int) -> str:
    """Return the description of a chip in SANA-FE's YAML.

    prices: gives energies and times. tiles: the cores of each tile, the port last, column by column. rows: of the mesh.
    Raises ConfigError where the list lacks a price or a time.
    """
    times, pj = prices.times_ns, {name: term.pj for name, term in prices.terms.items()}
    needed = {"spike_sent", "packet", "hop_east_west", "hop_north_south", *(f"synaptic_event_{kind}" for kind in KINDS)}
    if times is None or (lacking := sorted(needed - set(pj))):
        what = "times_ns" if times is None else ", ".join(lacking)
        raise ConfigError([f"price list {prices.name}: expected prices and times of every event, got no {what}"])
    barrier = ", ".join(f"{n}: {ns}e-9" for n, ns in sorted(times.barrier_by_tiles.items()))
    lines = [
        "architecture:",
        "  name: chip",
        "  attributes:",
        f"    {{topology: mesh, width: {len(tiles) // rows}, height: {rows}, link_buffer_size: {LINK_BUFFER},",
        f"     sync_model: table, latency_sync: {{{barrier or f'1: {times.barrier_max}e-9'}}}}}",
        "  tile:",
    ]
    for tile, cores in enumerate(tiles):
        lines += [f"    - name: tile{tile}", f"      attributes: {_tile(times, pj)}", "      core:"]
        for number, size in enumerate(cores):
            lines += _core(number, size, times, pj, port=number == len(cores) - 1)
    return "\n".join(lines) + "\n"


def _tile(times: Times, pj: Mapping[str, float]) -> str:
    ways = {"north": "north_south", "south": "north_south", "east": "east_west", "west": "east_west"}
    costs = (
        f"energy_{way}_hop: {pj[f'hop_{axis}']}e-12, latency_{way}_hop: {getattr(times, f'hop_{axis}')}e-9"
        for way, axis in ways.items()
    )
    return "{" + ", ".join(costs) + "}"


def _soma(name: str, model: str, costs: tuple[Any, ...]) -> str:
    """Return a soma. costs: picojoules and nanoseconds of an access, an update and a spike."""
    events = ("access_neuron", "update_neuron", "spike_out")
    what = [f"{cost}_{event}" for cost in ("energy", "latency") for event in events]
    units = ("e-12",) * 3 + ("e-9",) * 3
    shown = ", ".join(f"{key}: {value}{unit}" for key, value, unit in zip(what, costs, units, strict=True))
    return f"            - {{name: '{name}', attributes: {{model: {model}, {shown}}}}}"


def _core(number: int, size: CoreSize, times: Times, pj: Mapping[str, float], port: bool) -> Iterator[str]:
    idle, more = pj["neuron_update_inactive"], pj["neuron_update_active"] - pj["neuron_update_inactive"]
    more_ns = times.neuron_update_active - times.neuron_update_inactive
    update = (idle, round(more, 9), 0.0, times.neuron_update_inactive, round(more_ns, 9), 0.0)
    spike = (0.0, 0.0, 0.0 if port else pj["spike_sent"], 0.0, 0.0, 0.0 if port else times.spike_sent)
    yield f"        - name: core{number}"
    yield "          attributes:"
    # SANA-FE reserves memory for every neuron that a core may hold.
    room = max(1, size.receivers + size.senders)
    yield f"            {{buffer_position: soma, buffer_inside_unit: false, max_neurons_supported: {room}}}"
    yield "          axon_in:"
    received = f"energy_message_in: 0.0, latency_message_in: {times.packet_received}e-9"
    yield f"            - {{name: packets_in, attributes: {{{received}}}}}"
    yield "          synapse:"
    for kind in KINDS:
        cost = (
            f"energy_process_spike: {pj[f'synaptic_event_{kind}']}e-12, latency_process_spike: {times.event(kind)}e-9"
        )
        yield f"            - {{name: {kind}, attributes: {{model: current_based, {cost}}}}}"
    yield "          dendrite:"
    free = "{model: accumulator, energy_update: 0.0, latency_update: 0.0}"
    for unit in range(-(-room // UNIT)):
        yield f"            - {{name: 'sums{unit}', attributes: {free}}}"
    yield "          soma:"
    for unit in range(max(1, -(-size.receivers // UNIT))):
        yield _soma(f"receiver{unit}", "leaky_integrate_fire", update)
    for sender in range(size.senders):
        yield _soma(f"sender{sender}", "input", spike)
    yield "          axon_out:"
    sent = 0.0 if port else times.packet_sent
    cost = f"energy_message_out: {pj['packet']}e-12, latency_message_out: {sent}e-9"
    yield f"            - {{name: packets_out, attributes: {{{cost}}}}}"
