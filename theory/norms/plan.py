"""How a norm is decided: which ways of writing a system are tried, which proofs, in which order; the loop over both.

Two tables and two loops. :data:`RESPONSES` are ways of writing the system along the stability boundary, and
:data:`PROOFS` are certificates of upper ends; either is tried in the order of its table, and a new one is a line in it
(:func:`register`). The documentation's page "How a norm is decided" is :func:`table` of both.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np

from theory.norms.bracket import Bracket, is_closed
from theory.norms.peaks.search import attained, locate
from theory.norms.proofs.arcs import Arcs
from theory.norms.proofs.constants import Constant, PoleOnBoundary
from theory.norms.proofs.levels import Levels
from theory.norms.proofs.polynomial import Samples
from theory.norms.proofs.proof import Proof
from theory.norms.proofs.scalar_batches import TaylorModels
from theory.norms.proofs.storage_function import StorageFunction
from theory.norms.responses.dense import Eigenvectors, GradedSchur, OwnCoordinates, StaticGain
from theory.norms.responses.diagonal import Modes, ScalarSums
from theory.norms.responses.impulse import FiniteImpulseResponse
from theory.norms.responses.resolvent import Resolvent
from theory.norms.responses.response import Kind, Response
from theory.norms.responses.substitution import Triangular
from theory.systems.stability import proved_by_diagonal, proved_by_discs, refinements, refuse
from theory.systems.system import DiagonalStateSpace, StateSpace, System

RESPONSES: list[Kind] = [
    ScalarSums(),
    Modes(),
    StaticGain(),
    FiniteImpulseResponse(),
    Eigenvectors(steps=0),
    Eigenvectors(steps=3),
    GradedSchur(),
    Triangular(),
    OwnCoordinates(),
]
"""Ways of writing a system, in the order in which they are tried: until a bracket closes."""

PROOFS: list[Proof] = [PoleOnBoundary(), Constant(), TaylorModels(), Samples(), Arcs(), StorageFunction(), Levels()]
"""Certificates of upper ends, in the order in which they are tried: until one is close above the gain that was seen."""

UNKNOWN = Bracket(0.0, np.inf, 0.0, "open")


def decided(system: System, rtol: float, stability: Stability) -> Bracket:
    """Bracket the largest gain of a system on the boundary, and prove that it is stable where that is owed."""
    bracket = UNKNOWN
    for kind in RESPONSES:
        if not kind.applies(system, bracket, stable=stability.proven):
            continue
        response = kind.write(system)
        if response is None or not stability.ready(response):
            continue
        found = bracketed(response, rtol)
        stability.count(response)
        bracket = found if response.replaces or bracket is UNKNOWN else bracket.meet(found, rtol)
        if stability.proven and bracket.status == "closed":
            break
    stability.settle()
    return bracket


def sketched(system: StateSpace, rtol: float) -> Bracket:
    """Bracket the norm of a small dense system by plain eigenvectors, stability included; nothing where they fail.

    :func:`decided` refines the eigenvectors of a system of up to :data:`theory.systems.stability.FEW_STATES` states at
    once, which costs several times as much; of a larger one it does not, and there is nothing to win.
    """
    response = None if system.n == 0 or 0 in refinements(system.n) else Eigenvectors(steps=0).write(system)
    if response is None:
        return UNKNOWN
    modes = response.spectrum
    # the unit of time only says how an error counts, and none is raised here
    if not proved_by_discs(system, modes.poles, modes.margin, modes.radii, 1.0, final=False):
        return UNKNOWN
    return bracketed(response, rtol)


def bracketed(response: Response, rtol: float, proofs: Sequence[Proof] | None = None) -> Bracket:
    """Bracket the largest gain of one response: the peak below, the best of the proofs above."""
    peak = locate(response, rtol)
    upper, diagnostics = np.inf, {"response": response.name}
    for proof in PROOFS if proofs is None else proofs:
        if not proof.applies(response):
            continue
        proved = proof.prove(response, peak, rtol)
        if proved is None or not ("proof" not in diagnostics or np.all(proved.upper < upper)):
            continue
        upper, diagnostics = proved.upper, {"response": response.name, "proof": proof.name, **proved.cost}
        if is_closed(peak.best, upper, rtol):
            break
    lower, frequency = attained(response, peak)
    return Bracket.of(*response.whole(lower, upper), frequency, rtol, diagnostics)


class Stability:
    """Whether the stability of a system is `proven`, or not owed; `unit` is its unit of time, for what errors say."""

    def __init__(self, system: System, unit: float, *, owed: bool) -> None:
        self.system, self.unit = system, unit
        # the poles of a diagonal system are known, and were looked at
        self.proven = not owed or isinstance(system, DiagonalStateSpace) or system.n == 0 or proved_by_diagonal(system)
        self.resolvent: Resolvent | None = None

    def ready(self, response: Response) -> bool:
        """Whether the response is worth its proofs; discs prove stability first, or raise where they disprove it."""
        modes = response.spectrum
        if not self.proven and modes is not None:
            assert isinstance(self.system, StateSpace)
            self.proven = proved_by_discs(
                self.system, modes.poles, modes.margin, modes.radii, self.unit, final=response.last
            )
        return self.proven or response.last

    def count(self, response: Response) -> None:
        """Count the stable eigenvalues, once the resolvent is bounded along the boundary."""
        if not self.proven and isinstance(response.form, Resolvent):
            self.resolvent = response.form
            self.proven = self.resolvent.stable_count() == self.system.n

    def settle(self) -> None:
        """Raise what kept the system from being proved stable."""
        if self.proven:
            return
        assert self.resolvent is not None
        poles, inside, largest = self.resolvent.poles, self.resolvent.stable_count(), self.resolvent.largest_resolvent
        refuse(np.asarray(poles), inside, largest, self.unit, discrete=self.resolvent.discrete)


def register(proof: Proof, *, before: str | None = None) -> None:
    """Add a proof to :data:`PROOFS`, in front of the one called `before`, or at the end; names are unique."""
    names = [known.name for known in PROOFS]
    if proof.name in names:
        raise ValueError(f"there is a proof called {proof.name!r} already")
    PROOFS.insert(names.index(before) if before is not None else len(names), proof)


def table(entries: Sequence[Proof] | Sequence[Kind]) -> str:
    """Return a Markdown table of proofs or responses, from their docstrings, in the order in which they are tried."""
    rows = ["| name | what it is | applies to | cost |", "|---|---|---|---|"]
    for entry in entries:
        cells = [f"`{entry.name}`", *_parts(inspect.getdoc(entry) or "")]
        if (row := "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |") not in rows:
            rows.append(row)
    return "\n".join(rows)


def _parts(text: str) -> list[str]:
    """What it is, when it applies, what it costs: a docstring's parts, one line each."""
    what, _, rest = text.partition("Applies:")
    applies, _, cost = rest.partition("Cost:")
    return [" ".join(part.split()).rstrip(".") for part in (what, applies, cost)]
