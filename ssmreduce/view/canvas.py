"""What all figures stand on: an empty figure, names as they are, formats, bytes.

Matplotlib is imported here and when used only (the extra ``plot``). Figures are drawn without pyplot, so no display,
no global state and no style of the caller is touched.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from ssmreduce.view.text import shown
from theory.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, safe for the colour-blind, dark enough for print; each with a marker of its own.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C510A")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FLOOR = "#333333"
FORMATS = ("png", "svg", "pdf")
SIZE = 10.0

Paper = Literal["light", "dark"]

INKS: dict[Paper, dict[str, str]] = {
    "light": {"paper": "#ffffff", "ink": "#1d2329", "soft": "#5a646e", "grid": "#e1e4e8", "floor": "#333333"},
    "dark": {"paper": "#14181d", "ink": "#e4e8ec", "soft": "#a3adb7", "grid": "#323a42", "floor": "#d5dae0"},
}
"""Colours of everything but the curves, on white and on black paper."""


@contextmanager
def on(paper: Paper) -> Iterator[dict[str, str]]:
    """Draw on white or black paper: what is drawn inside has its ink."""
    inks = INKS[paper]
    try:
        import matplotlib
    except ImportError:
        raise MissingDependencyError("matplotlib", "plot") from None
    names = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color", "axes.edgecolor")
    settings: dict[str, Any] = dict.fromkeys(names, inks["ink"])
    settings |= {"axes.facecolor": inks["paper"], "figure.facecolor": inks["paper"], "savefig.facecolor": "auto"}
    settings |= {"axes.spines.top": False, "axes.spines.right": False, "font.size": SIZE}
    settings |= {"figure.autolayout": False, "figure.constrained_layout.use": False}
    with matplotlib.rc_context(settings), letters():
        yield inks


@contextmanager
def letters() -> Iterator[None]:
    """Let a letter of a layer's name that the font lacks be drawn as a box, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def figure_of(width: float, height: float) -> Figure:
    """An empty figure of this size in inches; MissingDependencyError without matplotlib."""
    try:
        import matplotlib  # noqa: F401 - names what is missing, if its modules came before
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError("matplotlib", "plot") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def logarithmic(axes: Axes) -> None:
    """A logarithmic axis with some plain numbers, however short it is; decades where it is long."""
    from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, LogLocator, MaxNLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_minor_formatter(NullFormatter())
    if not 0 < low < high < 1e3 * low:
        axes.yaxis.set_major_locator(LogLocator())
        axes.yaxis.set_major_formatter(LogFormatterSciNotation())
        return
    if high < 4 * low:
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    else:
        every = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0) if high < 20 * low else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(LogLocator(subs=every))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))


def order_ticks(axes: Axes, orders: Sequence[int], apart: float = 0.05) -> None:
    """Ticks at the orders, and none closer to the one before than this part of the axis: their numbers would touch."""
    axes.set_xticks(orders)
    low, high = axes.get_xlim()
    kept: list[int] = []
    for order in orders:
        if not kept or order - kept[-1] >= apart * (high - low):
            kept.append(order)
    axes.set_xticks(kept)


def literal(name: object) -> str:
    """A name as matplotlib is to draw it: dollar signs do not start mathematics."""
    return shown(name).replace("$", r"\$")


def require_matplotlib() -> None:
    """Raise MissingDependencyError if matplotlib is not installed."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError("matplotlib", "plot")


def checked_format(name: str) -> str:
    """Format of a figure file by its suffix; InputError for one that is not offered."""
    suffix = name.rpartition(".")[2].lower()
    if suffix not in FORMATS or suffix == name.lower():
        raise InputError(f"{name}: the suffix must be one of {', '.join('.' + known for known in FORMATS)}")
    return suffix


def image(figure: Figure, form: str = "png", dpi: int = 150) -> bytes:
    """Return a figure as bytes."""
    import matplotlib

    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form, {})
    with matplotlib.rc_context({"svg.hashsalt": "ssmreduce"}), letters():
        figure.savefig(buffer, format=form, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
