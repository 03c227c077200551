"""Speech Commands: one spoken word out of 35 (or any subset) from one second of raw sound.

Reads the unpacked ``speech_commands_v0.02`` release (a folder for each word, ``validation_list.txt``,
``testing_list.txt``; mono, 16 bits, 16 kHz) into 16-bit integers, or ``speech_commands8_8k_mulaw.npz`` (eight words at
8 kHz, one mu-law byte a sample). The two official lists make the splits; all other clips train. The lists put no
speaker into two splits; the manifest counts speakers that are in two, which a list that was cut short brings about.
"""

from __future__ import annotations

import functools
import io
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lra.errors import ConfigError, DataError
from lra.tasks.conversion import convert_once
from lra.tasks.converted import ADVICE, Converted, open_converted
from lra.tasks.reading import check_labels, read_npz
from lra.tasks.sources import find_source
from lra.tasks.task import Split, Task
from lra.tasks.writer import Writer

WORDS = (  # in the reference's order: a class is a position in this list
    *("bed", "cat", "down", "five", "forward", "go", "house", "left", "marvin", "no", "on", "right", "sheila", "tree"),
    *("up", "visual", "yes", "backward", "bird", "dog", "eight", "follow", "four", "happy", "learn", "nine", "off"),
    *("one", "seven", "six", "stop", "three", "two", "wow", "zero"),
)
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
NPZ = "speech_commands8_8k_mulaw.npz"
HELP = (
    "Speech needs speech_commands_v0.02.tar.gz (Warden 2018): unpack it into a folder speech_commands_v0.02/ "
    f"(or SpeechCommands/), which then holds 35 word folders, {' and '.join(LISTS.values())}"
)
RATE, SAMPLES = 16_000, 16_000
LARGEST_CLIP = 1 << 20  # bytes; the clips of the release have 32,044
NORMALISATIONS = ("reference", "per_time", "global")


def load_speech(
    path: str | None = None,
    words: Sequence[str] = WORDS,
    half_rate: bool = False,
    normalisation: str = "reference",
) -> Task:
    """Return the task from the official release: (batch, 16000, 1), or (batch, 8000, 1) at half rate.

    Parameters
    ----------
    path : str, optional
        Folder that holds the release; default: the environment variable LRA_DATA.
    words : sequence of str
        The classes.
    half_rate : bool
        Every second sample, without a low-pass, as the reference does.
    normalisation : {"reference", "per_time", "global"}
        With s the 16-bit sample, m and d mean and standard deviation over the training clips:
        ``reference``: s/2^30, then (s - m_t)/(d_t + 1e-5) separately for each sample index t; it divides by 2^15
        twice, so 1e-5 dominates and inputs stay far below unit variance. ``per_time``: the same with one division.
        ``global``: (s - m)/d with one m and d for all t.

    Raises
    ------
    DataError
        No data found, a clip that a list names is missing, or a clip is cut short or of another kind.
    """
    if normalisation not in NORMALISATIONS:
        raise ConfigError(f"normalisation {normalisation!r} is not one of {', '.join(NORMALISATIONS)}")
    unknown = [word for word in words if word not in WORDS]
    if unknown or len(set(words)) < 2:
        raise ConfigError(f"words must be two or more of {', '.join(WORDS)}; unknown: {unknown}")
    names = ("SpeechCommands", "speech_commands_v0.02", "speech_commands/0.0.2/SpeechCommands", LISTS["validation"])
    layout, place = find_source(path, [("folder", name) for name in names], HELP)
    if layout == "converted":
        data = open_converted(place, "speech")
    else:
        folder = place.parent if place.is_file() else place
        options = {"words": list(words)}
        sources = [folder / name for name in (*LISTS.values(), *words)]
        for source in sources:
            if not source.exists():
                raise DataError(f"{source} is missing. {HELP}")
        data = convert_once(
            "speech", sources, lambda writer: convert_speech(writer, folder, words), options, root=folder
        )
    step = 2 if half_rate else 1
    mean, std = (
        data.numbers(name, SAMPLES) / (2.0**30 if normalisation == "reference" else 2.0**15) for name in ("mean", "std")
    )
    if normalisation == "global":
        mean, std = _pooled(mean, std)
    shift, scale = (mean[::step], 1 / (std[::step] + 1e-5))
    unit = np.float32(1 / (2.0**30 if normalisation == "reference" else 2.0**15))
    shift32, scale32 = shift.astype(np.float32), scale.astype(np.float32)

    def prepare(raw: np.ndarray) -> np.ndarray:
        normal: np.ndarray = ((raw[:, ::step] * unit - shift32) * scale32)[..., None]
        return normal

    name = f"speech{len(data.words('words'))}"
    return _task(data, name + "_half" if half_rate else name, SAMPLES // step, prepare)


def load_speech_mulaw(path: str | None = None, half_rate: bool = False) -> Task:
    """Return eight words at 8 kHz from the mu-law npz: (batch, 8000, 1), zero mean and unit variance overall.

    Parameters
    ----------
    path : str, optional
        The npz or its folder; default: the environment variable LRA_DATA.
    half_rate : bool
        Every second sample, without a low-pass: (batch, 4000, 1).
    """
    layout, place = find_source(path, [("npz", NPZ)], f"speech8 needs {NPZ}")
    if layout == "converted":
        data = open_converted(place, "speech-mulaw")
    else:
        data = convert_once("speech-mulaw", [place], lambda writer: _convert_mulaw(writer, place), root=place)
    table = ((mulaw_values() - data.number("mean")) / data.number("std")).astype(np.float32)
    step = 2 if half_rate else 1
    L = len(range(0, data["x"].shape[1], step))
    return _task(data, "speech8", L, lambda raw: table[raw[:, ::step]][..., None])


def mulaw_values() -> np.ndarray:
    """Return the amplitudes (256,) of the mu-law bytes: sign(s)(256^|s| - 1)/255 with s = 2x/255 - 1."""
    s = 2 * np.arange(256) / 255 - 1
    values: np.ndarray = np.sign(s) * (256 ** np.abs(s) - 1) / 255
    return values


def read_wav(path: Path, raw: bytes) -> np.ndarray:
    """Return the samples (n,) int16 of a mono 16-bit 16 kHz wav file."""
    try:
        with wave.open(io.BytesIO(raw)) as file:
            kind = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            n, frames = file.getnframes(), file.readframes(file.getnframes())
    except (wave.Error, EOFError, ValueError, RuntimeError) as error:  # RuntimeError: a chunk longer than the file
        raise DataError(f"{path} is not a wav file ({error or 'it ends early'}); unpack it again") from error
    if kind != (1, 2, RATE):
        raise DataError(f"{path} has (channels, bytes, rate) = {kind}, not (1, 2, {RATE}); it is not from the release")
    if len(frames) != 2 * n or n == 0:
        raise DataError(f"{path} promises {n} samples but holds {len(frames) // 2}; it is truncated, unpack it again")
    return np.frombuffer(frames, "<i2")


def convert_speech(writer: Writer, folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """Write ``x (N, 16000) int16, y, part`` (0 train, 1 validation, 2 test) and ``mean, std (16000,)`` of training."""
    listed: dict[str, int] = {}
    for part, name in enumerate(LISTS.values(), start=1):
        for row, line in writer.lines(folder / name):
            clip = line.decode("ascii", "replace").strip()
            word, separator, file = clip.partition("/")
            if not (separator and word and file.endswith(".wav")):
                raise DataError(f"{folder / name}: row {row} is {clip!r}, not word/file.wav; unpack it again")
            listed[clip] = part
    clips = [(f"{word}/{file.name}", label) for label, word in enumerate(words) for file in _wavs(folder / word)]
    present = {clip for clip, _ in clips}
    for clip in listed:
        if clip.partition("/")[0] in words and clip not in present:
            raise DataError(f"{folder / clip} is in the official lists but not on disk; unpack it again")
    x = writer.array("x", (len(clips), SAMPLES), np.int16)
    total, squares = np.zeros(SAMPLES), np.zeros(SAMPLES)
    parts = np.array([listed.get(clip, 0) for clip, _ in clips], np.uint8)
    for i, (clip, _) in enumerate(clips):
        samples = read_wav(folder / clip, writer.read(folder / clip, LARGEST_CLIP))[:SAMPLES]
        x[i, : len(samples)] = samples
        if parts[i] == 0:
            total[: len(samples)] += samples
            squares[: len(samples)] += samples.astype(np.float64) ** 2
    n = int((parts == 0).sum())
    if n < 2 or len(np.unique(parts)) < 3:
        raise DataError(f"{folder}: {np.bincount(parts, minlength=3)} clips train, validate, test; none may be empty")
    writer.save("y", np.array([label for _, label in clips], np.int32))
    writer.save("part", parts)
    writer.save("mean", total / n)
    writer.save("std", np.sqrt(np.maximum(squares - total**2 / n, 0) / (n - 1)))
    speakers = [
        {clip.partition("/")[2].partition("_")[0] for (clip, _), p in zip(clips, parts) if p == q} for q in range(3)
    ]
    shared = (speakers[0] & speakers[1]) | (speakers[0] & speakers[2]) | (speakers[1] & speakers[2])
    return {"words": list(words), "n_train": n, "speakers_in_two_splits": len(shared)}


def _wavs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wav"))


def _convert_mulaw(writer: Writer, path: Path) -> dict[str, Any]:
    writer.read(path)
    parts = ("train", "val", "test")
    arrays = read_npz(path, {"words": 1} | {f"x_{p}": 2 for p in parts} | {f"y_{p}": 1 for p in parts})
    words = [str(word) for word in arrays["words"]]
    for p in parts:
        if arrays[f"x_{p}"].dtype != np.uint8 or arrays[f"x_{p}"].shape[1] != arrays["x_train"].shape[1]:
            raise DataError(
                f"{path}: x_{p} is {arrays[f'x_{p}'].dtype} {arrays[f'x_{p}'].shape}, not bytes of one width"
            )
        arrays[f"y_{p}"] = check_labels(path, arrays[f"y_{p}"], len(arrays[f"x_{p}"]), len(words))
    writer.save("x", np.concatenate([arrays[f"x_{p}"] for p in parts]))
    writer.save("y", np.concatenate([arrays[f"y_{p}"] for p in parts]))
    writer.save("part", np.repeat(np.arange(3, dtype=np.uint8), [len(arrays[f"x_{p}"]) for p in parts]))
    counts, values = np.bincount(arrays["x_train"].ravel(), minlength=256), mulaw_values()
    mean = float(counts @ values / counts.sum())
    std = float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum()))
    return {"words": words, "mean": mean, "std": std}


def _pooled(mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    variance = np.mean(std**2 + (mean - mean.mean()) ** 2)
    return np.full_like(mean, mean.mean()), np.full_like(std, np.sqrt(variance))


def _task(data: Converted, name: str, L: int, prepare: Any) -> Task:
    words, n = data.words("words"), len(data["part"])
    x, y = data["x"], data.labels(n, len(words))
    parts = check_labels(data.folder / "part.npy", data["part"], n, 3)
    if x.ndim != 2 or len(x) != n or x.dtype not in (np.int16, np.uint8):
        raise DataError(f"{data.folder}: x is {x.dtype} {x.shape}, not {n} clips; {ADVICE}")
    split = functools.partial(Split, x=x, y=y)
    train, validation, test = (np.flatnonzero(parts == part) for part in range(3))
    return Task(
        name=name,
        train=split(indices=train),
        validation=split(indices=validation),
        test=split(indices=test),
        d_input=1,
        n_classes=len(words),
        L=L,
        prepare=prepare,
    )
