"""Reading Pathfinder and Path-X."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lra.errors import DataError
from lra.tasks import load_task
from lra.tasks.pathfinder import load_pathfinder
from lra.tasks.splits import torch_permutation

image_module = pytest.importorskip("PIL.Image")
BLOCKS, EACH = (0, 1, 2, 10), 5


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))


def make_release(root: Path, resolution: int, rng: np.random.Generator) -> np.ndarray:
    """A release of 20 images; pixel 0 of image i (in the order of the split) is i."""
    folder = root / f"lra_release/lra_release/pathfinder{resolution}/curv_contour_length_14"
    (folder / "metadata").mkdir(parents=True)
    pixels = rng.integers(0, 256, (len(BLOCKS) * EACH, resolution, resolution), np.uint8)
    pixels[:, 0, 0] = np.arange(len(pixels))
    for b, block in enumerate(BLOCKS):
        (folder / "imgs" / str(block)).mkdir(parents=True)
        lines = []
        for j in range(EACH):
            i = EACH * b + j
            image_module.fromarray(pixels[i]).save(folder / "imgs" / str(block) / f"sample_{j}.png")
            lines.append(f"imgs/{block} sample_{j}.png {j} {i % 2} 1.0 14 4 2 0.5 1 1\n")
        (folder / "metadata" / f"{block}.npy").write_text("".join(lines))
    return pixels


@pytest.fixture
def pixels(tmp_path: Path, rng: np.random.Generator) -> np.ndarray:
    return make_release(tmp_path, 32, rng)


@pytest.fixture
def level(tmp_path: Path) -> Path:
    return tmp_path / "lra_release/lra_release/pathfinder32/curv_contour_length_14"


def test_order_split_and_scale(pixels: np.ndarray, tmp_path: Path):
    task = load_pathfinder(str(tmp_path))
    assert (task.name, task.L, task.d_input, task.n_classes) == ("pathfinder", 1024, 1, 2)
    assert [len(s) for s in (task.train, task.validation, task.test)] == [16, 2, 2]
    order = torch_permutation(20, seed=42)
    rows = np.concatenate([s.indices for s in (task.train, task.validation, task.test)])
    np.testing.assert_array_equal(rows, order)
    batch = task.batch(task.train, np.arange(16))
    expected = (pixels[order[:16]].reshape(16, 1024, 1) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(batch["x"], expected, atol=1e-6)
    np.testing.assert_array_equal(batch["y"], order[:16] % 2)
    plain = load_pathfinder(str(tmp_path), centre=False)
    np.testing.assert_allclose(plain.batch(plain.train, np.arange(16))["x"], (expected + 1) / 2, atol=1e-6)
    assert task.train.x.dtype == np.uint8


def test_pathx(tmp_path: Path, rng: np.random.Generator):
    make_release(tmp_path, 128, rng)
    task = load_task("pathx", str(tmp_path / "lra_release"))
    assert (task.name, task.L) == ("pathx", 16384)
    assert task.batch(task.test, np.arange(2))["x"].shape == (2, 16384, 1)


def test_manifest_tells_the_folder_and_repeated_images(pixels: np.ndarray, level: Path, tmp_path: Path):
    one = (level / "imgs/0/sample_0.png").read_bytes()
    (level / "imgs/1/sample_0.png").write_bytes(one)  # image 5: the other label
    (level / "imgs/2/sample_0.png").write_bytes(one)  # image 10: the same label
    load_pathfinder(str(tmp_path))
    (manifest,) = (tmp_path / "cache").glob("*/manifest.json")
    notes = json.loads(manifest.read_text())["notes"]
    assert notes["folder"] == str(level.resolve())
    assert (notes["images"], notes["repeated_images"], notes["images_with_both_labels"]) == (20, 2, 1)


def test_the_empty_image_of_the_release_is_skipped(tmp_path: Path, rng: np.random.Generator):
    make_release(tmp_path, 32, rng)
    level = tmp_path / "lra_release/lra_release/pathfinder32/curv_contour_length_14"
    level = level.rename(level.with_name("curv_baseline"))
    (level / "imgs/0/sample_172.png").write_bytes(b"")
    with (level / "metadata/0.npy").open("a") as file:
        file.write("imgs/0 sample_172.png 172 1 1.0 6 2 2 0.5 1 1\n")
    task = load_pathfinder(str(tmp_path), level="curv_baseline")
    assert sum(len(s) for s in (task.train, task.validation, task.test)) == 20


def test_metadata_as_the_original_generator_saves_it(pixels: np.ndarray, level: Path, tmp_path: Path):
    text_task = load_pathfinder(str(tmp_path))
    path = level / "metadata/1.npy"
    np.save(path, np.array([line.split() for line in path.read_text().splitlines()]))
    task = load_pathfinder(str(tmp_path))
    np.testing.assert_array_equal(task.train.y, text_task.train.y)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"metadata/1\.npy is a damaged npy file"):
        load_pathfinder(str(tmp_path))


@pytest.mark.parametrize(
    "line",
    [
        "imgs/2 sample_1.png 1",
        "imgs/2 sample_1.png 1 2 1.0 14 4 2 0.5 1 1",
        "",
        "\x00\xff binary",
        "a b c d e f g h i j k",
    ],
)
def test_damaged_metadata_is_named(pixels: np.ndarray, level: Path, line: str, tmp_path: Path):
    path = level / "metadata/2.npy"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[2:]]) + "\n")
    with pytest.raises(DataError, match=r"metadata/2\.npy: line 2"):
        load_pathfinder(str(tmp_path))


def test_truncated_metadata(pixels: np.ndarray, level: Path, tmp_path: Path):
    path = level / "metadata/2.npy"
    whole = path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"metadata/2\.npy is empty"):
        load_pathfinder(str(tmp_path))
    path.write_bytes(whole)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"metadata/2\.npy: line 5"):
        load_pathfinder(str(tmp_path))


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "jpeg", "size", "missing"])
def test_damaged_image_is_named(pixels: np.ndarray, level: Path, damage: str, tmp_path: Path):
    path = level / "imgs/10/sample_3.png"
    raw = path.read_bytes()
    path.unlink()
    if damage == "jpeg":
        image_module.fromarray(pixels[0]).save(path, format="JPEG")
    elif damage == "size":
        image_module.fromarray(pixels[0][:16]).save(path)
    elif damage != "missing":
        path.write_bytes({"empty": b"", "truncated": raw[: len(raw) // 2], "text": b"not an image"}[damage])
    with pytest.raises(DataError, match=r"imgs/10/sample_3\.png"):
        load_pathfinder(str(tmp_path))
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def test_nothing_there(pixels: np.ndarray, level: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"pathfinder128/curv_contour_length_14.*lra_release\.gz"):
        load_pathfinder(str(tmp_path), resolution=128)
    for file in (level / "metadata").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="lacks imgs/ or metadata/"):
        load_pathfinder(str(tmp_path))
