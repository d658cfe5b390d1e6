"""The network while it is built: nodes and projections of the calls so far, and what the next ones read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np

from sdsnn_core.errors import UnsupportedNode
from sdsnn_core.network import Input, Node, Population, Projection, Shape

from ..integers import Array, axonal_delay, exponent_of, steps_of
from ..layout import Layout
from ..wiring import Feed, Weights, later, per_unit, projections
from .graded import MESSAGE_BITS, WEIGHT_BITS, encodes, fraction_bits, lateness
from .names import population_names
from .neurons import Site, population_of
from .types import NO_DELAY, Call, Lost, ModelGraph, Place

IMAGINARY: Final = "-imaginary"  # behind the name of a projection, for the imaginary part of its weights


class Assembly:
    """The network so far: the call at hand adds a population `name` and its projections."""

    def __init__(self, graph: ModelGraph, input_max: int, layout: Layout | None) -> None:
        self.graph = graph
        self.input_max = input_max
        self.layout = layout
        names = ["input", *(f"input{n}" for n in range(1, len(graph.inputs)))]
        if layout is not None:
            names = list(layout.inputs)
            self.input_max = max(port.max_value for port in layout.inputs.values())
        self.nodes: dict[str, Node] = {
            name: Input(shape, input_max) for name, shape in zip(names, graph.inputs, strict=True)
        }
        if layout is not None:
            self.nodes.update(layout.inputs)
        self.names = population_names(graph, layout)
        self.projections: dict[str, Projection] = {}
        self.places = {
            n: Place(name, shape, NO_DELAY) for n, (name, shape) in enumerate(zip(names, graph.inputs, strict=True))
        }
        self.number = 0  # of the call at hand
        self.late, self.bits = lateness(graph), fraction_bits(graph)
        self.outputs = graph.output_sources()

    @property
    def call(self) -> Call:
        """The call at hand."""
        return self.graph.calls[self.number]

    @property
    def source(self) -> int:
        """The number of the call at hand among the sources."""
        return len(self.graph.inputs) + self.number

    @property
    def arriving(self) -> int:
        """Bits of the fraction of what reaches the call at hand. Raises UnsupportedNode where they differ."""
        bits = {self.bits[source] for source in self.call.sources}
        if len(bits) > 1:
            raise UnsupportedNode("expected messages of sigma-delta neurons alone, or spikes and events, got both")
        return max(bits, default=0)

    @property
    def shift(self) -> int:
        """The exponent of two that brings spikes to the units of messages in front of sigma-delta neurons."""
        return MESSAGE_BITS - WEIGHT_BITS if encodes(self.call.block) and not self.arriving else 0

    def connect(self, name: str, weights: Weights, imaginary: bool = False) -> None:
        """Add the projections from what the input of the call at hand is made of."""
        pieces = self.call.pieces
        assert not isinstance(pieces, Lost)
        last = max((self.late[piece.source] for piece in pieces), default=0)
        feeds = [
            feed
            for piece in pieces
            for feed in self._feeds(piece.source, piece.units, np.array(last - self.late[piece.source]))
        ]
        named: Iterator[tuple[str, Projection]]
        if self.layout is None:
            named = ((f"{key}{IMAGINARY}" if imaginary else key, p) for key, p in projections(weights, feeds, name))
        else:
            named = self._laid_out(weights, feeds, name, imaginary)
        exponent = exponent_of(self.call.block) + self.shift
        changes: dict[str, Any] = {"weight_exp": exponent} if exponent else {}
        changes |= {"imaginary": True} if imaginary else {}
        for key, projection in named:
            self.projections[key] = replace(projection, **changes) if changes else projection

    def _laid_out(
        self, weights: Weights, feeds: list[Feed], name: str, imaginary: bool
    ) -> Iterator[tuple[str, Projection]]:
        """Yield the projections that the layout has, each from its own columns of the block's input."""
        assert self.layout is not None
        for column in self.layout.columns[name]:
            if column.imaginary != imaginary:
                continue
            inside = np.zeros(len(feeds[0].units), bool)
            inside[column.start : column.start + column.width] = True
            inside = inside.reshape(-1, *(1,) * (feeds[0].units.ndim - 1))
            own = [feed._replace(units=np.where(inside, feed.units, -1)) for feed in feeds]
            own = [feed for feed in own if (feed.units >= 0).any()]
            for _, projection in projections(weights, own, name):
                yield column.projection, projection

    def _feeds(self, source: int, units: Array, late: Array) -> list[Feed]:
        """Return the nodes behind a source, through axonal delays that stand between blocks."""
        call = self.graph.call_of(source)
        if source in self.places:
            place = self.places[source]
            if place.signal != "spikes":
                raise UnsupportedNode(f"expected a readout ({place.name}) as the last block, got a block behind it")
            return [Feed(place.name, place.shape, units, place.delay, late)]
        assert call is not None, source
        assert not isinstance(call.pieces, Lost), "an axonal delay that was refused"
        steps = per_unit(steps_of(call.block), call.shape)
        there, at = units >= 0, np.maximum(units, 0)
        late = np.where(there, np.broadcast_to(steps, math.prod(call.shape))[at], 0) + late
        return [
            feed
            for piece in call.pieces
            for feed in self._feeds(
                piece.source,
                np.where(there, piece.units.reshape(-1)[at], -1),
                late + (self.late[source] - self.late[piece.source]),
            )
        ]

    def population(self, name: str, site: Site) -> None:
        """Add the population of a block's neurons."""
        delay = axonal_delay(site.block)
        moved = self._delay_inputs(name, site.shape, delay) if self.source in self.outputs and delay.any() else 0
        site = site._replace(moved=moved, bits=self.arriving, shift=self.shift)
        self.put(name, population_of(site), NO_DELAY if np.ndim(moved) else delay)

    def put(
        self,
        name: str,
        population: Population,
        delay: Array = NO_DELAY,
        signal: Literal["spikes", "voltage"] = "spikes",
    ) -> None:
        """Add a population, with the delays of its axons; a layout has an image for what a dense block makes."""
        shape = population.shape if self.layout is None else self.layout.shapes[name]
        if shape != population.shape:
            values = {key: getattr(population, key) for key in population.ranges}
            values = {
                key: np.broadcast_to(value, population.shape).reshape(shape)
                for key, value in values.items()
                if value.ndim
            }
            population = replace(population, shape=shape, **values)  # type: ignore[type-var]
        self.nodes[name] = population  # type: ignore[assignment]
        self.places[self.source] = Place(name, shape, delay, signal)

    def _delay_inputs(self, name: str, shape: Shape, delay: Array) -> Array:
        """Delay what reaches a population instead of its spikes, which leave the network; return the delays."""
        steps = np.broadcast_to(per_unit(delay, shape), math.prod(shape))
        for key, projection in list(self.projections.items()):
            if projection.target == name:
                loop = projection.source == name
                source = shape if loop else self.nodes[projection.source].shape  # type: ignore[union-attr]
                self.projections[key] = later(projection, source, steps, steps if loop else NO_DELAY)
        return np.atleast_1d(delay)
