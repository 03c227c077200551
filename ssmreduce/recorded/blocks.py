r"""Least squares with more parameters than equations, in blocks of parameters: damped steps by the small matrix.

With B the derivatives along some directions, m what is missing along them, and g what of the gradient is known exactly,
the minimiser of :math:`|B\delta-m|^2-2g^*\delta+\mu|\delta|^2` is :math:`\delta=B^*a+g/\mu` with
:math:`(BB^*+\mu I)a=m-Bg/\mu`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from ssmreduce.recorded.aims import Faced
from ssmreduce.recorded.derivatives import Writes

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Block:
    """Some parameters of a layer.

    Attributes
    ----------
    index : int
        The layer.
    along : ndarray, shape (E, k)
        Derivatives along E directions.
    known : ndarray, shape (k,)
        What of the gradient is known exactly.
    write : callable
        ``write(system, change)`` gives the system after a change of these parameters.
    moves : bool
        Whether they are poles and B.
    """

    index: int
    along: Array
    known: Array
    write: Writes
    moves: bool = False

    @classmethod
    def of(cls, index: int, along: Array, faced: Faced, write: Writes, *, moves: bool = False) -> Block:
        """From derivatives (N, R, k) of the directions that are faced, the residual last where there is one."""
        drawn = faced.directions.shape[-1]
        known = along[:, drawn:].sum(axis=(0, 1), dtype=float)
        return cls(
            index=index, along=along[:, :drawn].reshape(-1, along.shape[2]), known=known, write=write, moves=moves
        )


def solved(blocks: Sequence[Block], missing: Array, dampings: Sequence[float]) -> Iterator[list[Array]]:
    """Steps along every block, one for each damping, which is relative to the mean diagonal of the small matrix."""
    if not blocks:
        return
    normal = np.zeros((len(missing), len(missing)))
    for block in blocks:
        normal += block.along @ block.along.T
    mean = float(np.trace(normal)) / len(normal)
    if not 0 < mean < np.inf:
        return
    met = np.zeros(len(missing))
    for block in blocks:
        met += block.along @ block.known
    for damping in dampings:
        mu = damping * mean
        damped = normal.copy()
        damped.flat[:: len(normal) + 1] += mu
        factor = linalg.cho_factor(damped, lower=True, overwrite_a=True, check_finite=False)
        weights = linalg.cho_solve(factor, missing - met / mu, check_finite=False)
        yield [block.along.T @ weights.astype(np.float32) + block.known / mu for block in blocks]
