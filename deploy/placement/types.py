"""A placement: the core of each neuron, and the axons between them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .chip import Fact

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CONVOLUTION_SLOTS = 2  # a population axon with 32-bit payload takes two output slots (nengo-loihi, Axon.slots_per_axon)


@dataclass(frozen=True, eq=False)
class AxonTable:
    """The input axons that one projection makes: one per (source neuron, target core) with at least one synapse.

    source: (n,) index into the flattened source. core: (n,) target core. synapses: (n,) how many it fans out to.
    stored: (n,) how many its lists store, the zeros in the gaps of dense ones included.
    bits: (n,) synaptic memory that it owns, a multiple of the chip's word (0 where it shares another's, as the
    places of a convolution do). sparse: (n,) bool, the list is stored with indices. convolution: made by one.
    """

    source: Ints
    core: Ints
    synapses: Ints
    stored: Ints
    bits: Ints
    sparse: npt.NDArray[np.bool_]
    convolution: bool = False

    def __len__(self) -> int:
        return int(self.source.size)


@dataclass(frozen=True)
class Mesh:
    """Where core number k sits: chips one after the other, tile after tile, cores within a tile.

    order: the tiles of a chip in the order in which they are used, counted row by row; empty: row by row.
    """

    cores_per_chip: int
    cores_per_tile: int
    tiles_x: int
    order: tuple[int, ...] = ()

    def place(self, core: npt.ArrayLike) -> tuple[Ints, Ints, Ints]:
        """Return (chip, tile column, tile row) of each core."""
        number = np.asarray(core, np.int64)
        tile = number % self.cores_per_chip // self.cores_per_tile
        if self.order:
            tile = np.asarray(self.order, np.int64)[tile]
        return number // self.cores_per_chip, tile % self.tiles_x, tile // self.tiles_x

    def hops(self, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
        """Return (east-west hops, north-south hops, same chip) from cores `a` to cores `b`, routed x then y.

        Hops between chips are those of the same mesh position; the chip-to-chip link is not a hop and is reported
        apart.
        """
        chip_a, x_a, y_a = self.place(a)
        chip_b, x_b, y_b = self.place(b)
        return np.abs(x_a - x_b), np.abs(y_a - y_b), chip_a == chip_b


@dataclass(frozen=True, eq=False)
class CoreWork:
    """What the cores do in a step of a measured activity, by the times of one price list.

    prices: name of the price list. events, packets_in, packets_out: (n_cores,) mean number in a step. send, receive:
    (n_steps, n_cores) seconds: updating neurons and sending their packets; taking packets in and adding up their
    synaptic events. Both run at the same time. compute, traffic: (n_cores,) mean seconds of updates and events, and of
    packets. busiest_events: mean over the steps of the events of the busiest core. flow: (n_cores, n_cores) packets
    from core to core in a step. barrier: seconds. joules: of events, spikes made, packets and hops of a step.
    """

    prices: str
    events: Floats
    packets_in: Floats
    packets_out: Floats
    send: Floats
    receive: Floats
    compute: Floats
    traffic: Floats
    busiest_events: float
    flow: Floats
    barrier: float
    joules: float

    @property
    def busy(self) -> Floats:
        """(n_cores,) mean seconds that each core needs for a step."""
        return np.asarray(np.maximum(self.send, self.receive).mean(axis=0))

    @property
    def step(self) -> float:
        """Mean seconds of a step: those of the core that is the busiest in it, and the barrier."""
        return float(np.maximum(self.send, self.receive).max(axis=1).mean()) + self.barrier


@dataclass(frozen=True, eq=False)
class Placement:
    """A legal assignment of every neuron to a core.

    chip: name of the chip file. core_of: population -> (size,) int32 core. piece_of: population -> (size,) int32 piece
    that each neuron belongs to; on a core, neurons lie piece by piece and in order, and lists end with a piece. axons:
    projection -> its input axons.
    n_cores: cores used, numbered from 0. use: resource -> (n_cores,) amount. limits: resource -> amount per core
    (None: no published limit). neuron_room: (n_cores,) neurons that each core may hold, long delays taken into
    account. bounds: resource -> cores that no placement of this model can go below. tight_bound: they are the
    tight ones. load: resource -> mean use divided by the limit. pieces: population -> cores that it lies on.
    static_power: watts of one chip, if published. link: packets per second of a link between chips, if published.
    barriers: times of the barrier of several chips. objective: what it was placed for. work: what the cores do in a
    step, where an activity was given.
    """

    chip: str
    core_of: Mapping[str, npt.NDArray[np.int32]]
    piece_of: Mapping[str, npt.NDArray[np.int32]]
    axons: Mapping[str, AxonTable]
    n_cores: int
    mesh: Mesh
    use: Mapping[str, Ints]
    limits: Mapping[str, int | None]
    neuron_room: Ints
    bounds: Mapping[str, int]
    load: Mapping[str, float]
    pieces: Mapping[str, int]
    notes: tuple[str, ...] = ()
    static_power: Fact | None = None
    link: Fact | None = None
    barriers: tuple[Fact, ...] = ()
    tight_bound: bool = False
    objective: str = "cores"
    work: CoreWork | None = None

    @property
    def n_tiles(self) -> int:
        """Tiles that hold a core."""
        whole, rest = divmod(self.n_cores, self.mesh.cores_per_chip)
        per_chip = -(-self.mesh.cores_per_chip // self.mesh.cores_per_tile)
        return whole * per_chip + -(-rest // self.mesh.cores_per_tile)

    @property
    def n_chips(self) -> int:
        """Chips used."""
        return -(-self.n_cores // self.mesh.cores_per_chip)

    @property
    def synapse_bits(self) -> int:
        """Synaptic memory of all cores, bits."""
        return int(self.use["synapse_bits"].sum())

    @property
    def lower_bound(self) -> int:
        """Cores that no placement of this model can go below."""
        return max(self.bounds.values())

    @property
    def binding(self) -> str:
        """The resource of which the cores use the greatest share."""
        return max(self.load, key=lambda name: self.load[name])
