"""Base of the tables of a configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A table of the configuration; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
