"""Chips as data: every number is cited, a user's file works like ours, and bad files are answered in one message."""

import numpy as np
import pytest

from sdsnn.deploy.placement.chip import (
    RESOURCES,
    WHOLE_CHIP,
    chip_names,
    load_chip,
)
from sdsnn.deploy.placement.network_limits import whole_chip_amounts, whole_chip_lines
from sdsnn.deploy.placement.place import place
from sdsnn_core.errors import ConfigError, FileError
from sdsnn_core.network import Convolution, Input, Network, Output, Population, Synapses

MINE = """
name = "mine"
title = "My chip"
placeable = true

[delays]
max_steps = 15
free_steps = 3
state_budget = 32
source = "my data sheet"
year = 2026
grade = "published limit"

[layout]
cores_per_chip = 4
cores_per_tile = 2
tiles_x = 2
source = "my data sheet"
year = 2026
grade = "published limit"

[synapses]
word_bits = 32
block = 16
header_bits = 0
weight_bits = [8]
index_bits = [8]
delay_bits = 4
tag_bits = 0
shared_convolution = false
sparse_encoding = true
source = "my data sheet"
year = 2026
grade = "published limit"

[limits.neurons]
value = 8
unit = "neurons per core"
source = "my data sheet"
year = 2026
grade = "published limit"
"""


def network(n: int = 20) -> Network:
    nodes = {"input": Input((3,)), "a": Population((n,), 0, 0, 1), "output": Output("a")}
    return Network(nodes, {"w": Synapses.from_dense("input", "a", np.full((n, 3), 255))})


def test_shipped_chips() -> None:
    assert chip_names() == ["loihi1", "loihi2", "speck", "spinnaker2", "xylo"]
    for name in chip_names():
        chip = load_chip(name)
        assert chip.name == name
        for facts in (chip.limits, chip.whole_chip, chip.constants):
            for fact in facts.values():
                assert fact.source
                assert f"[{fact.year}, {fact.grade}]" in fact.citation
        for table in (chip.layout, chip.synapses, chip.delays):
            assert (table is None) != chip.placeable
            assert table is None or (table.source and table.year and table.grade)
        assert chip.placeable == name.startswith("loihi")


def test_published_limits_of_loihi() -> None:
    one, two = load_chip("loihi1"), load_chip("loihi2")
    assert [one.limit(r) for r in ("neurons", "input_axons", "output_axons", "synapse_bits")] == [
        1024,
        4096,
        4096,
        16384 * 64,
    ]
    # Loihi 2: advertised and practical limits stand apart, and what was not published is not imposed.
    assert (two.limits["neurons"].brochure, two.limit("neurons")) == (8192, 4096)
    assert two.limit("output_axons") is None
    assert "energy_per_operation" in two.unknown
    assert set(one.limits) <= set(RESOURCES)


def test_a_users_chip(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    chip = load_chip(path)
    placement = place(network(), chip)
    assert (placement.n_cores, placement.n_chips, placement.chip) == (3, 1, "mine")
    # 3 lists of 6 or 7 weights of 8 bits: 48 or 56 bits, so two words of 32 on each of three cores
    assert placement.use["synapse_bits"].tolist() == [192, 192, 192]
    assert place(network(40), str(path)).n_chips == 2
    # 32 slots: 8 neurons with 3 steps, 4 with 4 to 7 of them, 2 with 8 to 15
    assert [chip.neurons(steps) for steps in (0, 3, 4, 7, 8, 15)] == [8, 8, 4, 4, 2, 2]


def test_messages(tmp_path) -> None:
    with pytest.raises(FileError, match=r"chip: expected one of loihi1, loihi2, .* or a .toml file, got loihi3"):
        load_chip("loihi3")
    with pytest.raises(FileError, match=r"nowhere.toml: cannot be read"):
        load_chip(tmp_path / "nowhere.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text(MINE.replace("value = 8", "value = 8\nflavour = 3").replace("word_bits = 32", "word_bits = 0"))
    with pytest.raises(ConfigError) as caught:
        load_chip(bad)
    assert len(caught.value.problems) == 2
    assert "synapses.word_bits: expected a number greater than 0, got 0" in str(caught.value)
    assert "limits.neurons.flavour: unknown key; expected one of brochure, grade, note, source," in str(caught.value)
    bad.write_text(MINE.replace("[limits.neurons]", "[limits.speed]"))
    with pytest.raises(ConfigError, match=r"limits: expected neurons, .*, got speed"):
        load_chip(bad)
    bad.write_text(MINE.replace("cores_per_tile = 2", "cores_per_tile = 3"))
    with pytest.raises(ConfigError, match="cores_per_tile: expected a divisor of cores_per_chip, "):
        load_chip(bad)
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="is not a text file in UTF-8"):
        load_chip(bad)


def test_whole_chip_limits_by_hand() -> None:
    convolution = Convolution("input", "a", np.full((4, 2, 3, 3), 2))
    given = Network(
        {
            "input": Input((2, 5, 5)),
            "a": Population((4, 3, 3), 0, 0, 1),
            "b": Population((2,), 0, 0, 1),
            "output": Output("b"),
        },
        {"c": convolution, "w": Synapses.from_dense("a", "b", np.full((2, 36), 2))},
    )
    amounts = whole_chip_amounts(given)
    assert set(amounts) == set(WHOLE_CHIP)
    assert amounts == {
        "neurons": 38,
        "synapses": 9 * 4 * 2 * 9 + 72,
        "inputs": 50,
        "outputs": 2,
        "fan_out": 36,  # the middle pixel meets all nine kernel places of four channels
        "layers": 2,
        "kernel_size": 3,
        "channels": 4,
        "input_extent": 5,
    }
    fits, lines = whole_chip_lines(given, load_chip("xylo"))
    assert not fits
    assert any("input channels: 50, EXCEEDS 16" in line for line in lines)
    assert whole_chip_lines(network(8), load_chip("xylo"))[0]
