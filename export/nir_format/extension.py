"""Nodes of our own for neurons that NIR has no node for: adaptive, resonating and sigma-delta ones.

They lie in a file as NIR's own nodes do, a group with a type and its parameters, which are the integers of the
population. Our reader takes them back identically. Other readers stop at their type, which begins with `Sdsnn`.
"""

from collections.abc import Mapping
from dataclasses import field, fields, make_dataclass
from functools import lru_cache
from typing import Any, Final, get_args

import numpy as np

from sdsnn_core.errors import NetworkError
from sdsnn_core.network import CubaLif, Neurons, Population, Shape

PREFIX: Final = "Sdsnn"
# type in a file -> the type of the population
EXTENSIONS: Final[Mapping[str, type[Population]]] = {
    f"{PREFIX}{kind.__name__}": kind for kind in get_args(Neurons) if kind is not CubaLif
}


@lru_cache
def node_type(nir: Any, name: str) -> Any:
    """Return the class of NIR nodes called `name`, whose fields are those of the population."""

    def infer_types(node: Any) -> None:
        node.input_type, node.output_type = {"input": np.array(node.shape)}, {"output": np.array(node.shape)}

    members = [(each.name, Any) for each in fields(EXTENSIONS[name])]  # type: ignore[arg-type]
    empty: Any = field(default_factory=dict, kw_only=True)
    return make_dataclass(
        name, [*members, ("metadata", Any, empty)], bases=(nir.NIRNode,), namespace={"__post_init__": infer_types}
    )


def extension_node(nir: Any, population: Population, shape: Shape, dt: float) -> Any:
    """Return the node of a population, its integers as they are; a flag is 0 or 1."""
    values = {each.name: getattr(population, each.name) for each in fields(population)}  # type: ignore[arg-type]
    plain = {key: np.array(value) if isinstance(value, np.ndarray) else int(value) for key, value in values.items()
             if key != "shape"}  # fmt: skip
    return node_type(nir, f"{PREFIX}{type(population).__name__}")(shape=np.array(shape), **plain)


def extension_hints(population: Population) -> dict[str, Any]:
    """Return what the metadata say of a population: its kind and its shape, which NIR may have flattened."""
    return {"kind": type(population).__name__, "shape": population.shape}


def node_of(nir: Any, kind: str, values: Mapping[str, Any]) -> Any:
    """Make the node that a file describes. Raises NetworkError where fields are missing or too many."""
    try:
        return node_type(nir, kind)(**{key: value for key, value in values.items() if key != "type"})
    except TypeError as error:
        raise NetworkError(f"{kind}: expected the fields of {EXTENSIONS[kind].__name__}, got others") from error


def extension_population(node: Any, kind: str, shape: Shape) -> Population:
    """Return the population of an extension node."""
    values: dict[str, Any] = {}
    for each in fields(EXTENSIONS[kind]):  # type: ignore[arg-type]
        value = np.asarray(getattr(node, each.name))
        if each.name in EXTENSIONS[kind].ranges:
            values[each.name] = value
        elif each.name != "shape":
            values[each.name] = bool(value) if isinstance(each.default, bool) else int(value)
    return EXTENSIONS[kind](shape=shape, **values)
