"""The examples in docstrings run as they stand."""

from __future__ import annotations

import doctest
import importlib

import pytest

# Modules whose docstrings hold examples; each room adds its own.
MODULES = (
    "sdsnn_core.activity",
    "sdsnn_core.arithmetic",
    "sdsnn_core.compaction",
    "sdsnn_core.errors",
    "sdsnn_core.geometry",
    "sdsnn_core.network",
    "sdsnn_core.nodes",
    "sdsnn_core.projections",
    "sdsnn_core.reachability",
    "sdsnn_core.reference",
    "sdsnn_core.rules",
)


def run(name: str) -> doctest.TestResults:
    """Run the examples of a module, with its own names and numpy at hand."""
    module = importlib.import_module(name)
    names = {**vars(module), "np": importlib.import_module("numpy")}
    return doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    assert run(name).failed == 0


def test_there_are_examples() -> None:
    assert sum(run(name).attempted for name in MODULES) >= 12
