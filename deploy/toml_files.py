"""Reading the TOML files that describe chips and prices, with errors of one line."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from pydantic import ValidationError

from sdsnn_core.errors import FileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Readable(Protocol):
    """A path, in the file system or inside the package."""

    def read_text(self, encoding: str | None = None) -> str:
        """Return the content."""
        ...


def toml_value(text: str | None, table: str, key: str) -> Any:
    """Return one value of a TOML text, None where it is missing."""
    try:
        values = tomllib.loads(text or "").get(table)
    except tomllib.TOMLDecodeError:
        return None
    return values.get(key) if isinstance(values, dict) else None


def read_toml(path: Readable, where: str) -> dict[str, Any]:
    """Return the parsed file. Raises FileError naming `where` if it is missing or is not TOML."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{where}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise FileError(f"{where}: is not a text file in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"{where}: is not valid TOML ({error})") from None
    return data


def validation_problems(where: str, error: ValidationError) -> list[str]:
    """Return one line per problem: where, what is wrong, what the file holds."""
    problems = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"])
        given = item.get("input")
        shown = "" if isinstance(given, dict | list) else f", got {given!r}"
        problems.append(f"{where}: {place + ': ' if place else ''}{item['msg']}{shown}")
    return problems
