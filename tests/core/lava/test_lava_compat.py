"""The import of Lava as a whole: what it says when it cannot, how it leaves the interpreter, and that it is quiet."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import textwrap
import warnings
from typing import Any

import pytest

from sdsnn_core.errors import MissingDependency
from sdsnn_core.lava import compat as lava_compat
from sdsnn_core.lava.compat import ensure_lava, import_lava, import_netx, import_slayer, lava_available

needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava is not installed")


def fresh(program: str) -> str:
    """Run `program` in a fresh interpreter in which every warning is an error; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_missing_lava_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_compat, "_MODULES", {"no_such_package_of_test.core": "lava-nc", "json": "lava-dl"})
    assert not lava_available()
    for action in (ensure_lava, import_slayer, import_netx, lambda: import_lava("lava.proc.lif.process")):
        with pytest.raises(MissingDependency) as caught:
            action()
        message = str(caught.value)
        assert message.startswith(f"lava: lava-nc not installed; install with: {lava_compat.pip_command()} ")
        assert message.endswith("lava-nc==0.10.0 lava-dl==0.6.0")
        assert ("--no-deps --ignore-requires-python" in message) == (sys.version_info >= (3, 11))
        assert "\n" not in message


@needs_lava
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_another_start_method_is_answered(method: str) -> None:
    said = fresh(f"""
        import multiprocessing
        multiprocessing.set_start_method({method!r})
        from sdsnn_core.errors import BackendError
        from sdsnn_core.lava.compat import ensure_lava
        try:
            ensure_lava()
        except BackendError as error:
            print(error)
        assert multiprocessing.get_start_method() == {method!r}
    """)
    assert said.startswith("lava: expected multiprocessing start method 'fork'")
    assert "sdsnn_core.lava.child" in said


@needs_lava
def test_a_start_method_of_fork_is_fine() -> None:
    assert (
        fresh("""
        import multiprocessing
        multiprocessing.set_start_method("fork")
        from sdsnn_core.lava.compat import import_lava
        import_lava("lava.magma.runtime.message_infrastructure.multiprocessing")
        print(multiprocessing.get_start_method())
    """)
        == "fork"
    )


@needs_lava
def test_lava_is_quiet_and_its_warnings_only(tmp_path: Any) -> None:
    """Compiled anew, so that its invalid escapes are seen too; a warning of another module still gets through."""
    said = fresh(f"""
        import sys, warnings
        sys.pycache_prefix = {str(tmp_path)!r}
        from sdsnn_core.lava import compat as lava_compat
        lava_compat.import_lava("lava.proc.lif.models")
        lava_compat.import_lava("lava.proc.sparse.models")
        with lava_compat._quiet():
            try:
                warnings.warn("ours", stacklevel=1)
            except UserWarning as warning:
                print(warning.args[0], file=sys.__stdout__)
    """)
    assert said == "ours"


def test_the_filters_of_warnings_are_put_back() -> None:
    before = list(warnings.filters)
    with lava_compat._quiet():
        assert warnings.filters != before
    assert list(warnings.filters) == before
    assert multiprocessing.get_start_method(allow_none=True) in (None, "fork")
