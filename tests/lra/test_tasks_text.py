"""IMDB from the folder release and from the npz."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from lra.errors import DataError
from lra.tasks import load_task
from lra.tasks.conversion import write_converted
from lra.tasks.converted import open_converted
from lra.tasks.text import convert_text, load_text
from lra.tasks.vocabulary import EOS, UNK, Vocabulary

DATA = Path(__file__).parents[3] / "shared" / "data"
REVIEWS = [  # (part, class, text)
    ("train", "neg", "bad film <br /> bad"),
    ("train", "neg", "Terrible, é!"),
    ("train", "neg", "bad bad bad"),
    ("train", "pos", "good film"),
    ("train", "pos", "日本 good"),
    ("train", "pos", "a" * 5000),
    ("test", "neg", "zzz"),
    ("test", "pos", "good 😀"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "aclImdb"
    for i, (part, label, text) in enumerate(REVIEWS):
        (folder / part / label).mkdir(parents=True, exist_ok=True)
        (folder / part / label / f"{100 - i}_{9 if label == 'pos' else 2}.txt").write_bytes(text.encode())
    (folder / "train" / "unsup").mkdir()
    return folder


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    arrays = {}
    for part in ("train", "test"):
        rows = [(text.encode(), label == "pos") for p, label, text in reversed(REVIEWS) if p == part]
        arrays[f"{part}_bytes"] = np.frombuffer(b"".join(text for text, _ in rows), np.uint8)
        arrays[f"{part}_offsets"] = np.cumsum([0, *(len(text) for text, _ in rows)])
        arrays[f"{part}_y"] = np.array([label for _, label in rows], np.uint8)
    path = tmp_path / "imdb_bytes.npz"
    np.savez(path, **arrays)
    return path


def texts(folder: Path, min_count: int) -> tuple[list[str], object]:
    data = open_converted(folder)
    tokens, flat, offsets = data.notes["vocabulary"], data["flat"], data["offsets"]
    return ["".join(tokens[i] for i in flat[a:b]) for a, b in itertools.pairwise(offsets)], data


def test_ids_spell_the_reviews(release: Path, tmp_path: Path):
    write_converted(tmp_path / "out", "text", lambda writer: convert_text(writer, release, min_count=1))
    spelled, data = texts(tmp_path / "out", 1)
    assert spelled[:2] == ["bad bad bad<eos>", "Terrible, é!<eos>"]  # in the order of the review's numbers
    assert "a" * 4095 + "<eos>" in spelled
    assert spelled[-1] == "good <unk><eos>"  # a character of the test set alone
    assert data.notes["train"] == 6
    assert data.notes["vocabulary"][:4] == ["<pad>", "<unk>", "<eos>", "a"]


def test_vocabulary_is_by_frequency_then_character():
    vocabulary = Vocabulary.from_counts({"b": 5, "a": 5, "c": 9, "d": 4}, min_count=5)
    assert vocabulary.tokens == ("<pad>", "<unk>", "<eos>", "c", "a", "b")
    table = vocabulary.character_table()
    assert table[ord("a")] == 4
    assert table[ord("d")] == UNK
    assert table.dtype == np.uint8
    assert Vocabulary.from_counts({chr(i): 1 for i in range(1000, 1254)}).dtype == np.uint16


def test_task(release: Path, tmp_path: Path):
    task = load_text(str(tmp_path), n_validation=2)
    assert (task.d_input, task.n_classes, task.L, task.tokens, task.padded) == (135, 2, 4096, True, True)
    assert [len(s) for s in (task.train, task.validation, task.test)] == [4, 2, 2]
    assert sorted([*task.train.indices, *task.validation.indices]) == list(range(6))
    batch = task.batch(task.test, np.arange(2))
    assert batch["x"].shape == (2, 4096)
    assert batch["x"].dtype == np.int32
    np.testing.assert_array_equal(batch["lengths"], [4, 7])
    np.testing.assert_array_equal(batch["y"], [0, 1])
    assert batch["x"][0, 3] == EOS
    assert not batch["x"][0, 4:].any()
    short = load_text(str(release), L=6, n_validation=2)
    ids = short.batch(short.test, np.arange(2))
    assert ids["x"].shape == (2, 6)
    assert ids["lengths"].tolist() == [4, 6]
    assert ids["x"][1, 5] == EOS


def test_same_split_from_folder_and_npz(release: Path, npz: Path):
    tasks = [load_text(str(path), n_validation=2) for path in (release, npz)]
    for part in ("train", "validation"):
        one, two = (t.batch(getattr(t, part), np.arange(len(getattr(t, part)))) for t in tasks)
        for key in one:
            np.testing.assert_array_equal(one[key], two[key])
    assert tasks[0].vocabulary == tasks[1].vocabulary


def test_not_utf8_is_named(release: Path):
    (release / "train" / "pos" / "7_8.txt").write_bytes(b"caf\xe9 ")
    with pytest.raises(DataError, match=r"7_8\.txt is not UTF-8 at offset 3"):
        load_text(str(release), n_validation=2)


def test_reviews_that_the_release_lists_but_are_not_there(release: Path):
    listed = release / "train" / "urls_pos.txt"
    listed.write_text("http://a\n" * 3)
    load_text(str(release), n_validation=2)
    listed.write_text("http://a\n" * 4)
    with pytest.raises(DataError, match=r"train/pos holds 3 reviews, .*urls_pos\.txt lists 4"):
        load_text(str(release), n_validation=2)


def test_empty_misnamed_and_missing(release: Path, tmp_path: Path):
    (release / "train" / "pos" / "7_8.txt").write_bytes(b"")
    with pytest.raises(DataError, match=r"7_8\.txt is empty"):
        load_text(str(release), n_validation=2)
    (release / "train" / "pos" / "7_8.txt").rename(release / "train" / "pos" / "notes.txt")
    with pytest.raises(DataError, match=r"notes\.txt is not named"):
        load_text(str(release), n_validation=2)
    for file in (release / "test" / "neg").iterdir():
        file.unlink()
    (release / "test" / "neg").rmdir()
    with pytest.raises(DataError, match=r"test/neg is missing.*aclImdb_v1\.tar\.gz"):
        load_text(str(release), n_validation=2)
    with pytest.raises(DataError, match=r"aclImdb_v1\.tar\.gz"):
        load_text(str(tmp_path / "aclImdb" / "train"))


@pytest.mark.parametrize("damage", ["offsets", "labels", "truncated", "utf8"])
def test_damaged_npz(npz: Path, damage: str):
    with np.load(npz) as file:
        arrays = dict(file)
    if damage == "offsets":
        arrays["train_offsets"][2] = 10**6
    elif damage == "labels":
        arrays["test_y"][1] = 2
    elif damage == "utf8":
        arrays["test_bytes"] = np.where(np.arange(len(arrays["test_bytes"])) == 1, 255, arrays["test_bytes"]).astype(
            np.uint8
        )
    np.savez(npz, **arrays)
    if damage == "truncated":
        npz.write_bytes(npz.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"imdb_bytes\.npz"):
        load_text(str(npz), n_validation=2)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "imdb_bytes.npz").is_file(), reason="needs ../shared/data")
def test_real_data():
    task = load_task("text", str(DATA))
    assert [len(s) for s in (task.train, task.validation, task.test)] == [22500, 2500, 25000]
    assert task.vocabulary is not None
    assert len(task.vocabulary) == 134
    assert 0.45 < task.train.y[task.validation.indices].mean() < 0.55
    assert not set(task.train.indices) & set(task.validation.indices)
