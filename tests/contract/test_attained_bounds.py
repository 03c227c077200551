"""Where the bound of balanced truncation is the error, it still holds for what is written."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from ssmreduce.reduction import reduce
from theory.errors import OrderError
from theory.systems.system import DiagonalStateSpace


@pytest.mark.parametrize("seed", range(16))
def test_an_attained_bound_holds_for_what_is_written(seed):
    """Of a symmetric system in continuous time (A = A^T < 0, B = C^T) the error at 0 *is* twice the tail.

    What rounding and re-diagonalization do to it, computed exactly from the floats that were written, has to be inside
    the bound, and little else may be. (Without its allowance the bound fails for half of these systems.)
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 9))
    poles = -(10.0 ** rng.uniform(-6, 0, n))
    b = rng.uniform(0.1, 1, n) * np.sqrt(-poles)
    system = DiagonalStateSpace(poles, b[:, None], b[None], dt=None)
    delivered = 0
    for order in range(1, n):
        try:
            found = reduce(system, order)
        except OrderError:
            continue
        with mpmath.workdps(50):
            error = abs(gain_at_zero(system) - gain_at_zero(found.system))
            assert error <= found.bound
            assert found.bound <= error * (1 + 1e-6) + 1e-9 * found.hsv[0]
        delivered += 1
    assert delivered


def gain_at_zero(system):
    """Of one input and output, from the floats as they are, exactly."""
    terms = [
        mpmath.mpmathify(complex(c)) * mpmath.mpmathify(complex(b)) / -mpmath.mpmathify(complex(p))
        for p, b, c in zip(system.poles, system.B[:, 0], system.C[0], strict=True)
    ]
    return 2 * mpmath.re(mpmath.fsum(terms))
