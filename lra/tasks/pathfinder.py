"""Pathfinder (32 x 32) and Path-X (128 x 128): are the two circles joined by a dashed line?

Reads ``pathfinder{32,128}/curv_contour_length_14`` of the Long Range Arena release, or of
`lra.tasks.pathfinder_generator`: ``metadata/<k>.npy`` are text files despite their name, a line for each image
``subdir file index label ...``; images are ``imgs/<k>/sample_<j>.png``. Metadata files in the order of their numbers,
lines in order, then the reference's permutation (seed 42): 160,000 of 200,000 images train, 20,000 validate, 20,000
test.

The release holds two different folders pathfinder128, and people report that with one of them labels do not belong to
the images (long-range-arena issue 38). Like S4 and S5 this file prefers ``lra_release/lra_release/pathfinder128``; the
folder that was read, the number of repeated images, and how many of those carry both labels are in the manifest.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lra.errors import DataError
from lra.tasks.conversion import convert_once
from lra.tasks.converted import Converted, open_converted
from lra.tasks.image import normalised_pixels
from lra.tasks.reading import DAMAGED, read_file, read_npy
from lra.tasks.sources import find_source
from lra.tasks.splits import torch_permutation
from lra.tasks.task import Split, Task
from lra.tasks.writer import Writer
from theory.errors import MissingDependencyError

EMPTY_IN_RELEASE = "pathfinder32/curv_baseline/imgs/0/sample_172.png"
PNG = b"\x89PNG\r\n\x1a\n"
LARGEST_IMAGE = 1 << 20  # bytes; those of Path-X have 8,000
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")  # eight bits a channel or less
BATCH = 512  # images decoded at a time


def load_pathfinder(
    path: str | None = None,
    resolution: int = 32,
    level: str = "curv_contour_length_14",
    centre: bool = True,
    threads: int = 2,
) -> Task:
    """Return the task: (batch, resolution**2, 1), row by row.

    Parameters
    ----------
    path : str, optional
        Folder that holds the release, ``pathfinder32`` or its level; default: the environment variable LRA_DATA.
    resolution : int
        32, 64, 128 or 256; 128 is Path-X.
    level : str
        Subfolder; the published results use ``curv_contour_length_14``.
    centre : bool
        Pixels in [-1, 1] as in S5 and S4 v3; False: in [0, 1] as in S4 v4.
    threads : int
        Images decoded at the same time, at conversion.

    Raises
    ------
    DataError
        No data found, a metadata line is damaged, or an image is missing or damaged.
    """
    name = f"pathfinder{resolution}"
    help_text = (
        f"Pathfinder needs {name}/{level} with imgs/ and metadata/: unpack the Long Range Arena release "
        "(lra_release.gz, Google Research), where it lies in lra_release/lra_release/, or make it: "
        "python -m lra data pathfinder FOLDER"
    )
    kind = f"{name}-{level}"
    prefixes = ("lra_release/lra_release/", "lra_release/", "")
    layout, place = find_source(path, [("folder", f"{p}{name}/{level}") for p in prefixes], help_text)
    if layout == "converted":
        data = open_converted(place, kind)
    else:
        metadata = metadata_files(place, help_text)
        data = convert_once(
            kind,
            [*metadata, place / "imgs"],
            lambda writer: convert_pathfinder(writer, place, resolution, threads),
            root=place,
        )
    return _task(data, resolution, centre)


def metadata_files(folder: Path, help_text: str = "") -> list[Path]:
    """Return ``metadata/<k>.npy`` in the order of k."""
    files = list((folder / "metadata").glob("*.npy"))
    numbered = [file for file in files if file.stem.isascii() and file.stem.isdigit() and len(file.stem) < 19]
    if not numbered or len(numbered) < len(files) or not (folder / "imgs").is_dir():
        raise DataError(f"{folder} lacks imgs/ or metadata/<number>.npy. {help_text}")
    return sorted(numbered, key=lambda file: int(file.stem))


def read_metadata(path: Path, text: bytes) -> list[tuple[str, int]]:
    """Return (image below the level's folder, label) of each line of a metadata file."""
    rows = []
    if text.startswith(b"\x93NUMPY"):  # the original generator's own form
        try:
            table = read_npy(io.BytesIO(text))
        except DAMAGED as error:
            raise DataError(f"{path} is a damaged npy file ({error}); fetch it again") from error
        text = "\n".join(" ".join(map(str, row)) for row in np.atleast_2d(table)).encode()
    for number, line in enumerate(text.decode("ascii", "replace").splitlines(), start=1):
        fields = line.split()
        if len(fields) != 11 or fields[3] not in ("0", "1") or not fields[1].endswith(".png"):
            raise DataError(
                f"{path}: line {number} is {line[:60]!r}, not 'subdir file.png index label continuity ...' "
                "(11 fields); fetch it again"
            )
        name = PurePosixPath(fields[0], fields[1])
        if name.is_absolute() or ".." in name.parts:
            raise DataError(
                f"{path}: line {number} names {str(name)!r}, which lies outside of the data; fetch it again"
            )
        rows.append((f"{fields[0]}/{fields[1]}", int(fields[3])))
    if not rows:
        raise DataError(f"{path} is empty; fetch it again")
    return rows


def read_image(path: Path, raw: bytes, resolution: int) -> np.ndarray:
    """Return the pixels (resolution**2,) uint8 of a PNG file."""
    image_module = pillow()
    width, height = (int.from_bytes(raw[start : start + 4], "big") for start in (16, 20))  # of the first chunk
    if raw[:8] == PNG and (height, width) != (resolution, resolution):  # before it is unpacked
        raise DataError(f"{path} has {height} x {width} pixels, not {resolution} x {resolution}")
    try:
        with image_module.open(io.BytesIO(raw), formats=("PNG",)) as image:
            if image.mode not in MODES:
                raise ValueError(f"its pixels are of kind {image.mode}, not bytes")
            pixels = np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"{path} ({len(raw)} bytes) is not a complete PNG image ({error}); unpack it again") from error
    return pixels.reshape(-1)


def pillow() -> Any:
    """Return Pillow's module ``Image``, or say how to install it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError("pillow", "lra") from error
    return Image


def convert_pathfinder(writer: Writer, folder: Path, resolution: int, threads: int = 2) -> dict[str, Any]:
    """Write ``x (N, resolution**2) uint8, y`` in the release's order; return the folder and what is repeated in it."""
    rows: list[tuple[str, int]] = []
    for file in metadata_files(folder):
        rows += read_metadata(file, writer.read(file))
    rows = [row for row in rows if not f"{folder.parent.name}/{folder.name}/{row[0]}".endswith(EMPTY_IN_RELEASE)]
    if len(rows) < 3:
        raise DataError(f"{folder / 'metadata'} lists {len(rows)} images; fetch it again")
    x = writer.array("x", (len(rows), resolution**2), np.uint8)
    y = writer.array("y", (len(rows),), np.int32)
    y[:] = [label for _, label in rows]
    labels_of: dict[bytes, int] = {}
    repeated = 0
    for i, pixels in enumerate(_decoded(writer, folder, [name for name, _ in rows], resolution, threads)):
        x[i] = pixels
        key = hashlib.blake2b(pixels.tobytes(), digest_size=12).digest()
        repeated += key in labels_of
        labels_of[key] = labels_of.get(key, 0) | (1 << int(y[i]))
    contradictory = sum(both == 3 for both in labels_of.values())
    return {
        "folder": str(folder.resolve()),
        "images": len(rows),
        "joined": int(y.sum()),
        "repeated_images": repeated,
        "images_with_both_labels": contradictory,
    }


def _decoded(writer: Writer, folder: Path, names: list[str], resolution: int, threads: int) -> Iterator[np.ndarray]:
    def decode(name: str) -> tuple[np.ndarray, bytes]:
        path = folder / name
        raw = read_file(path, folder, LARGEST_IMAGE)
        return read_image(path, raw, resolution), hashlib.sha256(raw).digest()

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            for name, (pixels, digest) in zip(batch, pool.map(decode, batch)):
                writer.record(name, digest)
                yield pixels


def _task(data: Converted, resolution: int, centre: bool) -> Task:
    n = len(data["y"])
    x, y = data.images(n, (resolution**2,)), data.labels(n, 2)
    order = torch_permutation(n, seed=42)
    n_validation = n_test = n // 10
    n_train = n - n_validation - n_test
    split = functools.partial(Split, x=x, y=y)
    middle = 0.5 if centre else 0.0
    return Task(
        name="pathx" if resolution == 128 else f"pathfinder{resolution}" if resolution != 32 else "pathfinder",
        train=split(indices=order[:n_train]),
        validation=split(indices=order[n_train : n_train + n_validation]),
        test=split(indices=order[n_train + n_validation :]),
        d_input=1,
        n_classes=2,
        L=resolution**2,
        prepare=normalised_pixels((middle,), (0.5 if centre else 1.0,)),
    )
