"""Reading ListOps: tokens, labels, lengths; rows that are damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lra.errors import DataError
from lra.tasks import load_task
from lra.tasks.listops import FILES, evaluate, load_listops, read_row

ROWS = [
    ("( ( ( [MAX 2 ) 9 ) ] )", 9),
    ("( ( ( ( [MIN ( ( ( [SM 8 ) 7 ) ] ) ) 6 ) 9 ) ] )", 5),
    ("( ( ( [MED 2 ) 5 ) ] )", 3),
    ("7", 7),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "lra_release" / "lra_release" / "listops-1000"
    folder.mkdir(parents=True)
    for name, rows in zip(FILES.values(), (ROWS, ROWS[:1], ROWS[1:3])):
        folder.joinpath(name).write_text("Source\tTarget\n" + "".join(f"{s}\t{t}\n" for s, t in rows))
    return folder


def test_rows_values_and_vocabulary(release: Path, tmp_path: Path):
    task = load_listops(str(tmp_path), L=16)
    assert [len(s) for s in (task.train, task.validation, task.test)] == [4, 1, 2]
    assert (task.d_input, task.n_classes, task.L, task.tokens, task.padded) == (20, 10, 16, True, True)
    # X four times; 2, 7 and 9 twice; then single ones: '5' < '6' < '8' < '[MAX' ...
    assert task.vocabulary is not None
    assert task.vocabulary[:7] == ("<pad>", "<unk>", "<eos>", "X", "2", "7", "9")
    assert task.vocabulary[7:] == ("5", "6", "8", "[MAX", "[MED", "[MIN", "[SM")
    batch = task.batch(task.train, np.arange(4))
    spelled = [" ".join(task.vocabulary[i] for i in ids[:n]) for ids, n in zip(batch["x"], batch["lengths"])]
    assert spelled == ["[MAX 2 9 X <eos>", "[MIN [SM 8 7 X 6 9 X <eos>", "[MED 2 5 X <eos>", "7 <eos>"]
    np.testing.assert_array_equal(batch["y"], [9, 5, 3, 7])


def test_long_rows_lose_their_end_as_in_the_reference(release: Path):
    task = load_listops(str(release), L=5)
    batch = task.batch(task.train, np.array([1]))
    assert task.vocabulary is not None
    assert [task.vocabulary[i] for i in batch["x"][0]] == ["[MIN", "[SM", "8", "7", "<eos>"]
    assert batch["lengths"] == [5]


@pytest.mark.parametrize(("text", "value"), ROWS)
def test_evaluate(text: str, value: int):
    codes, target = read_row(f"{text}\t{value}".encode())
    assert evaluate(codes) == value == target


def test_median_of_an_even_number_is_truncated():
    assert evaluate(b"d25X") == 3
    assert evaluate(b"d94X") == 6
    assert evaluate(b"d123X") == 2
    assert evaluate(b"s99X") == 8


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("( ( ( [MAX 2 ) 9 ) ] )", "row 3 has no tab"),
        ("( ( ( [MAX 2 ) 9 ) ] )\t", "row 3 has the target b'', not one digit"),
        ("( ( ( [MAX 2 ) 9 ) ] )\tx", "row 3 has the target"),
        ("( ( ( [MAX 2 ) 9 ) ] )\t12", "row 3 has the target"),
        ("( ( ( [MAX 2 ) 9 ) ] )\t8", "row 3 has the target 8, but its expression is 9"),
        ("( ( ( [SUM 2 ) 9 ) ] )\t9", "row 3 has an unknown token"),
        ("( ( ( [MAX 2 ) é ) ] )\t9", "row 3 has an unknown token"),
        ("( ( ( [MAX 2 ) 9 )\t9", "row 3 has unbalanced"),
        ("( ( ( [MAX 29 ) ] )\t9", "row 3 has unbalanced"),
        ("( ( [MAX 2 ) 9 )\t9", "row 3 has 1 operators"),
        ("( 2 ] )\t9", "row 3 closes an operator"),
        ("2 3\t9", "row 3 has 0 operators that are not closed, 2 values"),
        ("", "row 3 has no tab"),
    ],
)
def test_damaged_row_is_named(release: Path, row: str, message: str, tmp_path: Path):
    path = release / FILES["train"]
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], row, *lines[2:]]) + "\n")
    with pytest.raises(DataError, match="basic_train.tsv: " + message.replace("(", r"\(")):
        load_listops(str(release))
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def test_truncated_at_every_byte_of_the_last_row(release: Path):
    path = release / FILES["train"]
    raw = path.read_bytes()
    for cut in range(3, 22):  # the last row is "7\t7\n"; before it the median's
        path.write_bytes(raw[:-cut])
        if raw[: -cut + 1].endswith(b"\n") or raw[:-cut].endswith(b"\n"):
            continue  # a whole row is gone: no trace
        with pytest.raises(DataError, match=r"basic_train\.tsv: row"):
            load_listops(str(release))


def test_header_missing_file_and_release(release: Path, tmp_path: Path):
    path = release / FILES["test"]
    path.write_text("( ( ( [MAX 2 ) 9 ) ] )\t9\n")
    with pytest.raises(DataError, match=r"basic_test\.tsv: row 1 is not the header"):
        load_listops(str(release))
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"basic_test\.tsv: row 1 is not the header"):
        load_listops(str(release))
    path.write_text("Source\tTarget\n")
    with pytest.raises(DataError, match="has no rows"):
        load_listops(str(release))
    path.unlink()
    with pytest.raises(DataError, match=r"basic_test\.tsv is missing.*lra_release\.gz"):
        load_listops(str(release))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"basic_train\.tsv.*lra_release\.gz.*python -m lra data listops"):
        load_listops(str(tmp_path / "empty"))


def test_short_variant_is_looked_for_in_its_own_folder(release: Path, tmp_path: Path):
    with pytest.raises(DataError, match="listops-short"):
        load_task("listops_short", str(tmp_path))
    release.rename(tmp_path / "listops-short")
    task = load_task("listops_short", str(tmp_path))
    assert task.L == 512
    assert task.facts()["task"] == "listops_short", "an export must find the same files again"
