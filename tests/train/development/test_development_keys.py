"""The page of keys names every key of [development] once, with its default."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sdsnn_core.development import DevelopmentConfig

PAGE = Path(__file__).parents[3] / "docs" / "development_keys.md"


def written(value: object) -> str:
    """Return a default as a TOML file has it; None has no form there."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_every_key_is_on_the_page_with_its_default() -> None:
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    found = [(row[1].strip().strip("`"), row[2].strip().strip("`")) for row in rows]
    assert found == [(key.name, written(key.default)) for key in dataclasses.fields(DevelopmentConfig)]
