"""Network: what a deployable network is, in Loihi's integers.

A network is a directed graph. Its nodes are ports (`Input`, `Output`) and populations of neurons, one type for each
neuron model (`neurons/models.py`); its projections (`Synapses`, `Convolution`) carry spikes, or messages with a value,
from a node to a population. A projection whose source is not upstream of its target is a recurrent one; there is no
special node for it.
Everything is checked when it is built and immutable afterwards. What a network *means* is in `reference.py`.

Weights are SLAYER weights times 64, thresholds times 64, decays times 4096: each integer has an exact float32
image and an exact inverse, so nothing is lost between SLAYER, a Network and NIR.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, final

import numpy as np

from .arithmetic import DECAY_UNITY
from .errors import NetworkError
from .geometry import Shape
from .neurons.models import (
    AdaptiveLif,
    CubaLif,
    Delta,
    Neurons,
    Node,
    Population,
    RefractoryLif,
    Resonator,
    Sigma,
    SigmaDelta,
)
from .nodes import (
    BIAS_EXP_MAX,
    BIAS_MAX,
    DELAY_MAX,
    LATER,
    MESSAGE_MAX,
    NEVER_FIRES,
    THRESHOLD_MAX,
    WEIGHT_EXP_MAX,
    WEIGHT_MAX,
    WEIGHT_MIN,
    Input,
    IntArray,
    Output,
)
from .projections import Convolution, Projection, Synapses

# fmt: off
__all__ = [
    "BIAS_EXP_MAX", "BIAS_MAX", "DECAY_UNITY", "DELAY_MAX", "MESSAGE_MAX", "NEVER_FIRES", "THRESHOLD_MAX",
    "WEIGHT_EXP_MAX", "WEIGHT_MAX", "WEIGHT_MIN", "AdaptiveLif", "Convolution", "CubaLif", "Delta", "Input", "IntArray",
    "Network", "Neurons", "Node", "Output", "Population", "Projection", "RefractoryLif", "Resonator", "Shape", "Sigma",
    "SigmaDelta", "Synapses",
]
# fmt: on
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*\Z")


@final
@dataclass(frozen=True, eq=False)
class Network:
    """A checked, immutable graph of nodes and projections.

    Args:
        nodes: Name -> Input, Population or Output; the order is kept.
        projections: Name -> Synapses or Convolution; the order is kept.
        dt_s: Duration of a step in seconds; information only.
        provenance: Run, versions, seed, as JSON can hold them; information only.

    Raises:
        NetworkError: The network cannot exist; the message names the node or projection at fault.

    Examples:
        >>> nodes = {"input": Input((2,)), "a": Population((1,), 4096, 2048, 15), "output": Output("a")}
        >>> network = Network(nodes, {"w": Synapses.from_dense("input", "a", [[10, -4]])})
        >>> network.size_of("output"), network.n_synapses()
        (1, 2)
    """

    nodes: Mapping[str, Node]
    projections: Mapping[str, Projection]
    dt_s: float = 1e-3
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("nodes", "projections", "provenance"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for name in (*self.nodes, *self.projections):
            if not _NAME.match(name):
                raise NetworkError(
                    f"name: expected letters, digits, '_', '.' or '-', not starting with a digit, got {name!r}"
                )
        if twice := set(self.nodes) & set(self.projections):
            raise NetworkError(f"name {min(twice)!r}: expected a node or a projection, got both")
        if not self.inputs or not self.outputs:
            counts = f"{len(self.inputs)} and {len(self.outputs)}"
            raise NetworkError(f"network: expected at least one Input and one Output, got {counts}")
        if not (self.dt_s > 0 and math.isfinite(self.dt_s)):
            raise NetworkError(f"dt_s: expected a positive number of seconds, got {self.dt_s}")
        for name, node in self.outputs.items():
            if not isinstance(self.nodes.get(node.source), Population):
                raise NetworkError(f"output {name!r} source: expected a population, got {node.source!r}")
        for name, projection in self.projections.items():
            try:
                self._check_projection(projection)
            except NetworkError as error:
                raise NetworkError(f"projection {name!r}: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, (dict(self.nodes), dict(self.projections), self.dt_s, dict(self.provenance))

    def _check_projection(self, projection: Projection) -> None:
        source, target = self.nodes.get(projection.source), self.nodes.get(projection.target)
        if not isinstance(source, Input | Population):
            raise NetworkError(f"source: expected an input or a population, got {projection.source!r}")
        if not isinstance(target, Population):
            raise NetworkError(f"target: expected a population, got {projection.target!r}")
        projection.check_ends(source.shape, target.shape)
        if isinstance(target, Resonator) and projection.delay.any():
            raise NetworkError("delay: expected none into a Resonator, for which no process has delays")
        if projection.imaginary and not isinstance(target, Resonator):
            raise NetworkError(f"imaginary: expected a Resonator as target, got {type(target).__name__}")

    def _of(self, kind: type) -> dict[str, Any]:
        return {name: node for name, node in self.nodes.items() if isinstance(node, kind)}

    @property
    def inputs(self) -> dict[str, Input]:
        """Input ports by name."""
        return self._of(Input)

    @property
    def populations(self) -> dict[str, Neurons]:
        """Populations by name."""
        return self._of(Population)

    @property
    def outputs(self) -> dict[str, Output]:
        """Output ports by name."""
        return self._of(Output)

    def incoming(self, name: str) -> Iterator[tuple[str, Projection]]:
        """Yield (name, projection) of those that end at node `name`."""
        return ((key, p) for key, p in self.projections.items() if p.target == name)

    def outgoing(self, name: str) -> Iterator[tuple[str, Projection]]:
        """Yield (name, projection) of those that start at node `name`."""
        return ((key, p) for key, p in self.projections.items() if p.source == name)

    def shape_of(self, name: str) -> Shape:
        """Return the shape of an input or population."""
        node = self.nodes[name]
        assert not isinstance(node, Output), name
        return node.shape

    def size_of(self, name: str) -> int:
        """Number of neurons or channels of node `name` (an Output has those of its source)."""
        node = self.nodes[name]
        return self.size_of(node.source) if isinstance(node, Output) else node.size

    def synapses(self, name: str) -> Synapses:
        """Return the point-to-point synapses of projection `name`, whatever its type."""
        projection = self.projections[name]
        return projection.synapses(self.shape_of(projection.source))

    def n_dense(self, name: str) -> int:
        """Return how many weights projection `name` has without a zero: matrix entries, or entries of the kernel."""
        p = self.projections[name]
        return p.n_dense(self.shape_of(p.source), self.shape_of(p.target))

    def n_synapses(self) -> int:
        """Return how many point-to-point connections all projections make."""
        return sum(self.synapses(name).n_weights for name in self.projections)

    def digest(self) -> str:
        """Return a SHA-256 over everything that decides its spikes (not dt_s and provenance)."""
        sha = hashlib.sha256()
        for group in (self.nodes, self.projections):
            for name, item in group.items():
                sha.update(f"{getattr(item, 'kind', type(item).__name__)} {name}".encode())
                for spec in fields(item):
                    value = getattr(item, spec.name)
                    if spec.metadata == LATER and value == spec.default:
                        continue
                    if isinstance(value, np.ndarray):
                        sha.update(f"{spec.name} {value.shape} {value.dtype}".encode())
                        sha.update(value.tobytes())
                    else:
                        sha.update(json.dumps([spec.name, value]).encode())
        return sha.hexdigest()
