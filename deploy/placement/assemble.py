"""The finished Placement: cores of neurons, output axons, tables of input axons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .chip import RESOURCES
from .cost import Cores, Piece, axon_sources, core_use, distinct, neuron_limit
from .cut import Cutter
from .types import CONVOLUTION_SLOTS, AxonTable, Ints, Mesh, Placement


class Layout(NamedTuple):
    """Pieces on cores. core_of: population -> (size,) core of each neuron. outgoing: (n_cores,) output slots."""

    cores: Cores
    core_of: dict[str, npt.NDArray[np.int32]]
    outgoing: Ints


def cores_of_neurons(cutter: Cutter, cores: Cores) -> dict[str, npt.NDArray[np.int32]]:
    """Return population -> (size,) the core of each neuron."""
    return _numbered(cutter, ((core, piece) for core, pieces in enumerate(cores) for piece in pieces))


def _numbered(cutter: Cutter, pieces: Iterable[tuple[int, Piece]]) -> dict[str, npt.NDArray[np.int32]]:
    numbers = {name: np.full(p.size, -1, np.int32) for name, p in cutter.network.populations.items()}
    for number, piece in pieces:
        numbers[piece.population][piece.neurons] = number
    assert all((each >= 0).all() for each in numbers.values())
    return numbers


def output_slots(cutter: Cutter, cores: Cores) -> dict[str, Ints]:
    """Return population -> (size,) output slots: one per destination core, two where a convolution leads."""
    slots = {name: np.zeros(p.size, np.int64) for name, p in cutter.network.populations.items()}
    for pieces in cores:
        for (source, convolution), parts in axon_sources(pieces, cutter.sources).items():
            if source in slots:
                slots[source][distinct(parts)] += CONVOLUTION_SLOTS if convolution else 1
    return slots


def finish(cutter: Cutter, layout: Layout, bounds: Mapping[str, int], tight: bool = False) -> Placement:
    """Return the Placement of pieces on cores. tight: `bounds` are tight bounds."""
    chip = cutter.chip
    assert chip.layout is not None
    cores = layout.cores
    uses = [core_use(pieces, cutter.sources, chip) for pieces in cores]
    use = {name: np.array([one[name] for one in uses], np.int64) for name in uses[0]}
    use["output_axons"] = layout.outgoing
    limits = {name: chip.limit(name) for name in RESOURCES}
    room = np.array([neuron_limit(pieces, chip) for pieces in cores])
    load = {name: float(use[name].sum()) / limit / len(cores) for name, limit in limits.items() if limit}
    load["neurons"] = float((use["neurons"] / room).mean())
    return Placement(
        chip=chip.name,
        core_of=layout.core_of,
        piece_of=_numbered(cutter, enumerate(piece for pieces in cores for piece in pieces)),
        axons={name: _axon_table(cutter, name, cores) for name in cutter.network.projections},
        n_cores=len(cores),
        mesh=Mesh(chip.layout.cores_per_chip, chip.layout.cores_per_tile, chip.layout.tiles_x),
        use=use,
        limits=limits,
        neuron_room=room,
        bounds=bounds,
        tight_bound=tight,
        load=load,
        pieces={name: np.unique(cores_of).size for name, cores_of in layout.core_of.items()},
        notes=tuple(_notes(cutter)),
        static_power=chip.constants.get("static_power_per_chip"),
    )


def _axon_table(cutter: Cutter, name: str, cores: Cores) -> AxonTable:
    columns: list[tuple[Ints, ...]] = []
    for core, pieces in enumerate(cores):
        together = sum(piece.neurons.size for piece in pieces)
        parts: list[tuple[Ints, ...]] = []
        for lists in (piece.lists[name] for piece in pieces if name in piece.lists):
            bits, is_sparse = lists.bits(together, cutter.layout)
            owned = np.zeros(lists.source.size, np.int64)
            owned[np.unique(lists.pattern, return_index=True)[1]] = bits  # the first axon owns a shared list
            in_sparse = is_sparse[lists.pattern]
            stored = np.where(in_sparse, lists.synapses, lists.span[lists.pattern])
            parts.append((lists.source, lists.synapses, stored, owned, in_sparse.astype(np.int64)))
        if not parts:
            continue
        source, *amounts = (np.concatenate(part) for part in zip(*parts, strict=True))
        if len(parts) > 1:  # boxes of one population that share a core share the axons of their sources
            source, inverse = np.unique(source, return_inverse=True)
            amounts = [np.bincount(inverse, part, source.size).astype(np.int64) for part in amounts]
        columns.append((source, np.full(source.size, core, np.int64), *amounts))
    source, on_core, synapses, stored, bits, kind = (np.concatenate(part) for part in zip(*columns, strict=True))
    return AxonTable(source, on_core, synapses, stored, bits, kind > 0, cutter.counters[name].boxed)


def _notes(cutter: Cutter) -> Iterator[str]:
    layout = cutter.layout
    yield f"synaptic memory counted as {layout.source} [{layout.year}, {layout.grade}]"
    for name, counter in cutter.counters.items():
        if not counter.form.exact:
            widest = max(layout.weight_bits)
            yield f"{name}: weights need more than the {widest} bits of the widest format; low bits would be lost"
    for resource in RESOURCES:
        if cutter.chip.limit(resource) is None:
            yield f"no limit imposed on {RESOURCES[resource]}: none was published"
