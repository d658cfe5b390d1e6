"""The map of the cores: every core once, in the page and as a file of its own."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from placement_recount import layers
from typer.testing import CliRunner

from sdsnn.cli.app import app
from sdsnn.deploy.placement.place import place
from sdsnn.deploy.report.cores import core_map, cores, save_placement_picture
from sdsnn.export.nir_format.writer import write_nir
from sdsnn_core import reference
from sdsnn_core.errors import FileError

SVG = "{http://www.w3.org/2000/svg}"


def test_every_core_is_drawn_once(tmp_path: Path) -> None:
    placement = place(layers(64, 3000, 1500, sparse=0.01), "loihi1")
    path = tmp_path / "cores.svg"
    save_placement_picture(placement, path)
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    drawn = cores(placement)
    assert all(0 < core.share <= 1 for core in drawn)
    assert {core.resource for core in drawn} <= set(placement.use)
    hints = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert len(hints) == placement.n_cores
    for core, hint in enumerate(hints):
        neurons = int(placement.use["neurons"][core])
        assert hint.startswith(f"core {core}: ")
        assert hint.endswith(f"{neurons} neurons")
        assert f"{drawn[core].share:.1%}" in hint
    free = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "free"]
    assert len(free) == placement.mesh.cores_per_chip
    # The colours of the drawing are defined in the file itself.
    used = set(re.findall(r"var\((--[\w-]+)\)", core_map(placement)))
    assert used <= set(re.findall(r"(--[\w-]+):", "".join(root.itertext())))


def test_no_two_cores_share_a_place() -> None:
    drawn = cores(place(layers(64, 30_000, sparse=0.001), "loihi1"))
    assert len({core[:3] for core in drawn}) == len(drawn) == 30


def test_other_pictures_are_refused_before_anything_is_placed(tmp_path: Path) -> None:
    network, picture = tmp_path / "network.nir", tmp_path / "cores.png"
    write_nir(layers(8, 4), network)
    message = f"picture {picture}: expected a file that ends in .svg, got .png"
    with pytest.raises(FileError, match=re.escape(message)):
        save_placement_picture(place(layers(8, 4)), picture)
    answer = CliRunner().invoke(app, ["place", str(network), "--picture", str(picture)])
    assert answer.exit_code == 2
    assert message in " ".join(answer.output.split())
    assert not picture.exists()
    answer = CliRunner().invoke(app, ["place", str(network), "--picture", str(picture.with_suffix(".svg"))])
    assert answer.exit_code == 0
    assert picture.with_suffix(".svg").read_text().startswith("<svg ")


def test_the_picture_shows_load_and_traffic(tmp_path: Path) -> None:
    network = layers(16, 60, 40, weight=40, sparse=0.5)
    activity = reference.run(network, np.ones((1, 8, 16), np.uint8))
    placement = place(network, "loihi2", objective="latency", activity=activity)
    work = placement.work
    assert work is not None
    save_placement_picture(placement, tmp_path / "cores.svg")
    root = ElementTree.parse(tmp_path / "cores.svg").getroot()
    shades = [float(r.get("fill-opacity", "0")) for r in root.iter(f"{SVG}rect") if r.get("fill") == "var(--heat)"]
    assert shades == pytest.approx((0.2 + 0.8 * work.busy / work.busy.max()).tolist(), abs=0.006)
    arrows = [line for line in root.iter(f"{SVG}line") if line.get("class") == "flow"]
    ways = {(i, j) for i, j in np.argwhere(work.flow > 0).tolist() if i != j}
    assert 0 < len(arrows) <= len(ways)
    for arrow in arrows:
        hint = (arrow.findtext(f"{SVG}title") or "").split()
        assert (int(hint[1]), int(hint[4].rstrip(":"))) in ways


def test_the_command_places_for_an_objective(tmp_path: Path) -> None:
    network = tmp_path / "network.nir"
    write_nir(layers(16, 60, 40, weight=40, sparse=0.5), network)
    command = ["place", str(network), "--objective", "latency", "--no-advice"]
    answer = CliRunner().invoke(app, [*command, "--rate", "0.3", "--steps", "8", "--samples", "2", "--json"])
    assert answer.exit_code == 0
    data = json.loads(answer.output.splitlines()[-1])
    assert data["objective"] == "latency"
    assert data["work"]["step_s"] > data["work"]["barrier_s"] > 0
    assert len(data["per_core"]["binds"]) == data["cores"]
    assert set(data["per_core"]["binds"]) <= {"memory", "compute", "traffic"}
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 2
    assert "objective latency: expected --data, --rate or a run folder, got none of them" in answer.output
