r"""The output matrix that is best in H-infinity, poles and input matrix kept: a convex problem, with its gap.

Each channel by itself (:mod:`theory.reduction.output_fit`), at frequencies that are added to where a certificate shows
that the error peaks elsewhere; what is not certainly better is not taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.threads import few_threads
from theory.errors import DimensionError, InputError
from theory.reduction.h2_descent import channels
from theory.reduction.hinf_descent import CERTIFIED, Certify
from theory.reduction.improvement import chosen
from theory.reduction.output_fit import POWERS, OutputFit
from theory.systems.system import DiagonalStateSpace, System, require_stable

Array = NDArray[Any]

ROUNDS = 4
"""Certificates, at most; after each the frequency that it attains is added, and the last block repeated."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HinfRefit:
    """A refitted system and where the least error with its poles and B lies.

    Attributes
    ----------
    system : DiagonalStateSpace or StateSpace
    upper : float or ndarray
        Certified upper end of its error, one for each channel of a batch.
    lower : float or ndarray
        No output matrix gives a smaller error: by duality, in float64, its rounding not proved; but for outputs some
        1e10 times as large as usual, where neighbouring poles nearly cancel
        (:data:`theory.reduction.affine_error.THERE`).
    """

    system: System
    upper: Any
    lower: Any

    @property
    def gap(self) -> Any:
        """``upper / lower - 1``, at most how much the best output matrix would gain; 0 where both are 0."""
        upper, lower = np.asarray(self.upper, dtype=float), np.asarray(self.lower, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = np.where(upper > 0, upper / lower - 1.0, 0.0)
        return gap if gap.ndim else float(gap)


@few_threads
def hinf_refit(
    system: DiagonalStateSpace,
    reduced: DiagonalStateSpace,
    certify: Certify,
    *,
    steps: int = 50,
    feedthrough: bool = False,
) -> HinfRefit:
    r"""Return `reduced` with an output matrix for which :math:`\|G-G_r\|_\infty` is nearly least, and how nearly.

    Parameters
    ----------
    system, reduced : DiagonalStateSpace
        Stable, of one form, with one feedthrough; one system or a batch, one or two directions.
    certify : callable
        ``certify(system, reduced, rtol)``, as :func:`theory.norms.error_norm`: what decides, and where the error peaks.
    steps : int, keyword only
        At most, in each of the three blocks.
    feedthrough : bool, keyword only
        Whether the diagonal of ``D`` is fitted with the output matrix, in real numbers; as many outputs as inputs.

    Returns
    -------
    HinfRefit
        Poles, ``B`` and what is not fitted of ``D`` of `reduced`, bit for bit; `reduced` itself, or its channels, where
        nothing certainly better was found.

    Raises
    ------
    StabilityError, DimensionError, InputError

    Notes
    -----
    Cost: about 200 evaluations of the error at some hundred frequencies, and full singular value decompositions there
    after each block, for each channel. Combinations of the responses that are too small
    (:data:`theory.reduction.affine_error.THERE`) stay as they are.
    """
    if system.D.shape != reduced.D.shape:
        raise DimensionError("the systems differ in ports or batch", first=system.D.shape, second=reduced.D.shape)
    if not np.array_equal(system.D, reduced.D):
        raise InputError("the systems differ in D: give the reduced one that of the whole")
    if system.conjugate_pairs != reduced.conjugate_pairs or system.is_discrete != reduced.is_discrete:
        raise InputError("both systems must be paired, or neither, and of one kind of time")
    if feedthrough and system.p != system.m:
        raise InputError(f"D has no diagonal to fit: {system.p} outputs of {system.m} inputs")
    require_stable(system)
    require_stable(reduced)
    before = certify(system, reduced, CERTIFIED)
    if not reduced.n and not feedthrough:
        return HinfRefit(system=reduced, upper=before.upper, lower=before.lower)
    if not system.n:  # no output at all is the best one
        reverse = None if reduced.C_reverse is None else 0 * reduced.C_reverse
        silent = reduced.replace(C=0 * reduced.C, C_reverse=reverse)
        return HinfRefit(system=silent, upper=0.0 * before.upper, lower=0.0 * before.upper)
    pairs = channels(system, reduced)
    problems = [OutputFit(one, other, feedthrough) for one, other in pairs]
    for problem in problems:
        problem.minimise(steps)
    found, after = reduced, before
    for left in reversed(range(ROUNDS)):
        found = _joined(reduced, [problem.system for problem in problems])
        after = certify(system, found, CERTIFIED)
        lower, peaks = (np.atleast_1d(np.asarray(end, dtype=float)).ravel() for end in (after.lower, after.frequency))
        missed = [i for i, problem in enumerate(problems) if lower[i] > problem.peak * (1.0 + CERTIFIED)]
        if not left or not missed:
            break
        for i in missed:
            problems[i].add(peaks[i])
            problems[i].minimise(steps, POWERS[-1:])
    bounds = np.reshape([problem.lower for problem in problems], np.shape(before.upper))
    better = np.asarray(after.upper) < np.asarray(before.lower)
    upper = np.where(better, after.upper, before.upper)
    shape = (lambda values: values) if upper.ndim else float
    return HinfRefit(system=chosen(better, found, reduced), upper=shape(upper), lower=shape(bounds))


def _joined(form: DiagonalStateSpace, pieces: list[DiagonalStateSpace]) -> DiagonalStateSpace:
    """`form` with the output matrices and feedthroughs of the channels."""

    def gathered(name: str) -> Array | None:
        own = getattr(form, name)
        return None if own is None else np.reshape([getattr(piece, name) for piece in pieces], own.shape)

    return form.replace(C=gathered("C"), C_reverse=gathered("C_reverse"), D=gathered("D"))
