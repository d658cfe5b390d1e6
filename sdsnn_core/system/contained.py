"""Work on a file of others in a child process with limits of time and memory.

A library that decodes a format may loop for ever, take all memory or crash on a damaged file. In a child it takes only
the child along. The child is a fork, so it has every library loaded already; it gets requests and sends answers, plain
JSON and arrays, over a socket. Nothing that it sends can run code here.
"""

import gc
import json
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, cast

import numpy as np

from ..errors import FileError, one_line

Answer = Callable[[Any], Any]  # JSON-able request -> JSON-able value, which may hold arrays
CAN_FORK: Final = hasattr(os, "fork")
_ARRAY: Final = {"array": True}  # stands for an array in an answer; the arrays follow in their order
IDLE_S: Final = 3.0  # beyond the limit of CPU time, for a child that waits instead of working


class Limits(NamedTuple):
    """Of a child: seconds of CPU time until its first answer, and bytes beyond what the parent has mapped already."""

    cpu_s: float
    memory: int


@contextmanager
def contained(start: Callable[[], Answer], limits: Limits) -> Iterator[Answer]:
    """Run `start` and the function that it returns in a child process.

    Args:
        start: runs once in the child; what it returns answers the requests. Where the system cannot fork, both run in
            this process.
        limits: of the child, until it sets others (`limit_time`, `limit_memory`).

    Yields:
        A function request -> answer. Requests and answers are JSON values; an answer may hold arrays.

    Raises:
        FileError: the work failed (with its message), took too long or too much memory, or crashed.
    """
    if not CAN_FORK:
        yield start()
        return
    ours, theirs = socket.socketpair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads: the child uses none of what they may hold
        pid = os.fork()
    if not pid:
        ours.close()
        _serve(start, limits, theirs)
    theirs.close()
    ours.settimeout(_seconds(limits.cpu_s))
    stream = ours.makefile("rwb")
    try:
        yield lambda request: _ask(ours, stream, pid, request)
    finally:
        with suppress(OSError):
            stream.close()
        ours.close()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def limit_time(cpu_s: float) -> None:
    """In a child: end it after so many more seconds of CPU time. Does nothing where the system cannot fork."""
    if CAN_FORK:
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime + cpu_s) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def limit_memory(n_bytes: int) -> None:
    """In a child: refuse it more bytes beyond what is mapped now. Does nothing where the system has no /proc."""
    with suppress(OSError, ValueError):
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (mapped + n_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _seconds(cpu_s: float) -> float:
    return 2 * cpu_s + IDLE_S  # other processes may have the CPU half of the time


def _ask(ours: socket.socket, stream: Any, pid: int, request: Any) -> Any:
    """Send a request and return the answer, which names the seconds that the next one may take."""
    try:
        stream.write(json.dumps(request).encode() + b"\n")
        stream.flush()
        line = stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        answer = json.loads(line, object_hook=lambda entry: _array_of(stream) if entry == _ARRAY else entry)
    except TimeoutError:
        raise FileError("reading it took too long") from None
    except (OSError, EOFError, ValueError):
        raise FileError(_death_of(pid)) from None
    if "error" in answer:
        raise FileError(answer["error"])
    ours.settimeout(answer["seconds"])
    return answer["value"]


def _array_of(stream: Any) -> Any:
    return np.lib.format.read_array(stream, allow_pickle=False)


def _death_of(pid: int) -> str:
    """Return how a child ended."""
    with suppress(ChildProcessError):
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number in (signal.SIGXCPU, signal.SIGKILL):
                return "reading it took too long"
            return f"the library that reads it crashed ({signal.Signals(number).name})"
    return "the library that reads it ended the process"


def _serve(start: Callable[[], Answer], limits: Limits, theirs: socket.socket) -> NoReturn:  # pragma: no cover
    """Answer requests until there are no more; the child never comes back from here."""
    try:
        _leave_the_parent(limits)
        stream = theirs.makefile("rwb")
        answer: Answer | None = None
        for line in stream:
            arrays: list[Any] = []
            try:
                answer = answer or start()
                value = answer(json.loads(line))
                text = json.dumps({"value": value, "seconds": _seconds(_left())}, default=partial(_set_aside, arrays))
            except Exception as error:
                text, arrays = json.dumps({"error": one_line(error)}), []
            stream.write(text.encode() + b"\n")
            for array in arrays:
                np.lib.format.write_array(cast(Any, stream), array, allow_pickle=False)
            stream.flush()
    finally:
        os._exit(0)


def _set_aside(arrays: list[Any], value: Any) -> dict[str, bool]:  # pragma: no cover
    """Keep an array, which follows the JSON text, and return what stands for it there."""
    if not isinstance(value, np.ndarray) or value.dtype.kind == "O":
        raise TypeError(f"expected a JSON value or an array of numbers, got {type(value).__name__}")
    arrays.append(value)
    return _ARRAY


def _left() -> float:  # pragma: no cover
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    return max(0.0, resource.getrlimit(resource.RLIMIT_CPU)[0] - used.ru_utime - used.ru_stime)


def _leave_the_parent(limits: Limits) -> None:  # pragma: no cover
    """Let nothing that happens in the child show in the parent: no core files, no words of libraries, no Ctrl-C."""
    import faulthandler
    import resource

    gc.freeze()  # a collection would touch, and so copy, all that the parent holds
    faulthandler.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    limit_time(limits.cpu_s)
    limit_memory(limits.memory)
