"""Speech Commands from the wav release and from the mu-law npz."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest

from lra.errors import ConfigError, DataError
from lra.tasks import load_task
from lra.tasks.converted import open_converted
from lra.tasks.speech import WORDS, load_speech, load_speech_mulaw, mulaw_values, read_wav

DATA = Path(__file__).parents[3] / "shared" / "data"
TWO = ("yes", "bed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))


def wav(samples: np.ndarray, rate: int = 16000, channels: int = 1, width: int = 2) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


@pytest.fixture
def release(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Six clips of each of 35 words: four train, one validates, one tests; some are shorter than a second."""
    folder = tmp_path / "speech_commands_v0.02"
    for word in (*WORDS, "_background_noise_"):
        (folder / word).mkdir(parents=True)
    for word in WORDS:
        for i in range(6):
            n = 16000 if i % 2 else 11000
            (folder / word / f"{i}f_nohash_0.wav").write_bytes(wav(rng.normal(0, 2000, n) + 300))
    (folder / "validation_list.txt").write_text("".join(f"{word}/1f_nohash_0.wav\n" for word in WORDS))
    (folder / "testing_list.txt").write_text("".join(f"{word}/4f_nohash_0.wav\n" for word in WORDS))
    return folder


def test_all_words_and_the_official_lists(release: Path, tmp_path: Path):
    task = load_speech(str(tmp_path))
    assert (task.name, task.n_classes, task.L, task.d_input) == ("speech35", 35, 16000, 1)
    assert [len(s) for s in (task.train, task.validation, task.test)] == [4 * 35, 35, 35]
    np.testing.assert_array_equal(task.test.y[task.test.indices], np.arange(35))
    assert isinstance(task.train.x, np.memmap)
    assert task.train.x.dtype == np.int16
    raw = task.test.x[task.test.indices]
    assert not raw[:, 11000:].any()
    word = read_wav(release / "x", (release / WORDS[3] / "4f_nohash_0.wav").read_bytes())
    np.testing.assert_array_equal(raw[3, :11000], word)


def clips(release: Path) -> tuple[np.ndarray, np.ndarray]:
    def padded(word: str, i: int) -> np.ndarray:
        samples = read_wav(release, (release / word / f"{i}f_nohash_0.wav").read_bytes())
        return np.pad(samples.astype(float), (0, 16000 - len(samples)))

    train = np.stack([padded(word, i) for word in TWO for i in (0, 2, 3, 5)])
    return train, np.stack([padded(word, 4) for word in TWO])


@pytest.mark.parametrize("half", [False, True])
def test_reference_normalisation_divides_twice(release: Path, half: bool):
    task = load_speech(str(release), words=TWO, half_rate=half)
    train, test = (x / 2.0**30 for x in clips(release))
    expected = ((test - train.mean(0)) / (train.std(0, ddof=1) + 1e-5))[:, :: 2 if half else 1]
    batch = task.batch(task.test, np.arange(2))
    assert batch["x"].dtype == np.float32
    np.testing.assert_allclose(batch["x"][..., 0], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(batch["y"], [0, 1])
    assert expected.std() < 0.5  # far from unit variance, as documented
    assert task.name == ("speech2_half" if half else "speech2")


def test_per_time_and_global_normalisation(release: Path):
    train, test = (x / 2.0**15 for x in clips(release))
    task = load_speech(str(release), words=TWO, normalisation="per_time")
    expected = (test - train.mean(0)) / (train.std(0, ddof=1) + 1e-5)
    got = task.batch(task.test, np.arange(2))["x"][..., 0]
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    task = load_speech(str(release), words=TWO, normalisation="global")
    x = task.batch(task.train, np.arange(8))["x"]
    assert abs(x.mean()) < 1e-3
    assert abs(x.std() - 1) < 0.1


def test_bad_options(release: Path):
    with pytest.raises(ConfigError, match="normalisation"):
        load_speech(str(release), normalisation="none")
    with pytest.raises(ConfigError, match="unknown: \\['maybe'\\]"):
        load_speech(str(release), words=("yes", "maybe"))


def damaged(kind: str) -> bytes:
    good = wav(np.arange(1000))
    return {
        "empty": b"",
        "text": b"hello, world, this is not a sound at all",
        "header only": good[:30],
        "truncated": good[:-100],
        "no samples": wav(np.zeros(0)),
        "rate": wav(np.arange(1000), rate=8000),
        "stereo": wav(np.arange(1000), channels=2),
        "chunk longer than the file": good[:12] + b"LIST" + b"\xff\xff\x00\x00" + good[12:],
        "8 bits": wav(np.arange(1000), width=1),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        *("empty", "text", "header only", "truncated", "no samples", "rate", "stereo", "8 bits"),
        "chunk longer than the file",
    ],
)
def test_damaged_wav_is_named(release: Path, kind: str, tmp_path: Path):
    (release / "bed" / "3f_nohash_0.wav").write_bytes(damaged(kind))
    with pytest.raises(DataError, match=r"bed/3f_nohash_0\.wav"):
        load_speech(str(release), words=TWO)
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def test_missing_clip_list_and_release(release: Path):
    (release / "bed" / "4f_nohash_0.wav").unlink()
    with pytest.raises(DataError, match=r"bed/4f_nohash_0\.wav is in the official lists"):
        load_speech(str(release), words=TWO)
    (release / "validation_list.txt").write_text("yes\n")
    with pytest.raises(DataError, match=r"validation_list\.txt: row 1 is 'yes'"):
        load_speech(str(release), words=TWO)
    (release / "testing_list.txt").unlink()
    with pytest.raises(DataError, match=r"testing_list\.txt is missing.*speech_commands_v0\.02\.tar\.gz"):
        load_speech(str(release), words=TWO)
    with pytest.raises(DataError, match=r"speech_commands_v0\.02\.tar\.gz"):
        load_speech(str(release / "bed"))


def test_a_subset_of_words_as_an_option(release: Path, tmp_path: Path):
    task = load_task("speech35", str(tmp_path), {"words": ["yes", "no"], "half_rate": True})
    assert (task.n_classes, task.L, len(task.train), len(task.test)) == (2, 8000, 8, 2)
    half = task.batch(task.test, np.arange(2))
    whole = load_task("speech35", str(tmp_path), {"words": ["yes", "no"]})
    np.testing.assert_array_equal(half["x"], whole.batch(whole.test, np.arange(2))["x"][:, ::2])
    np.testing.assert_array_equal(half["y"], [0, 1])
    with pytest.raises(ConfigError, match="maybe"):
        load_task("speech35", str(tmp_path), {"words": ["yes", "maybe"]})


@pytest.mark.parametrize(("listed", "shared"), [(35, 0), (20, 1)])
def test_speakers_in_two_splits_are_counted(release: Path, tmp_path: Path, listed: int, shared: int):
    lines = (release / "validation_list.txt").read_text().splitlines(keepends=True)
    (release / "validation_list.txt").write_text("".join(lines[:listed]))  # a list cut at the end of a line
    load_speech(str(tmp_path))
    (converted,) = tmp_path.glob("cache/speech-*")
    assert open_converted(converted).notes["speakers_in_two_splits"] == shared


def test_mulaw_values():
    values = mulaw_values()
    assert values[0] == -1
    assert values[255] == 1
    assert (np.diff(values) > 0).all()
    np.testing.assert_allclose(values, -values[::-1])


def test_mulaw_npz_and_damaged_ones(tmp_path: Path, rng: np.random.Generator):
    path = tmp_path / "speech_commands8_8k_mulaw.npz"
    arrays: dict[str, np.ndarray] = {"words": np.array(["a", "b"])}
    for part, n in (("train", 12), ("val", 3), ("test", 4)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (n, 80), np.uint8)
        arrays[f"y_{part}"] = rng.integers(0, 2, n).astype(np.uint8)
    np.savez(path, **arrays)
    task = load_speech_mulaw(str(tmp_path))
    assert [len(s) for s in (task.train, task.validation, task.test)] == [12, 3, 4]
    assert (task.L, task.n_classes) == (80, 2)
    x = task.batch(task.train, np.arange(12))["x"]
    assert x.shape == (12, 80, 1)
    assert abs(x.mean()) < 1e-4
    assert abs(x.std() - 1) < 1e-4
    half = load_task("speech8", str(tmp_path), {"half_rate": True})
    assert half.L == 40
    np.testing.assert_array_equal(half.batch(half.train, np.arange(12))["x"], x[:, ::2])
    np.savez(path, **{**arrays, "y_val": arrays["y_val"] + 2})
    with pytest.raises(DataError, match=r"mulaw\.npz: row . has label"):
        load_speech_mulaw(str(tmp_path))
    np.savez(path, **{**arrays, "x_test": arrays["x_test"][:, :-1]})
    with pytest.raises(DataError, match="x_test"):
        load_speech_mulaw(str(tmp_path))


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "speech_commands8_8k_mulaw.npz").is_file(), reason="needs ../shared/data")
def test_real_data():
    task = load_task("speech8", str(DATA))
    assert [len(s) for s in (task.train, task.validation, task.test)] == [6266, 864, 3259]
    assert (task.L, task.n_classes) == (8000, 8)
    assert set(task.test.y[task.test.indices]) == set(range(8))
