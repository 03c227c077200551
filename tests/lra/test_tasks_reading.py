"""Files of strangers: nothing outside of the data folder is read, nothing but files, and no more than they may hold."""

from __future__ import annotations

import copy
import gzip
import io
import json
import os
import tracemalloc
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lra.errors import DataError
from lra.tasks import load_task, reading
from lra.tasks.pathfinder import load_pathfinder
from lra.tasks.reading import inside, read_file, read_idx, read_npz
from lra.tasks.smnist import IDX_LABELS, IDX_NAMES

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data/inner").mkdir(parents=True)
    (tmp_path / "data/inner/own").write_bytes(b"own")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "data"


def test_what_lies_inside_is_read(root: Path, tmp_path: Path):
    (root / "link").symlink_to(root / "inner/own")
    (tmp_path / "elsewhere").symlink_to(root, target_is_directory=True)
    for path, within in (("data/inner/own", root), ("data/link", root), ("elsewhere/link", tmp_path / "elsewhere")):
        assert read_file(tmp_path / path, within) == b"own"
    assert inside(root / "inner/own", root / "inner/own") == root / "inner/own"


def test_what_leads_outside_is_not_read(root: Path, tmp_path: Path):
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path, target_is_directory=True)
    (root / "circle").symlink_to(root / "circle")
    for name in ("link", "folder/secret", "../secret", str(tmp_path / "secret"), "circle", "none", "a\0b"):
        with pytest.raises(DataError):
            read_file(root / name, root)


def test_only_files_of_the_size_that_they_may_have_are_read(root: Path):
    os.mkfifo(root / "pipe")
    (root / "zeros").symlink_to("/dev/zero")
    with (root / "large").open("wb") as file:
        file.truncate(1 << 40)  # sparse: no disk
    for name in ("pipe", "zeros", "inner", "large"):
        with pytest.raises(DataError, match=name):
            read_file(root / name, root)
    with pytest.raises(DataError, match="3 bytes, more than the 2"):
        read_file(root / "inner/own", root, limit=2)
    assert read_file(root / "inner/own", root, limit=3) == b"own"


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archive(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with pytest.MonkeyPatch.context() as patch, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of a name that is there twice
        for name, data in members:
            file.writestr(name, data)
    return path


def test_archives_hold_what_they_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    good = npy(np.arange(6.0).reshape(2, 3))
    path = archive(tmp_path / "good.npz", [("x.npy", good), ("y.npy", npy(np.arange(3)))])
    np.testing.assert_array_equal(read_npz(path, {"x": 2, "y": 1})["x"], [[0, 1, 2], [3, 4, 5]])
    faults = {
        "promises more": [("x.npy", good[:-8])],
        "promises less": [("x.npy", good + b"\0")],
        "twice": [("x.npy", good), ("x.npy", good)],
        "axes": [("x.npy", npy(np.arange(6.0)))],
        "not finite": [("x.npy", npy(np.array([[0.0, np.nan]])))],
        "objects": [("x.npy", good.replace(b"'<f8'", b"'|O' "))],
        "huge": [("x.npy", good.replace(b"(2, 3), }          ", b"(2, 3000000000), } "))],
        "no array": [("x.npy", b"text")],
        "other": [("z.npy", good)],
    }
    for name, members in faults.items():
        damaged = archive(tmp_path / f"{name}.npz", members)
        with pytest.raises(DataError, match=f"{name}\\.npz"):
            read_npz(damaged, {"x": 2})
    monkeypatch.setattr(reading, "LARGEST", len(good))
    assert read_npz(path, {"x": 2})["x"].shape == (2, 3)
    with pytest.raises(DataError, match="expand"):
        read_npz(path, {"x": 2, "y": 1})


def test_a_small_archive_that_expands_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "LARGEST", MEGABYTE)
    path = archive(tmp_path / "x.npz", [("x.npy", npy(np.zeros((64, MEGABYTE), np.uint8)))])
    assert path.stat().st_size < MEGABYTE
    raw = np.array([IDX_LABELS, 5], ">u4").tobytes() + bytes(64 * MEGABYTE)
    bomb = gzip.compress(raw)
    tracemalloc.start()
    with pytest.raises(DataError, match="expand"):
        read_npz(path, {"x": 2})
    with pytest.raises(DataError, match=r"promises \(5,\) bytes but holds more"):
        read_idx(tmp_path / "y.gz", bomb, IDX_LABELS, 1)
    promise = np.array([IDX_LABELS, MEGABYTE + 1], ">u4").tobytes()
    with pytest.raises(DataError, match="more than"):
        read_idx(tmp_path / "y", promise, IDX_LABELS, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * MEGABYTE


def pathfinder(root: Path, entries: list[tuple[str, str]]) -> Path:
    """Twenty images and their metadata, whose first lines name what `entries` says."""
    image = pytest.importorskip("PIL.Image")
    level = root / "pathfinder32/curv_contour_length_14"
    (level / "imgs/0").mkdir(parents=True)
    (level / "metadata").mkdir()
    for i in range(20):
        image.fromarray(np.full((32, 32), i, np.uint8)).save(level / f"imgs/0/sample_{i}.png")
    names = [*entries, *(("imgs/0", f"sample_{i}.png") for i in range(20))]
    lines = [f"{folder} {name} 0 {i % 2} 1 2 3 4 5 6 7\n" for i, (folder, name) in enumerate(names)]
    (level / "metadata/0.npy").write_text("".join(lines))
    return level


@pytest.mark.parametrize("folder", ["../../..", "imgs/../../../..", "ABSOLUTE"])
def test_metadata_name_no_image_outside(tmp_path: Path, folder: str):
    level = pathfinder(tmp_path / "data", [(folder.replace("ABSOLUTE", str(tmp_path)), "secret.png")])
    (tmp_path / "secret.png").write_bytes((level / "imgs/0/sample_7.png").read_bytes())
    with pytest.raises(DataError, match="line 1"):
        load_pathfinder(str(tmp_path / "data"))


@pytest.mark.parametrize("kind", ["image", "folder", "metadata"])
def test_links_lead_to_nothing_outside(tmp_path: Path, kind: str):
    level = pathfinder(tmp_path / "data", [])
    place = level / {"image": "imgs/0/sample_3.png", "folder": "imgs/0", "metadata": "metadata/0.npy"}[kind]
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    with pytest.raises(DataError, match="outside"):
        load_pathfinder(str(tmp_path / "data"))


def test_the_folder_itself_may_be_a_link(tmp_path: Path):
    pathfinder(tmp_path / "disk", [])
    (tmp_path / "data").mkdir()
    (tmp_path / "data/pathfinder32").symlink_to(tmp_path / "disk/pathfinder32", target_is_directory=True)
    assert len(load_pathfinder(str(tmp_path / "data")).train) == 16


@pytest.mark.parametrize("kind", ["huge", "sixteen bits", "pipe"])
def test_images_are_small_and_of_bytes(tmp_path: Path, kind: str):
    level = pathfinder(tmp_path / "data", [])
    path = level / "imgs/0/sample_3.png"
    raw = path.read_bytes()
    path.unlink()
    if kind == "huge":  # would be a warning, or 16 GB
        path.write_bytes(raw[:16] + (1 << 17).to_bytes(4, "big") * 2 + raw[24:])
    elif kind == "sixteen bits":
        image = pytest.importorskip("PIL.Image")
        image.fromarray(np.full((32, 32), 700, np.uint16)).save(path)
    else:
        os.mkfifo(path)
    with pytest.raises(DataError, match=r"sample_3\.png"):
        load_pathfinder(str(tmp_path / "data"))


def speech(folder: Path) -> Path:
    """Three clips of each of two words."""
    for word in ("yes", "bed"):
        (folder / word).mkdir(parents=True)
        for i in range(4):
            with wave.open(str(folder / word / f"{i}_nohash_0.wav"), "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes(np.full(500, 40 * i + 1, "<i2").tobytes())
    for name, i in (("validation_list.txt", 0), ("testing_list.txt", 1)):
        (folder / name).write_text(f"yes/{i}_nohash_0.wav\nbed/{i}_nohash_0.wav\n")
    return folder


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "large"])
def test_clips_are_files_of_the_release(tmp_path: Path, kind: str):
    folder = speech(tmp_path / "data/speech_commands_v0.02")
    place = folder / ("bed" if kind == "folder" else "bed/2_nohash_0.wav")
    place.rename(tmp_path / "moved")
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "large":
        with place.open("wb") as file:
            file.truncate(1 << 33)
    else:
        place.symlink_to(tmp_path / "moved")
    with pytest.raises(DataError, match=r"bed/\d_nohash_0\.wav"):
        load_task("speech35", str(tmp_path / "data"), {"words": ["yes", "bed"]})


def test_reviews_are_files_of_the_release(tmp_path: Path):
    for part in ("train", "test"):
        for label in ("neg", "pos"):
            (tmp_path / "data/aclImdb" / part / label).mkdir(parents=True)
            for i in range(2):
                (tmp_path / "data/aclImdb" / part / label / f"{i}_1.txt").write_text(f"{label} {i}")
    options = {"n_validation": 1}
    assert len(load_task("text", str(tmp_path / "data"), options).train) == 3
    odd = tmp_path / "data/aclImdb/train/pos/²_8.txt"  # a digit, but no number
    odd.write_text("x")
    with pytest.raises(DataError, match="not named"):
        load_task("text", str(tmp_path / "data"), options)
    odd.unlink()
    (tmp_path / "data/aclImdb/train/pos/7_8.txt").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match="outside"):
        load_task("text", str(tmp_path / "data"), options)


def test_a_row_without_an_end_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lra.tasks.writer.LONGEST_LINE", 1000)
    for part in ("train", "val", "test"):
        row = "( [MIN 1 ) 2 ) ] )\t1\n" if part == "train" else "1\t1\n"
        (tmp_path / f"basic_{part}.tsv").write_text("Source\tTarget\n" + row.replace("1 ) 2", "( ( ( [MIN 1 ) 2"))
    with (tmp_path / "basic_train.tsv").open("wb") as file:
        file.write(b"Source\tTarget\n" + b"1" * 2000)
    with pytest.raises(DataError, match="row 2 has no line end"):
        load_task("listops", str(tmp_path), {"L": 8})


@pytest.fixture
def mnist(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A converted MNIST of 25 images."""
    arrays = {
        "x_train": rng.integers(0, 256, (20, 28, 28), np.uint8),
        "x_test": rng.integers(0, 256, (5, 28, 28), np.uint8),
        "y_train": rng.integers(0, 10, 20, np.uint8),
        "y_test": rng.integers(0, 10, 5, np.uint8),
    }
    np.savez(tmp_path / "mnist_uint8.npz", **arrays)
    load_task("smnist", str(tmp_path))
    (folder,) = (tmp_path / "cache").glob("mnist-*")
    return folder


@pytest.mark.parametrize("labels", [np.array([1.0, np.nan, 2, 3, 4]), np.array([1.5, 0, 0, 0, 0]), np.arange(6, 11)])
def test_labels_are_classes(tmp_path: Path, mnist: Path, labels: np.ndarray):
    arrays = dict(np.load(tmp_path / "mnist_uint8.npz")) | {"y_test": labels}
    np.savez(tmp_path / "mnist_uint8.npz", **arrays)
    with pytest.raises(DataError, match=r"mnist_uint8\.npz"):
        load_task("smnist", str(tmp_path))
    assert set(IDX_NAMES) == set(arrays)


ODD: tuple[Any, ...] = (None, -1, 3.5, float("nan"), 10**400, "../../secret", [], {}, [{"a": 1}], True)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every node of a JSON value but the root."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, value in items for found in ((*path, key), *leaves(value, (*path, key)))]


def test_a_changed_manifest_is_refused_or_changes_nothing(mnist: Path):
    path = mnist / "manifest.json"
    manifest = json.loads(path.read_text())
    expected = load_task("smnist", str(mnist))
    refused = 0
    for where in leaves(manifest):
        for odd in ODD:
            changed = copy.deepcopy(manifest)
            node = changed
            for key in where[:-1]:
                node = node[key]
            node[where[-1]] = odd
            path.write_text(json.dumps(changed))
            try:
                found = load_task("smnist", str(mnist))
            except DataError:
                refused += 1
                continue
            for part in ("train", "validation", "test"):
                mine, theirs = getattr(found, part), getattr(expected, part)
                np.testing.assert_array_equal(mine.indices, theirs.indices)
            np.testing.assert_array_equal(found.train.x, expected.train.x)
            np.testing.assert_array_equal(found.train.y, expected.train.y)
    assert refused > 100


def test_a_manifest_names_only_its_own_arrays(mnist: Path, tmp_path: Path):
    np.save(tmp_path / "secret.npy", np.zeros((25, 784), np.uint8))
    path = mnist / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("../../secret", str(tmp_path / "secret"), "..", ""):
        arrays = {**manifest["arrays"], name: manifest["arrays"]["x"]}
        path.write_text(json.dumps({**manifest, "arrays": arrays}))
        with pytest.raises(DataError, match="no usable name"):
            load_task("smnist", str(mnist))
    path.write_text(json.dumps(manifest))
    (mnist / "x.npy").unlink()
    (mnist / "x.npy").symlink_to(tmp_path / "secret.npy")
    with pytest.raises(DataError, match="outside"):
        load_task("smnist", str(mnist))


def test_ids_lie_in_the_vocabulary_and_offsets_in_the_text(tmp_path: Path):
    """Beyond the vocabulary a gather would be clamped, without a word: another token would be read."""
    for part, rows in (("train", ("1", "2")), ("val", ("3",)), ("test", ("4",))):
        (tmp_path / f"basic_{part}.tsv").write_text("Source\tTarget\n" + "".join(f"{row}\t{row}\n" for row in rows))
    load_task("listops", str(tmp_path), {"L": 8})
    (folder,) = (tmp_path / "cache").glob("listops-*")
    for name, index, value in (("flat", 0, 250), ("offsets", 1, 0), ("offsets", 1, 100), ("y", 0, 10), ("y", 0, -1)):
        array = np.load(folder / f"{name}.npy")
        changed = array.copy()
        changed[index] = value
        np.save(folder / f"{name}.npy", changed)
        with pytest.raises(DataError):
            load_task("listops", str(folder), {"L": 8})
        np.save(folder / f"{name}.npy", array)
    assert len(load_task("listops", str(folder), {"L": 8}).train) == 2
