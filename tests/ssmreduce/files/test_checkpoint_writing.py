"""Writing checkpoints: a failed save leaves the old files and no others."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_cases import small

from ssmreduce.files import writing
from ssmreduce.files.errors import CheckpointIOError
from ssmreduce.files.loading import load
from ssmreduce.files.model import Model
from ssmreduce.files.saving import save
from theory.errors import InputError

FAILURES = ["fsync", "replace", "second replace", "write", "link"]


@pytest.mark.parametrize("where", FAILURES)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_pair(
    where: str, code: int, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(rng, run=1).save(tmp_path / "model")
    before = {name: (tmp_path / name).read_bytes() for name in sorted(os.listdir(tmp_path))}
    calls = {"count": 0}

    def failing(real: Any, at: int = 1) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls["count"] += 1
            if calls["count"] == at:
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        return call

    if where == "write":
        real_open = os.fdopen

        class Full(io.RawIOBase):
            def __init__(self, handle: int) -> None:
                self.file = real_open(handle, "wb")

            def write(self, data: Any) -> int:
                self.file.write(bytes(data)[:10])
                raise OSError(code, os.strerror(code))

            def close(self) -> None:
                self.file.close()

        monkeypatch.setattr(writing.os, "fdopen", lambda handle, mode: Full(handle))
    elif where == "link":  # a file system without hard links is no failure
        monkeypatch.setattr(writing.os, "link", failing(os.link))
    else:
        name, at = (where, 1) if " " not in where else ("replace", 2)
        monkeypatch.setattr(writing.os, name, failing(getattr(os, name), at))
    other = small(rng, run=2)
    if where == "link":
        other.save(path)
        assert load(path).training == {"run": 2}
        return
    with pytest.raises(CheckpointIOError, match="nothing was changed") as caught:
        other.save(path)
    assert caught.value.errno == code
    assert isinstance(caught.value, OSError)
    monkeypatch.undo()
    assert {name: (tmp_path / name).read_bytes() for name in sorted(os.listdir(tmp_path))} == before
    assert load(path).training == {"run": 1}


def test_a_failed_first_save_leaves_nothing(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.replace, []

    def second_fails(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args)

    monkeypatch.setattr(writing.os, "replace", second_fails)
    with pytest.raises(CheckpointIOError):
        small(rng).save(tmp_path / "model")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


def test_an_interrupt_leaves_the_old_pair(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(rng, run=1).save(tmp_path / "model")

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small(rng, run=2).save(path)
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path)) == ["model.json", "model.safetensors"]
    assert load(path).training == {"run": 1}


def test_unwritable_folders(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointIOError, match="nothing was changed"):
        small(rng).save(tmp_path / "nowhere" / "model")

    def refused(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(
        writing.tempfile, "mkstemp", refused
    )  # root may write anywhere, so a read-only folder proves nothing
    with pytest.raises(CheckpointIOError, match="Permission denied"):
        small(rng).save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_unreadable_files(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(rng).save(tmp_path / "model.npz")

    def refused(*args: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(CheckpointIOError, match="Permission denied"):
        load(path)


def test_what_json_or_arrays_cannot_hold(tmp_path: Path, rng: np.random.Generator) -> None:
    model = small(rng, thing=object())
    with pytest.raises(InputError, match="plain numbers"):
        model.save(tmp_path / "model")
    odd = Model(tree={**small(rng).tree, "note": "text"}, options={"conj_sym": True, "discretization": "zoh"})
    with pytest.raises(InputError, match="msgpack"):
        odd.save(tmp_path / "model.npz")
    odd.save(tmp_path / "model.msgpack")
    assert sorted(os.listdir(tmp_path)) == ["model.msgpack", "model.msgpack.json"]


def test_file_mode_is_the_usual_one(tmp_path: Path, rng: np.random.Generator) -> None:
    path = save(small(rng), tmp_path / "model")
    (tmp_path / "plain").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
