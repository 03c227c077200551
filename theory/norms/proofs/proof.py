"""What a proof of an upper end is: one certificate with a name, when it applies, and what it proves of a response."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol

from theory.norms.peaks.peak import Peak
from theory.norms.responses.response import Response, Shape


class Proved(NamedTuple):
    """An upper bound of the gain of a response's form, before scaling, and what the proof cost."""

    upper: Any
    cost: dict[str, Any]


class Proof(Protocol):
    """One certificate, registered in :data:`theory.norms.plan.PROOFS`.

    Its docstring says in the first lines what is proved, and when it applies and what it costs in lines that begin
    with ``Applies:`` and ``Cost:``; the documentation is made from it. `name` is what ``diagnostics["proof"]`` says.
    """

    name: str

    def applies(self, response: Response) -> bool:
        """Whether this proof can say anything about the response."""

    def prove(self, response: Response, peak: Peak, rtol: float) -> Proved | None:
        """Return an upper bound, or ``None`` where the proof fails. The peak grows when a larger gain is met."""


class ByShape:
    """A proof of all responses of one shape."""

    shape: ClassVar[Shape]

    def applies(self, response: Response) -> bool:
        """Whether the response has the shape."""
        return response.shape == self.shape
