"""Make the networks of the zoo: `python scripts/zoo.py digits mnist-mlp-98`, or all of them without a name.

Each is trained by the commands that its entry.json then names, exported, verified and packed into `sdsnn/zoo/`. A run
that was interrupted goes on, and a finished one is not made again. Needs the data sets (docs/data.md).
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKED = ("network.nir", "network.net", "certificate.json", "export.json", "test.json", "data.json", "history.jsonl",
          "environment.json")  # fmt: skip


class Data(NamedTuple):
    """A data set: name, how to cite it, and its licence."""

    name: str
    citation: str
    licence: str


class Made(NamedTuple):
    """What `sdsnn train` is given, and what `sdsnn export` is."""

    title: str
    data: Data
    recipe: str
    settings: tuple[str, ...] = ()
    export: tuple[str, ...] = ()


MNIST = Data(
    "MNIST",
    "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE 86, 1998",
    "CC BY-SA 3.0, as usually stated",
)
DIGITS = Data(
    "Optical Recognition of Handwritten Digits, as in scikit-learn",
    "Alpaydin, Kaynak: UCI Machine Learning Repository, 1998, doi:10.24432/C50P49",
    "CC BY 4.0",
)
SKIN = Data(
    "Ev-Objects, event-based touch",
    "Gu, Sng, Taunyazov, Soh: TactileSGNet, IROS 2020, arXiv:2008.08046",
    "no licence stated",
)
CONVOLUTIONS = (
    '{kind="conv",out=16,kernel=5,stride=2,padding=2}',
    '{kind="conv",out=32,kernel=3,stride=2,padding=1}',
    '{kind="dense",out=128}',
)
PLAIN = ("data.rotate=0.0", "data.zoom=0.0", "data.elastic=0.0")  # pictures as they are: an epoch is then fast
NETWORKS = {
    "digits": Made("handwritten digits 8 x 8, fully connected", DIGITS, "digits"),
    "mnist-mlp-98": Made(
        "MNIST, 784-800-10, 98 % of the synapses absent",
        MNIST,
        "mnist_mlp",
        ("model.hidden=[800]", *PLAIN, "optimiser.epochs=10", "threads=1"),
        ("--samples", "8"),
    ),
    "mnist-conv": Made(
        "MNIST, two convolutions",
        MNIST,
        "mnist_conv",
        (f"model.layers=[{','.join(CONVOLUTIONS)}]", *PLAIN, "data.shift=0", "optimiser.epochs=5", "threads=1"),
        ("--samples", "4"),
    ),
    "recurrent": Made(
        "handwritten digits 8 x 8, recurrent layer",
        DIGITS,
        "digits",
        ("model.hidden=[]", 'model.layers=[{kind="recurrent",out=128}]', "optimiser.epochs=40"),
    ),
    "touch": Made("touch of 36 objects by an event skin, fully connected", SKIN, "ev_objects", (), ("--samples", "8")),
}


def commands_of(made: Made, run: Path) -> list[list[str]]:
    """Return the commands that make a network, as words."""
    settings = [word for setting in made.settings for word in ("--set", setting)]
    return [
        ["sdsnn", "train", made.recipe, *settings, "--run", str(run)],
        ["sdsnn", "export", str(run), *made.export],
    ]


def make(name: str, runs: Path) -> None:
    """Train, export and pack a network."""
    from sdsnn.train.run.run_folder import RunFolder

    run, made = runs / name, NETWORKS[name]
    train, export = commands_of(made, run)
    if not RunFolder(run).test_file.is_file():
        begun = RunFolder(run).checkpoint_file.is_file()
        sdsnn(["sdsnn", "train", "--resume", str(run)] if begun else train)
        git = ["git", "rev-parse", "HEAD"]
        commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        (run / "commit.txt").write_text(commit)
    if not (run / "export.json").is_file():
        sdsnn(export)
    pack(name, run)


def sdsnn(words: list[str]) -> None:
    """Run a command of sdsnn with this interpreter."""
    subprocess.run([sys.executable, "-m", *words], check=True)


def pack(name: str, run: Path) -> None:
    """Copy what a user needs of a run, without the paths of this machine, and report on the copy."""
    from sdsnn.deploy.report.report import make_report
    from sdsnn.train.run.config import load_config
    from sdsnn_core.files import write_json

    folder = ROOT / "sdsnn" / "zoo" / name.replace("-", "_")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in PACKED:
        if (run / file).is_file():
            shutil.copyfile(run / file, folder / file)
    config = load_config(run / "config.toml")
    data = config.data.model_copy(update={"directory": None})  # which SDSNN_DATA names on another machine
    (folder / "config.toml").write_text(config.model_copy(update={"data": data}).to_toml(), "utf-8")
    report = make_report(folder).data
    write_json(folder / "report.json", report)
    write_json(folder / "entry.json", entry(name, report, (run / "commit.txt").read_text().strip()))


def entry(name: str, report: dict[str, Any], commit: str) -> dict[str, Any]:
    """Return the content of entry.json."""
    made, numbers = NETWORKS[name], report["summary"]
    where = Path("runs") / name
    return {
        "name": name,
        "title": made.title,
        "accuracy": numbers["test_accuracy"],
        "samples": numbers["test_samples"],
        "sparsity": numbers["connection_sparsity"],
        "synapses": numbers["synapses_kept"],
        "licence": "BSD-3-Clause",
        "data": made.data.name,
        "citation": made.data.citation,
        "data_licence": made.data.licence,
        "commands": [shlex.join(words) for words in commands_of(made, where)],
        "commit": commit,
    }


def main() -> None:
    """Make the networks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)}; default: all")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run folders")
    parser.add_argument("--table", action="store_true", help="only print the rows of docs/zoo.md")
    args = parser.parse_args()
    if args.table:
        from sdsnn.zoo.zoo import entries

        for each in entries():
            figures = f"{each.accuracy:.2%} of {each.samples:,} | {each.synapses:,} | {each.sparsity:.1%}"
            print(f"| `zoo:{each.name}` | {each.title} | {each.data} | {figures} |")
        return
    if unknown := [name for name in args.names if name not in NETWORKS]:
        parser.error(f"NAME: expected one of {', '.join(NETWORKS)}, got {unknown[0]}")
    for name in args.names or NETWORKS:
        make(name, args.runs)


if __name__ == "__main__":
    main()
