"""A converted data set is complete or absent, whatever happens; what it holds is what was read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from lra.errors import DataError
from lra.tasks.conversion import convert_once, fingerprint, write_converted
from lra.tasks.converted import Converted, file_sha256, is_converted, open_converted
from lra.tasks.ragged import Pairs, Ragged
from lra.tasks.reading import check_labels, read_npz
from lra.tasks.sources import find_source
from lra.tasks.writer import Writer


def simple(source: Path):
    def convert(writer: Writer) -> dict:
        raw = np.frombuffer(writer.read(source), np.uint8)
        writer.array("x", (len(raw), 2), np.int16)[:] = raw[:, None]
        stream = writer.stream("flat", np.uint8)
        for value in raw:
            stream.append(np.array([value]))
        writer.save("empty", np.zeros((0, 3)))
        return {"n": len(raw)}

    return convert


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(bytes(range(100)))
    return path


def make(tmp_path: Path, source: Path, **options) -> Converted:
    return convert_once("thing", [source], simple(source), options, cache=tmp_path / "cache")


def test_arrays_come_back_as_read_only_memory_maps(tmp_path: Path, source: Path):
    data = make(tmp_path, source)
    assert isinstance(data["x"], np.memmap)
    assert data["x"].dtype == np.int16
    np.testing.assert_array_equal(data["x"][:, 1], np.arange(100))
    np.testing.assert_array_equal(data["flat"], np.arange(100))
    assert data["empty"].shape == (0, 3)
    assert data.notes == {"n": 100}
    with pytest.raises(ValueError, match="read-only"):
        data["x"][0, 0] = 1


def test_manifest_has_format_digests_and_options(tmp_path: Path, source: Path):
    data = make(tmp_path, source, L=4)
    manifest = json.loads((data.folder / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert manifest["kind"] == "thing"
    assert manifest["options"] == {"L": 4}
    assert manifest["source_files"] == 1
    assert len(manifest["source_sha256"]) == 64
    for name in ("x", "flat", "empty"):
        assert manifest["arrays"][name]["sha256"] == file_sha256(data.folder / f"{name}.npy")


def test_second_call_does_not_convert_again_but_a_changed_source_or_option_does(tmp_path: Path, source: Path):
    first = make(tmp_path, source)

    def never(writer: Writer) -> dict:
        raise AssertionError("converted again")

    assert convert_once("thing", [source], never, cache=tmp_path / "cache").folder == first.folder
    assert make(tmp_path, source, L=3).folder != first.folder
    source.write_bytes(b"other")
    changed = make(tmp_path, source)
    assert changed.folder != first.folder
    assert changed.manifest["source_sha256"] != first.manifest["source_sha256"]


def test_a_file_changed_inside_a_source_folder_is_noticed(tmp_path: Path):
    inner = tmp_path / "folder" / "inner" / "a.txt"
    inner.parent.mkdir(parents=True)
    inner.write_text("one")
    before = fingerprint(tmp_path / "folder")
    assert fingerprint(tmp_path / "folder") == before
    inner.write_text("two")
    os.utime(inner, ns=(1, 1))
    assert fingerprint(tmp_path / "folder") != before


def test_a_cache_that_cannot_be_written_is_explained(tmp_path: Path, source: Path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="LRA_CACHE"):
        make(tmp_path, source)

    def full(writer: Writer) -> dict:
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left"):
        convert_once("thing", [source], full, cache=tmp_path / "other")
    assert [p for p in (tmp_path / "other").iterdir() if p.suffix != ".lock"] == []


def test_a_failure_leaves_nothing(tmp_path: Path, source: Path):
    def fails(writer: Writer) -> dict:
        writer.array("x", (10,), np.uint8)[:] = 1
        writer.stream("flat", np.uint8).append(np.ones(5))
        raise DataError("row 5 is bad")

    with pytest.raises(DataError, match="row 5"):
        convert_once("thing", [source], fails, cache=tmp_path / "cache")
    assert [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"] == []


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from lra.tasks.conversion import convert_once
source, cache = Path(sys.argv[1]), Path(sys.argv[2])
def convert(writer):
    x = writer.array("x", (1000, 100), np.uint8)
    flat = writer.stream("flat", np.uint8)
    for i in range(1000):
        x[i] = 7
        flat.append(np.full(10, i % 256))
        if i == 5:
            print("started", flush=True)
        time.sleep(float(sys.argv[3]))
    return {}
convert_once("thing", [source], convert, cache=cache)
print("done", flush=True)
"""


def converter(source: Path, cache: Path, pause: float) -> subprocess.Popen:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(source), str(cache), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)})


def test_killed_conversion_never_loads_and_the_next_one_succeeds(tmp_path: Path, source: Path):
    cache = tmp_path / "cache"
    process = converter(source, cache, 0.01)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = [p for p in cache.iterdir() if p.is_dir()]
    assert len(left) == 1
    assert left[0].name.endswith(".partial")
    assert not is_converted(left[0])
    with pytest.raises(DataError, match=r"manifest\.json"):
        open_converted(left[0])
    process = converter(source, cache, 0)
    out, _ = process.communicate(timeout=60)
    assert out.endswith(b"done\n")
    (folder,) = [p for p in cache.iterdir() if p.is_dir()]
    data = open_converted(folder, "thing", verify=True)
    assert (data["x"] == 7).all()
    assert data["flat"].shape == (10000,)


def test_two_processes_convert_once_between_them(tmp_path: Path, source: Path):
    cache = tmp_path / "cache"
    both = [converter(source, cache, 0.0005) for _ in range(2)]
    outs = [process.communicate(timeout=60)[0] for process in both]
    assert all(out.endswith(b"done\n") for out in outs)
    assert sum(b"started" in out for out in outs) == 1


@pytest.mark.parametrize("name", ["x.npy", "flat.npy", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_damaged_conversion_is_refused(tmp_path: Path, source: Path, name: str, damage: str):
    folder = make(tmp_path, source).folder
    path = folder / name
    raw = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(raw[: len(raw) - 7] if damage == "truncated" else b"")
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        open_converted(folder)


def test_changed_bytes_wrong_kind_and_other_format_are_refused(tmp_path: Path, source: Path):
    folder = make(tmp_path, source).folder
    with pytest.raises(DataError, match="holds 'thing' data"):
        open_converted(folder, "other")
    raw = bytearray((folder / "x.npy").read_bytes())
    raw[-1] ^= 1
    (folder / "x.npy").write_bytes(raw)
    open_converted(folder)
    with pytest.raises(DataError, match="changed"):
        open_converted(folder, verify=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(DataError, match="format 99"):
        open_converted(folder)


def test_write_converted_into_a_named_folder(tmp_path: Path, source: Path):
    write_converted(tmp_path / "out", "thing", simple(source))
    assert open_converted(tmp_path / "out", "thing").notes == {"n": 100}


def test_stream_remap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lra.tasks.writer.BLOCK", 3)
    writer = Writer(tmp_path)
    stream = writer.stream("a", np.uint8)
    stream.append(np.arange(10))
    stream.remap(np.arange(100, 0, -1).astype(np.uint8))
    stream.close()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(100, 90, -1))


def test_ragged_pads_and_keeps_the_end_token_of_what_it_cuts():
    flat = np.array([5, 6, 2, 7, 2, 8, 9, 8, 9, 2], np.uint8)
    rows = Ragged(flat, np.array([0, 3, 5, 10]), L=4)
    assert rows.shape == (3, 4)
    np.testing.assert_array_equal(rows.lengths, [3, 2, 4])
    np.testing.assert_array_equal(rows[np.array([2, 0, 1])], [[8, 9, 8, 2], [5, 6, 2, 0], [7, 2, 0, 0]])
    pairs = Pairs(rows, np.array([[0, 1], [2, 2]]))
    assert pairs[np.array([1, 0, 0])].shape == (3, 2, 4)
    np.testing.assert_array_equal(pairs[np.array([0])][0], [[5, 6, 2, 0], [7, 2, 0, 0]])
    np.testing.assert_array_equal(pairs.lengths, [[3, 2], [4, 4]])


def test_sources_are_found_anywhere_along_the_release_and_explained_if_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path / "release" / "inner" / "data"
    place.mkdir(parents=True)
    layouts = [("a", "release/inner/data")]
    for given in (tmp_path, tmp_path / "release", tmp_path / "release" / "inner", place):
        assert find_source(str(given), layouts, "fetch it") == ("a", place)
    monkeypatch.setenv("LRA_DATA", str(tmp_path))
    assert find_source(None, layouts, "fetch it")[1] == place
    monkeypatch.delenv("LRA_DATA")
    with pytest.raises(DataError, match=r"LRA_DATA\. fetch it"):
        find_source(None, layouts, "fetch it")
    with pytest.raises(DataError, match=r"does not exist\. fetch it"):
        find_source(str(tmp_path / "nowhere"), layouts, "fetch it")
    with pytest.raises(DataError, match=r"none of b\. fetch it"):
        find_source(str(tmp_path), [("b", "b")], "fetch it")


def test_npz_and_labels_are_checked(tmp_path: Path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((3, 2)), y=np.array([0, 1, 5]))
    assert read_npz(path, {"x": 2})["x"].shape == (3, 2)
    with pytest.raises(DataError, match="not 1 axes"):
        read_npz(path, {"x": 1})
    with pytest.raises(DataError, match="lacks an array"):
        read_npz(path, {"z": 1})
    with pytest.raises(DataError, match="row 2 has label 5"):
        check_labels(path, np.array([0, 1, 5]), 3, 5)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="damaged"):
        read_npz(path, {"x": 2})
