"""Progress of long work, on the error stream: a bar on a terminal, a line now and then elsewhere.

Both move while one job takes long, from a thread of their own: the bar turns and counts seconds, the lines count them.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)``: jobs done, jobs in all, the job that starts now."""


SHORTEST = 1e-3
"""Seconds that the line-writing thread sleeps at least: it shares the interpreter with the work."""


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
    if quiet or target is None:
        yield silent
        return
    if not target.isatty():
        with _lines(target, every) as report:
            yield report
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    shown = (
        SpinnerColumn(),
        TextColumn("{task.description:<40}", markup=False),
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


@contextmanager
def _lines(stream: TextIO, every: float) -> Iterator[Progress]:
    """One line now and then: when a job starts, or when one has been going on for as long."""
    told = started = time.monotonic()
    state = ""
    ended = threading.Event()

    def tell(line: str) -> None:
        nonlocal told
        told = time.monotonic()
        with suppress(OSError, ValueError):  # nobody reads: the work goes on
            print(line, file=stream, flush=True)

    def report(done: int, total: int, what: str) -> None:
        nonlocal state, started
        state, started = f"{done}/{total} {what}", time.monotonic()
        if started - told >= every:
            tell(state)

    def beat() -> None:
        while not ended.wait(max(told + every - time.monotonic(), SHORTEST)):
            now = time.monotonic()
            if state and now - told >= every:
                tell(f"{state} ({now - started:.0f} s)")

    teller = threading.Thread(target=beat, name="progress", daemon=True)
    if every > 0:
        teller.start()
    try:
        yield report
    finally:
        ended.set()
        if every > 0:
            teller.join()
