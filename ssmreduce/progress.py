"""Progress of long work, on the error stream: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)``: jobs done, jobs in all, the job that starts now."""


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""


@contextmanager
def progress_bar(*, quiet: bool = False, stream: TextIO | None = None, every: float = 10.0) -> Iterator[Progress]:
    """Give a progress function that draws a bar on a terminal, and a line every few seconds on any other stream.

    Parameters
    ----------
    quiet : bool, keyword only
        Say nothing.
    stream : text stream, optional, keyword only
        The error stream by default, so that results on the output stream stay clean.
    every : float, keyword only
        Seconds between lines when the stream is no terminal.
    """
    target = sys.stderr if stream is None else stream
    if quiet:
        yield silent
        return
    if not target.isatty():
        yield _lines(target, every)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    shown = (
        TextColumn("{task.description:<40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*shown, console=Console(file=target), transient=True) as bar:
        task = bar.add_task("", total=None)

        def report(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what[:40])

        yield report


def _lines(stream: TextIO, every: float) -> Progress:
    """One line now and then."""
    import time

    last = time.monotonic()

    def report(done: int, total: int, what: str) -> None:
        nonlocal last
        if time.monotonic() - last >= every:
            last = time.monotonic()
            print(f"{done}/{total} {what}", file=stream, flush=True)

    return report
