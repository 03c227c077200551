"""A comparison with a look: the data of :class:`ssmreduce.results.Findings`, printed, drawn, written as a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssmreduce.files.writing import write_files
from ssmreduce.results import Findings
from ssmreduce.view import plot as figures
from ssmreduce.view.pages import comparison_sheet
from ssmreduce.view.report import html

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Comparison(Findings):
    """Every method at every order, on one layer; see :class:`ssmreduce.results.Findings` for its attributes."""

    def __str__(self) -> str:
        return str(comparison_sheet(self))

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw errors, bounds and floor over the order, Hankel singular values and poles.

        Parameters
        ----------
        path : path, optional
            Where to write the figure, whole or not at all; the suffix (png, svg, pdf) is the format.

        Raises
        ------
        MissingDependencyError
            Matplotlib is not installed.
        InputError
            The suffix is no known format.
        OSError
            The file cannot be written (:class:`CheckpointIOError`).
        """
        form = "" if path is None else figures.checked_format(str(path))
        figure = figures.plot(self)
        if path is not None:
            write_files({Path(path): figures.image(figure, form)})
        return figure

    def to_html(self, path: str | Path | None = None) -> str:
        """Return the self-contained HTML report; write it to `path` if given, whole or not at all.

        Without matplotlib the report has no figure, and says so.

        Raises
        ------
        OSError
            The file cannot be written (:class:`CheckpointIOError`).
        """
        page = html(self)
        if path is not None:
            write_files({Path(path): page.encode()})
        return page


class ComparisonInterrupted(KeyboardInterrupt):
    """A comparison was interrupted; ``finished`` holds the rows that were certified until then."""

    def __init__(self, finished: Comparison) -> None:
        self.finished = finished
        super().__init__(str(finished.provenance["interrupted"]))
