"""Building blocks of the report's page: the template, tables, sections, and how numbers are shown."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from ..energy.types import Span, format_joules
from .build import NOT_RECORDED

_MANY = 5  # columns that do not fit a narrow screen side by side
Cell = str | tuple[str, str]  # text, or (class, HTML)


def page(title: str, header: str, body: str, footer: str) -> str:
    """Put the parts into the template."""
    template = (resources.files("sdsnn.deploy") / "templates" / "report.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=escape(title), header=header, body=body, footer=footer)


def table(headings: Sequence[str], rows: Sequence[Sequence[Cell]], numeric: Sequence[int] = ()) -> str:
    """Return an HTML table; columns in `numeric` are right-aligned. Text is escaped, (class, HTML) is not.

    On a narrow screen a table of many columns, or of long text, shows each row as a block with its headings beside it.
    """
    long = any(not isinstance(cell, str) and cell[0] == "wrap" for row in rows for cell in row)
    stacked = len(headings) >= _MANY or long
    head = "".join(f"<th{' class=n' if i in numeric else ''}>{escape(text)}</th>" for i, text in enumerate(headings))
    body = ""
    for row in rows:
        body += "<tr>"
        for i, cell in enumerate(row):
            kind, html = ("", escape(cell)) if isinstance(cell, str) else cell
            kind = " ".join(part for part in (kind, "n" if i in numeric else "") if part)
            attributes = f' class="{kind}"' if kind else ""
            if stacked and headings[i]:
                attributes += f' data-label="{escape(headings[i])}"'
            body += f"<td{attributes}>{html}</td>"
        body += "</tr>"
    kind = ' class="stacked"' if stacked else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def columns(*parts: str) -> str:
    """Return parts side by side where the page is wide enough."""
    return f'<div class="columns">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def section(title: str, content: str) -> str:
    """Return a section of the page."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def figure(drawing: str, caption: str) -> str:
    """Return a drawing with its caption, or 'not recorded' if there is none."""
    if not drawing:
        return missing(caption)
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def missing(what: str, why: str = "") -> str:
    """Return the line that stands where something was not recorded."""
    return f'<p class="muted">{escape(what)}: {escape(why or NOT_RECORDED)}</p>'


def percent(value: Any) -> str:
    """Return a share as percent, or 'not recorded'."""
    return f"{value:.2%}" if isinstance(value, float | int) else NOT_RECORDED


def amount(value: float | None) -> str:
    """Return a count with separators, or 'not recorded'."""
    if value is None:
        return NOT_RECORDED
    if value and abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:,.3g}"


def joules(span: Span) -> str:
    """Return joules with a fitting prefix, as the page writes it."""
    return micro(format_joules(span))


def micro(text: str) -> str:
    """Return text with the micro sign where the command line writes u."""
    return text.replace(" uJ", " \N{MICRO SIGN}J")
