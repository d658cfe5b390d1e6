"""What tau, r, w_in and dt mean to the tool that wrote a neuron: one table, and how a tool is recognised.

NIR gives the equations, tau dv/dt = (v_leak - v) + r i, but no step and no rule for how a spike enters them. Tools
discretise differently, and some write other numbers than they compute with. Every convention here is one recursion

    u <- (1 - a) u + g x        x: what the weights sum up
    v <- (1 - b) v + u + c      then a spike where v > theta, or v >= theta

and the table says how a, b and g follow from the file. Its first column is what `--writer` takes.

| writer | a, b | g of a LIF | g of a CubaLIF | recognised by |
|---|---|---|---|---|
| nir | dt/tau | b r | a w_in b r | r = 1, dt <= tau < 1 s (LIF): NIR by forward Euler, to the letter |
| snntorch, spikingjelly, lava-dl | dt/tau | b r | a w_in b r | r = tau/dt |
| norse | dt^2/tau | b r | b r | r = 1, tau < dt (1.0 and 1.1; norse issue 411: tau is written as tau dt) |
| norse-2025 | dt/tau | b r | b r | CubaLIF with r = w_in = 1, dt <= tau < 1 s |
| sinabs | 1 - exp(-1/tau) | 1 | - | r = 1, tau >= 1: tau in steps (norm_input off) |
| sinabs-norm | 1 - exp(-1/tau) | b | - | never: norm_input is not in the file |
| rockpool | 1 - exp(-dt/tau) | 1 | 1 - a | r = tau/dt exp(-dt/tau) |
| spyx | dt/tau | 1 | 1 | r = 1 - dt/tau = beta |
| hxtorch | dt/tau, tau in ms | - | b r | never: r = w_in = 1, as several tools write it |
| jaxsnn | 1 - exp(-dt/tau), tau in ms | - | exact | never, for the same reason |

"exact" is what a jump of the current adds to the voltage within a step of continuous time, r L_b (a - b) / (L_a - L_b)
with L = dt/tau = -ln(1 - decay): jaxsnn solves its neurons between events.

An IF has no tau. Its g is r, but r dt where r = 1/dt (spikingjelly, and NIR to the letter); IF nodes are judged
apart from the others, since one tool writes both in different ways (snnTorch issue 452).
Where several rows fit, nothing is guessed: the error names them.

NIR has one reset, to v_reset, and one spike a step. What else a tool's neurons do by default (`Firing`) is no part of a
file. A chip cannot do it either, so `run.py` runs the graph both ways and the report gives both rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np

from sdsnn_core.errors import NetworkError, UnsupportedNode

from .file import FloatFile, FloatNode
from .operators import Floats

Gain = Literal["nir", "b r", "b", "1", "1 - a", "exact"]


@final
@dataclass(frozen=True)
class Firing:
    """What a tool's neurons do at their threshold by default.

    at_threshold: they spike at v = theta too. subtracts: theta is subtracted instead of a reset. late: that acts in the
    next step, after the decay. several: floor(v / theta) spikes in one step.
    """

    at_threshold: bool = False
    subtracts: bool = False
    late: bool = False
    several: bool = False

    def alone(self) -> tuple[Firing, ...]:
        """Return each difference from NIR's neurons by itself; several spikes a step go with subtraction."""
        single = (
            (self.at_threshold, Firing(at_threshold=True)),
            (self.subtracts, Firing(subtracts=True, late=self.late)),
            (self.several, Firing(subtracts=True, several=True)),
        )
        return tuple(firing for occurs, firing in single if occurs)

    def __str__(self) -> str:
        """Return it in words."""
        words = []
        if self.several:
            words.append("several spikes a step")
        if self.subtracts:
            words.append("subtraction of the threshold a step late" if self.late else "subtraction of the threshold")
        if self.at_threshold:
            words.append("a spike at the threshold itself")
        return ", ".join(words) or "a reset"


@final
@dataclass(frozen=True)
class Convention:
    """How one tool's parameters are read.

    unit: seconds of one unit of tau; 0 where tau counts steps. squared: tau is divided by dt once more. exponential:
    decays by exp instead of Euler. lif, cuba: the gain; None where the tool writes no such node. firing: what its
    neurons do by default. cuba_firing: what its CubaLIF does, where that is something else.
    """

    unit: float = 1.0
    squared: bool = False
    exponential: bool = False
    lif: Gain | None = "nir"
    cuba: Gain | None = "nir"
    firing: Firing = Firing()
    cuba_firing: Firing | None = None

    def fires_as(self, cuba: bool) -> Firing:
        """Return what neurons with a current of their own do by default, or those without."""
        return self.cuba_firing if cuba and self.cuba_firing is not None else self.firing

    def reads_as(self, other: Convention) -> bool:
        """Return whether the numbers of a file mean the same to both."""
        own, theirs = ((one.unit, one.squared, one.exponential, one.lif, one.cuba) for one in (self, other))
        return own == theirs


EULER: Final = Convention()
_MULTIPLE: Final = Firing(at_threshold=True, subtracts=True, several=True)
WRITERS: Final[Mapping[str, Convention]] = {
    "nir": EULER,
    "snntorch": Convention(firing=Firing(subtracts=True, late=True)),
    "spikingjelly": Convention(firing=Firing(at_threshold=True)),
    "lava-dl": Convention(firing=Firing(at_threshold=True)),
    "norse": Convention(squared=True, lif="b r", cuba="b r"),
    "norse-2025": Convention(lif="b r", cuba="b r"),
    "sinabs": Convention(0.0, exponential=True, lif="1", cuba=None, firing=_MULTIPLE),
    "sinabs-norm": Convention(0.0, exponential=True, lif="b", cuba=None, firing=_MULTIPLE),
    "rockpool": Convention(exponential=True, lif="1", cuba="1 - a", firing=_MULTIPLE),
    "spyx": Convention(lif="1", cuba="1", firing=Firing(subtracts=True, late=True), cuba_firing=Firing(subtracts=True)),
    "hxtorch": Convention(1e-3, lif=None, cuba="b r"),
    "jaxsnn": Convention(1e-3, exponential=True, lif=None, cuba="exact"),
}


def candidates(node: FloatNode, dt: float) -> tuple[str, ...]:
    """Return the writers whose convention fits the parameters of a neuron with a tau, the likeliest first.

    dt: seconds of a step. One name stands for all that read alike.
    """
    cuba = node.kind.startswith("Cuba")
    r, tau = (np.asarray(node[name], np.float64) for name in ("r", "tau_mem" if cuba else "tau"))
    finite = np.isfinite(np.broadcast_to(tau, np.broadcast_shapes(tau.shape, r.shape)))
    if not finite.any():  # no leak in any neuron; r = tau/dt is infinite too
        return ("snntorch",) if np.isinf(r).all() else ("nir",)
    r, tau = np.broadcast_to(r, finite.shape)[finite], np.broadcast_to(tau, finite.shape)[finite]
    steps = tau / dt

    def near(wanted: Floats) -> bool:
        return bool(np.allclose(r, wanted, rtol=1e-5, atol=0))

    fitting = []
    if near(steps):
        fitting.append("snntorch")
    if near(steps * np.exp(-1 / steps)):
        fitting.append("rockpool")
    if (steps > 1).all() and (steps < 1e4).all() and near(1 - 1 / steps):
        fitting.append("spyx")
    if not fitting and near(np.ones_like(r)):
        if (tau < dt).all():
            return ("norse",)
        if not cuba and (tau >= 1).all():
            fitting.append("sinabs")
        plain = cuba and np.allclose(np.asarray(node.get("w_in", 1.0), np.float64), 1.0, rtol=1e-5, atol=0)
        if plain and (tau < 1).all():
            fitting.append("norse-2025")
        if plain and (tau * 1e-3 >= dt).all():
            fitting += ["hxtorch", "jaxsnn"]
        fitting.append("nir")
    return tuple(fitting)


def recognised(neurons: Mapping[str, FloatNode], dt: float) -> str:
    """Return the writer of all neurons with a tau. Raises NetworkError where none or several fit.

    A graph whose neurons have no tau is read as NIR to the letter: the gain of an IF does not depend on the writer.
    """
    by_writer: dict[str, str] = {}
    for name, node in neurons.items():
        if node.kind in ("IF", "I", "Threshold"):
            continue
        fitting = candidates(node, dt)
        if len(fitting) != 1:
            tau = np.asarray(node["tau_mem" if node.kind.startswith("Cuba") else "tau"], np.float64).reshape(-1)[0]
            r = np.asarray(node["r"], np.float64).reshape(-1)[0]
            what = f"node {name!r}: r = {r:g} with tau = {tau:g} and dt = {dt:g} s"
            if fitting:
                all_of_them = f"{', '.join(fitting[:-1])} and {fitting[-1]}"
                raise NetworkError(f"{what} fits {all_of_them}; name the one that wrote it (--writer)")
            raise NetworkError(
                f"{what}: expected numbers of a known writer; name it (--writer {', '.join(WRITERS)}) or check dt"
            )
        by_writer.setdefault(fitting[0], name)
    if len(by_writer) > 1:
        pairs = " and ".join(f"{name!r} by {writer}" for writer, name in by_writer.items())
        raise NetworkError(f"expected neurons of one writer, got {pairs}; name it (--writer)")
    return next(iter(by_writer), "nir")


def decay_per_step(tau: Floats, dt: float, writer: str, where: str) -> Floats:
    """Return the share of a state that one step takes away; 0 for tau = inf. Raises NetworkError for tau < dt."""
    convention = WRITERS[writer]
    if (tau <= 0).any():
        raise NetworkError(f"{where}: expected positive values, got {tau.min():g}")
    step = dt * dt if convention.squared else dt
    ratio = (1.0 if convention.unit == 0 else step / convention.unit) / tau
    if convention.exponential:
        return np.asarray(-np.expm1(-ratio))
    if (ratio > 1 + 1e-5).any():
        raise NetworkError(
            f"{where}: expected at least one step of {dt:g} s for {writer!r}, got {tau.min():g}; "
            "check dt, or name another writer"
        )
    return np.minimum(ratio, 1.0)


def gain_of(node: FloatNode, writer: str, dt: float, a: Floats, b: Floats, where: str) -> Floats:
    """Return g of a neuron with decays a and b, (size,) as they are."""
    size = a.shape
    r = np.broadcast_to(np.asarray(node.get("r", 1.0), np.float64).reshape(-1), size)
    if node.kind == "Threshold":
        return np.ones(size)
    if node.kind in ("IF", "I"):
        if not np.isfinite(r).all():
            raise NetworkError(f"{where} r: expected finite numbers, got inf")
        return r * dt if np.allclose(r * dt, 1, rtol=1e-5) else np.array(r)
    convention = WRITERS[writer]
    gain = convention.cuba if node.kind.startswith("Cuba") else convention.lif
    if gain is None:
        wanted = "LIF, IF or LI" if node.kind.startswith("Cuba") else "CubaLIF or CubaLI"
        raise UnsupportedNode(f"{where}: expected {wanted} of {writer}, which writes no {node.kind}")
    if gain == "1":
        return np.ones(size)
    if gain == "1 - a":
        return 1 - a
    if gain == "b":
        return np.array(b)
    if gain == "exact":
        return r * _after_a_jump(a, b)
    drive = _product(b, r, size)
    if gain == "nir" and node.kind.startswith("Cuba"):
        drive = drive * _product(
            a, np.broadcast_to(np.asarray(node.get("w_in", 1.0), np.float64).reshape(-1), size), size
        )
    return drive


def _after_a_jump(a: Floats, b: Floats) -> Floats:
    """Return the voltage one step after a jump of the current by 1, from rest, with r = 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rate_a, rate_b = -np.log1p(-a), -np.log1p(-b)
        return np.where(np.isclose(a, b), rate_b * (1 - b), rate_b * (a - b) / (rate_a - rate_b))


def _product(decay: Floats, factor: Floats, size: tuple[int, ...]) -> Floats:
    """Return decay * factor; 1 where tau and the factor are infinite together (tau/dt, written without a leak)."""
    both = (decay == 0) & np.isinf(factor)
    return np.where(both, 1.0, np.where(both, 0.0, decay) * np.where(both, 0.0, factor))


def as_written(file: FloatFile, writer: str, notes: list[str], nested: bool = False) -> FloatFile:
    """Return a file whose edges say what its writer runs; add a note for each that was changed.

    Spyx 1.0 leads the input of a recurrent layer, a nested graph, into its recurrent weights; it runs it into the
    neurons.
    """
    if writer != "spyx":
        return file
    pairs, edges = set(file.edges), list(file.edges)
    kinds = {name: node.kind for name, node in file.nodes.items() if isinstance(node, FloatNode)}
    for i, (a, b) in enumerate(edges):
        neurons = [y for x, y in pairs if x == b and (y, b) in pairs]
        if nested and kinds.get(a) == "Input" and kinds.get(b) in ("Linear", "Affine") and len(neurons) == 1:
            notes.append(f"{b!r} is taken as recurrent weights only; spyx leads the input of {neurons[0]!r} there too")
            edges[i] = (a, neurons[0])
    nodes = {
        name: node if isinstance(node, FloatNode) else as_written(node, writer, notes, nested=True)
        for name, node in file.nodes.items()
    }
    return FloatFile(nodes, tuple(edges))
