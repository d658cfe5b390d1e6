"""Run a function in a child process with a time limit, leaving no process and no shared memory behind.

A Lava run that failed can hang the next one in the same interpreter, and its processes outlive it; so every run gets an
interpreter of its own. `run_in_child` starts a guard, and the guard a worker, which calls the function:

    caller  --Popen, new session-->  guard  --fork, new session-->  worker  --fork-->  Lava's processes

The guard imports only the standard library. It watches the worker, the clock and the caller. Whatever ends first, it
kills all descendants and unlinks their shared memory; a killed caller shows as a change of its own parent. An
exception in a process of Lava, which makes Lava wait forever, ends the run at once. If the guard is killed, Linux kills
the worker and its forks with it, and the caller cleans up. Needs fork (Linux or macOS), as does Lava.
"""

from __future__ import annotations

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
from pathlib import Path
from typing import Any, NoReturn

from .. import errors

GRACE_S = 15.0  # how much longer than its limit a run may take to start its guard and to clean up
_WATCH_S = 0.02  # how often the guard looks at worker and caller
_FAILED_FORK_S = 1.0  # how long a worker may go on after a process that it forked has raised
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_SHARED_MEMORY = Path("/dev/shm")
# The child starts with the caller's own import path, as multiprocessing's spawn does.
_START = "import sys; sys.path[:] = sys.argv[2:]; from sdsnn_core.lava.child import main; main(sys.argv[1])"
_FORK_REPORTS = "fork-*"
_ERROR_LINE = re.compile(r"\b[A-Za-z]*(Error|Exception)\b.*\S")


class ChildTraceback(Exception):
    """Carries the traceback of the child as the cause of the error that the caller sees."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


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
    folder = Path(tempfile.mkdtemp(prefix="sdsnn-lava-"))  # readable by this user alone
    job: dict[str, Any] = {"function": function, "timeout_s": timeout_s, "caller": os.getpid(), "token": _new_token()}
    guard: subprocess.Popen[bytes] | None = None
    try:
        _save(folder / "job", job)
        _save(folder / "payload", payload)  # apart: the guard does not load it
        with (folder / "output.txt").open("wb") as output:
            guard = subprocess.Popen(
                [sys.executable, "-c", _START, str(folder), *sys.path],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            guard.wait(timeout_s + GRACE_S)
        except subprocess.TimeoutExpired:
            raise errors.BackendError(f"{function}: ran past its time limit of {timeout_s:g} s") from None
        return _outcome(folder, function, timeout_s)
    finally:
        if guard is not None:
            _stop(guard, folder)
        _remove_shared_memory(job["token"])
        shutil.rmtree(folder, ignore_errors=True)


def _new_token() -> str:
    return secrets.token_hex(4)


def _save(path: Path, value: Any) -> None:
    """Write `value` at once: a reader sees the whole file or none."""
    partial = path.with_name(f"partial-{path.name}")
    partial.write_bytes(pickle.dumps(value))
    partial.replace(path)


def _load(path: Path) -> Any:
    return pickle.loads(path.read_bytes()) if path.exists() else {}


def _outcome(folder: Path, function: str, timeout_s: float) -> dict[str, Any]:
    """Return the result in `folder`, or raise what happened instead."""
    if (folder / "result").exists():
        result: dict[str, Any] = _load(folder / "result")
        return result
    forks = sorted(folder.glob(_FORK_REPORTS), key=lambda path: path.stat().st_mtime_ns)
    if failure := _load(forks[0] if forks else folder / "error"):
        cause, message = ChildTraceback(failure["traceback"]), failure["message"]
        known = getattr(errors, failure["type"], None)
        if not forks and isinstance(known, type) and issubclass(known, errors.SdsnnError):
            raise (errors.ConfigError([message]) if known is errors.ConfigError else known(message)) from cause
        place = " (in a process that it started)" if forks else ""
        raise errors.BackendError(" ".join(f"{function}: {failure['type']}: {message}{place}".split())) from cause
    if not folder.exists():  # the guard removes it where somebody else ends it, as by `kill`
        raise errors.BackendError(f"{function}: ended by a signal from outside")
    ended = _load(folder / "ended")
    line = _useful_line(folder / "output.txt")
    last = f"; its last line: {line}" if line else ""
    if ended.get("reason") == "time":
        raise errors.BackendError(f"{function}: ran past its time limit of {timeout_s:g} s{last}")
    raise errors.BackendError(f"{function}: its process died with status {ended.get('status', 'unknown')}{last}")


def _useful_line(path: Path, limit: int = 300) -> str:
    """Return the last line of the child's output that names an error, else the last that is not empty."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    named = [line for line in lines if _ERROR_LINE.search(line)]
    return (named or lines or [""])[-1][:limit]


def _stop(guard: subprocess.Popen[bytes], folder: Path) -> None:
    """End the guard, which ends the rest; where it died without doing so, end the worker's group."""
    if guard.poll() is None:
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
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _remove_shared_memory(token: str) -> None:
    for path in _SHARED_MEMORY.glob(f"psm_{token}_*"):
        path.unlink(missing_ok=True)


# The guard


def main(folder_name: str) -> NoReturn:
    """Guard one run: what the child's interpreter executes."""
    folder = Path(folder_name)
    job = _load(folder / "job")
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: stopped.append(received))
    # Orphans of the worker become the guard's children, so that it can find, kill and reap them.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    worker = os.fork()
    if worker == 0:
        _work(folder, job, guard)
    (folder / "worker.pid").write_text(str(worker))
    deadline = time.monotonic() + job["timeout_s"]
    reason, status, failed = "", 0, False
    while not reason:
        done, waited = os.waitpid(worker, os.WNOHANG)
        if done:
            reason, status = "end", os.waitstatus_to_exitcode(waited)
        elif stopped or os.getppid() != job["caller"]:
            reason = "stopped"
        elif time.monotonic() >= deadline:
            reason = "time"
        else:
            if not failed and any(folder.glob(_FORK_REPORTS)):
                # Lava may report it, or wait for the process that died; the report exists in either case.
                failed, deadline = True, min(deadline, time.monotonic() + _FAILED_FORK_S)
            time.sleep(_WATCH_S)
    _end_descendants(worker)
    _remove_shared_memory(job["token"])
    if reason == "stopped" or os.getppid() != job["caller"]:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        _save(folder / "ended", {"reason": reason, "status": status})
    os._exit(0)


def _end_descendants(worker: int, limit_s: float = 10.0) -> None:
    """Kill the worker's group and whatever else has become a child of this process, until none is left."""
    stop = time.monotonic() + limit_s
    while time.monotonic() < stop:
        _kill_group(worker)
        for child in _children():
            os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _children() -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _prctl(option: int, value: int) -> None:
    """Call prctl(2) where there is one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


# The worker


def _work(folder: Path, job: dict[str, Any], guard: int) -> NoReturn:
    """Call the function and leave its result or its exception in `folder`; end without Lava's exit handlers."""
    try:
        _detach(guard)
        _name_shared_memory(job["token"])
        _report_forks(folder)
        module, _, name = job["function"].partition(":")
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
    """Make the names of shared memory of this process and its forks tell whose they are."""
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
    report = {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
    _save(path, report)
