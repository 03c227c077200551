r"""One Cholesky factorization is a proof: of a Hermitian matrix that it is positive semidefinite.

A factorization in floating point that runs to its end proves :math:`A + \Delta \ge 0` for a
:math:`\|\Delta\| \le \gamma_{n+1}/(1-\gamma_{n+1})\,\mathrm{tr}A` (Rump, BIT 46, 2006; Higham, thm 10.3); that much
is taken off the diagonal before. A refusal proves nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.rounding import gamma

Array = NDArray[Any]


def positive_definite(matrix: Array, *, shift: float = 0.0, lower: bool = True) -> bool:
    """Whether a Hermitian `matrix` minus ``shift I`` is proved positive semidefinite by one Cholesky factorization.

    Both triangles of a C-ordered `matrix` are needed; of a Fortran-ordered one the one that `lower` says.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        Finite, taken as exact; what its entries are off by goes into `shift`.
    shift : float, keyword only
        A bound of the norm of whatever the matrix may be off by.
    lower : bool, keyword only
        Which triangle is read.
    """
    n = matrix.shape[0]
    diagonal = np.real(np.diag(matrix))
    shift = (shift + 1.1 * gamma(n + 1) * float(np.abs(diagonal).sum())) * 1.01
    if not (diagonal > shift).all():
        return False
    work = matrix.T if matrix.flags.c_contiguous else matrix  # the transpose of a Hermitian matrix is its conjugate
    work = work.astype(complex if np.iscomplexobj(work) else float, order="F")
    np.fill_diagonal(work, diagonal - shift)
    factorize = scipy.linalg.lapack.zpotrf if np.iscomplexobj(work) else scipy.linalg.lapack.dpotrf
    _, info = factorize(work, lower=int(lower), overwrite_a=1, clean=0)
    return bool(info == 0)
