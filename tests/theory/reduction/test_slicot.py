"""Dense reductions against SLICOT: AB09AD (balance and truncate), AB09BD (residualization), AB09CD (Hankel norm).

slycot wraps the first two; AB09AD is asked here. Its AB09BD writes over memory that is not its own (slycot 0.7.1: runs
of this file ended in segmentation faults), so that one and AB09CD are recorded in ``tests/golden/ab09.npz``;
``python tests/theory/reduction/test_slicot.py``, where the package ctrlsys is installed (1.1.1 was), asks them again.

Of AB09BD's two variants it is the balancing-free one (JOB = 'N'). The square-root one (JOB = 'B') agrees in continuous
time; in discrete time it is no singular perturbation: with two states of the last system below, its gain at rest is off
by 29.6 where the largest entry is 80.3, in slycot and ctrlsys alike; that of 'N' and ours by 2e-12 at most.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from theory.gramians.hankel import hankel_singular_values
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.hankel_norm import hankel_norm_approximation
from theory.reduction.residualization import residualized
from theory.systems.response import frequency_response
from theory.systems.system import StateSpace

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "ab09.npz"
TIMES, SEEDS = (1.0, None), range(4)
N, PORTS = 7, ((1, 1), (2, 3))
OMEGA = np.linspace(0.0, 3.0, 31)
CLOSE = 1e-9
"""Relative to the response, over the relative distance of the values that are kept from those that are not."""


def drawn(time, seed, m=2, p=3):
    """A random stable system, poles up to 0.9 (continuous time: up to -0.1)."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((N, N))
    A = 0.9 * A / np.abs(np.linalg.eigvals(A)).max() - (np.eye(N) if time is None else 0.0)
    return StateSpace(A, rng.standard_normal((N, m)), rng.standard_normal((p, N)), rng.standard_normal((p, m)), dt=time)


def gap(ours, theirs):
    """Largest difference of the responses, over the largest response."""
    wanted = frequency_response(theirs, OMEGA)
    return np.abs(frequency_response(ours, OMEGA) - wanted).max() / np.abs(wanted).max()


def apart(hsv, order):
    return (hsv[order - 1] - hsv[order]) / hsv[0]


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_balanced_truncation_is_that_of_slycot(time, seed):
    slycot = pytest.importorskip("slycot")
    system = drawn(time, seed)
    for order in range(1, N):
        given = [np.array(X, order="F") for X in (system.A, system.B, system.C)]  # it writes into them
        kind = "C" if time is None else "D"
        _, A, B, C, hsv = slycot.ab09ad(kind, "B", "N", N, system.m, system.p, *given, nr=order)
        theirs = StateSpace(A[:order, :order], B[:order], C[:, :order], system.D, dt=time)
        ours = balanced_truncation(system, order)
        assert np.abs(ours.hsv - hsv).max() <= 1e-10 * hsv[0]
        assert gap(ours.system, theirs) <= CLOSE / apart(hsv, order)


def recorded(routine, ports, time, seed, order):
    with np.load(GOLDEN) as data:
        key = f"{routine}/{ports[0]}/{time}/{seed}/{order}"
        return StateSpace(*(data[f"{key}/{X}"] for X in "ABCD"), dt=time)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ports", PORTS)
def test_residualization_is_that_of_slicot(ports, time, seed):
    system = drawn(time, seed, *ports)
    for order in range(1, N):
        ours = residualized(system, order)
        theirs = recorded("ab09bd", ports, time, seed, order)
        assert gap(ours.system, theirs) <= CLOSE / apart(ours.hsv, order)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("seed", SEEDS[:2])  # the norms of dense errors are proved in integers, which takes its time
@pytest.mark.parametrize("ports", PORTS)
def test_the_hankel_norm_is_that_of_slicot(ports, time, seed):
    """Of one input and output the optimum is unique but for its feedthrough; else both attain the same error."""
    system = drawn(time, seed, *ports)
    for order in range(1, N):
        theirs = recorded("ab09cd", ports, time, seed, order)
        ours = hankel_norm_approximation(system, order)
        if ports == (1, 1):
            moved = frequency_response(ours.system, OMEGA) - frequency_response(theirs, OMEGA)
            size = np.abs(frequency_response(theirs, OMEGA)).max()
            assert np.abs(moved - moved[0]).max() <= CLOSE / apart(ours.hsv, order) * size
        for one in (ours.system, theirs):
            error = hankel_singular_values(both(system, one))[0]
            assert abs(error - ours.hsv[order]) <= 1e-7 * ours.hsv[0]


def both(system, reduced):
    """The error, as one dense system."""
    n, r = system.n, reduced.n
    A = np.block([[system.A, np.zeros((n, r))], [np.zeros((r, n)), reduced.A]])
    C = np.hstack([system.C, -reduced.C])
    return StateSpace(A, np.vstack([system.B, reduced.B]), C, 0 * system.D, dt=system.dt)


def record():
    """Ask SLICOT through ctrlsys, write the file."""
    import ctrlsys

    found = {}
    for ports in PORTS:
        for time in TIMES:
            for seed in SEEDS:
                system, kind = drawn(time, seed, *ports), "C" if time is None else "D"
                for order in range(1, N):
                    sizes = (N, *ports, order)
                    for routine in ("ab09bd", "ab09cd"):
                        given = [np.array(X, order="F") for X in (system.A, system.B, system.C, system.D)]
                        options = (kind, "N", "N", "F") if routine == "ab09bd" else (kind, "N", "F")
                        A, B, C, D, r, *_, info = getattr(ctrlsys, routine)(*options, *sizes, *given, 0.0, 0.0)
                        assert (info, r) == (0, order)
                        key, parts = f"{routine}/{ports[0]}/{time}/{seed}/{order}", (A[:r, :r], B[:r], C[:, :r], D)
                        found |= {f"{key}/{X}": Y for X, Y in zip("ABCD", parts, strict=True)}
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    sys.exit(record())
