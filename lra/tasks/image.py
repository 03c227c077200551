"""Image: CIFAR-10 pixel by pixel, in grey (LRA) or in colour (sCIFAR).

Reads the *binary* release (``cifar-10-batches-bin/data_batch_{1..5}.bin, test_batch.bin``: records of one label byte
and 3072 bytes, the red, green and blue planes of 32 x 32) or ``cifar10_gray_uint8.npz``. The Python release is pickled,
and a pickle may run any code: it is not read. 45,000 images train, 5,000 validate (the reference's permutation of the
50,000, seed 42), the official 10,000 test.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lra.errors import DataError
from lra.tasks.conversion import convert_once
from lra.tasks.converted import Converted, open_converted
from lra.tasks.reading import check_labels, read_npz
from lra.tasks.sources import find_source
from lra.tasks.splits import torch_permutation
from lra.tasks.task import Split, Task
from lra.tasks.writer import Writer

BINARY, NPZ, PICKLED = "cifar-10-batches-bin", "cifar10_gray_uint8.npz", "cifar-10-batches-py"
FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
HELP = (
    f"Image needs CIFAR-10: unpack 'CIFAR-10 binary version (suitable for C programs)' (cifar-10-binary.tar.gz, "
    f"Krizhevsky 2009, University of Toronto), which makes {BINARY}/ with {', '.join(FILES)}"
)
RECORD = 1 + 3 * 1024
GREY_MEAN, GREY_STD = 122.6 / 255, 61.0 / 255
COLOUR_MEAN, COLOUR_STD = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)


def load_image(path: str | None = None, colour: bool = False, records: int = 10_000) -> Task:
    """Return the task: sequences of 1024 pixels, row by row.

    Parameters
    ----------
    path : str, optional
        Folder that holds the binary release or the npz; default: the environment variable LRA_DATA.
    colour : bool
        Three channels instead of one; needs the binary release.
    records : int
        Images in each file of the binary release.

    Raises
    ------
    DataError
        No data found, or a file is cut short or damaged.
    """
    layouts = [("binary", BINARY), ("npz", NPZ), ("pickled", PICKLED)]
    layout, place = find_source(path, [layouts[0], layouts[2]] if colour else layouts, HELP)
    if layout == "pickled":
        raise DataError(f"{place} is the pickled release; a pickle can run any code, so it is not read. {HELP}")
    kind = "image-colour" if colour else "image-grey"
    if layout == "converted":
        data = open_converted(place, kind)
    elif layout == "npz":
        data = convert_once(kind, [place], lambda writer: _convert_npz(writer, place), root=place)
    else:
        sources = [place, *(place / name for name in FILES if (place / name).is_file())]
        data = convert_once(kind, sources, lambda writer: _convert_binary(writer, place, colour, records), root=place)
    return _task(data, "scifar" if colour else "image", colour)


def grey(rgb: np.ndarray) -> np.ndarray:
    """Return Pillow's luma of uint8 `rgb` (..., 3): ``(19595 R + 38470 G + 7471 B + 32768) >> 16``."""
    weighted = rgb.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
    luma: np.ndarray = ((weighted + 32768) >> 16).astype(np.uint8)
    return luma


def read_batch(path: Path, raw: bytes, records: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(images (records, 1024, 3) uint8, labels (records,))`` of the bytes of one binary file."""
    if len(raw) != records * RECORD:
        whole, rest = divmod(len(raw), RECORD)
        raise DataError(
            f"{path} has {len(raw)} bytes, not {records} records of {RECORD}: it ends {rest} bytes into record {whole} "
            f"(offset {whole * RECORD}); fetch it again"
        )
    table = np.frombuffer(raw, np.uint8).reshape(records, RECORD)
    labels = check_labels(path, table[:, 0], records, 10)
    return table[:, 1:].reshape(records, 3, 1024).swapaxes(1, 2), labels


def _convert_binary(writer: Writer, folder: Path, colour: bool, records: int) -> dict[str, Any]:
    for name in FILES:
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing. {HELP}")
    x = writer.array("x", (len(FILES) * records, 1024, 3) if colour else (len(FILES) * records, 1024), np.uint8)
    y = writer.array("y", (len(FILES) * records,), np.int32)
    for i, name in enumerate(FILES):
        images, labels = read_batch(folder / name, writer.read(folder / name), records)
        x[i * records : (i + 1) * records] = images if colour else grey(images)
        y[i * records : (i + 1) * records] = labels
    return {"train": 5 * records, "test": records}


def _convert_npz(writer: Writer, path: Path) -> dict[str, Any]:
    writer.read(path)
    arrays = read_npz(path, {"x_train": 3, "y_train": 1, "x_test": 3, "y_test": 1})
    for part in ("train", "test"):
        images = arrays[f"x_{part}"]
        if images.dtype != np.uint8 or images.shape[1:] != (32, 32):
            raise DataError(f"{path}: {part} images are {images.dtype} {images.shape}, not uint8 (n, 32, 32)")
        arrays[f"y_{part}"] = check_labels(path, arrays[f"y_{part}"], len(images), 10)
    writer.save("x", np.concatenate([arrays["x_train"], arrays["x_test"]]).reshape(-1, 1024))
    writer.save("y", np.concatenate([arrays["y_train"], arrays["y_test"]]))
    return {"train": len(arrays["y_train"]), "test": len(arrays["y_test"])}


def _task(data: Converted, name: str, colour: bool) -> Task:
    n, total = data.size("train"), data.size("train") + data.size("test")
    x, y = data.images(total, (1024, 3) if colour else (1024,)), data.labels(total, 10)
    order = torch_permutation(n, seed=42)
    n_train = int(n * 0.9)

    def split(rows: np.ndarray) -> Split:
        return Split(x=x, y=y, indices=rows)

    return Task(
        name=name,
        train=split(order[:n_train]),
        validation=split(order[n_train:]),
        test=split(np.arange(n, total)),
        d_input=3 if colour else 1,
        n_classes=10,
        L=1024,
        prepare=normalised_pixels(COLOUR_MEAN, COLOUR_STD) if colour else normalised_pixels((GREY_MEAN,), (GREY_STD,)),
    )


def normalised_pixels(mean: tuple[float, ...], std: tuple[float, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the map of bytes (batch, L[, channels]) to float32 ``(x/255 - mean)/std``, shape (batch, L, channels)."""
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    table = np.stack([(values - np.float32(m)) / np.float32(s) for m, s in zip(mean, std)], axis=1)
    channels = np.arange(len(mean))

    def prepare(raw: np.ndarray) -> np.ndarray:
        looked_up: np.ndarray = table[raw.reshape(*raw.shape[:2], -1), channels]
        return looked_up

    return prepare
