"""The log of a run, ``metrics.jsonl``: one JSON record a line, of increasing steps, also after the run was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lra.checkpoint import write_atomically

NAME = "metrics.jsonl"


def log(workdir: Path, record: dict[str, Any]) -> None:
    """Append a record, which has a ``step``."""
    with open(workdir / NAME, "a") as file:
        file.write(json.dumps(record) + "\n")


def cut(workdir: Path, step: int) -> None:
    """Drop the lines of steps after `step`, which will be run again, and a line cut short by the end of the process."""
    path = workdir / NAME

    def kept() -> Iterator[str]:
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                if json.loads(line)["step"] <= step:
                    yield line + "\n"
            except (ValueError, KeyError, TypeError):
                continue

    write_atomically(path, "".join(kept()).encode())
