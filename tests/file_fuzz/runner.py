"""Reads mutated files in worker processes with limits, and counts how each reading ended.

A worker that hangs is killed after LIMIT_S seconds, one that crashes is replaced; both go on with the next file. Memory
beyond MEMORY bytes is refused by the system, so a reader that needs more fails with a MemoryError, which is counted.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, final

import numpy as np

from .damage import mutated
from .kinds import KINDS, Kind

LIMIT_S, MEMORY, LONGEST_LINE = 15.0, 2 * 2**30, 5000


@final
@dataclass
class Tally:
    """read: files that were read after all. refused: with an error of one line. failures: (number, what went wrong)."""

    read: int = 0
    refused: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    slowest_s: float = 0.0

    def line(self, kind: str) -> str:
        """Return the counts in one line, with the failures by what went wrong."""
        total = self.read + self.refused + len(self.failures)
        kinds = Counter(what for _, what in self.failures)
        wrong = "; ".join(f"{count} x {what}" for what, count in kinds.most_common())
        return (
            f"{kind}: {total} mutations, {self.read} read, {self.refused} refused in one line, "
            f"{len(self.failures)} failed, slowest {self.slowest_s:.1f} s" + (f"\n  {wrong}" if wrong else "")
        )


def mutation(name: str, seeds: list[Path], seed: int, number: int) -> tuple[str, bytes]:
    """Return (ending, content) of a mutation of one of the valid files."""
    rng = np.random.default_rng([seed, number])
    source = seeds[rng.integers(len(seeds))]
    return source.suffix, mutated(source.read_bytes(), rng, KINDS[name].meant.get(source.suffix))


def run(
    name: str, count: int, seed: int = 0, first: int = 0, jobs: int = 1, keep: Path | None = None,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:  # fmt: skip
    """Read `count` mutations of a kind.

    Args:
        name: a key of KINDS.
        count: mutations.
        seed: decides them, together with their numbers.
        first: number of the first one.
        jobs: worker processes.
        keep: folder for files whose reading failed.
        progress: called now and then.
    """
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="sdsnn-fuzz-") as folder:
        valid = Path(folder) / "seeds"
        valid.mkdir()
        seeds = KINDS[name].seeds(valid)
        for path in seeds:  # what is not damaged is read
            KINDS[name].read(path)
        parts = [range(first + job, first + count, jobs) for job in range(jobs)]
        workers = [_Worker(name, seeds, seed, part, Path(folder) / str(job)) for job, part in enumerate(parts)]
        try:
            while alive := [worker for worker in workers if not worker.done]:
                select.select([worker.pipe for worker in alive], [], [], 1.0)
                for worker in alive:
                    worker.collect(tally)
                progress(tally)
        finally:
            for worker in workers:
                worker.stop()
        if keep is not None and tally.failures:
            keep.mkdir(parents=True, exist_ok=True)
            for number, _ in tally.failures:
                ending, content = mutation(name, seeds, seed, number)
                (keep / f"{name}-{seed}-{number}{ending}").write_bytes(content)
    return tally


@final
class _Worker:
    """A process that reads one file after another and says how each ended."""

    def __init__(self, name: str, seeds: list[Path], seed: int, numbers: range, folder: Path) -> None:
        self._name, self._seeds, self._seed, self._numbers, self._folder = name, seeds, seed, list(numbers), folder
        self.done = not self._numbers
        shutil.copytree(seeds[0].parent, folder)
        self._start()

    def _start(self) -> None:
        ours, theirs = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(ours)
            with open(theirs, "w") as answers:
                _work(self._name, self._seeds, self._seed, self._numbers, self._folder, answers)
        os.close(theirs)
        self.pipe = ours
        self._rest, self._since = b"", time.monotonic()

    def collect(self, tally: Tally) -> None:
        """Count what the worker has sent; restart it behind a file at which it hangs or crashed."""
        while select.select([self.pipe], [], [], 0)[0]:
            block = os.read(self.pipe, 1 << 16)
            if not block:
                _, status = os.waitpid(self._pid, 0)
                self._next(tally, f"crash ({signal.Signals(status & 127).name if status & 127 else status})")
                return
            *lines, self._rest = (self._rest + block).split(b"\n")
            for line in lines:
                kind, what, seconds = json.loads(line)
                number = self._numbers.pop(0)
                tally.slowest_s, self._since = max(tally.slowest_s, seconds), time.monotonic()
                tally.read += kind == "read"
                tally.refused += kind == "refused"
                if kind == "failed":
                    tally.failures.append((number, what))
        if self._numbers and time.monotonic() - self._since > LIMIT_S:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._next(tally, f"hang (more than {LIMIT_S:g} s)")

    def _next(self, tally: Tally, what: str) -> None:
        os.close(self.pipe)
        if self._numbers:
            tally.failures.append((self._numbers.pop(0), what))
        self.done = not self._numbers
        if not self.done:
            self._start()

    def stop(self) -> None:
        """End the process."""
        if not self.done:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            os.close(self.pipe)
            self.done = True


def _work(name: str, seeds: list[Path], seed: int, numbers: list[int], folder: Path, answers: IO[str]) -> None:
    """Read the files in a child; it does not return."""
    try:
        import faulthandler

        faulthandler.disable()
        warnings.simplefilter("ignore")
        os.dup2(os.open(folder / "stderr", os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_APPEND), 2)
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in numbers:
            ending, content = mutation(name, seeds, seed, number)
            path = folder / f"mutated{ending}"
            path.write_bytes(content)
            begin = time.monotonic()
            kind, what = _outcome(KINDS[name], path)
            os.truncate(folder / "stderr", 0)
            answers.write(json.dumps([kind, what, time.monotonic() - begin]) + "\n")
            answers.flush()
    finally:
        os._exit(0)


def _outcome(kind: Kind, path: Path) -> tuple[str, str]:
    """Read a file: (read, refused or failed, what went wrong)."""
    from sdsnn_core.errors import SdsnnError

    ended = ("read", "")
    try:
        kind.read(path)
    except SdsnnError as error:
        text = str(error)
        ended = ("refused", "")
        if "\n" in text or len(text) > LONGEST_LINE:
            ended = ("failed", f"{type(error).__name__} of more than a line: {text[:80]!r}")
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "/site-packages/" not in f.filename and "file_fuzz" not in f.filename]
        place = ours[-1] if ours else frames[-1]
        ended = ("failed", f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno} ({str(error)[:60]})")
    printed = (path.parent / "stderr").read_bytes()
    if printed and ended[0] != "failed":
        return "failed", f"printed {printed[:80]!r}"
    return ended
