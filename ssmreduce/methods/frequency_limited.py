"""Balanced truncation over a band of frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from ssmreduce.methods.registry import METHODS, Method, Source, shared, system_of
from theory.errors import InputError
from theory.gramians.frequency_limited import checked_band, frequency_limited_gramians
from theory.gramians.gramians import gramians
from theory.reduction.balancing import Truncation
from theory.reduction.dense_pairs import truncate_by_pair
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

Sides = Literal["input", "output", "both"]

AFTERWARDS = "error at most twice the sum of the Hankel singular values of the error"


@dataclass(frozen=True, kw_only=True)
class FrequencyLimited(Method):
    """Keeps what signals of one band of frequencies reach and show; the error elsewhere may grow.

    :func:`theory.gramians.frequency_limited.frequency_limited_gramians`.

    Attributes
    ----------
    band : tuple of two floats
        ``(low, high)`` in rad/sample, ``0 <= low < high <= pi`` (in continuous time rad/s, up to infinity); negative
        frequencies go with it. There is no default: without a band the method refuses.
    sides : {"input", "output", "both"}
        Which Gramian is that of the band; the other one is exact, and then the result is stable by proof. "both"
        :cite:p:`GJ90` is usually better inside the band; it is checked, and refused where it is not stable.
    """

    band: tuple[float, float] | None = None
    sides: Sides = "input"

    title = "frequency-limited balanced truncation"
    rank = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.band is not None:
            object.__setattr__(self, "band", checked_band(self.band))

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]
        """The band, as long as it has none."""
        return ("band",) if self.band is None else ()

    @property
    def guarantee(self) -> str:
        """Stable by proof, unless both sides are limited."""
        return f"{'checked to be stable' if self.sides == 'both' else 'stable'}; {AFTERWARDS}"

    def applies(self, source: Source) -> None:
        """A band within the frequencies that there are."""
        self._band(source)

    def truncate(self, source: Source, order: int, *_: Any, **data: Any) -> Truncation:
        """Truncate the pair of Gramians, one or both of them over the band."""
        system, band = system_of(source), self._band(source)

        def pair(modes: DiagonalStateSpace) -> tuple[Array, Array | None]:
            P, Q = frequency_limited_gramians(modes, band)
            return gramians(modes)[0] if self.sides == "output" else P, None if self.sides == "input" else Q

        return truncate_by_pair(system, order, pair, shared(system))

    def _band(self, source: Source) -> tuple[float, float]:
        if self.band is None:
            raise InputError(
                f"the method {self.name!r} needs a band of frequencies, in rad/sample (rad/s in continuous time): "
                f'method="frequency_limited(band=(0.1, 0.5))", or FrequencyLimited(band=(0.1, 0.5))'
            )
        return checked_band(self.band, system_of(source).is_discrete)


METHODS.register("frequency_limited", FrequencyLimited())
