"""The nodes and projections of a network as subjects of rules: a table keeps the rules of each type."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple

from sdsnn_core.network import Input, Network, Output
from sdsnn_core.reachability import Units, can_fire
from sdsnn_core.rules import Rules

from .rule import Finding, Rule, refuse, run_rules

_PORTS: Final[dict[type, str]] = {Input: "input", Output: "output"}


class Whole:
    """A network, and what several rules ask of all of it, computed once."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @cached_property
    def fires(self) -> Mapping[str, Units]:
        """Node -> which of its units can ever fire."""
        return can_fire(self.network)


class Part(NamedTuple):
    """One node or projection of a network."""

    whole: Whole
    name: str
    item: Any

    @property
    def network(self) -> Network:
        """The network that it belongs to."""
        return self.whole.network

    @property
    def where(self) -> str:
        """Its kind and name, for findings."""
        kind = "projection" if self.name in self.network.projections else _PORTS.get(type(self.item), "population")
        return f"{kind} {self.name!r}"


def parts(network: Network) -> Iterator[Part]:
    """Yield every node and projection."""
    whole = Whole(network)
    for items in (network.nodes, network.projections):
        yield from (Part(whole, name, item) for name, item in items.items())


def check_parts(table: Rules[tuple[Rule, ...]], network: Network) -> list[Finding]:
    """Return what the rules of `table` find in `network`."""
    return [finding for part in parts(network) for finding in run_rules(table.for_(part.item), part)]


def refuse_parts(table: Rules[tuple[Rule, ...]], network: Network) -> None:
    """Raise the first finding of a rule of `table` that refuses, as the error that the rule names."""
    for part in parts(network):
        refuse(table.for_(part.item), part)
