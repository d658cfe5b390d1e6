"""Price lists: the energy of each event, with source, year and grade.

The data are in prices/*.toml; a user's own file works the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from sdsnn.train.section import Section

from ..toml_files import load_named, shipped_names

# Every way an inference on a chip spends energy. A total that lacks one of these says 'partial'.
TERMS: dict[str, str] = {
    "synaptic_event": "synaptic events on stored synapses",
    "neuron_update": "neuron updates, active and inactive",
    "spike_sent": "spikes made",
    "packet": "packets after multicast, one per destination core",
    "hop": "mesh hops",
    "link": "packets over links between chips",
    "barrier": "synchronisation of the cores at each step",
    "static": "static power over the time of the inference",
    "state_reset": "clearing the state between samples",
    "host_io": "loading the network, bringing the input in and the result out",
}
# The priced quantities, and the term that each belongs to.
QUANTITIES: dict[str, str] = {
    "synaptic_event": "synaptic_event",
    "synaptic_event_dense": "synaptic_event",
    "synaptic_event_sparse": "synaptic_event",
    "synaptic_event_convolution": "synaptic_event",
    "synaptic_event_graded": "synaptic_event",
    "neuron_update_active": "neuron_update",
    "neuron_update_inactive": "neuron_update",
    "spike_sent": "spike_sent",
    "packet": "packet",
    "hop_east_west": "hop",
    "hop_north_south": "hop",
    "packet_between_chips": "link",
    "barrier": "barrier",
}
Grade = Literal["measured", "board fit", "simulated", "inferred"]


class Price(Section):
    """Energy of one event in picojoules."""

    pj: float = Field(ge=0, allow_inf_nan=False)
    note: str = ""


class DenseAnn(Section):
    """Energy of one multiply-accumulate of a dense network, picojoules."""

    mac_fp32_pj: float = Field(ge=0, allow_inf_nan=False)
    mac_int8_pj: float = Field(ge=0, allow_inf_nan=False)


class Times(Section):
    """Times of events within a core, nanoseconds, done one after the other.

    synaptic_event_dense, _sparse, _convolution: where they differ from synaptic_event. packet_sent, packet_received: at
    the source and at the destination core. barrier_by_tiles: tiles -> time of the barrier from that many tiles on.
    """

    synaptic_event: float = Field(ge=0)
    synaptic_event_dense: float | None = Field(default=None, ge=0)
    synaptic_event_sparse: float | None = Field(default=None, ge=0)
    synaptic_event_convolution: float | None = Field(default=None, ge=0)
    neuron_update_active: float = Field(ge=0)
    neuron_update_inactive: float = Field(ge=0)
    spike_sent: float = Field(default=0.0, ge=0)
    packet_sent: float = Field(default=0.0, ge=0)
    packet_received: float = Field(default=0.0, ge=0)
    hop_east_west: float = Field(default=0.0, ge=0)
    hop_north_south: float = Field(default=0.0, ge=0)
    barrier_min: float = Field(ge=0)
    barrier_max: float = Field(ge=0)
    barrier_by_tiles: dict[int, float] = Field(default_factory=dict)

    def event(self, kind: str) -> float:
        """Return the time of a synaptic event of a kind: 'dense', 'sparse' or 'convolution'."""
        own: float | None = getattr(self, f"synaptic_event_{kind}", None)
        return self.synaptic_event if own is None else own

    def barrier(self, tiles: int) -> float:
        """Return the time of a barrier of so many tiles; between the least and the greatest where no table is known."""
        known = [number for number in self.barrier_by_tiles if number <= tiles]
        if known:
            return self.barrier_by_tiles[max(known)]
        return self.barrier_min + (self.barrier_max - self.barrier_min) * min(1.0, (tiles - 1) / 31)


class PriceList(Section):
    """One source's prices.

    chip: the chip the prices are of. role: 'chip' for prices of a neuromorphic chip, which make the range that is
    reported; 'comparison' for those kept only to stand beside published numbers. bound: what a total made of these
    prices is. terms: by quantity (see QUANTITIES). unpriced, included: term -> why it has no price here, or in which
    price it is contained.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_.\-]+$")
    title: str
    chip: str
    role: Literal["chip", "comparison"]
    year: int = Field(ge=1950, le=2100)
    grade: Grade
    bound: Literal["lower bound", "estimate", "upper bound"]
    source: str = Field(min_length=1)
    conditions: str = ""
    terms: dict[str, Price]
    unpriced: dict[str, str] = Field(default_factory=dict)
    included: dict[str, str] = Field(default_factory=dict)
    times_ns: Times | None = None
    dense_ann: DenseAnn | None = None

    @model_validator(mode="after")
    def _check(self) -> PriceList:
        if unknown := sorted(set(self.terms) - set(QUANTITIES)):
            raise ValueError(f"terms: expected {', '.join(QUANTITIES)}, got {', '.join(unknown)}")
        for group in (self.unpriced, self.included):
            if unknown := sorted(set(group) - set(TERMS)):
                raise ValueError(f"unpriced, included: expected {', '.join(TERMS)}, got {', '.join(unknown)}")
        priced = {QUANTITIES[quantity] for quantity in self.terms}
        if twice := sorted(priced & set(self.unpriced)):
            raise ValueError(f"terms: {', '.join(twice)}: expected a price or a reason in unpriced, got both")
        for pair in (("neuron_update_active", "neuron_update_inactive"), ("hop_east_west", "hop_north_south")):
            if len(set(pair) & set(self.terms)) == 1:
                raise ValueError(f"terms: expected both {pair[0]} and {pair[1]}, got one of them")
        variants = {f"synaptic_event_{kind}" for kind in ("dense", "sparse", "convolution")}
        if "synaptic_event" not in self.terms and not (variants <= set(self.terms) or not variants & set(self.terms)):
            forms = "its dense, sparse and convolution forms"
            raise ValueError(f"terms: expected synaptic_event, or all of {forms}, got some of them")
        return self

    @property
    def citation(self) -> str:
        """Source, year, grade and conditions in one line."""
        tail = f"; {self.conditions}" if self.conditions else ""
        return f"{self.source} [{self.year}, {self.grade}, {self.bound}]{tail}"


def price_list_names() -> list[str]:
    """Return the names of the lists that come with the package, in the order in which reports show them."""
    first = ("davies2018", "sanafe2025", "horowitz45nm", "kerasspiking")
    return sorted(shipped_names("prices"), key=lambda name: (first.index(name) if name in first else len(first), name))


def load_price_list(name: str | Path) -> PriceList:
    """Return the list called `name`, or read it from a TOML file.

    Raises FileError for a name that is neither, ConfigError with every problem of the file's content.
    """
    return load_named(PriceList, "price list", "prices", name)


def default_price_lists() -> list[PriceList]:
    """Return every list that comes with the package."""
    return [load_price_list(name) for name in price_list_names()]
