"""A norm is a bracket: an attained lower bound, a proved upper bound, and the frequency that attains the lower one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


def is_closed(lower: ArrayLike, upper: ArrayLike, rtol: float) -> bool:
    """Whether every bracket meets `rtol`, relative to `lower`: ``upper <= lower (1 + rtol)``.

    The one definition of "closed". An infinite norm is closed where infinity is attained, at a pole on the boundary.
    """
    low, high = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
    with np.errstate(over="ignore"):
        return bool(((high <= low * (1.0 + rtol)) & (np.isfinite(high) | np.isinf(low))).all())


@dataclass(frozen=True, eq=False)
class Bracket:
    """``lower <= norm <= upper``.

    Attributes
    ----------
    lower : float or ndarray, shape (...)
        Gain attained at `frequency` (rounded down); anyone can re-evaluate it.
    upper : float or ndarray, shape (...)
        Proved upper bound, rounding accounted for; ``inf`` for a pole on the boundary.
    frequency : float or ndarray, shape (...)
        Witness in rad/sample whatever `dt` is (divide by `dt` for rad/s; rad/s in continuous time), in ``[0, pi]``
        for real discrete-time systems and ``(-pi, pi]`` for complex ones; ``inf`` means the limit of high frequency in
        continuous time.
    status : {"closed", "open"}
        "closed": the width met the tolerance that was asked for; "open": it did not, and both ends are still true.
    diagnostics : dict
        ``proof``: the certificate of the upper end, a name of :data:`theory.norms.plan.PROOFS`; ``response``: what it
        is about, of :data:`theory.norms.plan.RESPONSES`; and what it cost.
    """

    lower: Any
    upper: Any
    frequency: Any
    status: Literal["closed", "open"] = "closed"
    diagnostics: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, lower: Any, upper: Any, frequency: Any, rtol: float, diagnostics: dict[str, Any]) -> Bracket:
        """Make the bracket, "closed" if it meets `rtol`; the ends never cross."""
        if np.ndim(upper):
            upper = np.maximum(upper, lower)
        else:
            lower, upper, frequency = float(lower), float(max(upper, lower)), float(frequency)
        return cls(lower, upper, frequency, "closed" if is_closed(lower, upper, rtol) else "open", diagnostics)

    def meet(self, other: Bracket, rtol: float) -> Bracket:
        """Return what both brackets of one norm say together: the larger lower end, the smaller upper end."""
        best = self if self.lower > other.lower else other
        proof = other if other.upper <= self.upper else self
        upper = min(other.upper, self.upper)
        return Bracket.of(best.lower, upper, best.frequency, rtol, proof.diagnostics)

    def __contains__(self, value: float) -> bool:
        """Whether `value` lies in the bracket (of a single system)."""
        return bool(self.lower <= value <= self.upper)

    @property
    def width(self) -> Any:
        """Relative width ``(upper - lower) / upper``; 0 for a norm of 0."""
        upper = np.asarray(self.upper, dtype=float)
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = np.where(upper > 0, (upper - self.lower) / np.where(upper > 0, upper, 1.0), 0.0)
        gap = np.where(np.isinf(upper), np.where(np.isinf(np.asarray(self.lower)), 0.0, np.inf), gap)
        return gap if gap.ndim else float(gap)

    def scaled(self, factor: ArrayLike) -> Bracket:
        """Return the bracket of the norm times a positive `factor`."""
        return Bracket(
            self.lower * np.asarray(factor),
            self.upper * np.asarray(factor),
            self.frequency,
            self.status,
            self.diagnostics,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON."""

        def plain(value: Any) -> Any:
            array: NDArray[Any] = np.asarray(value, dtype=float)
            return array.tolist()

        return {
            "lower": plain(self.lower),
            "upper": plain(self.upper),
            "frequency": plain(self.frequency),
            "status": self.status,
        }
