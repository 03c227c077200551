"""What python-control says: ``linfnorm`` on as many rows as the time pays for, on others the gain at our witness."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ssmreduce.comparison.asking import TOLERANCE, asked, not_installed
from ssmreduce.comparison.peers import peer_matrices, thinned
from ssmreduce.comparison.referee import judged
from ssmreduce.comparison.work import Work
from ssmreduce.results import ABOVE, AGREES, BELOW, FAILED, WITNESS, Opinion
from theory.errors import InputError, SSMReduceError
from theory.norms.bracket import Bracket
from theory.systems.difference import difference
from theory.systems.system import DiagonalStateSpace, System

LINFNORM = "python-control linfnorm"

SMALL = 16
"""States below which the time of python-control does not depend on their number."""

WITNESS_TOLERANCE = 1e-8
"""Relative difference of two evaluations of one response that is rounding: theirs is a solve without refinement."""


def ask_python_control(system: System, work: Sequence[Work], budget: float, report: Callable[[int, str], None]) -> None:
    """Fill in the opinions: linfnorm where the budget allows it, the gain at the witness elsewhere.

    Half of the budget is for the methods that make new poles (their error systems are the largest); the cost of the
    next call is estimated from the last one as the cube of the number of states.
    """
    tasks = []
    for item in work:
        if item.reduced is None or item.row.error is None:
            continue
        error = difference(system, item.reduced)
        if isinstance(error, DiagonalStateSpace) and error.batch_shape:
            error = error[np.unravel_index(int(item.row.error.diagnostics.get("channel", 0)), error.batch_shape)]
        tasks.append((item, error))
    new = sorted((task for task in tasks if task[0].row.kept is None), key=lambda task: task[1].n)
    selected = sorted((task for task in tasks if task[0].row.kept is not None), key=lambda task: task[1].n)
    if importlib.util.find_spec("control") is not None:
        importlib.import_module("control")  # seconds that are not the price of a norm
    done, left, cost, size = 0, budget, 0.0, SMALL
    asked: dict[bytes, Opinion] = {}
    for group, share in ((selected, 0.5 if new else 1.0), (new, 1.0)):
        allowance = left if np.isinf(left) else left * share
        for item, error in group:
            done += 1
            report(done, f"python-control: {item.row.method}, order {item.row.order}")
            assert item.row.error is not None
            start = time.perf_counter()
            key = item.selection
            if key in asked:
                opinion = replace(asked[key], seconds=0.0)
            elif cost * (max(error.n, SMALL) / size) ** 3 < allowance:
                opinion = python_control_opinion(error, item.row.error)
                cost, size = opinion.seconds, max(error.n, SMALL)
                if key:
                    asked[key] = opinion
            else:
                opinion = witness_opinion(error, item.row.error)
            spent = time.perf_counter() - start
            allowance, left = allowance - spent, left - spent
            item.row = replace(item.row, crosscheck=opinion)


def python_control_opinion(system: System, ours: Bracket, *, tolerance: float = TOLERANCE) -> Opinion:
    """Ask ``control.linfnorm`` (slycot's ``ab13dd`` behind it; without slycot it cannot answer)."""
    source = LINFNORM

    def ask() -> tuple[float, float]:
        import control

        A, B, C, D, E = thinned(peer_matrices(system))
        if min(D.shape) == 0:
            raise InputError("a system without inputs or without outputs is nothing that control.linfnorm takes")
        if not np.array_equal(E, np.eye(len(E))):
            A, B = np.linalg.solve(E, A), np.linalg.solve(E, B)
        value, frequency = control.linfnorm(control.StateSpace(A, B, C, D, _control_dt(system)), tol=tolerance)
        return float(value), float(frequency) * float(system.dt or 1.0)

    return asked(source, system, ours, tolerance, ask, ("control", "slycot"))


def witness_opinion(system: System, ours: Bracket, *, tolerance: float = WITNESS_TOLERANCE) -> Opinion:
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
        return not_installed(source, error, ("control",))
    except (SSMReduceError, ValueError, ArithmeticError) as error:
        return Opinion(source=source, verdict=FAILED, detail=str(error), seconds=time.perf_counter() - start)
    verdict = judged(source, system, attained, omega, ours, tolerance, time.perf_counter() - start)
    if verdict.verdict not in (AGREES, BELOW, ABOVE):
        return verdict
    return replace(verdict, verdict=WITNESS, detail=f"gain {attained:.6g} at {omega:.4g}; its linfnorm was not run")


def _control_dt(system: System) -> float:
    """Python-control writes continuous time as 0."""
    return 0.0 if system.dt is None else float(system.dt)
