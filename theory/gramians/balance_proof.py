r"""Balancing as a proof: one diagonal matrix that bounds both Gramians of a dense system in the same coordinates.

With integers :math:`F,H` and :math:`F^TH=\Pi+\Delta`, :math:`\Delta` tiny, the matrices :math:`FF^T` and
:math:`H_xH_x^T,\ H_x=F^{-T}\Pi` are both :math:`\Pi` in the coordinates :math:`T=F\Pi^{-1/2}`. If they satisfy the
strict Lyapunov inequalities (:mod:`theory.gramians.proof`), then :math:`\sigma_i\le\Pi_i`, and every truncation in
these coordinates is stable with :math:`\|G-G_k\|_\infty\le2\sum_{i>k}\Pi_i`: with inputs :math:`S_c^{1/2}` and outputs
:math:`S_o^{1/2}` added, what is left over of the inequalities, the system is balanced with exactly :math:`\Pi`, and
ours is a part of it (:cite:p:`G84`, in discrete time :cite:p:`HP90`). Nothing is asked about gaps between values, or
about states that are not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.fixed_point import above, cut, identity, orthogonal_columns, product, size
from theory.gramians.proof import Plant, ReachProof, Unproved, float_norm, near_solutions, prove_reach, require_slack

Array = NDArray[Any]


NEARLY_INVERSE = 20
"""Bits by which the product of the balancing factors must be diagonal, relative to each value: far more is usual."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BalanceProof:
    """``Pi`` (n,), descending, with F and H; ``low`` bounds how far a Hankel singular value lies below its Pi."""

    plant: Plant
    reach: ReachProof
    sight: ReachProof
    F: Array
    H: Array
    Pi: Array
    turn: float  #: bound of what the exact H is off by, relative to the norm of `H`
    low: float


def both_gramians(plant: Plant) -> tuple[ReachProof, ReachProof]:
    """Return the proofs for the plant and for its dual.

    Raises
    ------
    Growing, Unproved, Exhausted
    """
    bits, n = plant.bits, plant.A.shape[0]
    one = identity(n, bits)
    right, left = near_solutions(plant, [cut(plant.B @ plant.B.T, bits), one], [cut(plant.C.T @ plant.C, bits), one])
    return prove_reach(plant, *right), prove_reach(plant.dual, *left)


def prove_balance(plant: Plant) -> BalanceProof:
    """Return the proof.

    Raises
    ------
    Growing, Unproved, Exhausted
    """
    bits = plant.bits
    reach, sight = both_gramians(plant)
    M = product(sight.F.T, reach.F, bits)
    V = orthogonal_columns(M, bits, plant.work)
    F, N = product(reach.F, V, bits), product(M, V, bits)
    values = [math.isqrt(int((N[:, i] * N[:, i]).sum())) for i in range(N.shape[1])]
    if not values or min(values) == 0:
        raise Unproved
    LN = sight.F @ N
    H = np.stack([LN[:, i] // values[i] for i in range(len(values))], axis=1)
    inner = F.T @ H  # in units of 2**(-2 bits)
    Pi = np.array([int(inner[i, i]) >> bits for i in range(len(values))], dtype=object)
    if min(Pi) <= 0:
        raise Unproved
    Pi = np.array(sorted(Pi, reverse=True), dtype=object)  # equal values may come in any order
    off = inner.copy()
    off[np.diag_indices(len(values))] -= Pi << bits
    # rows divided by Pi: units of 2**-bits
    turned = size(np.stack([-((-np.abs(off[i])) // int(Pi[i])) for i in range(len(values))]))
    if turned << NEARLY_INVERSE > 1 << bits:
        raise Unproved
    turned = 2 * turned + 1
    spread = size(H)
    changed = ((2 * turned * spread * spread >> 2 * bits) + (turned * turned * spread * spread >> 3 * bits)) + 2
    weight = size(plant.A)
    spent = (
        (changed * (weight * weight + (1 << 2 * bits)) >> 2 * bits) if plant.discrete else 2 * changed * weight >> bits
    )
    require_slack(plant, F, reach.slack)
    require_slack(plant.dual, H, sight.slack, spent + 1)
    # the exact H is at most 1.5 times as long as H
    lost = math.sqrt(2.0) * above(reach.slack, bits) ** 0.5
    f, h = float_norm(F, bits), 1.5 * float_norm(H, bits)
    w, v = float_norm(reach.W, bits), float_norm(sight.W, bits)
    low = 1.01 * (math.sqrt(2.0) * lost * (h * w + f * v) + 2.0 * lost * lost * w * v)
    return BalanceProof(plant=plant, reach=reach, sight=sight, F=F, H=H, Pi=Pi, turn=above(turned, bits), low=low)
