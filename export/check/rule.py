"""A rule of `sdsnn check`: one known trap, described in docs/traps.md under its name."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, Final, Literal, final

from sdsnn_core.errors import SdsnnError

Severity = Literal["error", "warning", "note"]
Traps = Iterator[tuple[str, str, str]]  # where, what, help
PAGE: Final = "docs/traps.md"


@final
@dataclass(frozen=True)
class Finding:
    """One trap in one place."""

    rule: str  # name of the rule, and the anchor of its section in docs/traps.md
    severity: Severity  # error: cannot run, or with other spikes; warning: differs in a format; note: good to know
    where: str  # node, layer or block
    what: str  # what was expected and what is there
    help: str  # what to do

    def as_dict(self) -> dict[str, str]:
        """Return plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.what}; {self.help} [{PAGE}#{self.rule}]"


@final
@dataclass(frozen=True)
class Rule:
    """A named trap, and the function that yields (where, what, help) for each place with it."""

    name: str
    severity: Severity
    look: Callable[[Any], Traps] = lambda subject: iter(())
    refusal: type[SdsnnError] | None = None  # what readers and writers raise for a finding; None where they go on

    def finding(self, where: str, what: str, help_: str) -> Finding:
        """Return a finding of this rule."""
        return Finding(self.name, self.severity, where, what, help_)

    def findings(self, subject: Any) -> list[Finding]:
        """Return what this rule finds in its subject."""
        return [self.finding(*trap) for trap in self.look(subject)]


def each(items: Callable[[Any], Iterable[tuple[str, Any]]]) -> Callable[[Callable[..., Traps]], Callable[..., Traps]]:
    """Return a decorator that makes a rule on a place and its item one on all `items` of a subject."""

    def decorate(look: Callable[..., Traps]) -> Callable[..., Traps]:
        return wraps(look)(lambda subject: (trap for item in items(subject) for trap in look(*item)))

    return decorate


def run_rules(rules: tuple[Rule, ...], subject: Any) -> list[Finding]:
    """Return the findings of all `rules`."""
    return [finding for rule in rules for finding in rule.findings(subject)]


def refuse(rules: tuple[Rule, ...], subject: Any) -> None:
    """Raise the first finding of a rule that refuses, as the error the rule names."""
    for rule in rules:
        if rule.refusal is not None:
            for where, what, help_ in rule.look(subject):
                raise rule.refusal(f"{where}: {what}; {help_}")
