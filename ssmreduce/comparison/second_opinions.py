"""Second opinions on a norm: python-control, slycot, a dense frequency sweep, and a linear matrix inequality.

A value of another program below a gain that some frequency attains is wrong, and the frequency proves it; a gain above
our upper bound would prove us wrong. So every disagreement is settled by evaluating one frequency response, by the
independent route of :mod:`ssmreduce.comparison.peers`.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssmreduce.comparison.peers import gain, grid, peer_matrices, thinned
from ssmreduce.results import AGREES, DISAGREES, FAILED, NOT_AVAILABLE, WITNESS, Opinion, bracket_to_dict, worst
from theory.errors import ConvergenceError, InputError, MissingDependencyError, SSMReduceError, StabilityError
from theory.norms.bracket import Bracket
from theory.systems.system import DiagonalStateSpace, System

SOURCES = ("python-control linfnorm", "slycot ab13dd", "dense sweep", "bounded-real LMI")


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
        from ssmreduce.view.table import render_opinions

        return render_opinions(self)

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
        Relative tolerance: of our bracket, of the other programs, and of agreement.
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
    from theory.norms import hinf_norm
    from theory.systems.difference import difference

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
        python_control_opinion(system, ours, rtol=rtol),
        slycot_opinion(system, ours, rtol=rtol),
        sweep_opinion(system, ours, rtol=rtol, points=sweep_points),
        lmi_opinion(system, ours, states=lmi_states, margin=lmi_margin),
    )
    return SecondOpinions(subject=subject, bracket=ours, rows=rows)


def _as_system(source: Any) -> System:
    from ssmreduce.layers.layer import SSMLayer
    from ssmreduce.layers.params import as_layer_or_system

    found = as_layer_or_system(source)
    return found.system if isinstance(found, SSMLayer) else found


def python_control_opinion(system: System, ours: Bracket, *, rtol: float = 1e-6) -> Opinion:
    """Ask ``control.linfnorm`` (slycot's ``ab13dd`` behind it; without slycot it cannot answer)."""
    source = SOURCES[0]

    def ask() -> tuple[float, float]:
        import control

        A, B, C, D, E = thinned(peer_matrices(system))
        if min(D.shape) == 0:
            raise InputError("a system without inputs or without outputs is nothing that control.linfnorm takes")
        if not np.array_equal(E, np.eye(len(E))):
            A, B = np.linalg.solve(E, A), np.linalg.solve(E, B)
        value, frequency = control.linfnorm(control.StateSpace(A, B, C, D, _control_dt(system)), tol=rtol)
        return float(value), float(frequency) * float(system.dt or 1.0)

    return _asked(source, system, ours, rtol, ask, ("control", "slycot"))


def slycot_opinion(system: System, ours: Bracket, *, rtol: float = 1e-6) -> Opinion:
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
            base, "G" if general else "I", "S", "D" if D.any() else "Z", n, m, p, *arrays, rtol
        )
        return float(value), float(frequency)

    return _asked(SOURCES[1], system, ours, rtol, ask, ("slycot",))


def sweep_opinion(system: System, ours: Bracket, *, rtol: float = 1e-6, points: int = 2000) -> Opinion:
    """Evaluate the gain on a dense grid that knows the poles: a lower bound by an independent route."""
    start = time.perf_counter()
    extra = [ours.frequency] if np.isfinite(ours.frequency) else []
    omega = grid(system, points, extra)
    gains = np.concatenate([gain(system, part) for part in np.array_split(omega, max(1, omega.size // 256))])
    if not system.is_discrete:
        omega, gains = np.append(omega, np.inf), np.append(gains, np.linalg.norm(system.D, 2) if system.D.size else 0.0)
    peak = int(gains.argmax())
    return judged(SOURCES[2], system, float(gains[peak]), float(omega[peak]), ours, rtol, time.perf_counter() - start)


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
        from theory.certificates.bounded_real import bounded_real_certificate

        above = bounded_real_certificate(system, float(ours.upper) * (1 + margin))
        try:
            below = bounded_real_certificate(system, float(ours.lower) * (1 - margin))
        except ConvergenceError as error:
            below = None
            silence = str(error)
    except ImportError as error:
        return _not_installed(source, error, ("cvxpy",))
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
        attained = float(gain(system, frequency)[0])
        wrong = "theirs" if attained > ours.lower * (1 - margin) else "ours"
        level = f"feasible at {ours.lower * (1 - margin):.6g}"
        detail = f"{level}, but the gain at {frequency:.6g} is {attained:.6g}: {_who(wrong, source)}"
        return Opinion(source=source, verdict=DISAGREES, wrong=wrong, detail=detail, seconds=seconds, evidence=evidence)
    detail = f"no certificate found at {1 + margin:g} x upper; this proves nothing (the solver may have stopped early)"
    return Opinion(source=source, verdict=FAILED, detail=detail, seconds=seconds, evidence=evidence)


def witness_opinion(system: System, ours: Bracket, *, rtol: float = 1e-6) -> Opinion:
    """Ask python-control for the gain at our witness frequency only: one complex solve, whatever the size."""
    source = "python-control at the witness"
    start = time.perf_counter()
    try:
        import control

        A, B, C, D, E = thinned(peer_matrices(system))
        if not np.array_equal(E, np.eye(len(E))):
            A, B = np.linalg.solve(E, A), np.linalg.solve(E, B)
        peer = control.StateSpace(A, B, C, D, _control_dt(system))
        omega = float(ours.frequency)
        point = np.exp(1j * omega) if system.is_discrete else 1j * omega
        value = D if not np.isfinite(omega) else np.atleast_2d(peer(point, squeeze=False, warn_infinite=False))
        attained = float(np.linalg.norm(value, 2)) if min(value.shape) else 0.0
    except ImportError as error:
        return _not_installed(source, error, ("control",))
    except (SSMReduceError, ValueError, ArithmeticError) as error:
        return Opinion(source=source, verdict=FAILED, detail=str(error), seconds=time.perf_counter() - start)
    verdict = judged(source, system, attained, omega, ours, rtol, time.perf_counter() - start)
    if verdict.verdict != AGREES:
        return verdict
    detail = f"gain {attained:.6g} at {omega:.4g}; its linfnorm was not run"
    return Opinion(
        source=source, verdict=WITNESS, value=attained, frequency=omega, detail=detail, seconds=verdict.seconds
    )


def judged(
    source: str, system: System, value: float, frequency: float, ours: Bracket, rtol: float, seconds: float
) -> Opinion:
    """Compare a value with our bracket; a disagreement is settled by one evaluation of the response."""
    wrong, detail, verdict = "", "", AGREES
    if value < ours.lower * (1 - rtol):
        witness = float(ours.frequency)
        attained = float(gain(system, witness)[0])
        wrong = "theirs" if attained > value * (1 + 0.5 * rtol) else "ours"
        short = 100 * (1 - value / ours.lower)
        detail = f"{source} is wrong, {value:.6g} is {short:.2g} % too low: the gain at {witness:.6g} is {attained:.6g}"
        if wrong == "ours":
            detail = f"we are wrong, our lower end {ours.lower:.6g} is not attained: {attained:.6g} at {witness:.6g}"
        verdict = DISAGREES
    elif value > ours.upper:
        attained = float(gain(system, frequency)[0])
        if attained > ours.upper * (1 + 1e-9):
            wrong, verdict = "ours", DISAGREES
            detail = f"we are wrong, our upper end {ours.upper:.6g} is exceeded: {attained:.6g} at {frequency:.6g}"
        elif value > ours.upper * (1 + rtol):
            wrong, verdict = "theirs", DISAGREES
            at = f"at its own frequency {frequency:.6g}"
            detail = f"{source} is wrong, {value:.6g} is not attained: the gain {at} is {attained:.6g}"
    return Opinion(
        source=source, verdict=verdict, value=value, frequency=frequency, wrong=wrong, detail=detail, seconds=seconds
    )


def _asked(
    source: str,
    system: System,
    ours: Bracket,
    rtol: float,
    ask: Callable[[], tuple[float, float]],
    packages: tuple[str, ...],
) -> Opinion:
    """Run one program, and turn whatever happens into an opinion."""
    start = time.perf_counter()
    try:
        for package in packages:
            importlib.import_module(package)
        start = time.perf_counter()
        value, frequency = ask()
    except ImportError as error:
        return _not_installed(source, error, packages)
    except SSMReduceError as error:  # ours: there is nothing to hand over
        return Opinion(source=source, verdict=NOT_AVAILABLE, detail=str(error))
    except Exception as error:  # other people's programs raise what they like; their failure is their verdict
        detail = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return Opinion(source=source, verdict=FAILED, detail=detail, seconds=time.perf_counter() - start)
    return judged(source, system, value, frequency, ours, rtol, time.perf_counter() - start)


def _not_installed(source: str, error: ImportError, packages: tuple[str, ...]) -> Opinion:
    missing = getattr(error, "name", None) or ", ".join(packages)
    advice = error if isinstance(error, MissingDependencyError) else MissingDependencyError(str(missing), "control")
    return Opinion(source=source, verdict=NOT_AVAILABLE, detail=str(advice))


def _who(wrong: str, source: str) -> str:
    return f"{source} is wrong" if wrong == "theirs" else "our bracket is wrong"


def _control_dt(system: System) -> float:
    """Python-control writes continuous time as 0."""
    return 0.0 if system.dt is None else float(system.dt)
