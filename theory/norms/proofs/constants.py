"""Certificates that need no search: a constant matrix, and a pole on the boundary."""

from __future__ import annotations

import numpy as np

from theory.arithmetic.singular_value import largest_gain
from theory.norms.peaks.peak import Peak
from theory.norms.proofs.proof import ByShape, Proved
from theory.norms.responses.response import Response


class PoleOnBoundary(ByShape):
    """Infinity is an upper bound, and where the residue of the pole does not cancel it is the norm.

    Applies: a diagonal system with a pole on the boundary, to the last bit (only ``linf_norm`` takes such systems).
    Cost: none.
    """

    name = "pole"
    shape = "pole"

    def prove(self, response: Response, peak: Peak, rtol: float) -> Proved:
        """Nothing is to be done."""
        return Proved(np.inf, {})


class Constant(ByShape):
    """The largest singular value of D, by Gershgorin's discs of ``D* D`` in computed coordinates.

    Applies: no state is left that an input reaches and an output sees.
    Cost: O(p m min(p, m)).
    """

    name = "static"
    shape = "constant"

    def prove(self, response: Response, peak: Peak, rtol: float) -> Proved:
        """Bound the largest singular value."""
        D = response.form.D
        return Proved(float(largest_gain(D.astype(complex)[None])[1][0]) if D.any() else 0.0, {})
