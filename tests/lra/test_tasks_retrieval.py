"""Reading the pairs of the ACL Anthology Network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lra.errors import DataError
from lra.tasks.converted import open_converted
from lra.tasks.retrieval import FILES, load_retrieval, read_row

LONG = "x" * 5000
ROWS = {
    "train": [("1.0", "one paper", 'the "other" \\ one'), ("0.0", "one paper", "naïve ß"), ("1.0", LONG, "one paper")],
    "eval": [("0.0", "one paper", "日本")],
    "test": [("1.0", "new", "one paper"), ("0.0", "naïve ß", LONG)],
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "lra_release" / "lra_release" / "tsv_data"
    folder.mkdir(parents=True)
    for part, rows in ROWS.items():
        lines = [f"{label}\tP05-{i}\tW06-{i}\t{one}\t{two}\n" for i, (label, one, two) in enumerate(rows)]
        (folder / FILES[part]).write_text("".join(lines), encoding="utf-8", newline="")
    return folder


def spell(task, ids: np.ndarray, length: int) -> str:
    return "".join(task.vocabulary[i] for i in ids[:length])


def test_batches_stack_first_documents_over_second_ones(release: Path, tmp_path: Path):
    task = load_retrieval(str(tmp_path))
    assert [len(s) for s in (task.train, task.validation, task.test)] == [3, 1, 2]
    assert (task.retrieval, task.padded, task.tokens, task.n_classes, task.L) == (True, True, True, 2, 4000)
    batch = task.batch(task.train, np.arange(3))
    assert batch["x"].shape == (6, 4000)
    assert batch["lengths"].shape == (6,)
    np.testing.assert_array_equal(batch["y"], [1, 0, 1])
    spelled = [spell(task, ids, n) for ids, n in zip(batch["x"], batch["lengths"])]
    assert spelled[:2] == ["one paper<eos>"] * 2
    assert spelled[2] == "x" * 3999 + "<eos>"
    assert spelled[3:] == ['the "other" \\ one<eos>', "naïve ß<eos>", "one paper<eos>"]


def test_vocabulary_is_of_the_training_texts_with_repetitions(release: Path):
    task = load_retrieval(str(release))
    assert task.vocabulary is not None
    counts: dict[str, int] = {}
    for _, *texts in ROWS["train"]:
        for character in "".join(text[:3999] for text in texts):
            counts[character] = counts.get(character, 0) + 1
    assert task.vocabulary[3:] == tuple(sorted(counts, key=lambda c: (-counts[c], c)))
    assert task.d_input == len(task.vocabulary)
    batch = task.batch(task.validation, np.arange(1))
    assert spell(task, batch["x"][1], batch["lengths"][1]) == "<unk><unk><eos>"


def test_each_text_is_stored_once(release: Path, tmp_path: Path):
    load_retrieval(str(release))
    (folder,) = [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]
    data = open_converted(folder, "retrieval", verify=True)
    assert data.notes["documents"] == 6
    assert data["offsets"].shape == (7,)
    assert data["flat"].dtype == np.uint8
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["manifest.json", *(f"{name}.npy" for name in ("flat", "offsets", "pairs", "y"))]
    )


def test_blocks_do_not_matter(release: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    whole = load_retrieval(str(release))
    monkeypatch.setattr("lra.tasks.retrieval.BLOCK", 7)
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache2"))
    pieces = load_retrieval(str(release))
    assert whole.vocabulary == pieces.vocabulary
    for part in ("train", "validation", "test"):
        rows = np.arange(len(getattr(whole, part)))
        one, two = (task.batch(getattr(task, part), rows) for task in (whole, pieces))
        np.testing.assert_array_equal(one["x"], two["x"])


def test_crlf_and_integer_labels():
    assert read_row(b"1\ta\tb\tc\td") == (1, "c", "d")
    assert read_row(b"0.0\ta\tb\tc\td") == (0, "c", "d")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"1.0\tP1\tW1\tonly one", "row 2 has 4 columns"),
        (b"1.0\tP1\tW1\ta\tb\tc", "row 2 has 6 columns"),
        (b"2.0\tP1\tW1\ta\tb", "row 2 has the label b'2.0'"),
        (b"label\tid1\tid2\ttext1\ttext2", "row 2 has the label b'label'"),
        (b"1.0\tP1\tW1\tcaf\xe9 \tb", "row 2 is not UTF-8 at byte 3"),
        (b"1.0\tP1\tW1\t\tb", "row 2 has an empty text"),
        (b"", "row 2 has 1 columns"),
    ],
)
def test_damaged_row_is_named(release: Path, row: bytes, message: str, tmp_path: Path):
    path = release / FILES["train"]
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], row, *lines[1:]]))
    with pytest.raises(DataError, match=r"new_aan_pairs\.train\.tsv: " + message):
        load_retrieval(str(release))
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def test_a_row_without_its_line_end_is_cut_short(release: Path, tmp_path: Path):
    path = release / FILES["test"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test\.tsv: row 2 has no line end"):
        load_retrieval(str(tmp_path))


def test_missing_and_empty(release: Path, tmp_path: Path):
    (release / FILES["eval"]).write_bytes(b"")
    with pytest.raises(DataError, match=r"new_aan_pairs\.eval\.tsv has no rows"):
        load_retrieval(str(release))
    (release / FILES["eval"]).unlink()
    with pytest.raises(DataError, match=r"new_aan_pairs\.eval\.tsv is missing.*lra_release\.gz"):
        load_retrieval(str(release))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"new_aan_pairs\.train\.tsv.*lra_release\.gz"):
        load_retrieval(str(tmp_path / "empty"))
