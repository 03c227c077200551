"""One way of writing a system along the stability boundary, at size one: what is sampled, and what proofs read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from theory.norms.bracket import Bracket
from theory.norms.loss import Loss
from theory.norms.responses.modes import Arc, ModalSum
from theory.norms.responses.polynomial import Polynomial
from theory.norms.responses.scalars import Scalars
from theory.systems.system import System

Array = NDArray[Any]


Shape = Literal["scalars", "constant", "pole", "polynomial", "few", "many"]
"""A batch of scalar functions; no modes at all; a pole on the boundary; a polynomial in 1/z; few inputs and outputs, so
that every sample has its singular values; a modal sum with many."""


class Boundary(Protocol):
    """A response along the stability boundary that can be sampled and bounded on arcs."""

    @property
    def relative_loss(self) -> float:
        """What compression changed, relative to the gain."""

    @property
    def work(self) -> int:
        """Numbers that a sample takes: how many samples fit the memory at once."""

    @property
    def most_arcs(self) -> int:
        """Arcs that a covering may cost."""

    @property
    def idle_arcs(self) -> int:
        """The same where no sample stands out of its rounding."""

    def charts(self) -> list[tuple[str, float, float]]:
        """Return the arcs that cover the boundary."""

    def resonances(self, chart: str) -> Array:
        """Return the boundary coordinates next to the poles."""

    def response(self, chart: str, x: Array) -> tuple[Array, Array, Loss]:
        """Return samples, their rounding, and their loss."""

    def arc(self, chart: str, centre: Array, h: Array) -> Arc:
        """Return samples and bounds on arcs."""

    def accept(self, settled: Array) -> None:
        """Note which of the arcs bounded last are part of the proof."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """A system as `form`, divided by `scale`.

    Attributes
    ----------
    name : str
        That of its kind.
    form : ModalSum, Resolvent, Substitution, Polynomial or Scalars
        What proofs read.
    scale : float
        A power of two: the system's norm is that of `form` times this.
    spectrum : ModalSum or None
        Of a dense system: the poles with discs that hold the eigenvalues, for the proof of stability.
    replaces : bool
        Whether this is a better version of the response before, whose bracket it replaces.
    last : bool
        Whether no better version of it comes.
    """

    name: str
    form: Any
    scale: float = 1.0
    spectrum: Any = None
    replaces: bool = False
    last: bool = True

    @cached_property
    def shape(self) -> Shape:
        """What kind of search and proof it calls for."""
        form = self.form
        if isinstance(form, Scalars):
            return "scalars"
        if isinstance(form, Polynomial):
            return "polynomial"
        if isinstance(form, ModalSum) and not form.poles.size:
            return "constant"
        if isinstance(form, ModalSum) and form.on_boundary.any():
            return "pole"
        return "few" if form.few else "many"

    def whole(self, lower: Any, upper: Any) -> tuple[Any, Any]:
        """Undo the scaling of both ends, outwards where that is not exact."""
        if isinstance(self.form, Scalars):
            return self.form.unscaled(lower, upper)
        return lower * self.scale, upper * self.scale


class Kind(Protocol):
    """A kind of response, registered in :data:`theory.norms.plan.RESPONSES`.

    Its docstring says what it is, and when it applies and what it costs in lines that begin with ``Applies:`` and
    ``Cost:``; the documentation is made from it.
    """

    name: str

    def applies(self, system: System, known: Bracket, *, stable: bool) -> bool:
        """Whether to write `system` like this, given the bracket that is `known`; `stable`: nothing is owed there."""

    def write(self, system: System) -> Response | None:
        """Write the system like this, or ``None`` where that fails."""
