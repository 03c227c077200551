"""Results are data: quotients of brackets by their right ends, labels, and a round trip with every field."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from ssmreduce import Opinion, Row
from ssmreduce.results import Findings, relative
from theory.norms.bracket import Bracket


@pytest.mark.parametrize("seed", range(20))
def test_relative_error_is_every_quotient_that_the_two_brackets_allow(seed: int) -> None:
    low, high, below, above = np.sort(10.0 ** np.random.default_rng(seed).uniform(-9, 9, 4)).tolist()
    quotient = relative(Bracket(low, high, 0.0), Bracket(below, above, 0.0))
    smallest, largest = Fraction(low) / Fraction(above), Fraction(high) / Fraction(below)
    assert Fraction(quotient.lower) <= smallest <= Fraction(quotient.lower) * (1 + Fraction(2, 2**52))
    assert Fraction(quotient.upper) * (1 - Fraction(2, 2**52)) <= largest <= Fraction(quotient.upper)


def test_relative_error_of_nothing_and_over_nothing() -> None:
    zero = Bracket(0.0, 0.0, 0.0)
    assert relative(zero, zero).upper == 0
    assert relative(Bracket(1.0, 2.0, 0.0), Bracket(0.0, 4.0, 0.0)).upper == np.inf
    assert relative(Bracket(1.0, 2.0, 0.0, "open"), Bracket(3.0, 4.0, 0.0)).status == "open"


def test_rows_of_one_method_with_other_parameters_are_told_apart() -> None:
    plain = Row(method="balanced", order=2, floor=0.0, error=Bracket(1.0, 1.1, 0.0))
    other = Row(method="balanced(condition_limit=1e12)", order=2, floor=0.0)
    found = Findings(
        subject={},
        norm=Bracket(1.0, 1.0, 0.0),
        rows=(plain, other),
        hsv=np.ones(1),
        poles=np.ones(1),
        margin=np.ones(1),
    )
    assert found.methods == ("balanced", "balanced(condition_limit=1e12)")
    assert found.of("balanced") == (plain,)
    assert found.winner(2) is plain


def test_every_field_of_an_opinion_and_a_row_survives_json() -> None:
    opinion = Opinion(source="x", verdict="below", value=0.5, frequency=np.inf, gap=-1e-13, detail="d", seconds=0.5)
    row = Row(
        method="balanced",
        order=3,
        floor=0.1,
        error=Bracket(0.5, 0.6, 0.2),
        relative_error=Bracket(0.05, 0.06, 0.2),
        bound=np.inf,
        title="t",
        parameters={"condition_limit": 1e12},
        attained=3,
        rounding=1e-9,
        last_quantity=0.2,
        seconds=1.0,
        crosscheck=opinion,
        status="s",
        kept=np.array([0, 2]),
        poles=np.array([0.5 + 0.1j]),
    )
    again = Row.from_dict(json.loads(json.dumps(row.to_dict(), allow_nan=False)))
    assert again.crosscheck == opinion
    assert again.to_dict() == row.to_dict()
    assert again.parameters == row.parameters
