"""Where data lie: the folder that the user gave, and the places inside it where a release may have been unpacked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lra.errors import DataError
from lra.tasks.converted import is_converted


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
