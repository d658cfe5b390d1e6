"""Speech: the Free Spoken Digit Dataset, as the energies of mel bands (Jakobovski et al., CC BY-SA 4.0)."""

from __future__ import annotations

import re
import wave
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sdsnn_core.errors import ConfigError, FileError, one_line

from ..augment import Moves, vary
from ..datasets import locate, missing
from ..load import Bins, DataSet, Indices
from ..settings import DataConfig
from .coding import encode
from .sets import Samples, named_arrays, sensor_set, split_by

RATE_HZ = 8000
WINDOW_S = 0.025  # of a spectrum
LOWEST_HZ = 100.0
RANGE_DB = 50.0  # below a recording's loudest band and frame is 0
N_TEST = 5  # repetitions 0 to 4 are the published test split
_NAME = re.compile(r"(\d)_(\w+)_(\d+)$")


class Recordings(NamedTuple):
    """Waves of different lengths, with the digit, speaker and repetition of each."""

    waves: list[npt.NDArray[Any]]
    digits: npt.NDArray[np.int64]
    speakers: npt.NDArray[Any]
    repetitions: npt.NDArray[np.int64]


def fsdd(config: DataConfig, seed: int, download: bool) -> DataSet:
    """Return 3,000 spoken digits of six speakers, `data.bands` mel bands, a spectrum per step of `data.step_us`.

    `data.held_out` names the speakers of the test split; without it, repetitions 0 to 4 are the test split. Training
    recordings can be shifted, zoomed and so on, as pictures whose rows are steps and whose columns are bands.
    """
    if config.step_us * 1e-6 * RATE_HZ < 1:
        raise ConfigError([f"data.step_us: expected at least {1e6 / RATE_HZ:g} us, a sample, got {config.step_us:g}"])
    recordings = _read(config)
    bands = np.stack([mel_bands(wave, config) for wave in recordings.waves])
    bins, input_max = encode(config, bands)
    parts, moves = _parts(config, recordings, seed), Moves.of(config)

    def varied(chosen: Indices, rng: np.random.Generator) -> Bins:
        pictures = vary(bands[parts[0][chosen]][:, None], moves, rng)[:, 0]
        return encode(config, np.clip(pictures, 0, 1))[0]

    samples = Samples(
        bins, recordings.digits, parts, [str(digit) for digit in range(10)], config.step_us * 1e-6, input_max,
        augment=varied if any(moves) else None,
    )  # fmt: skip
    return sensor_set(config, samples)


def mel_bands(wave: npt.NDArray[Any], config: DataConfig) -> npt.NDArray[np.float32]:
    """Return the loudness of mel bands, (n_steps, bands) float32 in 0..1, of one recording; 0 behind its end.

    The energies of triangular bands of equal width on the mel scale 2595 log10(1 + f / 700) (O'Shaughnessy, Speech
    Communication, 1987) in decibels below the recording's largest, of which RANGE_DB make 0 to 1.

    Args:
        wave: of RATE_HZ.
        config: n_steps, step_us, bands.
    """
    hop, width = round(config.step_us * 1e-6 * RATE_HZ), round(WINDOW_S * RATE_HZ)
    n_frames = min(config.n_steps, max(len(wave) // hop, 1))
    padded = np.pad(wave.astype(np.float64), (0, width + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop][:n_frames]
    power = np.abs(np.fft.rfft(frames * np.hanning(width), 2 * width)) ** 2
    energy = power @ _filters(config.bands, 2 * width)
    loudest = energy.max()
    loudness = np.zeros((config.n_steps, config.bands), np.float32)
    if loudest > 0:
        decibels = 10 * np.log10(np.maximum(energy / loudest, 1e-12))
        loudness[:n_frames] = np.clip(1 + decibels / RANGE_DB, 0, 1)
    return loudness


def _filters(n_bands: int, n_fft: int) -> npt.NDArray[np.float64]:
    """Return triangular filters (n_fft / 2 + 1, n_bands) whose corners are equally far apart on the mel scale."""
    mel = np.linspace(2595 * np.log10(1 + LOWEST_HZ / 700), 2595 * np.log10(1 + RATE_HZ / 1400), n_bands + 2)
    corners = 700 * (10 ** (mel / 2595) - 1)
    frequency = np.arange(n_fft // 2 + 1)[:, None] * RATE_HZ / n_fft
    rising = (frequency - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - frequency) / np.diff(corners)[1:]
    return np.clip(np.minimum(rising, falling), 0, None)


def _parts(config: DataConfig, recordings: Recordings, seed: int) -> tuple[Indices, Indices, Indices]:
    """Return the splits; validation is drawn from what is not the test split."""
    names = sorted(set(recordings.speakers.tolist()))
    unknown = [name for name in config.held_out if name not in names]
    if unknown or (config.held_out and set(config.held_out) == set(names)):
        got = ", ".join(config.held_out)
        raise ConfigError([f"data.held_out: expected some of the speakers {', '.join(names)}, not all, got {got}"])
    test = np.isin(recordings.speakers, config.held_out) if config.held_out else recordings.repetitions < N_TEST
    return split_by(config, recordings.digits, test, seed)


def _read(config: DataConfig) -> Recordings:
    directory = locate(config)
    archive, folder = directory / "fsdd_8khz_int16.npz", directory / "recordings"
    if archive.is_file():
        return _read_archive(archive)
    if folder.is_dir():
        return _read_folder(folder)
    raise missing(config, directory, "has neither" if directory.is_dir() else "does not exist")


def _read_archive(path: Path) -> Recordings:
    axes = {"audio": 1, "offsets": 1, "digit": 1, "speaker": 1, "speaker_names": 1, "recording": 1}
    audio, offsets, digits, speakers, names, repetitions = named_arrays(path, axes)
    n = len(digits)
    fits = len(offsets) == n + 1 and len(speakers) == len(repetitions) == n > 0 and names.dtype.kind == "U"
    if not fits or (np.diff(offsets.astype(np.int64)) < 1).any() or (offsets[0], offsets[-1]) != (0, len(audio)):
        raise FileError(f"data {path}: expected offsets (n + 1,) that rise from 0 to the end of audio, got others")
    if digits.max() > 9 or speakers.max() >= len(names):
        raise FileError(f"data {path}: expected digits in 0..9 and speakers in 0..{len(names) - 1}, got others")
    waves = np.split(audio, offsets[1:-1])
    return Recordings(waves, digits.astype(np.int64), names[speakers], repetitions.astype(np.int64))


def _read_folder(folder: Path) -> Recordings:
    """Read <digit>_<speaker>_<repetition>.wav files, in the order of their names."""
    files = [(path, match) for path in sorted(folder.glob("*.wav")) if (match := _NAME.search(path.stem))]
    if not files:
        raise FileError(f"data {folder}: expected files <digit>_<speaker>_<repetition>.wav, got none")
    digits, speakers, repetitions = zip(*(match.groups() for _, match in files), strict=True)
    waves = [_read_wave(path) for path, _ in files]
    return Recordings(waves, np.array(digits, np.int64), np.array(speakers), np.array(repetitions, np.int64))


def _read_wave(path: Path) -> npt.NDArray[Any]:
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") if form == (1, 2, RATE_HZ) else None
    except (OSError, EOFError, wave.Error, ValueError) as error:
        raise FileError(f"data {path}: cannot be read ({one_line(error)})") from None
    if samples is None or not len(samples):
        got = f"{form[0]} of {8 * form[1]} bits at {form[2]} Hz" if samples is None else "no samples"
        raise FileError(f"data {path}: expected 1 channel of 16 bits at {RATE_HZ} Hz, got {got}")
    return samples
