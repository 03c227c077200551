"""A comparison with a look: the data of :class:`ssmreduce.results.Findings`, printed, drawn, written as a report."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssmreduce.files.writing import write_files
from ssmreduce.results import Findings, Row
from ssmreduce.view import plot as figures
from ssmreduce.view.canvas import checked_format, image
from ssmreduce.view.pages import comparison_sheet, describe
from ssmreduce.view.report import fragment, html
from ssmreduce.view.text import ends, outward
from ssmreduce.view.verdict import verdict, why, why_order
from theory.errors import InputError, ToleranceError, optional_package
from theory.norms.bracket import Bracket

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best row of a comparison, and why; see :meth:`Comparison.best`.

    Attributes
    ----------
    row : Row
    reason : str
        One sentence, with the numbers of the rows.
    """

    row: Row
    reason: str

    @property
    def method(self) -> str:
        """Name of the method; :func:`ssmreduce.reduce` takes it."""
        return self.row.method

    @property
    def order(self) -> int:
        """Order of the row."""
        return self.row.order

    @property
    def error(self) -> Bracket:
        """Certified error of the row."""
        assert self.row.error is not None
        return self.row.error

    def __str__(self) -> str:
        return self.reason


class Comparison(Findings):
    """Every method at every order, on one layer; see :class:`ssmreduce.results.Findings` for its attributes."""

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        what = describe(self)[0].partition(":")[0]
        orders = ", ".join(map(str, self.orders))
        return f"Comparison({what}, {len(self.methods)} methods at orders {orders}, norm <= {ends(self.norm)[1]})"

    def _repr_html_(self) -> str:
        return fragment(self)

    def table(self, *, every: bool = False) -> str:
        """Return the table as text: the best method of each kind at each order, or every row.

        Methods that were asked for by name have all their rows in either.
        """
        return str(comparison_sheet(self, every=every, how="print(comparison.table(every=True))"))

    @property
    def verdict(self) -> str:
        """One line in words: the best method of every order, how far from the floor, and what LAST loses."""
        return verdict(self)

    def best(self, order: int | None = None, *, error: float | None = None) -> Choice:
        """Choose the row with the smallest certified error of an order, or of the smallest order that is good enough.

        Parameters
        ----------
        order : int, optional
            One of :attr:`orders`.
        error : float, optional, keyword only
            Instead of `order`: the smallest order compared at which the upper end of an error is at most this.

        Returns
        -------
        Choice
            ``.row``, ``.method``, ``.order``, ``.error``, ``.reason``.

        Raises
        ------
        InputError
            Not exactly one of both; an order that was not compared, or that no method delivered; NaN.
        ToleranceError
            No row has so small an error; carries the smallest one.
        """
        if (order is None) == (error is None):
            raise InputError("give either order or error")
        if error is None:
            row = None if order is None else self.winner(order)
            if row is None:
                there = [one for one in self.orders if self.winner(one) is not None]
                raise InputError(f"no certified error at order {order!r}; there is one at {there or 'none'}")
            return Choice(row=row, reason=why(self, row))
        if math.isnan(error):
            raise InputError("error must be a number, got NaN")
        smallest = math.inf
        for row in map(self.winner, self.orders):
            if row is not None and row.error is not None:
                if row.error.upper <= error:
                    return Choice(row=row, reason=why_order(self, row, error))
                smallest = min(smallest, float(row.error.upper))
        raise ToleranceError(
            f"no row has a certified error of at most {error:g}; the smallest is {outward(smallest, 1)}: "
            "compare larger orders",
            error,
            smallest,
        )

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return the rows as comma-separated values, one column a number; write them to `path` if given.

        Raises
        ------
        OSError
            The file cannot be written (:class:`CheckpointIOError`).
        """
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(Row(method="", order=0, floor=0.0).record()), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.records())
        text = stream.getvalue()
        if path is not None:
            write_files({Path(path): text.encode()})
        return text

    def to_frame(self) -> Any:
        """Return the rows as a pandas DataFrame, one column a number.

        Raises
        ------
        MissingDependencyError
            Pandas is not installed.
        """
        return optional_package("pandas", "frame").DataFrame(self.records())

    def plot(self, path: str | Path | None = None, *, ax: Axes | None = None) -> Figure:
        """Draw errors, bounds and floor over the order, Hankel singular values and poles.

        Parameters
        ----------
        path : path, optional
            Where to write the figure, whole or not at all; the suffix (png, svg, pdf) is the format.
        ax : Axes, optional, keyword only
            Draw the errors alone, into these axes; their figure is returned.

        Raises
        ------
        MissingDependencyError
            Matplotlib is not installed.
        InputError
            The suffix is no known format.
        OSError
            The file cannot be written (:class:`CheckpointIOError`).
        """
        form = "" if path is None else checked_format(str(path))
        if ax is None:
            figure = figures.plot(self)
        else:
            figures.draw_errors(self, ax)
            figure = ax.figure  # type: ignore[assignment]
        if path is not None:
            write_files({Path(path): image(figure, form)})
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
