r"""The stability boundary in pieces with local coordinates: a circle, or an axis and a neighbourhood of infinity.

- circle: the angle :math:`\theta` of :math:`z=e^{j\theta}`, rad/sample;
- axis: the frequency :math:`\omega` of :math:`s=j\omega` on a bounded part of the axis;
- infinity: :math:`\tau` of :math:`s=j/\tau` beyond it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CIRCLE, AXIS, INFINITY = "circle", "axis", "infinity"


def charts(*, discrete: bool, real: bool, radius: float) -> list[tuple[str, float, float]]:
    """Return the arcs that cover the boundary: (chart, from, to); half of it for a real system.

    `radius` is the modulus of the largest pole: beyond twice that a continuous-time system is near infinity.
    """
    if discrete:
        return [(CIRCLE, 0.0 if real else -np.pi, np.pi)]
    radius = float(2.0 ** np.ceil(np.log2(2.0 * radius))) if radius > 0 else 1.0
    low = 0.0 if real else -1.0
    return [(AXIS, low * radius, radius), (INFINITY, low / radius, 1.0 / radius)]


def within(arcs: list[tuple[str, float, float]], low: float, high: float) -> list[tuple[str, float, float]]:
    """The parts of arcs where the frequency is from `low` to `high`, of one sign; outwards where 1 / w is rounded."""
    found = []
    for chart, first, last in arcs:
        if chart == INFINITY:
            sign = -1.0 if high <= 0.0 and low < 0.0 else 1.0
            near, far = (abs(low), abs(high)) if sign > 0 else (abs(high), abs(low))
            ends = float(np.nextafter(1.0 / far, 0.0)), float(np.nextafter(1.0 / near, np.inf)) if near else np.inf
            inner, outer = ends if sign > 0 else (-ends[1], -ends[0])
        else:
            inner, outer = low, high
        left, right = max(first, inner), min(last, outer)
        if left < right:
            found.append((chart, left, right))
    return found


def resonances(chart: str, poles: Array) -> Array:
    """Return the coordinates next to the poles."""
    if chart == CIRCLE:
        return np.asarray(np.angle(poles))
    return np.asarray(poles.imag) if chart == AXIS else np.zeros(0)


def half_width(chart: str, left: Array, right: Array) -> Array:
    """Half widths of arcs in the local coordinate, inflated by what the rounding of the end points can move them."""
    if chart == CIRCLE:
        return np.asarray(np.tan((right - left) / 4.0) * (1 + 1e-15) + 1e-15)
    return np.asarray((right - left) / 2.0 * (1 + 1e-15) + 4.5e-16 * np.maximum(np.abs(left), np.abs(right)))
