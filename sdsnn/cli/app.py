"""The `sdsnn` command: mounts the commands and turns a user's mistake into one line and exit status 2.

The command modules are thin: numpy, torch, Lava and the rest load inside the functions, when a command runs.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

import sdsnn
from sdsnn_core.errors import SdsnnError, one_line

from ..zoo.zoo import resolve
from . import compare, demo, doctor, export, place, price, report, simulate, sweep, train, zoo
from .files import check, compact, import_, verify  # fmt: skip

INTERRUPTED = 130  # the exit status that a shell expects after Ctrl-C
# Parameters that take zoo:NAME -> what stands for it: its folder, which is a run folder, or a file in it.
NETWORKS = {"network": "", "path": "network.nir", "runs": "", "data": "", "file": "network.nir", "init": "network.nir"}
# Name -> (function, two examples).
COMMANDS: dict[str, tuple[Callable[..., Any], tuple[str, str]]] = {
    "train": (train.train, ("train digits --set optimiser.epochs=40 --run runs/mine", "train --resume runs/mine")),
    "export": (export.export, ("export runs/mine", "export runs/mine --no-lava --resolution auto")),
    "import": (
        import_.import_,
        ("import theirs.nir --dt 1e-4", "import theirs.nir --dt 1e-4 --calibrate data.npz -o ours.nir"),
    ),
    "compact": (compact.compact, ("compact theirs.net", "compact network.nir -o small.nir")),
    "verify": (
        verify.verify,
        ("verify runs/mine/network.nir --run runs/mine", "verify theirs.net --random 16 --steps 64 --no-lava"),
    ),
    "simulate": (simulate.simulate, ("simulate runs/mine", "simulate network.nir data.npz --target lava --samples 10")),
    "place": (place.place, ("place runs/mine --chip loihi2", "place network.nir --picture cores.svg")),
    "report": (report.report, ("report runs/mine --chip loihi1", "report network.nir --data data.npz --out reports")),
    "price": (price.price, ("price network.nir --rate 0.05 --steps 100", "price runs/mine --chip loihi1 --json")),
    "compare": (compare.compare, ("compare runs/a runs/b", "compare runs/* --out compare.html")),
    "sweep": (sweep.sweep, ("sweep sweep.toml --workers 4", "sweep sweep.toml --scheduler tcp://host:8786")),
    "check": (check.check, ("check runs/mine", "check theirs.nir --json")),
    "zoo": (zoo.zoo, ("zoo", "zoo mnist-mlp-98")),
    "demo": (demo.demo, ("demo", "demo --run runs/try --seed 3")),
    "doctor": (doctor.doctor, ("doctor", "doctor --json")),
}


def guarded(command: Callable[..., Any]) -> Callable[..., None]:
    """Wrap a command: an SdsnnError becomes one line on stderr and exit status 2."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **{name: _without_zoo(name, value) for name, value in kwargs.items()})
        except SdsnnError as error:
            typer.echo(f"sdsnn: {one_line(error)}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt as interruption:
            typer.echo(f"sdsnn: {interruption or 'interrupted'}", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output closed it (`sdsnn ... | head`): nobody would see an error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None

    return run


def _without_zoo(name: str, value: Any) -> Any:
    """Return the value of a parameter, with paths in the place of zoo:NAME."""
    if name not in NETWORKS:
        return value
    if isinstance(value, list):
        return [_without_zoo(name, each) for each in value]
    return resolve(value, NETWORKS[name]) if isinstance(value, Path) else value


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sdsnn {sdsnn.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train spiking networks whose structure develops, and run them on a Loihi-class chip, bit for bit."""


app = typer.Typer(name="sdsnn", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.callback()(_options)
for _name, (_command, _examples) in COMMANDS.items():
    # \b keeps the line breaks.
    _epilog = "\n".join(("\b", "Examples:", *(f"  sdsnn {example}" for example in _examples)))
    app.command(_name, epilog=_epilog)(guarded(_command))


def main() -> None:
    """Run the command line."""
    if not sys.warnoptions:
        # numpy's warnings about bad values would stand in front of the one line that refuses them.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
    app(prog_name="sdsnn")
