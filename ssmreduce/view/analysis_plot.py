"""Figures of one analysis: Hankel singular values, gains over frequency, poles, errors over the order.

Each picture is a frozen value that :mod:`ssmreduce.curves` fills in, with its own ``draw``; nothing is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ssmreduce.view.canvas import COLOURS, FLOOR, MARKERS, SIZE, figure_of, literal, logarithmic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]

DECADES = 16
"""Decades below the largest value that a logarithmic axis shows at most: what lies lower is rounding."""


class Picture(Protocol):
    """What can be drawn into axes."""

    def draw(self, axes: Axes) -> None:
        """Draw into `axes`."""


def drawn(picture: Picture, ax: Axes | None = None) -> Axes:
    """Draw into `ax`, or into a figure of its own, and return the axes.

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    axes = figure_of(7.2, 4.8).subplots() if ax is None else ax
    picture.draw(axes)
    axes.title.set_fontsize(SIZE + 1)
    axes.legend(fontsize=SIZE - 2, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
    axes.grid(True, which="major", color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    return axes


@dataclass(frozen=True, eq=False, kw_only=True)
class HankelPicture:
    """Hankel singular values where they act: above order r lie the floor of r states and the bound of balancing.

    Attributes
    ----------
    values : ndarray, shape (channels, N)
    per_order : int
        Values that one stored state stands for: 2 for conjugate pairs.
    orders, floor, bound : ndarray, shape (K,)
        In the channel that is worst at each order.
    """

    name: str
    values: Array
    per_order: int
    orders: Array
    floor: Array
    bound: Array

    def draw(self, axes: Axes) -> None:
        """Draw the values as dots (of a batch: the range over channels), floor and bound as lines."""
        place = np.arange(self.values.shape[-1]) / self.per_order
        if len(self.values) == 1:
            axes.plot(place, _positive(self.values[0]), ".", color=COLOURS[0], label=r"$\sigma_i$")
        elif self.values.size:
            low, high = self.values.min(axis=0), self.values.max(axis=0)
            label = rf"$\sigma_i$, range over {len(self.values)} channels"
            axes.fill_between(place, np.maximum(low, 1e-300), high, color=COLOURS[0], alpha=0.2, label=label)
            axes.plot(place, _positive(np.median(self.values, axis=0)), ".", color=COLOURS[0], label="median channel")
        axes.step(
            self.orders,
            _positive(self.bound),
            "--",
            where="post",
            color=COLOURS[1],
            label="a-priori bound of balancing",
        )
        axes.step(
            self.orders,
            _positive(self.floor),
            where="post",
            color=FLOOR,
            linewidth=1.0,
            zorder=1.5,
            label="floor: no method gets below",
        )
        _logarithmic(axes, self.values.max(axis=0, initial=0.0), self.bound, self.floor)
        axes.set_xlabel("order r (stored states)")
        axes.set_ylabel("gain")
        axes.set_title(f"{literal(self.name)}: Hankel singular values")


@dataclass(frozen=True, eq=False, kw_only=True)
class GainPicture:
    """Largest singular values over frequency, and the witnesses of their certified peaks.

    Attributes
    ----------
    omega : ndarray, shape (K,), ascending
    gains : dict of str to ndarray, shape (K,)
        By the name of the curve.
    witnesses : dict of str to tuple of float
        Frequency and gain of the certified peak, by the name of a curve.
    """

    name: str
    omega: Array
    gains: dict[str, Array]
    witnesses: dict[str, tuple[float, float]]
    discrete: bool
    logarithmic: bool

    def draw(self, axes: Axes) -> None:
        """Draw one line a curve, one star a witness."""
        lines = ("-", "--", "-")
        for i, (label, gain) in enumerate(self.gains.items()):
            axes.plot(self.omega, _positive(gain), lines[i % 3], color=COLOURS[i], label=label, linewidth=1.5 - 0.2 * i)
            if label in self.witnesses:
                at, peak = self.witnesses[label]
                shown = min(max(at, self.omega[0]), self.omega[-1])
                told = f"certified peak {peak:.4g} at {at:.4g} {self._unit}{_beyond(at, shown)}"
                axes.plot(shown, peak, "*", color=COLOURS[i], markersize=12, markeredgecolor="white", label=told)
        if self.logarithmic:
            axes.set_xscale("log")
        _logarithmic(axes, *self.gains.values())
        axes.set_xlabel(f"frequency ({self._unit})")
        axes.set_ylabel("largest singular value")
        axes.set_title(f"{literal(self.name)}: frequency response")

    @property
    def _unit(self) -> str:
        return "rad/sample" if self.discrete else "rad/s"


@dataclass(frozen=True, eq=False, kw_only=True)
class PolePicture:
    """Poles by angle and stability margin, on a logarithmic axis: trained poles all sit next to the boundary.

    Attributes
    ----------
    groups : dict of str to tuple of ndarray
        Angles (imaginary parts in continuous time) and margins, by the name of the group.
    """

    name: str
    groups: dict[str, tuple[Array, Array]]
    discrete: bool

    def draw(self, axes: Axes) -> None:
        """Draw the first group as open circles, the second as crosses."""
        for i, (label, (angle, margin)) in enumerate(self.groups.items()):
            looks: dict[str, Any] = (
                {"facecolors": "none", "edgecolors": COLOURS[0]} if i == 0 else {"color": COLOURS[1], "marker": "x"}
            )
            axes.scatter(angle, margin, s=26, label=f"{label} ({angle.size})", **looks)
        logarithmic(axes)
        axes.set_xlabel("angle of the pole (rad/sample)" if self.discrete else "imaginary part of the pole (rad/s)")
        axes.set_ylabel(r"margin $1-|\lambda|$" if self.discrete else r"margin $-\mathrm{Re}\,\lambda$")
        axes.set_title(f"{literal(self.name)}: poles and their stability margins")


@dataclass(frozen=True, eq=False, kw_only=True)
class Loss:
    """One method over the orders that it delivered, each (K,): certified ends of the error, bound and floor."""

    orders: Array
    lower: Array
    upper: Array
    bound: Array
    floor: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class LossPicture:
    """Certified error, bound and floor over the order, for one or more methods by name."""

    name: str
    losses: dict[str, Loss]

    def draw(self, axes: Axes) -> None:
        """Draw errors as solid lines, bounds dashed, the lowest floor dark."""
        floor: dict[int, float] = {}
        for i, (label, loss) in enumerate(self.losses.items()):
            colour = COLOURS[i % len(COLOURS)]
            marker = MARKERS[i % len(MARKERS)]
            told = f"{literal(label)}: certified error"
            axes.plot(loss.orders, _positive(loss.upper), color=colour, marker=marker, label=told)
            axes.vlines(
                loss.orders, np.maximum(loss.lower, 1e-3 * loss.upper), loss.upper, color=colour, linewidth=3, alpha=0.5
            )
            axes.plot(loss.orders, _positive(loss.bound), "--", color=colour, linewidth=1.0, label="its a-priori bound")
            for order, value in zip(loss.orders.tolist(), loss.floor.tolist(), strict=True):
                floor[order] = min(value, floor.get(order, np.inf))
        at = sorted(floor)
        told = "floor: no method gets below"
        axes.plot(at, _positive(np.array([floor[order] for order in at])), color=FLOOR, linewidth=2.0, label=told)
        _logarithmic(axes, *(part for loss in self.losses.values() for part in (loss.upper, loss.floor, loss.bound)))
        axes.set_xticks(at)
        axes.set_xlabel("order (stored states)")
        axes.set_ylabel(r"$\|G-G_r\|_\infty$")
        axes.set_title(f"{literal(self.name)}: what each order loses")


def _beyond(at: float, shown: float) -> str:
    """Where a frequency lies that the axis does not have."""
    return "" if at == shown else ", left of the axis" if at < shown else ", right of the axis"


def _positive(values: Array) -> Array:
    """What a logarithmic axis can show; gaps elsewhere."""
    return np.where((values > 0) & np.isfinite(values), values, np.nan)


def _logarithmic(axes: Axes, *curves: Array) -> None:
    """A logarithmic axis down to the lowest positive value of the curves, and no more than so many decades."""
    values = np.concatenate([np.ravel(curve) for curve in curves] or [np.zeros(0)])
    values = values[(values > 0) & np.isfinite(values)]
    if values.size:
        axes.set_ylim(max(0.5 * values.min(), values.max() * 10.0**-DECADES), 2.0 * values.max())
    logarithmic(axes)
