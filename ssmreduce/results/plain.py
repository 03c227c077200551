"""Numbers as JSON has them, and back: infinities as strings, complex numbers as pairs, distributions as quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.norms.bracket import Bracket

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What of a distribution over channels is kept: least, quartiles, most."""


def quantiles(values: Any) -> list[float]:
    """:data:`QUANTILES` of what is a number; empty if nothing is."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return np.quantile(finite, QUANTILES).tolist() if finite.size else []


def bracket_to_dict(bracket: Bracket) -> dict[str, Any]:
    """Plain numbers; infinities as strings."""
    return {name: plain(value) if name != "status" else value for name, value in bracket.to_dict().items()}


def bracket_from_dict(data: Mapping[str, Any]) -> Bracket:
    """Read what :func:`bracket_to_dict` wrote."""
    lower, upper, frequency = (number(data[name]) for name in ("lower", "upper", "frequency"))
    return Bracket(lower, upper, frequency, data["status"])


def plain(value: Any) -> Any:
    """Return a JSON number; infinities and NaN, which JSON does not have, as strings."""
    if value is None:
        return None
    found = float(value)
    return found if np.isfinite(found) else str(found)


def number(value: Any) -> Any:
    """Read what :func:`plain` wrote; None stays."""
    return None if value is None else float(value)


def complex_to_list(values: NDArray[Any]) -> list[list[float]]:
    """Pairs of real and imaginary parts."""
    return [[float(value.real), float(value.imag)] for value in values.ravel()]


def complex_from_list(values: Any) -> NDArray[Any]:
    """Read what :func:`complex_to_list` wrote."""
    pairs = np.asarray(values, dtype=float).reshape(-1, 2)
    return np.asarray(pairs[:, 0] + 1j * pairs[:, 1])
