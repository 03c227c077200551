r"""Gramians of a dense system as a proof: integers that satisfy two matrix inequalities exactly.

All of it rests on one fact. If :math:`S=X-AXA^T-BB^T` (continuous time: :math:`-AX-XA^T-BB^T`) is positive definite for
some :math:`X\succeq0`, then :math:`A` is stable and :math:`P\preceq X`; and :math:`X-P` is the solution with :math:`S`
on the right, so that :math:`\|S\|` says how near it is. With matrices of integers
(:mod:`theory.arithmetic.fixed_point`) :math:`S` is computed without any rounding, and where :math:`X=FF^T` came from
does not matter: from the series :math:`P=\sum A^kBB^TA^{kT}` by squaring :cite:p:`S68`, in continuous time after a
Cayley map, a Cholesky factor, and one-sided Jacobi rotations that balance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.fixed_point import Work, above, cholesky, cut, identity, inverse, product, size

Array = NDArray[Any]

SLACK = 0.55
"""Bits of the definite part that makes an inequality strict, of all bits: the rest is room for what is not exact."""

MOST_SQUARINGS = 400
"""Powers of the state matrix that are tried: a margin of 2**-400 is on the boundary."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Plant:
    """A real system in integers, units of ``2**-bits``, exactly: (n, n), (n, m), (p, n); and the work left for it."""

    A: Array
    B: Array
    C: Array
    discrete: bool
    bits: int
    work: Work = field(default_factory=Work)

    @property
    def dual(self) -> Plant:
        """The transposed system, whose reachable states are the observable ones of this."""
        return Plant(A=self.A.T, B=self.C.T, C=self.B.T, discrete=self.discrete, bits=self.bits, work=self.work)

    def supply(self, F: Array) -> Array:
        """``X - A X A^T`` or ``-A X - X A^T`` for ``X = F F^T``, exactly, in units of ``2**(-4 bits)``."""
        AF = self.A @ F
        if self.discrete:
            return np.asarray(((F @ F.T) << 2 * self.bits) - AF @ AF.T)
        mixed = AF @ F.T
        return np.asarray(-(mixed + mixed.T) << self.bits)

    @property
    def source(self) -> Array:
        """``B B^T`` in the same unit."""
        return np.asarray((self.B @ self.B.T) << 2 * self.bits)


class Growing(ArithmeticError):
    """The powers of the state matrix do not decay; `proved` says whether an eigenvalue is proved to be outside."""

    def __init__(self, proved: bool) -> None:
        self.proved = proved
        super().__init__("the powers of the state matrix grow")


def near_solutions(plant: Plant, right: list[Array], left: list[Array]) -> tuple[list[Array], list[Array]]:
    """Return what is near the solutions of the equations of `plant` and of its dual for several right sides.

    Raises
    ------
    Growing
        The powers of the state matrix do not decay within the precision.
    Exhausted
        They decay too slowly for the work that is left.
    """
    n, bits = plant.A.shape[0], plant.bits
    plant.work.spend(4 + 2 * len(right) + 2 * len(left), n, bits)
    error: int | None = 0
    if plant.discrete:
        M = plant.A
    else:
        Z = inverse(identity(n, bits) - plant.A, bits)
        if Z is None:
            raise Growing(False)
        # Z is the inverse up to Z times what is missing here
        missing = size(product(Z, identity(n, bits) - plant.A, bits) - identity(n, bits)) + n
        error = (4 * size(Z) * missing >> bits) + 1 if 2 * missing < 1 << bits else None
        M = 2 * Z - identity(n, bits)
        right = [cut(2 * (Z @ X @ Z.T), 2 * bits) for X in right]
        left = [cut(2 * (Z.T @ X @ Z), 2 * bits) for X in left]
    sums, duals = list(right), list(left)
    for _ in range(MOST_SQUARINGS):
        length = size(M)
        if 2 * length.bit_length() < bits:  # what is missing is this squared
            return sums, duals
        trace = abs(sum(int(x) for x in M.diagonal()))
        if error is not None and trace - n * error > n << bits:
            raise Growing(True)  # the trace is a sum of n powers of eigenvalues
        if length.bit_length() > 4 * bits:
            break
        plant.work.spend(1 + 2 * len(sums) + 2 * len(duals), n, bits)
        if length.bit_length() <= 2 * bits:  # past that only the trace matters
            sums = [X + _between(M, X, bits) for X in sums]
            duals = [X + _between(M.T, X, bits) for X in duals]
        M = product(M, M, bits)
        error = None if error is None else ((2 * length * error + error * error) >> bits) + n + 1
        if error is not None and error.bit_length() > 4 * bits:  # says nothing any more, and would double its digits
            error = None
    raise Growing(False)


def _between(M: Array, X: Array, bits: int) -> Array:
    """``M X M^T`` for a symmetric X, nearly, and symmetric."""
    Z = cut(product(M, X, bits) @ M.T, bits)
    return np.asarray((Z + Z.T) >> 1)


class Unproved(ArithmeticError):
    """An inequality does not hold in this precision."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ReachProof:
    r"""Factors that bound the Gramian of a plant from above, and from below.

    ``P <= F F^T <= P + 1.5 slack Y`` in the sense of definite matrices, with the Gramian ``Y <= 2 W W^T`` whose right
    side is the identity. That A is stable is proved on the way.
    """

    F: Array
    W: Array
    slack: int  #: in units of 2**-bits

    def __post_init__(self) -> None:
        self.F.setflags(write=False)


def slack_of(bits: int) -> int:
    """The slack, in units of ``2**-bits``."""
    return 1 << bits - int(SLACK * bits)


def prove_reach(plant: Plant, X: Array, Y: Array) -> ReachProof:
    """Make a proof of what is near the solutions for ``B B^T`` (`X`) and for the identity (`Y`).

    Raises
    ------
    Unproved
    """
    bits, slack = plant.bits, slack_of(plant.bits)
    W = cholesky(Y, bits)
    one = identity(Y.shape[0], 4 * bits)
    if 2 * size(plant.supply(W) - one) > 1 << 4 * bits:
        raise Unproved
    F = cholesky(X + cut(slack * Y, bits), bits)
    require_slack(plant, F, slack)
    return ReachProof(F=F, W=W, slack=slack)


def require_slack(plant: Plant, F: Array, slack: int, spent: int = 0) -> None:
    """Check that ``supply(F) - B B^T`` lies within half the slack of the slack; `spent` of it, in its unit, is gone.

    Raises
    ------
    Unproved
    """
    rest = plant.supply(F) - plant.source - slack * identity(F.shape[0], 3 * plant.bits)
    if 2 * (size(rest) + (spent << 3 * plant.bits)) > slack << 3 * plant.bits:
        raise Unproved


def float_norm(X: Array, bits: int) -> float:
    """Frobenius norm as a float64, rounded up."""
    return above(size(X), bits)


def root_above(value: float) -> float:
    """Square root, rounded up."""
    return math.nextafter(math.sqrt(value), math.inf)
