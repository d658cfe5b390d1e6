"""Runs in a child: what goes in comes out, and on every way out no process, no shared memory and no file stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdsnn_core.errors import BackendError, NetworkError
from sdsnn_core.lava import child as lava_child
from sdsnn_core.lava.child import run_in_child
from sdsnn_core.lava.compat import lava_available

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc to find processes")
needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
TOKEN = "SDSNN_TEST_TOKEN"

JOBS = '''
import multiprocessing, os, signal, subprocess, sys, time
import multiprocessing.managers, multiprocessing.shared_memory
from pathlib import Path
from sdsnn_core.errors import NetworkError

def echo(payload):
    return payload

def hand_back_a_function(payload):
    return {"function": lambda: 0}

def fail(payload):
    print("an ordinary line")
    raise ValueError("the first line\\nthe second")

def refuse(payload):
    raise NetworkError("node 'a': got 3, allowed 4")

def leave(payload):
    """Leave a forked process, one of another session, a manager and shared memory behind."""
    manager = multiprocessing.managers.SharedMemoryManager()
    manager.start()
    block = manager.SharedMemory(4096)
    orphan = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=time.sleep, args=(600,))
    process.start()
    apart = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path(payload["ready"]).write_text(" ".join([block.name, orphan.name]))
    globals()["kept"] = manager, block, orphan, process, apart
    return {"names": [block.name, orphan.name]}

def leave_and_fail(payload):
    leave(payload)
    raise RuntimeError("left behind")

def leave_and_hang(payload):
    leave(payload)
    time.sleep(600)

def leave_and_die(payload):
    leave(payload)
    os.kill(os.getpid(), signal.SIGKILL)

def network(lif_model):
    from sdsnn_core.lava.compat import import_lava
    import numpy as np
    lif = import_lava("lava.proc.lif.process").LIF(shape=(3,), vth=1, du=4095, dv=4095)
    dense = import_lava("lava.proc.dense.process").Dense(weights=np.eye(3, dtype=int) * 20)
    source = import_lava("lava.proc.io.source").RingBuffer(data=np.ones((3, 4), int))
    sink = import_lava("lava.proc.io.sink").RingBuffer(shape=(3,), buffer=12)
    source.s_out.connect(dense.s_in)
    dense.a_out.connect(lif.a_in)
    lif.s_out.connect(sink.a_in)
    configs = import_lava("lava.magma.core.run_configs")
    models = import_lava("lava.proc.lif.models")
    model = models.PyLifModelBitAcc
    chosen = {None: model}
    if lif_model is not None:
        from lava.magma.core.decorator import implements, requires, tag
        from lava.magma.core.resources import CPU
        from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

        def run_spk(self):
            lif_model()
        broken = type("Broken", (model,), {"run_spk": run_spk})
        broken = implements(proc=type(lif), protocol=LoihiProtocol)(requires(CPU)(tag("fixed_pt")(broken)))
        chosen[None] = broken
    conditions = import_lava("lava.magma.core.run_conditions")
    config = configs.Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map={type(lif): chosen[None]})
    lif.run(condition=conditions.RunSteps(num_steps=12), run_cfg=config)
    spikes = sink.data.get()
    shared = [name.name for name in Path("/dev/shm").glob("psm_" + SHM + "*")]
    return lif, spikes, shared

SHM = ""

def lava(payload):
    globals()["SHM"] = payload["token"]
    lif, spikes, shared = network(None)
    if payload["stop"]:
        lif.stop()
    return {"spikes": spikes, "shared": shared}

def lava_raises(payload):
    def model():
        raise ArithmeticError("the model met its end")
    network(model)

def lava_hangs(payload):
    Path(payload["ready"]).write_text("")
    network(lambda: time.sleep(600))
'''


def processes(token: str) -> list[int]:
    """Return the processes that carry `token` in the environment they were started with."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if token.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def shared_memory(token: str) -> list[str]:
    return [path.name for path in Path("/dev/shm").glob(f"psm_{token}_*")]


def soon(condition: Callable[[], bool], limit_s: float = 15.0) -> bool:
    stop = time.monotonic() + limit_s
    while time.monotonic() < stop:
        if condition():
            return True
        time.sleep(0.02)
    return False


class Place:
    """A module `jobs_of_test` that children can import, a temporary folder and a name for what they make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.ready = folder / "ready"
        self.mark = uuid.uuid4().hex
        self.shm = uuid.uuid4().hex[:8]

    def left(self) -> list[Any]:
        return [*processes(self.mark), *shared_memory(self.shm), *self.temporary.iterdir()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path)
    (tmp_path / "jobs_of_test.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(made.temporary))
    monkeypatch.setattr(lava_child, "_new_token", lambda: made.shm)
    monkeypatch.setenv(TOKEN, made.mark)
    yield made
    for process in processes(made.mark):
        os.kill(process, signal.SIGKILL)


def test_values_come_back_as_they_went(place: Place) -> None:
    payload = {
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
        "scalar": np.float32(0.1),
        "nested": {"list": [1, 2.5, "three", None, True], "tuple": (np.zeros(0), {})},
        "infinite": float("inf"),
        "large": 2**80,
    }
    result = run_in_child("jobs_of_test:echo", payload, 30)
    np.testing.assert_array_equal(result["array"], payload["array"])
    assert result["array"].dtype == np.int16
    assert result["scalar"] == np.float32(0.1)
    assert isinstance(result["scalar"], np.float32)
    assert result["nested"]["list"] == payload["nested"]["list"]
    assert isinstance(result["nested"]["tuple"], tuple)
    assert result["infinite"] == float("inf")
    assert result["large"] == 2**80
    assert place.left() == []


def test_a_result_that_cannot_travel_is_one_line(place: Place) -> None:
    with pytest.raises(
        BackendError, match=r"\Ajobs_of_test:hand_back_a_function: [^\n]*(?:pickle|local object)[^\n]*\Z"
    ):
        run_in_child("jobs_of_test:hand_back_a_function", {}, 30)
    assert place.left() == []


def test_an_exception_is_one_line(place: Place) -> None:
    with pytest.raises(BackendError) as caught:
        run_in_child("jobs_of_test:fail", {}, 30)
    assert str(caught.value) == "jobs_of_test:fail: ValueError: the first line the second"
    assert 'raise ValueError("the first line' in str(caught.value.__cause__)
    assert place.left() == []


def test_an_error_of_ours_keeps_its_class(place: Place) -> None:
    with pytest.raises(NetworkError, match=r"^node 'a': got 3, allowed 4$"):
        run_in_child("jobs_of_test:refuse", {}, 30)
    assert place.left() == []


def test_a_function_that_is_not_there(place: Place) -> None:
    with pytest.raises(BackendError, match=r"jobs_of_test:absent: AttributeError: .*absent"):
        run_in_child("jobs_of_test:absent", {}, 30)
    assert place.left() == []


def test_nothing_stays_after_success(place: Place) -> None:
    names = run_in_child("jobs_of_test:leave", {"ready": str(place.ready)}, 30)["names"]
    assert all(name.startswith(f"psm_{place.shm}_") for name in names)
    assert len(names) == 2
    assert place.left() == []


@pytest.mark.parametrize(
    ("job", "limit_s", "message"),
    [
        ("leave_and_fail", 30, "RuntimeError: left behind"),
        ("leave_and_hang", 3, "ran past its time limit of 3 s"),
        ("leave_and_die", 30, "its process died with status -9"),
    ],
)
def test_nothing_stays_after_failure(place: Place, job: str, limit_s: float, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        run_in_child(f"jobs_of_test:{job}", {"ready": str(place.ready)}, limit_s)
    assert place.ready.exists()
    assert place.left() == []


def start_caller(place: Place, job: str) -> subprocess.Popen[bytes]:
    """Start a program that calls `job` and wait until the job is under way."""
    program = f"""
        import sys, tempfile
        sys.path.insert(0, {str(place.folder)!r})
        tempfile.tempdir = {str(place.temporary)!r}
        from sdsnn_core.lava import child as lava_child
        lava_child._new_token = lambda: {place.shm!r}
        lava_child.run_in_child("jobs_of_test:{job}", {{"ready": {str(place.ready)!r}}}, 300)
    """
    caller = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stderr=subprocess.DEVNULL)
    assert soon(place.ready.exists, 60), "the job did not start"
    return caller


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_after_the_caller_is_ended(place: Place, number: signal.Signals) -> None:
    caller = start_caller(place, "leave_and_hang")
    assert len(processes(place.mark)) >= 5
    assert len(shared_memory(place.shm)) == 2
    caller.send_signal(number)
    assert caller.wait(30) != 0
    assert soon(lambda: not place.left()), place.left()


def test_a_guard_that_is_stopped_is_one_line(place: Place) -> None:
    """By somebody else than its caller, who goes on."""

    def stop_guard() -> None:
        assert soon(place.ready.exists, 60)
        me = os.getpid()
        children = Path(f"/proc/{me}/task/{threading.main_thread().native_id}/children").read_text().split()
        for child in map(int, children):
            if place.mark.encode() in Path(f"/proc/{child}/environ").read_bytes():
                os.kill(child, signal.SIGTERM)

    other = threading.Thread(target=stop_guard)
    other.start()
    with pytest.raises(BackendError, match=r"^jobs_of_test:leave_and_hang: ended by a signal from outside$"):
        run_in_child("jobs_of_test:leave_and_hang", {"ready": str(place.ready)}, 60)
    other.join()
    assert place.left() == []


def test_nothing_stays_after_the_guard_is_killed(place: Place) -> None:
    caller = start_caller(place, "leave_and_hang")
    guard = [int(word) for word in Path(f"/proc/{caller.pid}/task/{caller.pid}/children").read_text().split()]
    assert len(guard) == 1
    os.kill(guard[0], signal.SIGKILL)
    assert caller.wait(30) == 1
    # A process that left the session of its own accord is beyond the reach of a caller without a guard. The worker,
    # which leads a session too, has been killed by now but may take a moment to end.
    assert soon(lambda: len(processes(place.mark)) == 1), processes(place.mark)
    [apart] = processes(place.mark)
    assert os.getsid(apart) == apart
    os.kill(apart, signal.SIGKILL)
    assert soon(lambda: not place.left()), place.left()


@needs_lava
@pytest.mark.parametrize("stop", [True, False])
def test_lava_runs(place: Place, stop: bool) -> None:
    result = run_in_child("jobs_of_test:lava", {"token": place.shm, "stop": stop}, 120)
    # Weight 20, threshold 1: a spike in each step but the first, in which the synapses have not answered yet.
    np.testing.assert_array_equal(result["spikes"], np.tile(np.arange(12) > 0, (3, 1)))
    assert result["shared"], "Lava's shared memory does not carry the run's name"
    assert place.left() == []


@needs_lava
def test_an_exception_in_a_lava_process_is_reported(place: Place) -> None:
    with pytest.raises(BackendError, match=r"lava_raises: ArithmeticError: the model met its end \(in a pro"):
        run_in_child("jobs_of_test:lava_raises", {}, 60)
    assert place.left() == []


@needs_lava
def test_a_lava_process_that_hangs_is_ended(place: Place) -> None:
    with pytest.raises(BackendError, match="ran past its time limit of 5 s"):
        run_in_child("jobs_of_test:lava_hangs", {"ready": str(place.ready)}, 5)
    assert place.left() == []


@needs_lava
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_lava_run_ends_with_its_caller(place: Place, number: signal.Signals) -> None:
    caller = start_caller(place, "lava_hangs")
    assert soon(lambda: len(processes(place.mark)) >= 6, 60), "Lava's processes did not start"
    caller.send_signal(number)
    assert caller.wait(30) != 0
    assert soon(lambda: not place.left()), place.left()
