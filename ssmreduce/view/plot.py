"""Figures: errors, bounds and floor over the order; Hankel singular values; poles kept and dropped.

Matplotlib is imported here and when used only (the extra ``plot``). Figures are drawn without pyplot, so no display,
no global state and no style of the caller is touched.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ssmreduce.results import Findings, Row
from ssmreduce.view.text import shown
from theory.arithmetic.rounding import EPS
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


def figure_of(width: float, height: float) -> Figure:
    """An empty figure of this size in inches; MissingDependencyError without matplotlib."""
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError("matplotlib", "plot") from None
    matplotlib.rcParams["svg.hashsalt"] = "ssmreduce"
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot(comparison: Findings) -> Figure:
    """Draw the four panels on one page.

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    figure = figure_of(12.0, 9.6)
    grid = figure.subplots(2, 2, gridspec_kw={"width_ratios": [1.25, 1.0]})
    draw_errors(comparison, grid[0, 0])
    draw_hankel(comparison, grid[0, 1])
    order = showcase_order(comparison)
    selecting = _best(row for row in _at(comparison, order) if row.kept is not None and row.kept.ndim == 1)
    making = _best(row for row in _at(comparison, order) if row.kept is None and row.poles is not None)
    draw_poles(comparison, making, grid[1, 0])
    draw_poles(comparison, selecting, grid[1, 1])
    name = literal(comparison.subject.get("name") or comparison.subject["kind"])
    figure.suptitle(f"{name}: {comparison.subject['states']} stored states, every reduction", fontsize=SIZE + 3)
    return figure


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
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form, {})
    with warnings.catch_warnings():  # a letter of a layer's name that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure.savefig(buffer, format=form, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def showcase_order(comparison: Findings) -> int | None:
    """Order whose poles are drawn: the one closest to half the states."""
    half = comparison.subject["states"] / 2
    drawable = [row.order for row in comparison.rows if row.poles is not None]
    return min(drawable, key=lambda order: (abs(order - half), order), default=None)


def _at(comparison: Findings, order: int | None) -> list[Row]:
    return [row for row in comparison.rows if row.order == order and row.delivered]


def _best(rows: Iterable[Row]) -> Row | None:
    return min(rows, key=lambda row: float(row.error.upper) if row.error else np.inf, default=None)


def styles(comparison: Findings) -> dict[str, tuple[str, str]]:
    """Colour and marker of each method."""
    return {
        method: (COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
        for i, method in enumerate(comparison.methods)
    }


def _scales(comparison: Findings) -> tuple[float, float]:
    """Factors from gains to parts of the norm: rounded up for what lies above the error, down for what lies below."""
    lower, upper = float(comparison.norm.lower), float(comparison.norm.upper)
    if not upper > 0:
        return 1.0, 1.0
    return 1.0 / (lower if lower > 0 else upper), 1.0 / upper


def _told(row: Row) -> str:
    """The method for people, with the parameters that were changed."""
    _, bracket, changed = row.method.partition("(")
    return f"{row.title} {bracket}{changed}".strip() if row.title else row.method


def draw_errors(comparison: Findings, axes: Axes) -> None:
    """Relative error (bracket) and bound of each method over the order, and the floor that none can beat."""
    up, down = _scales(comparison)
    names = comparison.methods
    for i, (method, (colour, marker)) in enumerate(styles(comparison).items()):
        rows = [row for row in comparison.of(method) if row.relative_error is not None and row.relative_error.upper > 0]
        if not rows:
            continue
        order = np.array([row.order for row in rows])
        upper = np.array([row.relative_error.upper for row in rows if row.relative_error])
        lower = np.array([row.relative_error.lower for row in rows if row.relative_error])
        rank = 1.0 - i / max(len(names) - 1, 1)  # curves often coincide: later ones are smaller, and lie on top
        axes.plot(
            order,
            upper,
            color=colour,
            marker=marker,
            markersize=4.5 + 4.0 * rank,
            markerfacecolor="white" if i else colour,
            markeredgewidth=1.3,
            linewidth=1.1 + 1.3 * rank,
            label=literal(_told(rows[0])),
            zorder=3 + 0.1 * i,
        )
        is_open = lower < 0.9 * upper
        if is_open.any():
            foot = np.maximum(lower[is_open], 1e-3 * upper[is_open])
            axes.vlines(order[is_open], foot, upper[is_open], color=colour, linewidth=3, alpha=0.5)
        bounded = [(row.order, row.bound * up) for row in rows if row.bound is not None and 0 < row.bound < np.inf]
        if bounded:
            x, y = np.array(bounded).T
            axes.plot(x, y, color=colour, linestyle=(0, (4, 2)), linewidth=1.0, zorder=2)
    floors = sorted({row.order: row.floor * down for row in comparison.rows if row.delivered and row.floor > 0}.items())
    if floors:
        order, floor = np.array(floors).T
        axes.plot(
            order, floor, color=FLOOR, linewidth=2.0, label=r"floor $\sigma_{r+1}$: no method gets below", zorder=4
        )
        bottom = min(
            floor.min(),
            *(
                row.relative_error.upper
                for row in comparison.rows
                if row.relative_error and row.relative_error.upper > 0
            ),
        )
        axes.fill_between(order, bottom * 0.3, floor, color=FLOOR, alpha=0.12, linewidth=0)
        axes.set_ylim(bottom=bottom * 0.3)
    axes.plot([], [], color="0.3", linestyle=(0, (4, 2)), linewidth=1.0, label="dashed: a-priori bound of the method")
    axes.set_yscale("log")
    axes.set_xticks(comparison.orders)
    axes.set_xlabel("order of the reduced layer (stored states)")
    axes.set_ylabel(r"$\|G-G_r\|_\infty\,/\,\|G\|_\infty$")
    axes.set_title("Certified error")
    axes.grid(True, which="major", color="0.88", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(fontsize=SIZE - 2, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)


def draw_hankel(comparison: Findings, axes: Axes) -> None:
    """Hankel singular values, and where each order cuts them."""
    hsv = np.asarray(comparison.hsv)
    index = np.arange(1, hsv.size + 1)
    if hsv.size and hsv[0] > 0:
        visible = hsv > 0
        axes.plot(index[visible], hsv[visible] / hsv[0], ".", color=COLOURS[0], markersize=4)
        rounding = hsv.size * EPS
        if (hsv / hsv[0]).min() < 10 * rounding:
            axes.axhspan(0.0, rounding, color="0.85", linewidth=0)
            axes.annotate("rounding", (index[0], rounding), fontsize=SIZE - 2, color="0.35", va="bottom")
        axes.set_yscale("log")
        factor = comparison.subject["real_states"] / max(comparison.subject["states"], 1)
        if not comparison.subject.get("batch"):

            def to_order(x: Any) -> Any:
                return (x - 0.5) / factor

            def to_index(x: Any) -> Any:
                return x * factor + 0.5

            for order in comparison.orders:
                axes.axvline(order * factor + 0.5, color="0.75", linewidth=0.8, zorder=0)
            top = axes.secondary_xaxis("top", functions=(to_order, to_index))
            top.set_xticks(comparison.orders)
            top.tick_params(labelsize=SIZE - 2)
            top.set_xlabel("order (stored states)", fontsize=SIZE - 1)
    axes.set_xlabel("index of the Hankel singular value")
    axes.set_ylabel(r"$\sigma_i/\sigma_1$")
    axes.set_title("Hankel singular values")
    axes.grid(True, axis="y", color="0.88", linewidth=0.7)


def draw_poles(comparison: Findings, row: Row | None, axes: Axes) -> None:
    """Poles of the layer, and what became of them.

    All poles sit next to the circle, so the radius is shown as the margin ``1 - |pole|`` on a logarithmic axis,
    against the angle: slow modes lie low, fast-decaying ones high.
    """
    poles, margin = np.asarray(comparison.poles).ravel(), np.asarray(comparison.margin).ravel()
    if row is None or poles.size == 0 or row.poles is None:
        axes.axis("off")
        return
    discrete = comparison.subject["dt"] is not None

    def where(values: Any) -> Any:
        angle = np.angle(values) if discrete else np.asarray(values).imag
        return np.abs(angle) if comparison.subject["real"] else angle

    colour, _ = styles(comparison)[row.method]
    if row.kept is not None and row.kept.ndim == 1:
        kept = np.zeros(poles.size, dtype=bool)
        kept[row.kept] = True
        axes.scatter(
            where(poles[~kept]),
            margin[~kept],
            s=24,
            facecolors="none",
            edgecolors="0.45",
            linewidths=0.9,
            label=f"dropped ({int((~kept).sum())})",
        )
        axes.scatter(where(poles[kept]), margin[kept], s=24, color=colour, label=f"kept ({int(kept.sum())})")
    else:
        made = np.asarray(row.poles).ravel()
        height = -np.expm1(np.log(np.abs(np.where(made == 0, 1e-300, made)))) if discrete else -made.real
        axes.scatter(
            where(poles),
            margin,
            s=24,
            facecolors="none",
            edgecolors="0.45",
            linewidths=0.9,
            label=f"of the layer ({poles.size})",
        )
        axes.scatter(
            where(made),
            height,
            s=30,
            color=colour,
            marker="x",
            linewidths=1.4,
            label=f"of the reduced layer ({made.size})",
        )
    axes.set_yscale("log")
    axes.set_xlabel("angle of the pole (rad/sample)" if discrete else "imaginary part of the pole (rad/s)")
    axes.set_ylabel(
        r"distance to the circle, $1-|\lambda|$" if discrete else r"distance to the axis, $-\mathrm{Re}\,\lambda$"
    )
    axes.set_title(f"Poles: {literal(_told(row))}, order {row.order}")
    axes.grid(True, color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(fontsize=SIZE - 2, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
