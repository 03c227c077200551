"""CIFAR-10 from the binary release and from the npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lra.errors import DataError
from lra.tasks import load_task
from lra.tasks.image import FILES, RECORD, grey, load_image

DATA = Path(__file__).parents[3] / "shared" / "data"
N = 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def release(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A small binary release of N images a file."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in FILES:
        table = rng.integers(0, 256, (N, RECORD), np.uint8)
        table[:, 0] = rng.integers(0, 10, N)
        (folder / name).write_bytes(table.tobytes())
    return folder


def planes(release: Path, name: str) -> np.ndarray:
    table = np.frombuffer((release / name).read_bytes(), np.uint8).reshape(N, RECORD)
    return table[:, 1:].reshape(N, 3, 32, 32)


def test_grey_is_pillows_luma(rng: np.random.Generator):
    image = pytest.importorskip("PIL.Image")
    rgb = rng.integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(grey(rgb), np.asarray(image.fromarray(rgb).convert("L")))
    extremes = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    np.testing.assert_array_equal(grey(extremes), [0, 255])


def test_grey_task(release: Path, tmp_path: Path):
    task = load_image(str(tmp_path), records=N)
    assert (task.d_input, task.n_classes, task.L) == (1, 10, 1024)
    assert [len(s) for s in (task.train, task.validation, task.test)] == [90, 10, N]
    rows = np.concatenate([task.train.indices, task.validation.indices])
    assert sorted(rows) == list(range(5 * N))
    batch = task.batch(task.test, np.arange(N))
    assert batch["x"].dtype == np.float32
    assert batch["x"].shape == (N, 1024, 1)
    luma = grey(np.moveaxis(planes(release, "test_batch.bin"), 1, -1)).reshape(N, 1024)
    np.testing.assert_allclose(batch["x"][..., 0], (luma / 255 - 122.6 / 255) / (61 / 255), rtol=1e-5, atol=1e-6)
    labels = np.frombuffer((release / "test_batch.bin").read_bytes(), np.uint8).reshape(N, RECORD)[:, 0]
    np.testing.assert_array_equal(batch["y"], labels)
    assert isinstance(task.train.x, np.memmap)
    assert task.train.x.dtype == np.uint8


def test_colour_task(release: Path):
    task = load_image(str(release), colour=True, records=N)
    assert (task.name, task.d_input) == ("scifar", 3)
    batch = task.batch(task.test, np.arange(N))
    rgb = np.moveaxis(planes(release, "test_batch.bin"), 1, -1).reshape(N, 1024, 3) / 255
    expected = (rgb - [0.4914, 0.4822, 0.4465]) / [0.247, 0.243, 0.261]
    np.testing.assert_allclose(batch["x"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cut", [1, RECORD, 3 * RECORD + 100])
def test_truncated_file_is_named_with_its_offset(release: Path, cut: int):
    path = release / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=rf"data_batch_3\.bin has .*offset {(N * RECORD - cut) // RECORD * RECORD}"):
        load_image(str(release), records=N)


def test_bad_label_and_missing_file(release: Path):
    path = release / "data_batch_2.bin"
    raw = bytearray(path.read_bytes())
    raw[4 * RECORD] = 10
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"data_batch_2\.bin: row 4 has label 10"):
        load_image(str(release), records=N)
    path.unlink()
    with pytest.raises(DataError, match=r"data_batch_2\.bin is missing.*binary version"):
        load_image(str(release), records=N)


def test_pickles_are_not_read(tmp_path: Path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="pickle"):
        load_image(str(tmp_path))


def test_nothing_there(tmp_path: Path):
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz"):
        load_image(str(tmp_path))


def test_npz_and_a_damaged_one(tmp_path: Path, rng: np.random.Generator):
    path = tmp_path / "cifar10_gray_uint8.npz"
    arrays = {
        "x_train": rng.integers(0, 256, (50, 32, 32), np.uint8),
        "y_train": rng.integers(0, 10, 50).astype(np.uint8),
        "x_test": rng.integers(0, 256, (10, 32, 32), np.uint8),
        "y_test": rng.integers(0, 10, 10).astype(np.uint8),
    }
    np.savez(path, **arrays)
    task = load_image(str(tmp_path))
    np.testing.assert_array_equal(task.test.x[task.test.indices], arrays["x_test"].reshape(10, 1024))
    np.savez(path, **{**arrays, "x_test": arrays["x_test"].astype(np.float32)})
    with pytest.raises(DataError, match="float32"):
        load_image(str(tmp_path))
    np.savez(path, **{**arrays, "y_test": arrays["y_test"][:-1]})
    with pytest.raises(DataError, match="labels"):
        load_image(str(tmp_path))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="damaged"):
        load_image(str(tmp_path))


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "cifar10_gray_uint8.npz").is_file(), reason="needs ../shared/data")
def test_real_data():
    task = load_task("image", str(DATA))
    assert [len(s) for s in (task.train, task.validation, task.test)] == [45000, 5000, 10000]
    np.testing.assert_array_equal(task.train.indices[:5], [37542, 44491, 216, 43688, 41558])
    x = task.batch(task.train, np.arange(2000))["x"]
    assert abs(x.mean()) < 0.05
    assert abs(x.std() - 1) < 0.05
