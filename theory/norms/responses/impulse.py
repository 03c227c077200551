r"""A dense system whose impulse response ends, written as its polynomial.

A nilpotent A (no state feeds itself, not even around a circle) has :math:`G(z)=D+\sum_{k=1}^{n}CA^{k-1}Bz^{-k}`.
Products of a shift register are exact; those of any other A carry a bound that is accumulated beside them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from theory.arithmetic.rounding import SMALLEST, UNIT, frobenius, gamma, up
from theory.norms.bracket import Bracket
from theory.norms.responses.modes import scales
from theory.norms.responses.polynomial import Polynomial
from theory.norms.responses.response import Response
from theory.systems.system import StateSpace, System
from theory.systems.triangular import triangular_order
from theory.systems.units import equilibrated

Array = NDArray[Any]


class FiniteImpulseResponse:
    """A polynomial in 1/z: the impulse response itself, which ends.

    Applies: a discrete-time dense system whose A is nilpotent: strictly triangular, in whatever order of the states.
    Cost: O(n) products of A and B; those of a shift register are exact.
    """

    name = "finite impulse response"

    def applies(self, system: System, known: Bracket, *, stable: bool) -> bool:
        """Whether no state feeds itself, not even around a circle."""
        if not isinstance(system, StateSpace) or not system.is_discrete or system.n == 0:
            return False
        return not np.diag(system.A).any() and triangular_order(system.A) is not None

    def write(self, system: System) -> Response | None:
        """Multiply out the coefficients; ``None`` where float64 cannot hold them."""
        assert isinstance(system, StateSpace)
        A, B, C = equilibrated(system)
        balance, scale = scales(B, C, system.D)
        B, C, D = B / balance, C / (scale / balance), system.D / scale
        H, errors = markov_parameters(A, B, C)
        if not (np.isfinite(H).all() and np.isfinite(errors).all()):
            return None
        H = np.concatenate([D[None], H])
        heard = np.flatnonzero(H.any(axis=(1, 2)))
        H = H[heard[0] : heard[-1] + 1] if heard.size else H[:1]
        real = not any(np.any(np.imag(X)) for X in (A, B, C, D))
        lost = float(up(errors.sum(), errors.size + 8))
        return Response(name=self.name, form=Polynomial(H=H, lost=lost, real=real), scale=scale)


def markov_parameters(A: Array, B: Array, C: Array) -> tuple[Array, Array]:
    """Return ``C A^(k-1) B`` for k = 1 ... n, (K, p, m), of a nilpotent A, and bounds of their errors, (K,)."""
    sparse, size = scipy.sparse.csr_array(A), scipy.sparse.csr_array(np.abs(A))
    entries = np.diff(sparse.indptr)
    rounding = np.where(entries > 0, [gamma(int(k)) for k in entries], 0.0)
    mantissa = np.abs(np.frexp(np.abs(A))[0])
    exact = (entries <= 1) & np.isin(mantissa, (0.0, 0.5)).all(axis=1) & ((A.real == 0) | (A.imag == 0)).all(axis=1)
    rounding = np.where(exact, 0.0, rounding)[:, None]
    pattern = scipy.sparse.csr_array((A != 0).astype(float))
    X, E, reached = B, np.zeros(B.shape), B != 0
    found, errors = [], []
    for _ in range(A.shape[0]):
        found.append(C @ X)
        # the products of the sum that are not zero
        terms = (C != 0).astype(float) @ (X != 0)
        slip = 1.5 * (terms + 4.0) * UNIT * (1.0 + 1e-6)
        off = up(np.abs(C) @ E + slip * (np.abs(C) @ np.abs(X)), A.shape[0] + 8)
        errors.append(float(frobenius(off)))
        reached = (pattern @ reached.astype(float)) > 0
        if not reached.any():
            break
        E = np.where(reached, up(size @ E + rounding * (size @ np.abs(X)), A.shape[0] + 8) + SMALLEST, 0.0)
        X = sparse @ X
    return np.array(found), np.array(errors)
