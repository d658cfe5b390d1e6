"""Damaged files of every kind are read or refused in one line; `make fuzz-files` reads many more."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from file_fuzz import runner
from file_fuzz.kinds import KINDS, Kind

from sdsnn_core.errors import FileError

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory need Linux"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@pytest.mark.parametrize(("kind", "count"), [("events", 150), ("checkpoint", 40), ("config", 150), ("net", 15)])
def test_damaged_files_are_read_or_refused_in_one_line(kind: str, count: int) -> None:
    tally = runner.run(kind, count, seed=1)
    assert tally.failures == []
    assert tally.read + tally.refused == count
    assert min(tally.read, tally.refused) > 0


def test_the_runner_counts_hangs_crashes_memory_and_errors_of_more_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A reader of the test's own: what it does follows from the first byte of the file."""

    def seeds(folder: Path) -> list[Path]:
        (folder / "a.txt").write_bytes(b"good")
        return [folder / "a.txt"]

    def read(path: Path) -> None:
        content = path.read_bytes()
        if content == b"good":
            return
        number = sum(content) % 7
        if number == 0:
            time.sleep(60)
        elif number == 1:
            os.abort()
        elif number == 2:
            bytearray(3 * 2**30)
        elif number == 3:
            raise FileError("two\nlines")
        elif number == 4:
            os.write(2, b"panicked")
        elif number == 5:
            raise FileError("one line")

    monkeypatch.setattr(runner, "LIMIT_S", 1.0)
    monkeypatch.setitem(KINDS, "mine", Kind(seeds, read, {}))
    tally = runner.run("mine", 40, jobs=2, keep=tmp_path)
    wrong = {what.split(" ")[0] for _, what in tally.failures}
    assert wrong == {"hang", "crash", "MemoryError", "FileError", "printed"}
    assert tally.read > 0
    assert tally.refused > 0
    assert tally.read + tally.refused + len(tally.failures) == 40
    assert len(list(tmp_path.iterdir())) == len(tally.failures)
    number, _ = tally.failures[0]
    (tmp_path / "seed.txt").write_bytes(b"good")
    ending, content = runner.mutation("mine", [tmp_path / "seed.txt"], 0, number)  # it can be made again alone
    assert (tmp_path / f"mine-0-{number}{ending}").read_bytes() == content
