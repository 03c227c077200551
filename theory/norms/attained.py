"""A gain that an error attains, without a proof that none is larger: it refutes a tolerance at a tenth of the price."""

from __future__ import annotations

from theory.norms.plan import bracketed
from theory.norms.responses.diagonal import Modes
from theory.systems.difference import difference
from theory.systems.given import SystemLike
from theory.systems.system import DiagonalStateSpace


def attained_error(G: SystemLike, Gr: SystemLike, rtol: float = 1e-3) -> float:
    r"""Return a gain that :math:`G-G_r` attains at some frequency, rounded down by its evaluation error.

    .. math:: \text{attained_error}\le\|G-G_r\|_\infty

    so that a value above a tolerance refutes the tolerance. It is often within `rtol` of the norm; nothing of that is
    proved.

    Parameters
    ----------
    G, Gr : StateSpace or DiagonalStateSpace
        Same time base, inputs and outputs, as for :func:`theory.norms.error_norm`.
    rtol : float
        How near the largest gain the search tries to come.

    Returns
    -------
    float
        0, which refutes nothing, where the whole :func:`theory.norms.error_norm` costs no more: batches, dense systems.

    Raises
    ------
    TimeBaseError, DimensionError, InputError
        As for :func:`theory.norms.error_norm`.

    Notes
    -----
    The search with which a certified norm begins, and its witness (:mod:`theory.norms.peaks`).
    """
    error = difference(G, Gr)
    if not isinstance(error, DiagonalStateSpace) or error.batch_shape or 0 in error.D.shape:
        return 0.0
    return float(bracketed(Modes().write(error), rtol, proofs=()).lower)
