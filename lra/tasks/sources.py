"""Where data lie: the folder that the user gave, and the places inside it where a release may have been unpacked."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lra.errors import DataError
from lra.tasks.conversion import is_converted


def find_source(path: str | None, candidates: Sequence[tuple[str, str]], help_text: str) -> tuple[str, Path]:
    """Return (label, place) of the first layout that is there.

    Parameters
    ----------
    path : str, optional
        A folder or a file; default: the environment variable LRA_DATA. A folder that was converted earlier
        is returned with the label ``"converted"``.
    candidates : sequence of (label, relative name)
        Layouts in order of preference; each is a file or folder below `path`, or is `path` itself if the last
        parts of its name agree.
    help_text : str
        What to fetch and where to put it; ends the error message.

    Raises
    ------
    DataError
        No path was given, it does not exist, or none of the layouts is there.
    """
    given = path or os.environ.get("LRA_DATA")
    if not given:
        raise DataError(f"no data folder: give --data or set LRA_DATA. {help_text}")
    root = Path(given)
    if not root.exists():
        raise DataError(f"{root} does not exist. {help_text}")
    if is_converted(root):
        return "converted", root
    for label, name in candidates:
        parts = Path(name).parts
        for skipped in range(len(parts) + 1):  # the user may point anywhere along the release's tree
            if root.parts[len(root.parts) - skipped :] != parts[:skipped]:
                continue
            place = root.joinpath(*parts[skipped:])
            if place.exists():
                return label, place
    names = ", ".join(name for _, name in candidates)
    raise DataError(f"{root} holds none of {names}. {help_text}")


def read_npz(path: Path, arrays: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return named arrays of an npz file, each with the number of axes that is expected.

    Raises
    ------
    DataError
        The file is cut short or lacks an array.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found = {name: file[name] for name in arrays}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or lacks an array ({error}); copy it again") from error
    for name, axes in arrays.items():
        if found[name].ndim != axes:
            raise DataError(f"{path}: array {name!r} has shape {found[name].shape}, not {axes} axes")
    return found


def check_labels(path: Path, y: np.ndarray, n: int, n_classes: int) -> np.ndarray:
    """Return `y` as int32 if it has `n` labels of 0..n_classes-1."""
    if y.shape != (n,) or y.dtype.kind not in "iu":
        raise DataError(f"{path}: labels are {y.dtype} {y.shape}, not {n} integers")
    wrong = np.flatnonzero((y < 0) | (y >= n_classes))
    if len(wrong):
        raise DataError(f"{path}: row {wrong[0]} has label {y[wrong[0]]}, not one of 0..{n_classes - 1}")
    return y.astype(np.int32)
