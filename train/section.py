"""Tables of TOML files: their base, how a file is read, and one line for each problem."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdsnn_core.errors import FileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Fraction = Annotated[float, Field(ge=0, le=1)]

LONGEST = 100  # characters of a value that an error repeats


class Section(BaseModel):
    """A table of a TOML file; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Readable(Protocol):
    """A path, in the file system or inside the package."""

    def read_text(self, encoding: str | None = None) -> str:
        """Return the content."""
        ...


def read_toml(path: Readable, where: str) -> dict[str, Any]:
    """Return the parsed file. Raises FileError naming `where` if it is missing or is not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"{where}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise FileError(f"{where}: is not a text file in UTF-8") from None
    return toml_tables(text, where)


def toml_tables(text: str, where: str) -> dict[str, Any]:
    """Return the parsed text. Raises FileError naming `where` if it is not TOML."""
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:  # the latter: brackets in brackets in brackets
        raise FileError(f"{where}: is not valid TOML ({error})") from None
    return tables


def toml_value(text: str) -> Any:
    """Return a value written as TOML; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def explain(error: ValidationError, model: type[BaseModel], where: str = "") -> list[str]:
    """Return one line per problem: where, what is expected, what the file holds."""
    lines = []
    for item in error.errors(include_url=False):
        place = ".".join(map(str, item["loc"]))
        lines.append(": ".join(part for part in (where, place, _problem(item, model)) if part))
    return lines


def _problem(item: Any, model: type[BaseModel]) -> str:
    if item["type"] == "value_error":  # a check of ours, whose message is complete
        return _cut(str(item["ctx"]["error"]), 10 * LONGEST)
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key; expected one of {', '.join(_known(model, item['loc'][:-1]))}"
    message: str = (
        item["msg"].replace("Input should be", "expected").replace("expected greater", "expected a number greater")
    )
    got = item["input"]
    if isinstance(got, dict | list):
        return message
    return f"{message}, got {_cut(json.dumps(got, default=str), LONGEST)}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _known(kind: Any, location: Sequence[Any]) -> list[str]:
    """Return the keys of the table at `location` inside a model."""
    for part in location:
        if isinstance(part, int):  # an item of a list: its own keys
            continue
        fields = getattr(kind, "model_fields", {})
        if part not in fields:
            break
        annotations = (fields[part].annotation, *get_args(fields[part].annotation))
        tables = [item for item in annotations if dataclasses.is_dataclass(item) or hasattr(item, "model_fields")]
        kind = tables[0] if tables else kind
    return sorted(kind.model_fields if hasattr(kind, "model_fields") else [f.name for f in dataclasses.fields(kind)])
