"""Second opinions on a norm: python-control, slycot, a dense frequency sweep, and a linear matrix inequality.

A value of another program below a gain that some frequency attains is wrong, and the frequency proves it; a gain above
our upper bound would prove us wrong. So every disagreement is settled by evaluating one frequency response, by the
independent route of :mod:`ssmreduce.comparison.peers`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssmreduce.comparison.asking import TOLERANCE, asked, not_installed
from ssmreduce.comparison.peers import gain, grid, peer_matrices, thinned
from ssmreduce.comparison.python_control import LINFNORM, python_control_opinion
from ssmreduce.comparison.referee import gain_ends
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import as_layer_or_system
from ssmreduce.results import (
    AGREES,
    BELOW,
    DISAGREES,
    FAILED,
    NOT_AVAILABLE,
    UNDECIDED,
    Opinion,
    bracket_to_dict,
    worst,
)
from ssmreduce.view.pages import opinions_sheet
from theory.certificates.bounded_real import bounded_real_certificate
from theory.errors import ConvergenceError, InputError, SSMReduceError, StabilityError
from theory.norms import hinf_norm
from theory.norms.bracket import Bracket
from theory.systems.difference import difference
from theory.systems.system import DiagonalStateSpace, System

SOURCES = (LINFNORM, "slycot ab13dd", "dense sweep", "bounded-real LMI")


@dataclass(frozen=True, kw_only=True)
class SecondOpinions:
    """What every installed program says about one norm.

    Attributes
    ----------
    subject : str
        The system, in words.
    bracket : Bracket
        Ours.
    rows : tuple of Opinion
        One a source, in the order of :data:`SOURCES`.
    """

    subject: str
    bracket: Bracket
    rows: tuple[Opinion, ...] = field(default=())

    @property
    def agree(self) -> bool:
        """Whether nothing contradicts our bracket."""
        return not any(row.in_conflict for row in self.rows)

    def __getitem__(self, source: str) -> Opinion:
        """Opinion of the first source whose name starts with `source`."""
        for row in self.rows:
            if row.source.startswith(source):
                return row
        raise KeyError(source)

    def __str__(self) -> str:
        return str(opinions_sheet(self.subject, self.bracket, self.rows))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {
            "subject": self.subject,
            "bracket": bracket_to_dict(self.bracket),
            "agree": self.agree,
            "rows": [row.to_dict() for row in self.rows],
        }


def crosscheck(
    layer_or_system: Any,
    reduced: Any = None,
    *,
    bracket: Bracket | None = None,
    rtol: float = 1e-6,
    sweep_points: int = 2000,
    lmi_states: int = 20,
    lmi_margin: float = 1e-3,
) -> SecondOpinions:
    """Ask every installed program for the norm of a system, or of the difference of two.

    Parameters
    ----------
    layer_or_system : object
        Anything that :func:`ssmreduce.compare` takes. Of a batch, the channel with the largest norm is examined.
    reduced : object, optional
        When given, the norm in question is that of the difference.
    bracket : Bracket, optional
        Our answer; computed to `rtol` when left out.
    rtol : float
        Relative width of our bracket. Other programs are asked for :data:`ssmreduce.comparison.asking.TOLERANCE`.
    sweep_points : int
        Uniform part of the sweep; seven points around every pole come on top.
    lmi_states : int
        Largest number of real states for which the linear matrix inequality is solved (it costs O(n^6)).
    lmi_margin : float
        The inequality must be feasible at ``upper * (1 + lmi_margin)`` and infeasible at ``lower * (1 - lmi_margin)``.

    Returns
    -------
    SecondOpinions
        A table that says for each source: agrees, disagrees and who is wrong (with the witness), or not available.

    Raises
    ------
    StabilityError
        A pole lies on or outside the stability boundary. With ``bracket=linf_norm(system)`` the L-infinity norm of an
        unstable system is examined.
    InputError
        The batch is empty.
    """
    system = _as_system(layer_or_system)
    subject = repr(system)
    if reduced is not None:
        system = difference(system, _as_system(reduced))
        subject = f"difference of two systems: {system!r}"
    ours = hinf_norm(system, rtol=rtol) if bracket is None else bracket
    if isinstance(system, DiagonalStateSpace) and system.batch_shape:
        if 0 in system.batch_shape:
            raise InputError(f"the batch is empty, shape {system.batch_shape}: there is no norm to check")
        peak = np.unravel_index(int(np.asarray(ours.lower).argmax()), system.batch_shape)
        system = system[peak]
        subject += f", channel {[int(i) for i in peak]}"
    ours = worst(ours)
    rows = (
        python_control_opinion(system, ours),
        slycot_opinion(system, ours),
        sweep_opinion(system, ours, points=sweep_points),
        lmi_opinion(system, ours, states=lmi_states, margin=lmi_margin),
    )
    return SecondOpinions(subject=subject, bracket=ours, rows=rows)


def _as_system(source: Any) -> System:
    found = as_layer_or_system(source)
    return found.system if isinstance(found, SSMLayer) else found


def slycot_opinion(system: System, ours: Bracket, *, tolerance: float = TOLERANCE) -> Opinion:
    """Ask ``slycot.ab13dd`` directly, in descriptor form where the layer is bidirectional."""

    def ask() -> tuple[float, float]:
        import slycot

        A, B, C, D, E = thinned(peer_matrices(system))
        n, m, p = A.shape[0], B.shape[1], C.shape[0]
        if n == 0 or m == 0 or p == 0:
            return (float(np.linalg.norm(D, 2)) if D.size else 0.0), 0.0
        general = not np.array_equal(E, np.eye(n))
        base = "D" if system.is_discrete else "C"
        arrays = [np.asfortranarray(x.copy()) for x in (A, E, B, C, D)]
        value, frequency = slycot.ab13dd(
            base, "G" if general else "I", "S", "D" if D.any() else "Z", n, m, p, *arrays, tolerance
        )
        return float(value), float(frequency)

    return asked(SOURCES[1], system, ours, tolerance, ask, ("slycot",))


def sweep_opinion(system: System, ours: Bracket, *, points: int = 2000) -> Opinion:
    """Evaluate the gain on a dense grid that knows the poles: a lower bound by an independent route.

    Its largest value is evaluated again with proved ends. It contradicts us if it is above our upper end, or if at our
    own witness the gain is below our lower end.
    """
    start = time.perf_counter()
    witness = float(ours.frequency)
    omega = grid(system, points, [witness] if np.isfinite(witness) else [])
    gains = np.concatenate([gain(system, part) for part in np.array_split(omega, max(1, omega.size // 256))])
    if not system.is_discrete:
        omega, gains = np.append(omega, np.inf), np.append(gains, np.linalg.norm(system.D, 2) if system.D.size else 0.0)
    peak = int(gains.argmax())
    value, frequency = float(gains[peak]), float(omega[peak])
    low, high = gain_ends(system, frequency)
    value = min(max(value, low), high)
    verdict, wrong, detail, gap = AGREES, "", "", 0.0
    if low > ours.upper:
        verdict, wrong, gap = DISAGREES, "ours", low / ours.upper - 1.0 if ours.upper > 0 else np.inf
        detail = f"we are wrong, our upper end {ours.upper:.6g} is exceeded: {low:.6g} at {frequency:.6g}"
    elif high < ours.lower:
        gap = high / ours.lower - 1.0
        verdict, detail = BELOW, f"no point of the grid comes nearer than {-gap:.1e} to the lower end"
        attained = gain_ends(system, witness)[1]
        if attained < ours.lower:
            verdict, wrong = DISAGREES, "ours"
            detail = f"we are wrong, our lower end {ours.lower:.6g} is not attained: {attained:.6g} at {witness:.6g}"
    elif not np.isfinite(high):
        verdict, detail = UNDECIDED, f"float64 does not determine the gain at {frequency:.6g} (about {value:.6g})"
    seconds = time.perf_counter() - start
    return Opinion(
        source=SOURCES[2],
        verdict=verdict,
        value=value,
        frequency=frequency,
        gap=float(gap),
        wrong=wrong,
        detail=detail,
        seconds=seconds,
    )


def lmi_opinion(system: System, ours: Bracket, *, states: int = 20, margin: float = 1e-3) -> Opinion:
    """Ask the bounded-real lemma: feasible just above the upper end, infeasible just below the lower end."""
    source = SOURCES[3]
    start = time.perf_counter()
    real_states = system.n * (2 if isinstance(system, DiagonalStateSpace) else 1)
    detail = ""
    if real_states > states:
        detail = f"{real_states} real states; solved up to {states} (lmi_states)"
    elif isinstance(system, DiagonalStateSpace) and system.is_bidirectional:
        detail = "a bidirectional layer is not causal"
    elif not ours.lower > 0:
        detail = "the lower end is 0, and no level lies below it"
    elif not np.isfinite(ours.upper):
        detail = "the upper end is infinite, and no level lies above it"
    if detail:
        return Opinion(source=source, verdict=NOT_AVAILABLE, detail=detail)
    try:
        above = bounded_real_certificate(system, float(ours.upper) * (1 + margin))
        try:
            below = bounded_real_certificate(system, float(ours.lower) * (1 - margin))
        except ConvergenceError as error:
            below = None
            silence = str(error)
    except ImportError as error:
        return not_installed(source, error, ("cvxpy",))
    except StabilityError:
        detail = "the bounded-real lemma is about stable systems"
        return Opinion(source=source, verdict=NOT_AVAILABLE, detail=detail)
    except (SSMReduceError, ArithmeticError) as error:
        return Opinion(source=source, verdict=FAILED, detail=str(error), seconds=time.perf_counter() - start)
    seconds = time.perf_counter() - start
    evidence = {"above": above, "below": below}
    if above.feasible and not (below is not None and below.feasible):
        detail = f"feasible at {1 + margin:g} x upper, infeasible at {1 - margin:g} x lower"
        if below is None:
            detail = f"feasible at {1 + margin:g} x upper; no answer at {1 - margin:g} x lower ({silence})"
        return Opinion(
            source=source, verdict=AGREES, value=float(ours.upper), detail=detail, seconds=seconds, evidence=evidence
        )
    if below is not None and below.feasible:
        frequency = float(ours.frequency)
        level = float(ours.lower) * (1 - margin)
        low, high = gain_ends(system, frequency)
        told = f"feasible at {level:.6g}, but the gain at {frequency:.6g} is between {low:.6g} and {high:.6g}"
        wrong = "theirs" if low > level else "ours" if high < ours.lower else ""
        verdict = DISAGREES if wrong else UNDECIDED
        who = {"theirs": f"{source} is wrong", "ours": "our bracket is wrong", "": "float64 cannot tell who is wrong"}
        detail = f"{told}: {who[wrong]}"
        return Opinion(source=source, verdict=verdict, wrong=wrong, detail=detail, seconds=seconds, evidence=evidence)
    detail = f"no certificate found at {1 + margin:g} x upper; this proves nothing (the solver may have stopped early)"
    return Opinion(source=source, verdict=FAILED, detail=detail, seconds=seconds, evidence=evidence)
