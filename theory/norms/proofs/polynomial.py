r"""The norm of a finite impulse response: samples of a polynomial, and how far its gain can rise between two of them.

For fixed unit vectors, :math:`f(\theta)=\|G(e^{j\theta})v\|^2` is a trigonometric polynomial of degree d with values in
:math:`[0,F]`, F its largest. A polynomial :math:`f-F/2` that attains its own size :math:`F/2` at :math:`\theta_*` lies
above :math:`\tfrac F2\cos d(\theta-\theta_*)` within :math:`\pi/d` of it (M. Riesz; :cite:p:`EZ64` is the same on a
grid), hence

.. math:: \|G(\theta)\| \ge \|G(\theta_*)\|\cos\frac{d(\theta-\theta_*)}{2},\qquad |\theta-\theta_*|\le\frac\pi d:

the largest gain of a cell of half width w is at most :math:`1/\cos(dw/2)` times the gain at its centre, *if* the
largest gain of the circle lies in it. Cells where that stays below the level are dismissed, the others are cut in
three. All centres are :math:`2\pi r/M` with integers r and M, summed by a matrix product, whose rounding is known, and
not by a fast transform, whose rounding is not.
"""

from __future__ import annotations

import numpy as np

from theory.arithmetic.rounding import OPERATIONS_40, up
from theory.arithmetic.singular_value import largest_gain
from theory.norms.peaks.grid import Grid
from theory.norms.peaks.peak import Peak
from theory.norms.proofs.arcs import DROWNED, HARMLESS
from theory.norms.proofs.proof import ByShape, Proved
from theory.norms.responses.polynomial import SAMPLES_A_DEGREE, Polynomial
from theory.norms.responses.response import Response

THIRDS = 3
"""A cell is cut in three: the middle one keeps its centre on the finer grid of integers."""

FINEST = 2.0**61
"""Products of an integer angle and a degree, which are exact below."""

MOST_NUMBERS = 2e7
"""Sines and cosines that a proof may cost, a second or two. Cells that are left then keep the bound that they have."""


class Samples(ByShape):
    r"""A polynomial of degree d rises by at most :math:`1/\cos(dw/2)` within w of a sample, if its maximum is there.

    Applies: a finite impulse response.
    Cost: O(d p m) a sample; some ten d samples, more where the gain is flat.
    """

    name = "polynomial"
    shape = "polynomial"

    def prove(self, response: Response, peak: Peak, rtol: float) -> Proved:
        """Dismiss cells until the largest bound is close above the peak."""
        form: Polynomial = response.form
        assert isinstance(peak, Grid)
        if form.degree == 0:
            sup = float(largest_gain(form.H.astype(complex))[1][0]) if form.H.any() else 0.0
            return Proved(float(up(sup + form.lost)), {"samples": 1})
        samples, upper = self._cover(form, peak)
        return Proved(float(up(upper + form.lost)), {"samples": samples})

    def _cover(self, form: Polynomial, peak: Grid) -> tuple[int, float]:
        """The number of samples, and a bound of the gain of the computed coefficients."""
        d = form.degree
        M = 2 * (SAMPLES_A_DEGREE // 2) * d
        r = np.arange(M // 2 + 1 if form.real else M)
        table = np.exp(-2j * np.pi * (np.arange(M) / M))
        chunk = max(1, int(peak.chunk))
        upper, spent, numbers = 0.0, 0, 0.0
        while r.size:
            rise = (1.0 + OPERATIONS_40) / np.cos(0.5 * d * (np.pi / M) * (1.0 + OPERATIONS_40))
            gains, slips = [], 0.0
            for start in range(0, r.size, chunk):
                value, slips = form.sample(r[start : start + chunk], M, table)
                gains.append(largest_gain(value)[1])
            gain = np.concatenate(gains)
            bound = up((gain + slips) * rise)
            spent, numbers, table = spent + r.size, numbers + r.size * (d + 1.0), None
            harmless = max(HARMLESS * peak.rtol * peak.best, DROWNED * slips)
            settled = (bound + form.lost <= peak.level) | (bound - gain - slips <= harmless)
            if THIRDS * float(M) * (d + 1) > FINEST or numbers > MOST_NUMBERS:
                settled[:] = True
            if settled.any():
                upper = max(upper, float(bound[settled].max()))
            r = (THIRDS * r[~settled][:, None] + np.array([-1, 0, 1])).ravel() % (THIRDS * M)
            M *= THIRDS
        return spent, upper
