"""Run a function in a child process with a time limit, leaving no process and no shared memory behind.

A Lava run that failed can hang the next one in the same interpreter, and its processes outlive it; so every run gets an
interpreter of its own. `run_in_child` starts a guard, and the guard a worker, which calls the function:

    caller  --Popen, new session-->  guard  --fork, new session-->  worker  --fork-->  Lava's processes

The guard imports only the standard library. It watches the worker, the clock and the caller. Whatever ends first, it
kills all descendants and unlinks their shared memory; a killed caller shows as a change of its own parent. An
exception in a process of Lava, which makes Lava wait forever, ends the run at once. If the guard is killed, Linux kills
the worker and its forks with it, and the caller cleans up. Needs fork (Linux or macOS), as does Lava.
"""

import ctypes
import importlib
import multiprocessing.process
import os
import pickle
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from .. import errors

GRACE_S = 15.0  # how much longer than its limit a run may take to start its guard and to clean up
_WATCH_S = 0.02  # how often the guard looks at worker and caller
_FAILED_FORK_S = 1.0  # how long a worker may go on after a process that it forked has raised
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
# The child starts with the caller's own import path, as multiprocessing's spawn does.
_START = "import sys; sys.path[:] = sys.argv[6:]; from sdsnn_core.lava.child import main; main(*sys.argv[1:6])"
_FORK_REPORTS = "fork-*"
_ERROR_LINE = re.compile(r"\b[A-Za-z]*(Error|Exception)\b.*\S")


def run_in_child(function: str, payload: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Call a function in a fresh interpreter.

    Args:
        function: Its name, as "package.module:name".
        payload: Its argument; what pickle can carry.
        timeout_s: Seconds that the call may take, imports included.

    Returns:
        What the function returned.

    Raises:
        BackendError: The function or a process that it forked raised, the child died, or the time is over. An
            SdsnnError of the function keeps its class.
    """
    folder, token = Path(tempfile.mkdtemp(prefix="sdsnn-lava-")), _new_token()  # readable by this user alone
    arguments = [str(folder), function, str(timeout_s), str(os.getpid()), token]
    guard: subprocess.Popen[bytes] | None = None
    try:
        _save(folder / "payload", payload)
        with (folder / "output.txt").open("wb") as output:
            guard = subprocess.Popen(
                [sys.executable, "-c", _START, *arguments, *sys.path], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        guard.wait(timeout_s + GRACE_S)
        return _outcome(folder, function)
    except subprocess.TimeoutExpired:
        raise errors.BackendError(f"{function}: ran past its time limit of {timeout_s:g} s") from None
    finally:
        if guard is not None:
            _stop(guard, folder)
        _remove_shared_memory(token)
        shutil.rmtree(folder, ignore_errors=True)


def _new_token() -> str:
    return secrets.token_hex(4)


def _save(path: Path, value: Any) -> None:
    """Write `value` at once: a reader sees the whole file or none."""
    partial = path.with_name(f"partial-{path.name}")
    partial.write_bytes(pickle.dumps(value))
    partial.replace(path)


def _load(path: Path) -> Any:
    return pickle.loads(path.read_bytes()) if path.exists() else None


def _outcome(folder: Path, function: str) -> dict[str, Any]:
    """Return the result in `folder`, or raise what happened instead."""
    if (folder / "result").exists():
        result: dict[str, Any] = _load(folder / "result")
        return result
    forks = sorted(folder.glob(_FORK_REPORTS), key=lambda path: path.stat().st_mtime_ns)
    if failure := _load(forks[0] if forks else folder / "error"):
        cause, message = RuntimeError(f"\n{failure['traceback']}"), failure["message"]
        known = getattr(errors, failure["type"], None)
        if not forks and isinstance(known, type) and issubclass(known, errors.SdsnnError):
            raise (errors.ConfigError([message]) if known is errors.ConfigError else known(message)) from cause
        place = " (in a process that it started)" if forks else ""
        raise errors.BackendError(" ".join(f"{function}: {failure['type']}: {message}{place}".split())) from cause
    if not folder.exists():  # the guard removes it where somebody else ends it, as by `kill`
        raise errors.BackendError(f"{function}: ended by a signal from outside")
    reason, line = (
        _load(folder / "ended") or "its process died with status unknown",
        _useful_line(folder / "output.txt"),
    )
    raise errors.BackendError(f"{function}: {reason}{f'; its last line: {line}' if line else ''}")


def _useful_line(path: Path, limit: int = 300) -> str:
    """Return the last line of the child's output that names an error, else the last that is not empty."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    named = [line for line in lines if _ERROR_LINE.search(line)]
    return (named or lines or [""])[-1][:limit]


def _stop(guard: subprocess.Popen[bytes], folder: Path) -> None:
    """End the guard, which ends the rest; where it died without doing so, end the worker's group."""
    guard.terminate()
    try:
        guard.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait()
    worker = folder / "worker.pid"
    if guard.returncode != 0 and worker.exists():
        _kill_group(int(worker.read_text()))


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _remove_shared_memory(token: str) -> None:
    for path in Path("/dev/shm").glob(f"psm_{token}_*"):
        path.unlink(missing_ok=True)


def main(folder_name: str, function: str, limit: str, caller: str, token: str) -> NoReturn:
    """Guard one run: what the child's interpreter executes."""
    folder, timeout_s = Path(folder_name), float(limit)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: stopped.append(received))
    # Orphans of the worker become the guard's children, so that it can find, kill and reap them.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    worker = os.fork()
    if worker == 0:
        _work(folder, function, token, guard)
    (folder / "worker.pid").write_text(str(worker))
    deadline = time.monotonic() + timeout_s
    reason = ""
    while not reason:
        done, status = os.waitpid(worker, os.WNOHANG)
        # Lava may report a process that raised, or wait for it without end; its report exists in either case.
        reports = [path.stat().st_mtime for path in folder.glob(_FORK_REPORTS)]
        if done:
            reason = f"its process died with status {os.waitstatus_to_exitcode(status)}"
        elif stopped or os.getppid() != int(caller):
            reason = "stopped"
        elif time.monotonic() >= deadline or (reports and time.time() >= min(reports) + _FAILED_FORK_S):
            reason = f"ran past its time limit of {timeout_s:g} s"
        else:
            time.sleep(_WATCH_S)
    _end_descendants(worker)
    _remove_shared_memory(token)
    if reason == "stopped" or os.getppid() != int(caller):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        _save(folder / "ended", reason)
    os._exit(0)


def _end_descendants(worker: int, limit_s: float = 10.0) -> None:
    """Kill the worker's group and whatever else has become a child of this process, until none is left."""
    stop = time.monotonic() + limit_s
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while time.monotonic() < stop:
        _kill_group(worker)
        for child in children.read_text().split() if children.exists() else ():
            os.kill(int(child), signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _prctl(option: int, value: int) -> None:
    """Call prctl(2) where there is one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _work(folder: Path, function: str, token: str, guard: int) -> NoReturn:
    """Call the function and leave its result or its exception in `folder`; end without Lava's exit handlers."""
    try:
        _detach(guard)
        _name_shared_memory(token)
        _report_forks(folder)
        module, _, name = function.partition(":")
        _save(folder / "result", getattr(importlib.import_module(module), name)(_load(folder / "payload")))
    except BaseException as error:
        _report(folder / "error", error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _detach(guard: int) -> None:
    """Leave the guard's session and signal handlers, and die with it; what is forked from here dies with us."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)
    os.register_at_fork(after_in_child=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))


def _name_shared_memory(token: str) -> None:
    """Put the token of the run into the names of shared memory of this process and its forks."""
    from multiprocessing import shared_memory

    assert hasattr(shared_memory, "_make_filename"), "the standard library names shared memory in another way"
    # 23 characters, within the 31 that macOS allows.
    setattr(shared_memory, "_make_filename", lambda: f"/psm_{token}_{secrets.token_hex(4)}")  # noqa: B010


def _report_forks(folder: Path) -> None:
    """Make a process that multiprocessing forks leave a report if it raises: Lava's keep theirs to themselves."""
    original = multiprocessing.process.BaseProcess.run

    def run(self: multiprocessing.process.BaseProcess) -> None:
        try:
            original(self)
        except Exception as error:
            _report(folder / f"fork-{os.getpid()}", error)
            raise

    multiprocessing.process.BaseProcess.run = run  # type: ignore[method-assign]


def _report(path: Path, error: BaseException) -> None:
    _save(path, {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()})
