"""Networks in files: one reader and one writer, which choose the format by the ending."""

from dataclasses import replace
from pathlib import Path

from sdsnn_core.errors import FileError
from sdsnn_core.network import Network

from .readout import Signal, with_readout


def read_network(path: str | Path, *, input_max: int | None = None, readout: Signal | None = None) -> Network:
    """Read a network from a file, or from the run folder that holds it.

    Args:
        path: a .nir file of sdsnn, a netx .net file, or a run folder with network.nir.
        input_max: largest value of an input bin, 1..255. A `.net` does not say whether its input is graded; None keeps
            what the file says (1: binary spikes).
        readout: "spikes" or "voltage", how the outputs are read. None keeps what the file says; in a `.net` of another
            tool, the voltage where no input can make the last layer fire.

    Returns:
        The network, in Loihi's integers.

    Raises:
        FileError: the file is missing, damaged or has another ending.
        UnsupportedNode: the file holds a node that has no rule here.
        NetworkError: the file describes a network that cannot exist.

    Examples:
        >>> import sdsnn
        >>> nodes = {"in": sdsnn.Input((2,)), "out": sdsnn.Population((1,), 4096, 410, 64), "o": sdsnn.Output("out")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses("in", "out", [0, 1], [0, 0], [60, 80])})
        >>> path = sdsnn.write(network, "example.nir")
        >>> sdsnn.read(path).digest() == network.digest()
        True
    """
    source = Path(path)
    if source.is_dir():
        source = source / "network.nir"
        if not source.is_file():
            raise FileError(f"{source}: no such file; `sdsnn export` makes it from a run")
    if source.suffix == ".nir":
        from .nir_format.reader import read_nir

        network = read_nir(source)
    elif source.suffix == ".net":
        from .netx.reader import read_netx

        network = read_netx(source)
    else:
        raise FileError(f"network {source}: expected a file ending in .nir or .net, or a run folder, got {source.name}")
    if input_max is not None:
        graded = {name: replace(node, max_value=input_max) for name, node in network.inputs.items()}
        network = replace(network, nodes={**network.nodes, **graded})
    return network if readout is None else with_readout(network, readout)


def write_network(network: Network, path: str | Path) -> Path:
    """Write a network to a file, whole or not at all.

    Args:
        network: what to write.
        path: a file ending in .nir (NIR) or .net (netx, for chains of layers, as lava-dl loads them).

    Returns:
        The path.

    Raises:
        FileError: another ending, or the file cannot be written.
        UnsupportedNode: the format has no place for a node or projection of this network.
        NetworkError: the format cannot hold a value of this network.

    Examples:
        >>> import sdsnn
        >>> nodes = {"in": sdsnn.Input((1,)), "a": sdsnn.Population((1,), 4096, 410, 64), "out": sdsnn.Output("a")}
        >>> network = sdsnn.Network(nodes, {"w": sdsnn.Synapses("in", "a", [0], [0], [80])})
        >>> sdsnn.write(network, "example.net").name
        'example.net'
    """
    target = Path(path)
    if target.suffix == ".nir":
        from .nir_format.writer import write_nir

        return write_nir(network, target)
    if target.suffix == ".net":
        from .netx.writer import write_netx

        return write_netx(network, target)
    raise FileError(f"network {target}: expected a file ending in .nir or .net, got {target.name}")
