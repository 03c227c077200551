r"""What a computed response may differ from the true one, in one class.

Three words are used for what is not known exactly, everywhere in this room:

- *rounding*: what evaluating an expression in float64 may be off;
- *loss*: what writing the system in another form has left out (eigenvectors, coordinates, fewer inputs and outputs);
- *slack*: what a proof may spend, between the gain that is attained and the level that is proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Loss:
    r"""True gain :math:`\le` (computed gain + `absolute`) (1 + `relative`), and not below the same subtracted.

    Attributes
    ----------
    absolute : float or ndarray, (S,)
        In the unit of the gain, at each of S points or arcs.
    relative : float
        A fraction of the gain, far below one.
    """

    absolute: Any = 0.0
    relative: float = 0.0

    def attained(self, gain: Any) -> Any:
        """What the true gain is at least, where the computed one is `gain`."""
        return (gain - self.absolute) * (1.0 - self.relative)

    def ceiling(self, gain: Any) -> Any:
        """What the true gain is at most, where the computed one is at most `gain`."""
        return (gain + self.absolute) * (1.0 + self.relative)

    def target(self, level: Any) -> Any:
        """What the computed gain must stay below to prove that the true one is below `level`."""
        return level * (1.0 - self.relative) - self.absolute

    def plus(self, rounding: Any) -> Loss:
        """The same, with a `rounding` of the computed gain on top."""
        return Loss(absolute=rounding + self.absolute, relative=self.relative)


NO_LOSS = Loss()
