"""``python -m lra data``."""

from __future__ import annotations

from pathlib import Path

import pytest

from lra.__main__ import main
from lra.tasks import TASKS


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_generate_convert_verify(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]):
    folder = str(tmp_path / "listops-short")
    sizes = ["--train", "30", "--validation", "5", "--test", "5", "--min-length", "20", "--max-length", "60"]
    assert main(["data", "listops", folder, *sizes, "--workers", "1"]) == 0
    assert "40 trees" in capsys.readouterr().out
    assert main(["data", "convert", "listops_short", "--data", str(tmp_path)]) == 0
    assert "30 train, 5 validation, 5 test; 10 classes, length 512, input width 20" in capsys.readouterr().out
    (converted,) = [p for p in cache.iterdir() if p.is_dir()]
    assert main(["data", "verify", str(converted)]) == 0
    out = capsys.readouterr().out
    assert "digests agree" in out
    assert "flat uint8" in out
    raw = bytearray((converted / "flat.npy").read_bytes())
    raw[-1] ^= 1
    (converted / "flat.npy").write_bytes(raw)
    assert main(["data", "verify", str(converted)]) == 2
    assert "flat.npy has changed" in capsys.readouterr().err


def test_converted_folder_is_itself_a_source(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]):
    sizes = ["--train", "30", "--validation", "5", "--test", "5", "--min-length", "20", "--max-length", "60"]
    main(["data", "listops", str(tmp_path / "listops"), *sizes, "--workers", "1"])
    main(["data", "convert", "listops", "--data", str(tmp_path)])
    (converted,) = [p for p in cache.iterdir() if p.is_dir()]
    for file in (tmp_path / "listops").iterdir():
        file.unlink()
    assert main(["data", "convert", "listops", "--data", str(converted)]) == 0
    assert main(["data", "convert", "text", "--data", str(converted)]) == 2
    assert "holds 'listops' data, not 'text'" in capsys.readouterr().err


def test_pathfinder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("PIL.Image")
    options = ["--images", "20", "--contour-length", "6", "--workers", "1"]
    assert main(["data", "pathfinder", str(tmp_path), *options]) == 0
    assert "20 images" in capsys.readouterr().out
    assert main(["data", "pathfinder", str(tmp_path), *options]) == 2
    assert "there already" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"digits"}))
def test_every_task_says_what_is_missing(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["data", "convert", name, "--data", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert str(tmp_path) in message
    assert len(message) > 80
