"""How the commands print: tables that are cut to no width but a terminal's, and certificates."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sdsnn.export.verify.certificate import Certificate, Comparison

UNLIMITED = 10_000  # columns; rich would take 80 where it finds no terminal


def console() -> Console:
    """Return a console on standard output; without a terminal its lines have any length."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else UNLIMITED)


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None, left: Sequence[int] = (0,)
) -> None:
    """Print a table. left: columns that are aligned to the left; all others hold numbers."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i in left else "right")
    for row in rows:
        table.add_row(*map(str, row))
    console().print(table)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Give a function that shows a task and its share done (0 to 1) on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    stderr = Console(stderr=True)
    with Progress(console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)


@contextmanager
def counting_bar(what: str, quiet: bool, *, transient: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """Give a function that shows how many of all (None: not known yet) are done on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    stderr = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=quiet or not stderr.is_terminal, transient=transient) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_certificate(certificate: Certificate) -> None:
    """Print one line for every back end."""
    for comparison in certificate.comparisons:
        typer.echo(f"  {comparison.backend:9} {describe(comparison)}")
    for name, reason in certificate.skipped.items():
        typer.echo(f"  {name:9} skipped: {reason}")


def describe(comparison: Comparison) -> str:
    """Return one comparison of a certificate in words."""
    if comparison.failed is not None:
        return f"failed: {comparison.failed}"
    text = f"{comparison.bins} bins, {comparison.mismatches} mismatches"
    if comparison.voltage_bins:
        text += f", {comparison.voltage_bins} of the bins voltages"
    if (first := comparison.first) is None:
        return text
    place = f"node {first['node']}, neuron {first['neuron']}, step {first['step']} of sample {first['sample']}"
    where = f"; traces in {comparison.trace_file}" if comparison.trace_file else ""
    signal = f"{first['signal']} of " if "signal" in first else ""
    return f"{text}, first at {signal}{place} (reference {first['reference']}, here {first['here']}){where}"


class _Echo(logging.Handler):
    """Prints every message once, on standard error as it is at that time: beside progress bars too."""

    def __init__(self) -> None:
        super().__init__()
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, unless it was printed before."""
        message = record.getMessage()
        if message not in self._printed:
            self._printed.add(message)
            prefix = "note: " if record.levelno >= logging.WARNING else ""
            typer.echo(f"{prefix}{message}", err=True)


def echo_log(name: str) -> None:
    """Print what a logger of sdsnn says, from now on."""
    logger = logging.getLogger(name)
    for handler in [handler for handler in logger.handlers if isinstance(handler, _Echo)]:
        logger.removeHandler(handler)
    logger.addHandler(_Echo())
    logger.setLevel(logging.INFO)
