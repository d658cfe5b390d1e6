"""Where everything went: cores of neurons, output axons, tables of input axons, and the finished Placement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from sdsnn_core.network import Convolution

from .chip import RESOURCES
from .cost import Piece, core_use, distinct, neuron_limit
from .cut import Cutter
from .pack import Cores
from .types import CONVOLUTION_SLOTS, AxonTable, Ints, Mesh, Placement


def core_of(cutter: Cutter, cores: Cores) -> dict[str, npt.NDArray[np.int32]]:
    """Return population -> (size,) the core of each neuron."""
    found = {name: np.full(p.size, -1, np.int32) for name, p in cutter.network.populations.items()}
    for core, pieces in enumerate(cores):
        for piece in pieces:
            found[piece.population][piece.neurons] = core
    assert all((where >= 0).all() for where in found.values())
    return found


def _piece_of(cutter: Cutter, cores: Cores) -> dict[str, npt.NDArray[np.int32]]:
    found = {name: np.full(p.size, -1, np.int32) for name, p in cutter.network.populations.items()}
    for number, piece in enumerate(piece for pieces in cores for piece in pieces):
        found[piece.population][piece.neurons] = number
    return found


def output_slots(cutter: Cutter, cores: Cores) -> dict[str, Ints]:
    """Return population -> (size,) output slots: one per destination core, two where a convolution leads."""
    found = {name: np.zeros(p.size, np.int64) for name, p in cutter.network.populations.items()}
    for pieces in cores:
        for (source, convolution), parts in _sources(cutter, pieces).items():
            if source in found:
                found[source][distinct(parts)] += CONVOLUTION_SLOTS if convolution else 1
    return found


def _sources(cutter: Cutter, pieces: list[Piece]) -> dict[tuple[str, bool], list[Ints]]:
    parts: dict[tuple[str, bool], list[Ints]] = {}
    for piece in pieces:
        for name, lists in piece.lists.items():
            parts.setdefault((cutter.sources[name], lists.convolution), []).append(lists.source)
    return parts


def finish(
    cutter: Cutter,
    cores: Cores,
    where: dict[str, npt.NDArray[np.int32]],
    outgoing: Ints,
    bounds: Mapping[str, int],
) -> Placement:
    """Return the Placement of pieces on cores. where: `core_of`; outgoing: (n_cores,) output slots."""
    chip = cutter.chip
    assert chip.layout is not None
    uses = [core_use(pieces, cutter.sources, chip) for pieces in cores]
    use = {name: np.array([one[name] for one in uses], np.int64) for name in uses[0]}
    use["output_axons"] = outgoing
    limits = {name: chip.limit(name) for name in RESOURCES}
    room = np.array([neuron_limit(pieces, chip) for pieces in cores])
    load = {name: float(use[name].sum()) / limit / len(cores) for name, limit in limits.items() if limit}
    load["neurons"] = float((use["neurons"] / room).mean())
    return Placement(
        chip=chip.name,
        core_of=where,
        piece_of=_piece_of(cutter, cores),
        axons={name: _axon_table(cutter, name, cores) for name in cutter.network.projections},
        n_cores=len(cores),
        mesh=Mesh(chip.layout.cores_per_chip, chip.layout.cores_per_tile, chip.layout.tiles_x),
        use=use,
        limits=limits,
        neuron_room=room,
        bounds=bounds,
        load=load,
        pieces={name: int(np.flatnonzero(np.bincount(cores_of)).size) for name, cores_of in where.items()},
        notes=tuple(_notes(cutter)),
        static_power=chip.constants.get("static_power_per_chip"),
    )


def _axon_table(cutter: Cutter, name: str, cores: Cores) -> AxonTable:
    columns: list[tuple[Ints, ...]] = []
    for core, pieces in enumerate(cores):
        together = sum(piece.neurons.size for piece in pieces)
        here = [piece.lists[name] for piece in pieces if name in piece.lists]
        if not here:
            continue
        parts: list[tuple[Ints, ...]] = []
        for lists in here:
            bits, is_sparse = lists.bits(together, cutter.layout)
            owned = np.zeros(lists.source.size, np.int64)
            if lists.convolution:
                _, owner = np.unique(lists.pattern, return_index=True)
                owned[owner] = bits
            else:
                owned = bits
            in_sparse = is_sparse[lists.pattern]
            stored = np.where(in_sparse, lists.synapses, lists.span[lists.pattern])
            parts.append((lists.source, lists.synapses, stored, owned, in_sparse.astype(np.int64)))
        source, *amounts = (np.concatenate(part) for part in zip(*parts, strict=True))
        if len(parts) > 1:  # boxes of one population that share a core share the axons of their sources
            source, inverse = np.unique(source, return_inverse=True)
            amounts = [np.bincount(inverse, part, source.size).astype(np.int64) for part in amounts]
        columns.append((source, np.full(source.size, core, np.int64), *amounts))
    source, where, synapses, stored, bits, kind = (np.concatenate(part) for part in zip(*columns, strict=True))
    convolution = isinstance(cutter.network.projections[name], Convolution)
    return AxonTable(source, where, synapses, stored, bits, kind > 0, convolution)


def _notes(cutter: Cutter) -> Iterator[str]:
    layout = cutter.layout
    yield f"synaptic memory counted as {layout.source} [{layout.year}, {layout.grade}]"
    for name, wire in cutter.wires.items():
        if not wire.form.exact:
            widest = max(layout.weight_bits)
            yield f"{name}: weights need more than the {widest} bits of the widest format; low bits would be lost"
    for resource in RESOURCES:
        if cutter.chip.limit(resource) is None:
            yield f"no limit imposed on {RESOURCES[resource]}: none was published"
