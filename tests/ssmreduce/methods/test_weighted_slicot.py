"""weighted against SLICOT's AB09ID (frequency-weighted square-root balance and truncate, standard combination).

Its results are recorded in ``tests/golden/ab09id.npz``, systems and weights included; slycot does not wrap the routine.
``python tests/ssmreduce/methods/test_weighted_slicot.py``, where the package ctrlsys is installed (1.1.1 was), asks it
again. It adds nothing to the Gramians, we REGULARIZATION of their traces: that is how far apart the two are. It keeps k
real states. So do we of a dense system; of stored pairs we keep those that fit into r stored states, which are fewer
where poles of the 2 r real states are real.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ssmreduce import Weighted, reduce
from theory.reduction.gramian_pairs import REGULARIZATION
from theory.systems.realization import dense
from theory.systems.response import frequency_response
from theory.systems.system import DiagonalStateSpace, StateSpace

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "ab09id.npz"
TIMES, SEEDS, STATES = (1.0, None), range(3), (2, 3, 4)
SIDES = {"R": (True, False), "L": (False, True), "B": (True, True)}
OMEGA = np.linspace(0.0, 3.0, 31)


def case(data, time, seed):
    """The system, the input and the output weight."""
    arrays = {name: data[f"{time}/{seed}/{name}"] for name in ("poles", "B", "C", "D")}
    system = DiagonalStateSpace(**arrays, dt=time)
    W, V = (StateSpace(*(data[f"{time}/{seed}/{side}/{X}"] for X in "ABCD"), dt=time) for side in "WV")
    return system, W, V


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sides", SIDES)
def test_values_and_reduced_systems_are_those_of_slicot(time, seed, sides):
    compared = 0
    with np.load(GOLDEN) as data:
        system, W, V = case(data, time, seed)
        method = Weighted(input=W if SIDES[sides][0] else None, output=V if SIDES[sides][1] else None)
        for k in STATES:
            key = f"{time}/{seed}/{sides}/{k}"
            hsv, theirs = data[f"{key}/hsv"], StateSpace(*(data[f"{key}/{X}"] for X in "ABC"), system.D, dt=time)
            found = [reduce(dense(system), k, method=method)]
            if k % 2 == 0 and (theirs.poles.imag != 0).all():
                found.append(reduce(system, k // 2, method=method))
            # the directions turn with the regularization over how far the values are apart
            off = 2 * hsv.size * REGULARIZATION * hsv[0]
            apart = np.abs(np.subtract.outer(hsv[:k], hsv[k:])).min()
            wanted = frequency_response(theirs, OMEGA)
            for ours in found:
                compared += 1
                assert np.abs(ours.diagnostics["pair"] - hsv).max() <= off
                gap = np.abs(frequency_response(ours.system, OMEGA) - wanted).max()
                assert gap <= off / apart * np.abs(wanted).max()
    assert compared > len(STATES)


def record():
    """Draw the systems, ask SLICOT through ctrlsys, write the file."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import ctrlsys
    from strategies import gaussian, stable_poles

    found = {}
    for time in TIMES:
        for seed in SEEDS:
            rng = np.random.default_rng(seed)

            def weight(p, m, n=2, rng=rng, time=time):
                A = rng.standard_normal((n, n))
                A = 0.8 * A / np.abs(np.linalg.eigvals(A)).max() - (np.eye(n) if time is None else 0.0)
                return StateSpace(A, *(rng.standard_normal(shape) for shape in ((n, m), (p, n), (p, m))), dt=time)

            poles = stable_poles(rng, "spread", (4,), 1e-2, time is not None)
            system = DiagonalStateSpace(
                poles, gaussian(rng, 4, 2), gaussian(rng, 3, 4), rng.standard_normal((3, 2)), dt=time
            )
            G, W, V = dense(system), weight(2, 2), weight(2, 3)
            found |= {f"{time}/{seed}/{name}": getattr(system, name) for name in ("poles", "B", "C", "D")}
            found |= {f"{time}/{seed}/{s}/{X}": getattr(one, X) for s, one in (("W", W), ("V", V)) for X in "ABCD"}
            arrays = [getattr(one, X) for one in (G, V, W) for X in "ABCD"]
            for sides in SIDES:
                for k in STATES:
                    given = [np.array(X, order="F") for X in arrays]  # it writes into them
                    A, B, C, *_, hsv, states, _, info = ctrlsys.ab09id(
                        "C" if time is None else "D", "S", "S", "B", sides, "N", "F", G.n, G.m, G.p, V.n, V.p, W.n, W.m,
                        k, 0.0 if time is None else 1.0, 0.0, 0.0, *given, 0.0, 0.0,
                    )  # fmt: skip
                    assert (states, info) == (k, 0)
                    key = f"{time}/{seed}/{sides}/{k}"
                    parts = (A[:states, :states], B[:states], C[:, :states], hsv[: G.n])
                    found |= {f"{key}/{name}": part for name, part in zip(("A", "B", "C", "hsv"), parts, strict=True)}
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    record()
