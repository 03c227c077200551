"""Sequential MNIST: the 784 pixels of a digit, row by row, one per time step; and its permuted twin.

Reads ``mnist_uint8.npz`` (arrays ``x_train, y_train, x_test, y_test``) or a folder with the four standard IDX files,
gzipped or not. 54,000 images train, 6,000 validate (the reference's permutation, seed 42), the official 10,000 test.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from lra.errors import DataError
from lra.tasks.conversion import convert_once
from lra.tasks.converted import is_converted, open_converted
from lra.tasks.reading import check_labels, inside, read_file, read_idx, read_npz
from lra.tasks.splits import torch_permutation
from lra.tasks.task import Split, Task
from lra.tasks.writer import Writer

NPZ_NAME = "mnist_uint8.npz"
IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
IDX_IMAGES, IDX_LABELS = 0x00000803, 0x00000801  # magic numbers: unsigned bytes in three axes, in one


def load_smnist(path: str | None = None, permuted: bool = False) -> Task:
    """Return the task from a folder or an npz file.

    Parameters
    ----------
    path : str, optional
        A folder with ``mnist_uint8.npz`` or IDX files, or the npz itself; default: the environment variable LRA_DATA.
    permuted : bool
        Apply the bit-reversal permutation to the pixels (psMNIST).

    Raises
    ------
    DataError
        No data found, or a file is truncated or not MNIST.
    """
    given = Path(path or os.environ.get("LRA_DATA", ""))
    if is_converted(given):
        data = open_converted(given, "mnist")
    else:
        sources = find_mnist(path)
        root = sources[0] if len(sources) == 1 else sources[0].parent
        data = convert_once("mnist", sources, lambda writer: convert_mnist(writer, path, sources), root=root)
    n, total = data.size("train"), data.size("train") + data.size("test")
    x, y = data.images(total, (784,)), data.labels(total, 10)
    order = torch_permutation(n, seed=42)
    n_train = int(n * 0.9)
    pixels = bit_reversal(784) if permuted else slice(None)

    def split(rows: np.ndarray) -> Split:
        return Split(x=x, y=y, indices=rows)

    return Task(
        name="psmnist" if permuted else "smnist",
        train=split(order[:n_train]),
        validation=split(order[n_train:]),
        test=split(np.arange(n, total)),
        d_input=1,
        n_classes=10,
        L=784,
        prepare=lambda raw: raw[:, pixels, None].astype(np.float32) / 255,
    )


def bit_reversal(n: int) -> np.ndarray:
    """Return 0..n-1 in the order of their reversed binary digits, counted in the next power of two."""
    bits = (n - 1).bit_length()
    reversed_ = [int(format(i, f"0{bits}b")[::-1], 2) for i in range(2**bits)]
    return np.asarray([i for i in reversed_ if i < n])


def find_mnist(path: str | None = None) -> list[Path]:
    """Return the npz file, or the four IDX files in the order of `IDX_NAMES`."""
    given = path or os.environ.get("LRA_DATA")
    if not given:
        raise DataError(
            f"where is MNIST? Give --data or set LRA_DATA to a folder with {NPZ_NAME} "
            f"or the IDX files ({', '.join(IDX_NAMES.values())}, .gz or not)"
        )
    folder = Path(given)
    if folder.is_file():
        return [folder]
    if (folder / NPZ_NAME).is_file():
        return [folder / NPZ_NAME]
    return [_find_idx(folder, name) for name in IDX_NAMES.values()]


def read_mnist(path: str | None = None) -> dict[str, np.ndarray]:
    """Return ``x_train (n, 28, 28), y_train (n,), x_test, y_test`` checked: images as uint8, labels as int32."""
    sources = find_mnist(path)
    place = sources[0] if len(sources) == 1 else sources[0].parent
    if len(sources) == 1:
        arrays = read_npz(inside(place, place), {key: 3 if key[0] == "x" else 1 for key in IDX_NAMES})
    else:
        arrays = {key: _read_idx(source, key[0] == "x") for key, source in zip(IDX_NAMES, sources, strict=True)}
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.shape[1:] != (28, 28) or not len(x):
            raise DataError(f"{place}: {part} images are {x.dtype} {x.shape}, not uint8 (n, 28, 28)")
        arrays[f"y_{part}"] = check_labels(place, y, len(x), 10)
    return arrays


def _read_idx(path: Path, images: bool) -> np.ndarray:
    raw = read_file(path, path.parent)
    return read_idx(path, raw, IDX_IMAGES if images else IDX_LABELS, 3 if images else 1)


def convert_mnist(writer: Writer, path: str | None, sources: list[Path]) -> dict[str, Any]:
    """Write ``x (n, 784) uint8, y``, the images for training first."""
    for source in sources:
        writer.read(source)
    arrays = read_mnist(path)
    writer.save("x", np.concatenate([arrays["x_train"], arrays["x_test"]]).reshape(-1, 784))
    writer.save("y", np.concatenate([arrays["y_train"], arrays["y_test"]]))
    return {"train": len(arrays["y_train"]), "test": len(arrays["y_test"])}


def _find_idx(folder: Path, name: str) -> Path:
    for candidate in (name, name + ".gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise DataError(f"{folder} has neither {NPZ_NAME} nor {name}[.gz]; fetch MNIST and unpack it there")
