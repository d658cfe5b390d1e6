"""Configuration: shipped recipes load, round trips are exact, and one message names all mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdsnn.train.run.config import RunConfig, load_config, parse_config, shipped_recipes
from sdsnn_core.errors import ConfigError, FileError


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_load_and_round_trip(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    assert load_config(path) == config


def test_there_are_recipes() -> None:
    assert "digits" in shipped_recipes()


def test_overrides_take_toml_values_and_dotted_keys() -> None:
    config = load_config(
        "digits", ["optimiser.epochs=7", "model.hidden=[12, 8]", "optimiser.loss=spike_rate", "data.n_steps = 9"]
    )
    assert (config.optimiser.epochs, config.model.hidden, config.data.n_steps) == (7, (12, 8), 9)
    assert config.optimiser.loss == "spike_rate"


def test_unknown_keys_and_bad_values_are_answered_together() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("digits", ["optimiser.epoch=3", "data.n_steps=x", "nope=1", "model.neuron.threshold=-1", "bad"])
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "optimiser.epoch: unknown key; expected one of accumulate, algorithm, batch_size, clip, epochs",
        'data.n_steps: expected a valid integer, unable to parse string as an integer, got "x"',
        "nope: unknown key; expected one of data, development, hardware, log, model",
        "model.neuron.threshold: expected a number greater than 0, got -1",
        "--set bad: expected key=value, as in optimiser.epochs=60",
    ):
        assert part in message
    assert len(caught.value.problems) == 5


def test_development_keys_are_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"development\.modus: unknown key; expected one of .*mode"):
        parse_config({"development": {"modus": "corrected"}})


def test_a_value_is_not_a_table() -> None:
    with pytest.raises(ConfigError, match=r"--set seed\.x: expected a table at seed, got a value"):
        load_config("digits", ["seed=1", "seed.x=2"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; give a TOML file or one of .*digits"),
        (b"[data\n", "is not valid TOML"),
        (b"seed = " + b"[" * 5000, "is not valid TOML"),
        (b"\xff\xfe", "is not a text file in UTF-8"),
    ],
)
def test_files_that_cannot_be_read(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        load_config(path)


def test_a_folder_with_the_name_of_a_recipe_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert load_config("digits").data.name == "digits"


def test_unknown_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(FileError, match=r"recipe: expected one of .*digits.*got 'digit'"):
        load_config("digit")


def test_defaults_are_a_valid_configuration() -> None:
    assert parse_config({}) == RunConfig()


def test_a_long_value_is_not_repeated_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'seed: expected a valid integer, .*, got "x{99}\.\.\.$'):
        load_config("digits", [f'seed="{"x" * 5000}"'])
    with pytest.raises(ConfigError) as caught:
        load_config("digits", [f'optimiser.algorithm="{"x" * 5000}"'])
    assert len(str(caught.value)) < 1200
