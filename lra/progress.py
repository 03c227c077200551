"""What a person sees while a model trains."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """A live bar on a terminal, a line now and then in a log file, nothing when quiet.

    Parameters
    ----------
    total, per_epoch : int
        Steps of the run and of an epoch.
    tokens : int
        Samples of all sequences of one step.
    first : int
        Step that the run starts (or goes on) from.
    quiet : bool
        Show nothing.
    """

    def __init__(self, total: int, per_epoch: int, tokens: int, first: int, quiet: bool) -> None:
        self.total, self.per_epoch, self.tokens, self.quiet = total, per_epoch, tokens, quiet
        self.live = sys.stderr.isatty() and not quiet
        self.console = Console(stderr=True)
        self.bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(
                "loss {task.fields[loss]:.4f}  acc {task.fields[accuracy]:.3f}  {task.fields[speed]:,.0f} tok/s"
            ),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.id = self.bar.add_task(
            "", total=total, completed=first, epoch=first // per_epoch + 1, loss=float("nan"), accuracy=0.0, speed=0.0
        )
        self.last_step, self.last_time, self.last_line = first, time.monotonic(), 0.0
        if first and not quiet:
            self.console.print(f"resuming at step {first} of {total}", highlight=False)

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def update(self, step: int, loss: float, accuracy: float) -> None:
        """Show the state after `step` steps."""
        now = time.monotonic()
        rate = (step - self.last_step) / max(now - self.last_time, 1e-9)
        self.last_step, self.last_time = step, now
        epoch = (step - 1) // self.per_epoch + 1
        self.bar.update(self.id, completed=step, epoch=epoch, loss=loss, accuracy=accuracy, speed=rate * self.tokens)
        if not self.live and not self.quiet and now - self.last_line > 10:
            self.last_line = now
            left = (self.total - step) / max(rate, 1e-9)
            self.console.print(
                f"epoch {epoch} step {step}/{self.total} loss {loss:.4f} acc {accuracy:.3f} "
                f"{rate * self.tokens:,.0f} tok/s, {left / 60:.1f} min left",
                highlight=False,
            )

    def epoch(self, record: dict[str, Any]) -> None:
        """Print the line of a finished epoch."""
        if not self.quiet:
            self.console.print(
                f"epoch {record['epoch']}: train loss {record['train_loss_mean']:.4f} "
                f"acc {record['train_accuracy']:.4f}, validation loss {record['validation_loss']:.4f} "
                f"acc {record['validation_accuracy']:.4f}, {record['seconds']:.0f} s",
                highlight=False,
            )
