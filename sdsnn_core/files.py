"""Files that are whole or absent (written under a temporary name, synced and renamed), and installed versions."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import FileError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success and remove it on any exception.

    Raises FileError where the folder does not exist, `path` is a folder, or the system refuses to write.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileError(f"{target}: cannot write, {str(target.parent)!r} is not an existing folder")
    if target.is_dir():
        raise FileError(f"{target}: expected the name of a file, got a folder")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:  # on disk before the old file goes
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{target}: cannot write ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, all or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, all or nothing."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def version_of(distribution: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def installed(distributions: Iterable[str]) -> dict[str, str]:
    """Return name -> version of those that are installed."""
    return {name: version for name in distributions if (version := version_of(name)) is not None}
