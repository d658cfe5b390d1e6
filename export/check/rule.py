"""A rule of `sdsnn check`: one known trap, described in docs/traps.md under its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, final

from sdsnn_core.errors import SdsnnError

Severity = Literal["error", "warning", "note"]
Traps = Iterator[tuple[str, str, str]]  # where, what, help
PAGE: Final = "docs/traps.md"


@final
@dataclass(frozen=True)
class Finding:
    """One trap in one place.

    Attributes:
        rule: Name of the rule, and the anchor of its section in docs/traps.md.
        severity: "error": cannot run, or runs with other spikes. "warning": differs in one of the formats. "note":
            good to know.
        where: Node, layer or block.
        what: What was expected and what is there.
        help: What to do.
    """

    rule: str
    severity: Severity
    where: str
    what: str
    help: str

    def as_dict(self) -> dict[str, str]:
        """Return plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.what}; {self.help} [{PAGE}#{self.rule}]"


@final
@dataclass(frozen=True)
class Rule:
    """A named trap and the function that looks for it.

    Attributes:
        name: Name, and anchor in docs/traps.md.
        severity: Severity of its findings.
        look: Function that yields (where, what, help) for each place with the trap.
        refusal: Error that readers and writers raise for a finding; None where they go on.
    """

    name: str
    severity: Severity
    look: Callable[[Any], Traps] = lambda subject: iter(())
    refusal: type[SdsnnError] | None = None

    def finding(self, where: str, what: str, help_: str) -> Finding:
        """Return a finding of this rule."""
        return Finding(self.name, self.severity, where, what, help_)

    def findings(self, subject: Any) -> list[Finding]:
        """Return what this rule finds in its subject."""
        return [self.finding(*trap) for trap in self.look(subject)]


def run_rules(rules: tuple[Rule, ...], subject: Any) -> list[Finding]:
    """Return the findings of all `rules`."""
    return [finding for rule in rules for finding in rule.findings(subject)]


def refuse(rules: tuple[Rule, ...], subject: Any) -> None:
    """Raise the first finding of a rule that refuses, as the error the rule names."""
    for rule in rules:
        if rule.refusal is not None:
            for where, what, help_ in rule.look(subject):
                raise rule.refusal(f"{where}: {what}; {help_}")
