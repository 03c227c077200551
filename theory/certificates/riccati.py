r"""The matrix of the bounded-real lemma from a Riccati equation, where a solver of linear matrix inequalities stalls.

With :math:`C^*C+\epsilon I` in place of :math:`C^*C`, the stabilizing solution P of the bounded-real Riccati equation
has :math:`M(P)\preceq-\epsilon\,\mathrm{diag}(I,0)` up to its Schur complement :cite:p:`ZDG96`. Interior-point methods
stop near :math:`10^{-8}`; lightly damped modes leave less room than that. Nothing here is trusted:
:func:`theory.certificates.bounded_real.bounded_real_certificate` checks the eigenvalues of whatever comes out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.systems.system import StateSpace

Array = NDArray[Any]

RIDGES = tuple(10.0**-k for k in range(3, 15))
"""Values of epsilon, in coordinates in which the Gramians are alike and the level is 1; the largest that works wins."""


def riccati_candidates(system: StateSpace) -> Iterator[Array]:
    """Yield stabilizing solutions for the level 1, from the largest epsilon that has one downwards."""
    B, C, D, n = system.B, system.C, system.D, system.n
    R, S = D.conj().T @ D - np.eye(system.m), C.conj().T @ D
    for ridge in RIDGES:
        Q = C.conj().T @ C + ridge * np.eye(n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if system.is_discrete:
                    P = scipy.linalg.solve_discrete_are(system.A, B, Q, R, s=S)
                else:
                    P = scipy.linalg.solve_continuous_are(system.A, B, Q, R, s=S)
            except (np.linalg.LinAlgError, ValueError):
                continue
        if np.isfinite(P).all():
            yield (P + P.conj().T) / 2.0
