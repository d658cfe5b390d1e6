"""The door: `import sdsnn` is light, every name of it loads by itself, is documented, and its example runs."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sdsnn

HEAVY = ("torch", "lava", "numpy", "scipy", "numba", "h5py", "nir", "tonic", "sklearn", "matplotlib", "pydantic")
CALLED = [name for name in sdsnn.__all__ if name[0].islower()]
ALONE = f"""
import os, sys
import sdsnn
loaded = set({HEAVY}) & set(sys.modules)
assert not loaded, loaded
for name in sdsnn.__all__:
    if (child := os.fork()) == 0:  # an interpreter that imported nothing else
        getattr(sdsnn, name)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
"""


def documented(name: str) -> Any:
    """Return what carries the docstring of a name; that of the room `train` is the function behind its call."""
    thing = getattr(sdsnn, name)
    return type(thing).__call__ if inspect.ismodule(thing) else thing


def test_importing_it_loads_nothing_heavy_and_every_name_loads_alone() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr


def test_a_network_is_read_and_simulated_without_torch_and_lava() -> None:
    code = (
        "import sys, sdsnn; sdsnn.read, sdsnn.write, sdsnn.simulate, sdsnn.compact, sdsnn.Network, sdsnn.verify; "
        "assert not {'torch', 'lava', 'sklearn', 'tonic', 'matplotlib'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr


def test_unknown_names_and_dir() -> None:
    assert set(sdsnn.__all__) <= set(dir(sdsnn))
    with pytest.raises(AttributeError, match="module 'sdsnn' has no attribute 'nothing'"):
        sdsnn.nothing  # noqa: B018


def test_the_room_train_stays_a_package_that_can_be_called() -> None:
    import sdsnn.train.run.config

    assert sdsnn.train.run.config.load_config("digits").seed == 0
    assert callable(sdsnn.train)


@pytest.mark.parametrize("name", CALLED)
def test_docstrings_have_arguments_results_and_an_example(name: str) -> None:
    text = inspect.getdoc(documented(name)) or ""
    for heading in ("Args:", "Returns:", "Examples:"):
        assert f"\n{heading}" in text, heading


@pytest.mark.filterwarnings("ignore")  # of torch's parametrisations
@pytest.mark.parametrize("name", CALLED)
def test_the_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    thing = documented(name)
    known = dict(vars(sys.modules[thing.__module__]))
    examples = doctest.DocTestFinder(recurse=False).find(thing, name, module=False, globs=known)
    results = [doctest.DocTestRunner().run(example) for example in examples if example.examples]
    assert sum(result.attempted for result in results) > 1
    assert sum(result.failed for result in results) == 0
