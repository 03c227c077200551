"""A sweep's folder: ``sweep.csv`` and ``sweep.json``, always whole, of one subject, written by one process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lra.errors import CheckpointIOError, ConfigError
from lra.lock import locked
from lra.sweep.grid import Point
from lra.sweep.result import Row, Sweep
from ssmreduce.files.writing import write_files

LOCK = "sweep.lock"


class Storage:
    """Rows by point; written after every group, as one step.

    Parameters
    ----------
    folder : Path or None
        None keeps them in memory.
    points : sequence of Point
        What is asked for now, in this order; other rows of the folder stay, after them.
    """

    def __init__(self, folder: Path | None, points: tuple[Point, ...], subject: dict[str, Any]) -> None:
        self.folder, self.points, self.subject = folder, points, subject
        self.whole: dict[str, Any] = {}
        self._rows: dict[Point, Row] = {}
        if folder is not None and (folder / "sweep.json").exists():
            self._read(folder / "sweep.json")

    def _read(self, path: Path) -> None:
        try:
            held = Sweep.from_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointIOError(f"cannot be read ({error.strerror})", path, error) from None
        for key in {**held.subject, **self.subject}:
            theirs, ours = held.subject.get(key), self.subject.get(key)
            if theirs != ours:
                raise ConfigError(
                    f"{path.parent} holds a sweep of something else: its {key} is {theirs!r}, asked for is {ours!r}; "
                    "choose another folder"
                )
        self.whole = held.whole
        self._rows = {row.point: row for row in held.rows}

    @property
    def missing(self) -> list[Point]:
        """What is still to be done."""
        return [point for point in self.points if point not in self._rows]

    @property
    def sweep(self) -> Sweep:
        """All rows that there are."""
        asked = [self._rows[point] for point in self.points if point in self._rows]
        others = [row for point, row in self._rows.items() if point not in set(self.points)]
        return Sweep(subject=self.subject, whole=self.whole, rows=(*asked, *others))

    def add(self, rows: list[Row]) -> None:
        """Keep more rows."""
        self._rows |= {row.point: row for row in rows}
        self.write()

    def write(self) -> None:
        """Write both files, whole or not at all."""
        if self.folder is not None:
            found = self.sweep
            texts = {"sweep.csv": found.to_csv(), "sweep.json": found.to_json()}
            write_files({self.folder / name: text.encode() for name, text in texts.items()})


@contextlib.contextmanager
def held(folder: Path | None) -> Iterator[None]:
    """Make the folder, and keep other processes out of it."""
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(f"{folder} is not a folder: name one for sweep.csv, sweep.json and sweep.png") from None
    with locked(folder / LOCK, wait=False, purpose="a sweep writes there; "):
        yield
