"""Work in a child process: answers come back whole, and what the child does wrong is one line here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sdsnn_core.errors import FileError
from sdsnn_core.system import contained as module
from sdsnn_core.system.contained import Limits, contained, limit_memory, limit_time

SMALL = Limits(1, 2**28)


def serving(answer: Callable[[Any], Any]) -> Any:
    return contained(lambda: answer, SMALL)


@pytest.mark.parametrize("fork", [True, False])
def test_values_and_arrays_come_back_as_they_were(fork: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAN_FORK", fork and module.CAN_FORK)
    arrays = [np.arange(6, dtype=np.int16).reshape(2, 3), np.full((), 0.1, np.float32), np.zeros((0, 4)),
              np.array([(1, 2.5)], [("x", "u1"), ("t", "f8")]), np.ones(10**6, bool)]  # fmt: skip
    with serving(lambda request: request if isinstance(request, dict) else arrays[request]) as ask:
        assert ask({"a": [1, "ü", None]}) == {"a": [1, "ü", None]}
        for index, array in enumerate(arrays):
            np.testing.assert_array_equal(got := ask(index), array)
            assert got.dtype == array.dtype


def test_arrays_inside_an_answer_come_back_in_their_places() -> None:
    arrays = [np.arange(5), np.eye(2), np.zeros(0)]
    with serving(lambda n: {"b": [arrays[0], "text", {"a": arrays[1]}], "a": [arrays[2]] * n, "none": []}) as ask:
        for n in (2, 0):
            answer = ask(n)
            np.testing.assert_array_equal(answer["b"][0], arrays[0])
            np.testing.assert_array_equal(answer["b"][2]["a"], arrays[1])
            assert [part.shape for part in answer["a"]] == [(0,)] * n
            assert answer["none"] == []


def test_texts_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(FileError, match="expected a JSON value"), serving(lambda _: np.array(["a"], object)) as ask:
        ask(0)


def test_the_work_is_done_in_another_process_that_ends_with_the_block() -> None:
    with serving(lambda _: os.getpid()) as ask:
        pid = ask(0)
        assert pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def loops(_: Any) -> Any:
    while True:
        pass


def crashes(_: Any) -> Any:
    os.kill(os.getpid(), signal.SIGSEGV)


def devours(_: Any) -> Any:
    return len(np.zeros(2**32, np.uint8).tobytes())


def fails(_: Any) -> Any:
    raise ValueError("not a\nnumber")


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (loops, "reading it took too long"),
        (lambda _: time.sleep(60), "reading it took too long"),
        (crashes, r"the library that reads it crashed \(SIGSEGV\)"),
        (lambda _: os._exit(3), "the library that reads it ended the process"),
        (devours, "Unable to allocate|MemoryError"),
        (fails, r"\Anot a number\Z"),
    ],
)
def test_what_the_child_does_wrong_is_one_line_here(work: Any, words: str) -> None:
    start = time.monotonic()
    with pytest.raises(FileError, match=words), serving(work) as ask:
        ask(0)
    assert time.monotonic() - start < 20


def test_a_child_may_set_other_limits_once_it_knows_its_work() -> None:
    def start() -> Any:
        limit_memory(2**30)
        limit_time(30)
        return lambda size: len(bytes(size))

    with contained(start, Limits(1, 2**20)) as ask:
        assert ask(2**29) == 2**29


def test_an_error_of_the_caller_is_the_callers() -> None:
    def caller() -> None:
        with serving(lambda _: 1) as ask:
            ask(0)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        caller()
