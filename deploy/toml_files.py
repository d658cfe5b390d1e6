"""TOML files that describe chips and prices: checked models, found by name or path, errors of one line."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sdsnn_core.errors import ConfigError, FileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Frozen(BaseModel):
    """A table of a TOML file: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=Frozen)


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


def shipped_names(folder: str) -> list[str]:
    """Return the names of the TOML files that come with the package in `folder`, sorted."""
    return sorted(p.name[:-5] for p in (resources.files("sdsnn.deploy") / folder).iterdir() if p.name.endswith(".toml"))


def load_named(model: type[Model], kind: str, folder: str, name: str | Path) -> Model:
    """Read a file of the package by its name, or a user's file by its path.

    Raises FileError for a name that is neither, ConfigError with every problem of the file's content.
    """
    if str(name) in shipped_names(folder):
        data = read_toml(resources.files("sdsnn.deploy") / folder / f"{name}.toml", str(name))
    elif Path(name).suffix == ".toml":
        data = read_toml(Path(name), str(name))
    else:
        known = ", ".join(shipped_names(folder))
        raise FileError(f"{kind}: expected one of {known} or a .toml file, got {name}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(validation_problems(f"{kind} {name}", error)) from None
