"""Data: splits, readers of whole and of damaged files, batches."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from lra.errors import ConfigError, DataError
from lra.tasks import load_task
from lra.tasks.smnist import IDX_NAMES, bit_reversal, read_mnist
from lra.tasks.splits import torch_permutation

pytestmark = pytest.mark.jax


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))


def test_permutation_of_torch():
    """First indices of torch.randperm(n) after manual_seed(42), from the reference notes."""
    assert torch_permutation(50_000, 42)[:5].tolist() == [37542, 44491, 216, 43688, 41558]
    assert torch_permutation(200_000, 42)[:4].tolist() == [37542, 143173, 127710, 58234]
    for n in (0, 1, 2, 10):
        assert sorted(torch_permutation(n, 1).tolist()) == list(range(n))


def test_digits_are_split_without_overlap():
    task = load_task("digits")
    rows = np.concatenate([split.indices for split in (task.train, task.validation, task.test)])
    assert sorted(rows.tolist()) == list(range(1797))
    batch = task.batch(task.train, np.arange(4))
    assert batch["x"].shape == (4, 64, 1)
    assert batch["x"].dtype == np.float32
    assert 0 <= batch["x"].min() <= batch["x"].max() <= 1
    assert set(task.train.y) == set(range(10))


def test_no_such_task():
    with pytest.raises(ConfigError, match="smnist"):
        load_task("imagenet")


def test_options_reach_the_loader_and_are_remembered(tmp_path: Path):
    np.savez(tmp_path / "mnist_uint8.npz", **tiny_mnist())
    plain = load_task("smnist", str(tmp_path))
    permuted = load_task("smnist", str(tmp_path), {"permuted": True})
    rows = np.arange(3)
    expected = plain.batch(plain.train, rows)["x"][:, bit_reversal(784)]
    np.testing.assert_array_equal(permuted.batch(permuted.train, rows)["x"], expected)
    assert permuted.facts()["task_options"] == {"permuted": True}
    with pytest.raises(ConfigError, match=r"no option 'rate'; its options are permuted"):
        load_task("smnist", str(tmp_path), {"rate": 2})
    with pytest.raises(ConfigError, match="its options are none"):
        load_task("digits", None, {"L": 8})


def tiny_mnist() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "y_train": rng.integers(0, 10, 20, dtype=np.uint8),
        "x_test": rng.integers(0, 256, (5, 28, 28), dtype=np.uint8),
        "y_test": rng.integers(0, 10, 5, dtype=np.uint8),
    }


def write_idx(folder: Path, arrays: dict[str, np.ndarray], compress: bool = False) -> None:
    for key, name in IDX_NAMES.items():
        array = arrays[key]
        header = np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes()
        data = header + array.tobytes()
        path = folder / (name + (".gz" if compress else ""))
        path.write_bytes(gzip.compress(data) if compress else data)


@pytest.mark.parametrize("layout", ["npz", "npz folder", "idx", "idx.gz"])
def test_mnist_layouts(tmp_path, layout):
    arrays = tiny_mnist()
    path = tmp_path
    if layout.startswith("npz"):
        np.savez(tmp_path / "mnist_uint8.npz", **arrays)
        path = tmp_path / "mnist_uint8.npz" if layout == "npz" else tmp_path
    else:
        write_idx(tmp_path, arrays, layout.endswith("gz"))
    found = read_mnist(str(path))
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)


def test_mnist_becomes_sequences(tmp_path, monkeypatch):
    arrays = tiny_mnist()
    write_idx(tmp_path, arrays)
    monkeypatch.setenv("LRA_DATA", str(tmp_path))
    task = load_task("smnist")
    assert (len(task.train), len(task.validation), len(task.test)) == (18, 2, 5)
    order = torch_permutation(20, 42)
    np.testing.assert_array_equal(task.train.indices, order[:18])
    assert isinstance(task.train.x, np.memmap)
    assert task.train.x.dtype == np.uint8
    (converted,) = tmp_path.glob("cache/mnist-*")
    again = load_task("smnist", str(converted))
    np.testing.assert_array_equal(again.train.x, task.train.x)
    batch = task.batch(task.test, np.arange(5))
    np.testing.assert_allclose(batch["x"][..., 0], arrays["x_test"].reshape(5, 784) / 255, rtol=1e-6)
    np.testing.assert_array_equal(batch["y"], arrays["y_test"])

    permuted = load_task("psmnist").batch(task.test, np.arange(5))["x"]
    np.testing.assert_array_equal(permuted, batch["x"][:, bit_reversal(784)])
    assert sorted(bit_reversal(784).tolist()) == list(range(784))
    assert bit_reversal(8).tolist() == [0, 4, 2, 6, 1, 5, 3, 7]


def damage_truncate(folder: Path) -> None:
    path = folder / IDX_NAMES["x_train"]
    path.write_bytes(path.read_bytes()[:-1])


def damage_header(folder: Path) -> None:
    (folder / IDX_NAMES["y_test"]).write_bytes(b"\0\0")


def damage_magic(folder: Path) -> None:
    path = folder / IDX_NAMES["y_train"]
    path.write_bytes(b"<htm" + path.read_bytes()[4:])


def damage_missing(folder: Path) -> None:
    (folder / IDX_NAMES["x_test"]).unlink()


def damage_labels(folder: Path) -> None:
    path = folder / IDX_NAMES["y_train"]
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")


def damage_npz(folder: Path) -> None:
    np.savez(folder / "mnist_uint8.npz", **tiny_mnist())
    whole = (folder / "mnist_uint8.npz").read_bytes()
    (folder / "mnist_uint8.npz").write_bytes(whole[: len(whole) // 2])


def damage_keys(folder: Path) -> None:
    np.savez(folder / "mnist_uint8.npz", x=np.zeros(3))


def damage_pickle(folder: Path) -> None:
    arrays = {**tiny_mnist(), "y_test": np.array([{}], dtype=object)}
    np.savez(folder / "mnist_uint8.npz", **arrays)


def damage_shape(folder: Path) -> None:
    np.savez(folder / "mnist_uint8.npz", **{**tiny_mnist(), "x_test": np.zeros((5, 784), np.uint8)})


@pytest.mark.parametrize(
    "damage",
    [
        damage_truncate,
        damage_header,
        damage_magic,
        damage_missing,
        damage_labels,
        damage_npz,
        damage_keys,
        damage_pickle,
        damage_shape,
    ],
)
def test_damaged_mnist_is_a_typed_error(tmp_path, damage):
    write_idx(tmp_path, tiny_mnist())
    damage(tmp_path)
    with pytest.raises(DataError, match=str(tmp_path)):
        read_mnist(str(tmp_path))


def test_damaged_gzip_is_a_typed_error(tmp_path):
    write_idx(tmp_path, tiny_mnist(), compress=True)
    path = tmp_path / (IDX_NAMES["x_train"] + ".gz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="decompressed"):
        read_mnist(str(tmp_path))


def test_missing_data_says_where_to_put_them(monkeypatch, tmp_path):
    monkeypatch.delenv("LRA_DATA", raising=False)
    with pytest.raises(DataError, match="LRA_DATA"):
        load_task("smnist")
    with pytest.raises(DataError, match="train-images"):
        load_task("smnist", str(tmp_path))


@pytest.mark.data
def test_the_real_mnist():
    folder = os.environ.get("LRA_DATA", str(Path(__file__).parents[3] / "shared" / "data"))
    if not (Path(folder) / "mnist_uint8.npz").is_file():
        pytest.skip("no ../shared/data/mnist_uint8.npz and no LRA_DATA")
    task = load_task("smnist", folder)
    assert (len(task.train), len(task.validation), len(task.test)) == (54_000, 6_000, 10_000)
