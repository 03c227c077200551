"""What a method looks like in every figure: its colour and marker; which curves are one; where labels go.

The hue says the kind of method (Okabe and Ito's colours, safe for the colour-blind), lightness and marker which one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.results import Findings

Array = NDArray[Any]

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")

SHADES: dict[str, dict[str, tuple[str, ...]]] = {
    "light": {
        "balancing": ("#0072B2", "#3FA0DD", "#00436B", "#6C7BD0", "#1F9EA8", "#30308C", "#7FB2D6", "#0F5C8A"),
        "descent": ("#009E73", "#00583F", "#5DB075", "#2E7D32", "#8A9A00"),
        "selection": ("#D55E00", "#E69F00", "#8C3B00", "#B8860B", "#F08A5D"),
        "recorded": ("#B0508A", "#6E2A63", "#D48BBB", "#8E44AD"),
        "baseline": ("#555555", "#8A8A8A", "#A39387", "#6B7F86"),
    },
    "dark": {
        "balancing": ("#56B4E9", "#2F8FD0", "#A6D8F5", "#9FA8F0", "#4CC9D4", "#7C83E0", "#C4DDF0", "#5E9BD6"),
        "descent": ("#2CCB9B", "#7BE3C0", "#9BD77E", "#5BBF6A", "#C9D64B"),
        "selection": ("#F2812E", "#F5BE41", "#D97B4A", "#E0C06A", "#FFAE87"),
        "recorded": ("#E08BC0", "#B77FD0", "#F2B7DA", "#C792EA"),
        "baseline": ("#B5B5B5", "#8F8F8F", "#C9BBAF", "#93A7AE"),
    },
}
"""Colours of each kind of method on white and on black paper."""

OTHER = "balancing"
"""Kind whose colours methods of an unknown kind have."""

LONGEST = 24
"""Letters of a name in a label."""

WIDEST = 30
"""Letters of the names in a label together."""

MOST_APART = 2
"""Orders at which a curve that otherwise lies on another may differ for its label to say so."""

SAME = 2e-3
"""Relative difference of two values that a figure cannot show: that of the ends of an error bracket."""


CONTRAST = 4.5
"""Of a name's colour with the paper, as the W3C's guidelines ask for text of this size."""


def contrast(colour: str, paper: str) -> float:
    """Ratio of the luminances of two colours, from 1 to 21 (WCAG 2, relative luminance)."""
    bright, dark = sorted((_luminance(_channels(colour)), _luminance(_channels(paper))), reverse=True)
    return float((bright + 0.05) / (dark + 0.05))


def readable(colour: str, ink: str, paper: str) -> str:
    """The colour, with as much of the ink in it as letters need to be read on this paper."""
    own, black = _channels(colour), _channels(ink)
    for part in np.linspace(0.0, 1.0, 21):
        mixed = "#" + "".join(f"{round(255 * value):02x}" for value in (1.0 - part) * own + part * black)
        if contrast(mixed, paper) >= CONTRAST:
            return mixed
    return ink


def _channels(colour: str) -> Array:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


def _luminance(channels: Array) -> float:
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colour and marker of a method."""

    colour: str
    marker: str


def looks(findings: Findings, paper: str = "light") -> dict[str, Look]:
    """Look of every method of a comparison, by name: the same in all its figures."""
    found: dict[str, Look] = {}
    count: dict[str, int] = {}
    for method in findings.methods:
        family = findings.of(method)[0].family
        family = family if family in SHADES[paper] else OTHER
        i = count.get(family, 0)
        count[family] = i + 1
        shades = SHADES[paper][family]
        found[method] = Look(
            colour=shades[i % len(shades)], marker=MARKERS[(i + 3 * list(SHADES[paper]).index(family)) % len(MARKERS)]
        )
    return found


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """One line of a panel: what one or more methods have at the orders that they delivered.

    Attributes
    ----------
    names : tuple of str
        Methods whose values are these; the first one's look is drawn.
    orders, values : ndarray, shape (K,)
    low, high : ndarray, shape (K,), or None
        Quartiles over the channels of a batch.
    note : str
        Whose curve this one lies on, at most orders.
    first : bool
        No other is lower at one of the orders; see :func:`leading`.
    """

    names: tuple[str, ...]
    orders: Array
    values: Array
    low: Array | None = None
    high: Array | None = None
    note: str = ""
    first: bool = False

    @property
    def label(self) -> str:
        """The names, as ``last = modal``: as many as there is room for, cut short if need be; and the note."""
        names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in self.names]
        shown = names[:1]
        while len(shown) < len(names) and len(" = ".join([*shown, names[len(shown)]])) <= WIDEST:
            shown.append(names[len(shown)])
        rest = [f"{len(names) - len(shown)} more"] if len(shown) < len(names) else []
        return " = ".join([*shown, *rest]) + self.note


def merged(curves: Sequence[Curve], *, notes: bool = False) -> list[Curve]:
    """The curves that can be told apart: equal ones are one; with `notes`, one that mostly lies on another says so."""
    found: list[Curve] = []
    for curve in curves:
        twin = next((i for i, other in enumerate(found) if _apart(curve, other) == []), None)
        if twin is None:
            found.append(curve)
        else:
            found[twin] = _with(found[twin], names=(*found[twin].names, *curve.names))
    for i, curve in enumerate(found if notes else []):
        for other in found[:i]:
            apart = _apart(curve, other)
            if apart and len(apart) <= MOST_APART and 2 * len(apart) < curve.orders.size:
                found[i] = _with(curve, note=f" (= {other.names[0]} but at {', '.join(map(str, apart))})")
                break
    return found


def leading(curves: Sequence[Curve]) -> list[Curve]:
    """The curves, those marked that are the lowest at one of their orders, within what a figure can show."""
    lowest: dict[int, float] = {}
    for curve in curves:
        for order, value in zip(curve.orders.tolist(), curve.values.tolist(), strict=True):
            lowest[order] = min(value, lowest.get(order, np.inf))
    return [
        _with(curve, first=bool(np.any(curve.values <= (1.0 + SAME) * np.array([lowest[i] for i in curve.orders]))))
        for curve in curves
    ]


def _with(curve: Curve, **changed: Any) -> Curve:
    return Curve(**{**vars(curve), **changed})


def _apart(one: Curve, other: Curve) -> list[int] | None:
    """Orders at which two curves differ; None where they do not have the same orders."""
    if one.orders.size != other.orders.size or (one.orders != other.orders).any():
        return None
    differ = np.abs(one.values - other.values) > SAME * np.maximum(np.abs(one.values), np.abs(other.values))
    found: list[int] = one.orders[differ].tolist()
    return found


def ceiling(values: Mapping[str, Sequence[tuple[int, float]]], families: Mapping[str, str]) -> float:
    """Upper end of a linear axis on which what matters can be read: the best of every kind, and little more.

    Baselines do not count: what they lose would ruin the scale. Nothing is shown beyond a few times the winners.
    """
    best: dict[tuple[str, int], float] = {}
    for method, points in values.items():
        for order, value in points:
            for key in ((families[method], order), ("", order)):
                best[key] = min(value, best.get(key, np.inf))
    winners = max((value for (kind, _), value in best.items() if not kind), default=1.0)
    kinds = max((value for (kind, _), value in best.items() if kind not in ("", "baseline")), default=winners)
    everything = max((value for points in values.values() for _, value in points), default=1.0)
    return 1.06 * min(everything, max(1.25 * winners, min(1.1 * kinds, 3.0 * winners)))


def placed(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights next to the wanted ones, each at least a gap from the others, between `low` and `high` if they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    clusters: list[list[int]] = []

    def middle(cluster: list[int]) -> float:
        half = 0.5 * gap * (len(cluster) - 1)
        return float(np.clip(np.mean([wanted[i] for i in cluster]), low + half, max(high - half, low + half)))

    for i in order:
        clusters.append([i])
        while len(clusters) > 1:
            below, above = clusters[-2], clusters[-1]
            if middle(above) - middle(below) >= 0.5 * gap * (len(below) + len(above)) - 1e-12:
                break
            clusters[-2:] = [[*below, *above]]
    found = [0.0] * len(wanted)
    for cluster in clusters:
        start = middle(cluster) - 0.5 * gap * (len(cluster) - 1)
        for k, i in enumerate(cluster):
            found[i] = start + k * gap
    return found
