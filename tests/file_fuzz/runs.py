"""Checkpoints and configurations of a run, and mutations that keep their form."""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

from .damage import Rng, damaged


def checkpoint_seeds(folder: Path) -> list[Path]:
    """Train a tiny network for an epoch; the files are its checkpoint with and without the checksum before it."""
    import sdsnn

    settings = [
        "data.n_steps=3",
        "model.hidden=[6]",
        "optimiser.epochs=1",
        "optimiser.batch_size=512",
        "data.workers=0",
    ]
    sdsnn.train("digits", folder / "run", settings=settings)
    raw = (folder / "run" / "best.pt").read_bytes()
    (folder / "best.pt").write_bytes(raw)
    (folder / "plain.pt").write_bytes(raw.split(b"\n", 1)[1])
    return [folder / "best.pt", folder / "plain.pt"]


def read_checkpoint(path: Path) -> None:
    """Load the model of a run whose best checkpoint is this file; the run lies beside it."""
    from sdsnn.train.run.run_folder import RunFolder
    from sdsnn.train.run.trained import load_trained

    run = RunFolder(path.parent / "run")
    shutil.copy(path, run.best_file)
    load_trained(run)


def change_checkpoint(raw: bytes, rng: Rng) -> bytes:
    """Change one entry of the state, with a right checksum; or damage the archive behind a right one."""
    import torch

    content = raw if raw.startswith(b"PK") else raw.split(b"\n", 1)[1]
    if rng.random() < 0.3:
        content = damaged(content, rng)
    else:
        state = torch.load(io.BytesIO(content), weights_only=True)
        at, path = state, []
        while isinstance(at, dict) and at and (not path or rng.random() < 0.8):
            path.append(list(at)[rng.integers(len(at))])
            at = at[path[-1]]
        values: list[Any] = [
            None, -1, 2**70, "text", [], {}, torch.zeros(3), torch.zeros(0), torch.full((6, 64, 1, 1, 1), float("nan")),
            1.5, b"x", torch.zeros(1).expand(10**12), [[1]], torch.zeros(2, 2, dtype=torch.complex64),
        ]  # fmt: skip
        holder = state
        for key in path[:-1]:
            holder = holder[key]
        if rng.random() < 0.3:
            del holder[path[-1]]
        else:
            holder[path[-1]] = values[rng.integers(len(values))]
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
    head = raw.split(b"\n", 1)[0]
    if raw.startswith(b"PK"):
        return content
    return head[:-64] + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def config_seeds(folder: Path) -> list[Path]:
    """Write whole configurations as runs keep them."""
    from sdsnn.train.run.config import load_config

    for name in ("digits", "nmnist_mlp"):
        (folder / f"{name}.toml").write_text(load_config(name).to_toml())
    return sorted(folder.iterdir())


def read_config(path: Path) -> None:
    """Read a configuration, and write it again."""
    from sdsnn.train.run.config import load_config

    load_config(path).to_toml()


def change_config(raw: bytes, rng: Rng) -> bytes:
    """Change one value or key of the text, double a line, or nest deeply."""
    lines = raw.decode().splitlines()
    at = int(rng.integers(len(lines)))
    values = [
        "nan", "inf", "-inf", "-1", "0", "1e400", "99999999999999999999", '""', '"text"', "[]", "{}", "true", "[[1]]",
        "1979-05-27", "'\\u0000'", "[" * 3000, "{a = " * 500, '"' + "x" * 5000 + '"', "0x7fffffffffffffff", "[1, 'a']",
        '"os:system"', '"no.such:module"', "-0.0", "1.5",
    ]  # fmt: skip
    choice = int(rng.integers(5))
    if choice < 3 and "=" in lines[at]:
        lines[at] = f"{lines[at].split('=')[0]}= {values[rng.integers(len(values))]}"
    elif choice == 3:
        lines.insert(at, lines[rng.integers(len(lines))])
    else:
        lines[at] = lines[at].replace("_", "-") if rng.random() < 0.5 else f"[{lines[at]}]"
    return "\n".join(lines).encode()
