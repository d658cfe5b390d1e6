"""TOML files that describe chips and prices, found by name or path."""

from importlib import resources
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from sdsnn.train.section import Section, explain, read_toml
from sdsnn_core.errors import ConfigError, FileError

Model = TypeVar("Model", bound=Section)


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
        raise ConfigError(explain(error, model, f"{kind} {name}")) from None
