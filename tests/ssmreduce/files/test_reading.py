"""What is no regular file, or too large, is refused before it is read; what a killed writer left is removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_cases import small
from layer_cases import s5_params

from ssmreduce.files import digest
from ssmreduce.files.errors import CheckpointError, CheckpointIOError
from ssmreduce.files.formats import flaxbytes, npz
from ssmreduce.files.loading import load
from ssmreduce.files.writing import write_files
from ssmreduce.inspection import inspect_model
from theory.errors import DimensionError, InputError

POSIX = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a POSIX system")


@POSIX
def test_pipes_and_devices_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(CheckpointError, match="pipe"):
        load(tmp_path / "pipe.npz")
    for device in ("/dev/zero", "/dev/null", "/dev/stdin"):
        with pytest.raises(CheckpointError, match="device"):
            load(device)
    path = small(rng).save(tmp_path / "model")
    path.with_suffix(".json").unlink()
    os.mkfifo(path.with_suffix(".json"))
    with pytest.raises(CheckpointError, match="pipe"):
        load(path, conj_sym=True)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """Files of a terabyte that lie on no disk: one that begins as a container does, and one that does not."""
    path = tmp_path / "huge.safetensors"
    with open(path, "wb") as file:
        file.write(b"\x10" + b"\0" * 7 + b"{}" + b" " * 14)
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match="more than"):
        load(path)
    with open(tmp_path / "zeros", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load(tmp_path / "zeros")


@pytest.mark.parametrize("name", ["a\0b.npz", "\ud800.npz", "x" * 300, "", "."])
def test_impossible_paths(name: str, rng: np.random.Generator) -> None:
    with pytest.raises((CheckpointError, CheckpointIOError)):
        load(name)
    if name not in ("", "."):
        with pytest.raises(CheckpointIOError, match="nothing was changed"):
            small(rng).save(name)


def test_what_is_no_path() -> None:
    with pytest.raises(InputError, match="path"):
        load(3)  # type: ignore[arg-type]


def test_archives_that_expand_are_refused(tmp_path: Path) -> None:
    """The sizes in the directory are added up before anything is unpacked."""
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("x.npy", "w") as member,
    ):
        for _ in range((npz.FREE >> 20) + 64):
            member.write(bytes(1 << 20))
    with pytest.raises(CheckpointError, match="expand"):
        load(path)


def test_messages_of_many_values_are_refused() -> None:
    with pytest.raises(InputError, match="values"):
        flaxbytes.read(b"\xdd" + (flaxbytes.VALUES + 1).to_bytes(4, "big") + b"\x01" * (flaxbytes.VALUES + 1))


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": ' + "1" * 5000 + "}",
        "[" * 100_000,
        '"\\ud800"',
        "\x00",
    ],
)
def test_json_that_is_none(text: str, tmp_path: Path, rng: np.random.Generator) -> None:
    path = small(rng).save(tmp_path / "model")
    path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.json"):
        load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step_rescale", 10**400),
        ("step_rescale", "2"),
        ("conj_sym", 1),
        ("conj_sym", "yes"),
        ("discretization", ["zoh"]),
        ("clip_eigs", {}),
        ("bidirectional", 3),
    ],
)
def test_options_of_wrong_types(key: str, value: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    path = small(rng).save(tmp_path / "model")
    side = path.with_suffix(".json")
    text = json.loads(side.read_text())
    text["options"][key] = value
    text[digest.OWN] = digest.of_json(text)  # as a program would write it that has the type wrong
    side.write_text(json.dumps(text))
    with pytest.raises(InputError, match=key):
        load(path)


def test_numbers_that_json_has_not_become_null(tmp_path: Path, rng: np.random.Generator) -> None:
    path = small(rng, loss=float("nan"), best=[float("inf"), 1.0]).save(tmp_path / "model")
    assert load(path).training == {"loss": None, "best": [None, 1.0]}


def test_scalars_and_layers_without_states(tmp_path: Path, rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    np.savez(tmp_path / "scalar.npz", **{**raw, "Lambda_re": np.float32(-1)})
    with pytest.raises(DimensionError, match="Lambda_re"):
        load(tmp_path / "scalar.npz", conj_sym=True)
    np.savez(tmp_path / "none.npz", **s5_params(rng, P=0))
    found = inspect_model(load(tmp_path / "none.npz", conj_sym=True, discretization="zoh"))
    assert found.layers[0]["states"] == 0
    assert "0" in str(found)
    found.to_json()


KILLED = """
import os, signal, sys
from pathlib import Path
from ssmreduce.files import writing

def dies(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(writing.os, sys.argv[2], dies)
writing.write_files({Path(sys.argv[1]): b"new" * 1000, Path(sys.argv[1] + ".json"): b"{}"})
"""


@POSIX
@pytest.mark.parametrize("where", ["fsync", "replace", "chmod"])
def test_the_next_writer_removes_what_a_killed_one_left(where: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    others = [tmp_path / ".file.short.tmp", tmp_path / ".other.abcdefgh.tmp"]
    for other in others:
        other.write_bytes(b"of somebody else")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), where], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) > 3
    write_files({path: b"newer", tmp_path / "file.json": b"[]"})
    assert path.read_bytes() == b"newer"
    assert sorted(tmp_path.iterdir()) == sorted([*others, path, tmp_path / "file.json"])


@POSIX
def test_the_files_of_a_living_writer_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one writer flushes, another writes the same path: both finish, and one of the two contents is there."""
    path = tmp_path / "file"
    real = os.fsync

    def meanwhile(handle: int) -> None:
        monkeypatch.setattr("os.fsync", real)
        before = set(tmp_path.iterdir())
        write_files({path: b"second"})
        assert before <= set(tmp_path.iterdir())
        real(handle)

    monkeypatch.setattr("os.fsync", meanwhile)
    write_files({path: b"first"})
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
