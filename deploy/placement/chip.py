"""Chips as data: limits of a core, format of synapses, layout of the mesh. Data in chips/*.toml.

Every number carries its source, year and grade; a user's own file works the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from sdsnn.train.section import Section
from sdsnn_core.errors import SdsnnError

from ..toml_files import load_named, shipped_names

Grade = Literal["measured", "board fit", "simulated", "published limit", "inferred", "secondary"]
# What placement counts per core. A limit that is absent was not published, and is not imposed.
RESOURCES: dict[str, str] = {
    "neurons": "neurons",
    "input_axons": "input axons",
    "output_axons": "output axons",
    "synapse_bits": "synaptic memory (bits)",
    "state_words": "state of neurons (words of 32 bits)",
    "neuron_configs": "neuron configurations",
    "threshold_configs": "threshold configurations",
    "synapse_formats": "synapse formats",
}

# What placement counts per neuron, whatever core it is on.
PER_NEURON: dict[str, str] = {
    "state_words": "state of a neuron (words of 32 bits)",
    "message_bits": "bits of a message",
}

# Limits of a whole chip, for chips whose cores cannot be modelled from what is public.
WHOLE_CHIP: dict[str, str] = {
    "neurons": "neurons",
    "synapses": "synapses, convolutions expanded",
    "inputs": "input channels",
    "outputs": "output neurons",
    "fan_out": "synapses of one neuron",
    "layers": "populations",
    "kernel_size": "rows or columns of a kernel",
    "channels": "channels of a layer",
    "input_extent": "rows or columns of the input",
}


class DoesNotFit(SdsnnError, ValueError):
    """A node that no core of the chip can take: which node, which limit per core or neuron, how much it would need."""

    def __init__(
        self, node: str, resource: str, amount: int, limit: int, chip: str, hint: str = "", *, per: str = "core"
    ) -> None:
        self.node, self.resource, self.amount, self.limit = node, resource, int(amount), int(limit)
        words = (RESOURCES if per == "core" else PER_NEURON).get(resource, resource)
        super().__init__(
            f"node {node!r} does not fit {chip}: {words}: expected at most {limit:,} per {per}, got {amount:,}"
            + (f" ({hint})" if hint else "")
        )


class Sourced(Section):
    """What was published, where and when, and how far to trust it. note: what the reader must know."""

    source: str = Field(min_length=1)
    year: int = Field(ge=1950, le=2100)
    grade: Grade
    note: str = ""


class Fact(Sourced):
    """A number with its source. unit: in words or SI."""

    value: float
    unit: str

    @property
    def citation(self) -> str:
        """Source, year and grade in one line."""
        return f"{self.source} [{self.year}, {self.grade}]" + (f"; {self.note}" if self.note else "")


class Limit(Fact):
    """A per-core limit: `value` is the practical one that placement keeps to; `brochure` what is advertised."""

    brochure: float | None = None


class SynapseFormat(Sourced):
    """How one input axon's list of synapses is stored.

    A list is cut into blocks of at most `block` synapses; each block takes header_bits and is rounded up to
    word_bits. A synapse takes its weight, its delay and tag, and its index if the list is sparse. weight_bits,
    index_bits: the widths that the chip has; the next wider one is taken. A dense list has no indices: it stores
    every target from the first to the last that it reaches in the core.
    """

    word_bits: int = Field(gt=0)
    block: int = Field(gt=0)
    header_bits: int = Field(ge=0)
    weight_bits: tuple[int, ...] = Field(min_length=1)
    index_bits: tuple[int, ...] = Field(min_length=1)
    delay_bits: int = Field(ge=0)
    tag_bits: int = Field(ge=0)
    shared_convolution: bool
    sparse_encoding: bool


class Delays(Sourced):
    """What delays cost. max_steps: the longest that a synapse can have. free_steps: those that every core has slots
    for. state_budget: neurons times slots that a core holds beyond them, slots in powers of two; 0: no cost."""

    max_steps: int = Field(ge=0)
    free_steps: int = Field(ge=0)
    state_budget: int = Field(default=0, ge=0)


class NeuronModels(Sourced):
    """The neuron models of a chip whose neurons are not programmed: names of a Network's types."""

    kinds: tuple[str, ...] = Field(min_length=1)


class Layout(Sourced):
    """The mesh: cores per chip in use, cores per tile, tiles in a row.

    published: figures that disagree with the ones used, each with its source.
    """

    cores_per_chip: int = Field(gt=0)
    cores_per_tile: int = Field(gt=0)
    tiles_x: int = Field(gt=0)
    published: tuple[Fact, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Layout:
        if self.cores_per_chip % self.cores_per_tile:
            chip, tile = self.cores_per_chip, self.cores_per_tile
            raise ValueError(f"cores_per_tile: expected a divisor of cores_per_chip, {chip}, got {tile}")
        return self


class Chip(Section):
    """One chip.

    placeable: False where only limits of the whole chip are known. limits: per core, by resource (RESOURCES);
    per_neuron: of each neuron (PER_NEURON); whole_chip: of all cores together (WHOLE_CHIP). models: None where neurons
    are programmed, or the models are not known. delays: None where a synapse has none. prices: the price list whose
    times and energies placement for speed or energy uses. unknown: what was not published.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_.\-]+$")
    title: str
    placeable: bool
    summary: str = ""
    models: NeuronModels | None = None
    delays: Delays | None = None
    layout: Layout | None = None
    synapses: SynapseFormat | None = None
    limits: dict[str, Limit] = Field(default_factory=dict)
    per_neuron: dict[str, Limit] = Field(default_factory=dict)
    whole_chip: dict[str, Limit] = Field(default_factory=dict)
    constants: dict[str, Fact] = Field(default_factory=dict)
    prices: str | None = None
    unknown: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Chip:
        for table, names in (("limits", RESOURCES), ("per_neuron", PER_NEURON), ("whole_chip", WHOLE_CHIP)):
            if unknown := sorted(set(getattr(self, table)) - set(names)):
                raise ValueError(f"{table}: expected {', '.join(names)}, got {', '.join(unknown)}")
        if self.placeable and (self.layout is None or self.synapses is None or "neurons" not in self.limits):
            raise ValueError("placeable: expected layout, synapses and limits.neurons too, got not all of them")
        return self

    def neurons(self, longest_delay: int) -> int:
        """Return how many neurons a core takes whose synapses have delays of up to `longest_delay` steps."""
        limit = self.limit("neurons")
        assert limit is not None
        delays = self.delays
        if delays is None or not delays.state_budget or longest_delay <= delays.free_steps:
            return limit
        return min(limit, delays.state_budget >> longest_delay.bit_length())

    def limit(self, resource: str) -> int | None:
        """Return the practical limit of a resource per core, or None where none was published."""
        limit = self.limits.get(resource)
        return None if limit is None else int(limit.value)


def chip_names() -> list[str]:
    """Return the names of the chips that come with the package."""
    return shipped_names("chips")


def load_chip(name: str | Path) -> Chip:
    """Return the chip called `name`, or read it from a TOML file.

    Raises FileError for a name that is neither, ConfigError with every problem of the file's content.
    """
    return load_named(Chip, "chip", "chips", name)
