"""Tables of rules by type: what a room does with each kind of node, neuron or projection.

A room that treats kinds differently has one table; nothing else distinguishes kinds. A rule may be a refusal.
`tests/house/test_rules.py` walks every table against the union of types it must cover, and names each missing rule.

    deliver: Rules[Callable[..., Sums]] = Rules("reference: synaptic input")

    @deliver.of(Synapses)
    def _synapses(projection, spikes): ...

    deliver[type(projection)](projection, spikes)   # or deliver.for_(projection)
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NoReturn, TypeVar

from .errors import UnsupportedNode

Rule = TypeVar("Rule")


def refused(what: str) -> Callable[..., NoReturn]:
    """Return a rule that refuses, with this reason."""

    def rule(*_: Any, **__: Any) -> NoReturn:
        raise UnsupportedNode(what)

    return rule


class Rules(Generic[Rule]):
    """A table type -> rule, exact types only: a subclass needs a rule of its own.

    Args:
        name: What the table decides, for errors ("NIR writer: node").
        rules: Rules to begin with, where they are values and not functions.
    """

    def __init__(self, name: str, rules: Mapping[type, Rule] | None = None) -> None:
        self.name = name
        self._rules: dict[type, Rule] = dict(rules or {})

    def of(self, *kinds: type) -> Callable[[Rule], Rule]:
        """Return a decorator that enters its function as the rule of `kinds`."""

        def enter(rule: Rule) -> Rule:
            for kind in kinds:
                assert kind not in self._rules, f"{self.name}: two rules for {kind.__name__}"
                self._rules[kind] = rule
            return rule

        return enter

    def for_(self, item: Any) -> Rule:
        """Return the rule for the type of `item`. Raises UnsupportedNode where there is none."""
        return self[type(item)]

    def __getitem__(self, kind: type) -> Rule:
        if kind not in self._rules:
            known = ", ".join(sorted(each.__name__ for each in self._rules))
            raise UnsupportedNode(f"{self.name}: expected one of {known}, got {kind.__name__}")
        return self._rules[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._rules

    def __iter__(self) -> Iterator[type]:
        return iter(self._rules)
