"""What another program, or another route, says about a norm, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ssmreduce.results.plain import number, plain

AGREES, WITNESS, DISAGREES = "agrees", "witness agrees", "disagrees"
BELOW, ABOVE, UNDECIDED = "below", "above", "undecided"
NOT_AVAILABLE, FAILED = "not available", "failed"


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """What one other program, or one other route, says about a norm.

    Attributes
    ----------
    source : str
        Whose opinion, for example ``"python-control linfnorm"``.
    verdict : str
        ``"agrees"``: the value lies inside the bracket. ``"below"``, ``"above"``: it lies outside by `gap`, which is
        less than the tolerance that the program was asked for. ``"witness agrees"``: only the gain at the witness
        frequency was recomputed. ``"disagrees"``: `wrong` says who, and the detail shows the proof. ``"undecided"``: it
        lies outside, and float64 cannot tell who is wrong. ``"not available"``; ``"failed"``.
    value : float or None
        The other value of the norm (or of the gain at the witness).
    gap : float
        How far the value lies outside the bracket, relative to the end that it passes: negative below, positive
        above, 0 inside.
    frequency : float or None
        Where the other program puts the peak, rad/sample (rad/s in continuous time).
    wrong : str
        Who is wrong in a disagreement: "theirs" or "ours"; empty otherwise.
    detail : str
        One sentence; for "not available", what to install.
    seconds : float
        What the opinion cost.
    evidence : dict
        More numbers, for example the certificate matrix of the linear matrix inequality.
    """

    source: str
    verdict: str
    value: float | None = None
    frequency: float | None = None
    gap: float = 0.0
    wrong: str = ""
    detail: str = ""
    seconds: float = 0.0
    evidence: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def in_conflict(self) -> bool:
        """Whether our bracket is contradicted; a value of theirs that a witness refutes is no conflict."""
        return self.wrong == "ours"

    def __str__(self) -> str:
        return f"{self.verdict}: {self.detail}" if self.detail else self.verdict

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, without the evidence."""
        return {
            "source": self.source,
            "verdict": self.verdict,
            "value": plain(self.value),
            "frequency": plain(self.frequency),
            "gap": plain(self.gap),
            "wrong": self.wrong,
            "detail": self.detail,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Opinion:
        """Read what :meth:`to_dict` wrote."""
        numbers = {name: number(data[name]) for name in ("value", "frequency", "gap") if name in data}
        return cls(**{**data, **numbers})
