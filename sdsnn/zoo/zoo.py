"""The networks of the zoo: what each is, where its files lie, and how one is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sdsnn_core.errors import FileError

if TYPE_CHECKING:
    from sdsnn_core.network import Network

SCHEME: Final = "zoo:"
HOME: Final = Path(__file__).parent


class Entry(NamedTuple):
    """A network of the zoo; `scripts/zoo.py` writes its entry.json.

    accuracy: on the `samples` samples of the test split, of the exported network. sparsity: share of the synapses that
    are absent. commands: what made it, with the sdsnn of `commit`. data, citation, data_licence: what it was trained
    on, which is not part of the package.
    """

    name: str
    title: str
    accuracy: float
    samples: int
    sparsity: float
    synapses: int
    licence: str
    data: str
    citation: str
    data_licence: str
    commands: list[str]
    commit: str

    @property
    def folder(self) -> Path:
        """The folder of its files, which is a run folder without checkpoints."""
        return HOME / self.name.replace("-", "_")

    @property
    def n_bytes(self) -> int:
        """Size of its files in bytes."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())

    def as_dict(self) -> dict[str, Any]:
        """Return everything about it, with its files."""
        files = sorted(str(path) for path in self.folder.iterdir() if path.suffix in (".nir", ".net", ".json", ".toml"))
        return {**self._asdict(), "bytes": self.n_bytes, "files": files}


def entries() -> list[Entry]:
    """Return the networks of the zoo, by name."""
    return sorted(Entry(**json.loads(path.read_text("utf-8"))) for path in HOME.glob("*/entry.json"))


def find(name: str) -> Entry:
    """Return the network called `name`, with or without "zoo:". Raises FileError where there is none."""
    known = {entry.name: entry for entry in entries()}
    plain = name.removeprefix(SCHEME)
    if plain not in known:
        raise FileError(f"{SCHEME}{plain}: expected one of {', '.join(known)}, got {plain or 'no name'}")
    return known[plain]


def resolve(path: Path, file: str = "") -> Path:
    """Return the folder of "zoo:NAME", or a file in it; any other path as it is.

    Raises FileError where the zoo has no such network.
    """
    return find(str(path)).folder / file if str(path).startswith(SCHEME) else path


def results_folder(network: Path) -> Path | None:
    """Return where results of a network of the zoo go, the current folder; None for any other, beside which they go."""
    return Path() if network.is_relative_to(HOME) else None


def load(name: str | Path) -> Network:
    """Load a network of the zoo, or one of your own.

    Args:
        name: "zoo:NAME", as `sdsnn zoo` lists them; or what `sdsnn.read` takes: a .nir or .net file, or a run folder.

    Returns:
        The network, in Loihi's integers.

    Raises:
        FileError: the zoo has no such network, or there is no such file, or it is damaged.

    Examples:
        >>> import sdsnn
        >>> network = sdsnn.load("zoo:digits")
        >>> network.size_of("input"), network.outputs["output"].source
        (64, 'dense2')
    """
    from sdsnn.export.files import read_network

    return read_network(resolve(Path(name)))
