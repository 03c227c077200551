r"""Modal truncation: some modes stay bit for bit, and the bound is what was left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import InputError
from theory.gramians.hankel import causal_hankel_singular_values, hankel_singular_values
from theory.reduction.balancing import Balancing, Truncation, real_order
from theory.reduction.bounds import hankel_floor, modal_bound
from theory.systems.given import SystemLike, as_system
from theory.systems.system import require_stable

Array = NDArray[Any]


def modal_truncation(
    system: SystemLike, keep: ArrayLike, *, hsv: Array | None = None, balancing: Balancing | None = None
) -> Truncation:
    r"""Keep the stored states `keep` and leave the others out; poles, ``B`` and ``C`` of the kept ones stay bit-equal.

    .. math:: \|G-G_r\|_\infty\le\sum_{i\ \text{removed}}2\|c_i\|\|b_i\|/(1-|\lambda_i|)

    (:func:`theory.reduction.bounds.modal_bound`).

    Parameters
    ----------
    system : DiagonalStateSpace
        Stable; a batch keeps the same indices in every channel.
    keep : array_like
        Integer indices or a boolean mask along the stored states; may be empty.
    hsv : ndarray, shape (..., N), optional, keyword only
        :func:`theory.gramians.hankel.hankel_singular_values` of `system`, if known already.
    balancing : Balancing, optional, keyword only
        From :func:`theory.reduction.balancing.balance`, instead of `hsv`: brings the values of the floor along, too.

    Returns
    -------
    Truncation

    Raises
    ------
    StabilityError, InputError
    """
    system = as_system(system, diagonal=True)
    require_stable(system)
    kept = kept_indices(keep, system.n)
    removed = np.setdiff1d(np.arange(system.n), kept)
    if balancing is not None:
        values, floor_values = balancing.hsv, balancing.floor_hsv
    else:
        values = hankel_singular_values(system) if hsv is None else hsv
        floor_values = causal_hankel_singular_values(system) if system.is_bidirectional else values
    return Truncation(
        system=system if removed.size == 0 else system.keep(kept), order=kept.size, hsv=values,
        bound=modal_bound(system, removed), floor=hankel_floor(floor_values, real_order(system, kept.size)),
        status=f"modal truncation to {kept.size} of {system.n} stored states",
        kept=kept, diagnostics={"kept": kept, "removed": removed},
    )  # fmt: skip


def kept_indices(keep: ArrayLike, n: int) -> Array:
    """Turn integer indices or a mask of `n` states into ascending indices; :class:`InputError` for anything else."""
    chosen = np.asarray(keep)
    if chosen.dtype == bool:
        if chosen.shape != (n,):
            raise InputError(f"the mask of states to keep must have shape ({n},), got {chosen.shape}")
        return np.flatnonzero(chosen)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise InputError("keep must be a list of state indices or a boolean mask")
    chosen = chosen.astype(int)
    if chosen.size and (chosen.min() < -n or chosen.max() >= n):
        raise InputError(f"keep has an index outside 0..{n - 1}")
    chosen = chosen % n if n else chosen
    if np.unique(chosen).size != chosen.size:
        raise InputError("keep names a state twice")
    return np.sort(chosen)
