"""The choices of a reduction from recorded inputs, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from theory.errors import InputError
from theory.gramians.recorded import OBSERVABILITIES

LEAST_EXAMPLES = 4
"""Fewer cannot be split into those that are fitted and those that judge."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The choices of a reduction from recorded inputs.

    Attributes
    ----------
    observability : tuple of str
        Kinds that are tried, see :data:`theory.gramians.recorded.OBSERVABILITIES`.
    refit, norms, decoder : bool
        Whether C and D are fitted layer by layer, batch norms paired, the decoder corrected.
    feedthrough : bool
        Whether D is fitted, too; False for layers whose code has none.
    polish : int
        Gauss-Newton steps on poles and B, layer by layer; 0 leaves them out, and poles and B as they were cut.
    finalists : int
        Candidates that are polished.
    together : int
        Gauss-Newton steps, at most, on all layers at once (:mod:`ssmreduce.recorded.together`), with the fitted and
        the further examples: on C and D, and, unless `polish` is 0, on poles and B; 0 leaves them out.
    fit_fraction : float
        Part of the examples that is fitted; the others judge.
    further : int
        Examples of the network, its last ones, on which all layers at once, then norms and decoder of the chosen model
        are fitted again together with the fitted ones: of the layers nothing is kept there, so they cost no memory.
    seed : int
        Of the split of the examples and the random directions.
    """

    observability: tuple[str, ...] = ("exact", "output", "mixture")
    refit: bool = True
    norms: bool = True
    decoder: bool = True
    feedthrough: bool = True
    polish: int = 8
    finalists: int = 3
    together: int = 5
    fit_fraction: float = 0.5
    further: int = 0
    seed: int = 0

    def recorded_of(self, examples: int) -> int:
        """How many of a network's examples are recorded: all but the further ones.

        Raises
        ------
        InputError
            A choice is not among those that there are, or so few examples cannot be fitted and judged.
        """
        for kind in self.observability:
            if kind not in OBSERVABILITIES:
                raise InputError(f"observability must be among {', '.join(OBSERVABILITIES)}, got {kind!r}")
        for name in ("polish", "finalists", "together"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}; 0 leaves its steps out")
        count = examples - self.further
        if self.further < 0 or count < LEAST_EXAMPLES:
            further = f", of which {self.further} are further ones," if self.further else ""
            raise InputError(
                f"{examples} examples{further} cannot be fitted and judged: record at least {LEAST_EXAMPLES} that "
                "are, better 400"
            )
        return count
