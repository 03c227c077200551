"""Bounds on arcs at their tightest: the peak halfway between two samples, of a gain that is nearly a parabola.

``D + c z^{-1}`` with small c: between the samples at the centre and at an end of an arc of half width h the gain rises
by h^2/8 of its curvature, which is what either bound of it allows. Truth is the definition, in 40 digits.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

from theory.norms.peaks.grid import Grid
from theory.norms.proofs.arcs import Cover
from theory.norms.responses.diagonal import diagonal_modes
from theory.systems.boundary import CIRCLE
from theory.systems.system import DiagonalStateSpace

sys.path.insert(0, str(Path(__file__).parents[2]))
from reference.gains import exact_gain


@pytest.mark.parametrize("order", [2, 8])  # by second derivatives of G alone, and by the curvature of G^* G as well
def test_a_peak_between_two_samples_is_below_the_bound_and_near(order: int) -> None:
    rng = np.random.default_rng(order)
    for _ in range(10):
        where, h, size = float(rng.uniform(-2, 2)), 10.0 ** rng.uniform(-2.5, -1.2), 10.0 ** rng.uniform(-3, -2)
        pole = -float(rng.uniform(0, 0.02)) * np.exp(1j * where)
        system = DiagonalStateSpace([pole], [[1.0]], [[size * np.exp(1j * where)]], [[1.0]], conjugate_pairs=False)
        modes = replace(diagonal_modes(system), order=order)
        left, right = (
            where - 1.5 * h,
            where + 0.5 * h,
        )  # the centre is where - h/2: the peak is halfway to the right end
        with mp.workdps(40):
            peak = exact_gain(system, where)
            samples = [exact_gain(system, mp.mpf(x)) for x in (left, 0.5 * (left + right), right)]
        ends = float(max(samples[0], samples[2])) * (1 + 4e-16)
        bound = Cover(Grid(modes, 1e-8)).bound(CIRCLE, np.array([left]), np.array([right]), np.array([ends]))[0][0]
        assert peak <= bound
        rise = float(peak - max(samples))
        assert bound - float(peak) <= 0.2 * rise + 1e-13
