"""The judges of a comparison are sharp: a hair beyond is beyond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmreduce.comparison.laws import violated
from ssmreduce.comparison.referee import judged
from ssmreduce.results import ABOVE, AGREES, BELOW, DISAGREES, Row, relative
from theory.norms.bracket import Bracket
from theory.systems.system import StateSpace

sizes = st.floats(1e-6, 1e6)
widths = st.floats(1e-9, 0.5)
HAIR = 1e-9


def bracket(size: float, width: float) -> Bracket:
    return Bracket(size, size * (1 + width), 0.0, "closed")


@given(sizes, widths, st.sampled_from([1 - HAIR, 1 + HAIR]))
def test_a_bound_that_is_undercut_by_a_hair_is_a_violation(size: float, width: float, factor: float) -> None:
    row = Row(method="x", order=1, floor=0.0, error=bracket(size, width), bound=size * factor)
    assert bool(violated([row])) == (factor < 1)


@given(sizes, widths, st.sampled_from([1 - HAIR, 1 + HAIR]))
def test_an_error_that_is_below_the_floor_by_a_hair_is_a_violation(size: float, width: float, factor: float) -> None:
    error = bracket(size, width)
    row = Row(method="x", order=1, floor=float(error.upper) * factor, error=error, bound=np.inf)
    assert bool(violated([row])) == (factor > 1)


@given(sizes, widths, sizes, widths, st.floats(0, 1), st.floats(0, 1))
def test_the_relative_error_holds_every_quotient_and_no_more(
    error_size: float, error_width: float, size: float, width: float, at: float, of: float
) -> None:
    error, norm = bracket(error_size, error_width), bracket(size, width)
    found = relative(error, norm)
    quotient = (error.lower + at * (error.upper - error.lower)) / (norm.lower + of * (norm.upper - norm.lower))
    assert found.lower * (1 - HAIR) <= quotient <= found.upper * (1 + HAIR)
    assert found.lower == pytest.approx(error.lower / norm.upper, rel=HAIR)
    assert found.upper == pytest.approx(error.upper / norm.lower, rel=HAIR)


@given(st.floats(1e-10, 1e-3))
def test_another_program_is_given_its_tolerance_and_no_more(tolerance: float) -> None:
    """The norm is 1, exactly: at most the tolerance beside it is below or above, three times that is wrong."""
    static = StateSpace(np.zeros((0, 0)), np.zeros((0, 1)), np.zeros((1, 0)), [[1.0]], dt=1.0)
    ours = Bracket(1.0, 1.0, 0.0, "closed")
    for factor, verdict in ((-3, DISAGREES), (-0.9, BELOW), (0, AGREES), (0.9, ABOVE), (3, DISAGREES)):
        opinion = judged("theirs", static, 1 + factor * tolerance, 0.0, ours, tolerance, 0.0)
        assert opinion.verdict == verdict
        assert opinion.wrong == ("theirs" if verdict == DISAGREES else "")
