"""Where the certified error falls below a part of the norm: proved at the order, not met at the one below it."""

from __future__ import annotations

import numpy as np
import pytest
from contract_cases import KINDS, measured_error, members, response, rounding, run, system_of
from layer_cases import S4D_OPTIONS, s4d_params, s5_params

import ssmreduce
from ssmreduce import analyze
from ssmreduce.crossings import crossings
from ssmreduce.layers.params import layer_from_params
from theory.errors import OrderError
from theory.norms import error_norm
from theory.norms.attained import attained_error

SOME = ("S5 layer", "S5 layer bidirectional", "S4D layer", "complex", "clustered", "dense")
PARTS = (0.3, 0.03, 1e-3)


@pytest.mark.parametrize("kind", SOME)
def test_the_error_is_small_enough_at_the_order_and_not_below_it(kind: str) -> None:
    """Both by the plain verbs: reduce, and the certified norm of the difference; and by sampled gains."""
    analysis, system = analyze(KINDS[kind]), system_of(kind)
    norm = float(np.max(ssmreduce.hinf_norm(system, 1e-6).upper))
    found = crossings(analysis, PARTS)
    assert [crossing.tolerance for crossing in found] == list(PARTS)
    for part, crossing in zip(PARTS, found, strict=True):
        assert crossing.error <= part
        small = run("balanced", kind, crossing.order)
        error = np.max(small.error(1e-6).lower, initial=0.0)
        assert error <= crossing.error * norm * (1 + 1e-12)
        for one, other in zip(members(system), members(small.system), strict=True):
            assert measured_error(one, other) <= part * norm + rounding(one) + rounding(other)
        if crossing.order > 0:
            try:
                below = run("balanced", kind, crossing.order - 1)
            except OrderError:
                continue
            assert np.max(below.error(1e-6).upper, initial=0.0) >= part * norm * (1 - 3e-3)
    orders = [crossing.order for crossing in found]
    assert orders == sorted(orders)
    assert found[-1].proof in ("bound", "certified", "nothing removed")


def test_few_orders_are_certified(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """What the floor, a bound or an attained gain decides is not certified: at most one order a step of the search."""
    from ssmreduce import analysis as module

    asked: list[int] = []
    monkeypatch.setattr(module, "error_norm", lambda *args, **kw: asked.append(1) or error_norm(*args, **kw))
    layer = layer_from_params(s5_params(rng, P=24, H=6), conj_sym=True, discretization="zoh")
    crossings(analyze(layer), PARTS)
    assert 0 < len(asked) <= 9
    asked.clear()
    analyze(layer).reduce(relative_error=0.03)
    assert len(asked) <= 3  # the walk over all orders refutes by attained gains, too


@pytest.mark.parametrize("kind", ["S5 layer", "S5 layer bidirectional", "complex", "clustered", "S4D layer", "dense"])
def test_an_attained_gain_is_below_the_norm_and_attained(kind: str) -> None:
    system = system_of(kind)
    for order in range(1, system.n, 2):
        small = run("balanced", kind, order).system
        gain, bracket = attained_error(system, small), error_norm(system, small, 1e-6)
        assert gain <= np.max(bracket.upper)
        if kind in ("S4D layer", "dense"):
            assert gain == 0.0  # nothing is claimed where certifying costs no more
            continue
        assert gain >= 0.5 * bracket.lower  # worth its price
        omega = np.linspace(-np.pi, np.pi, 4001)
        sampled = np.linalg.norm(response(system, omega) - response(small, omega), 2, axis=(1, 2)).max()
        assert sampled <= bracket.upper * (1 + 1e-9)


@pytest.mark.parametrize(("two", "dense"), [("", False), ("C1C2", False), ("", True)])
def test_a_step_takes_as_many_multiplications_as_are_counted(two: str, dense: bool, rng: np.random.Generator) -> None:
    """Counted by a recurrence written out for real numbers."""
    P, m, p = 5, 3, 4 if dense else 3
    raw = s5_params(rng, P, m, bidirectional=two)
    if dense:
        raw |= {"C": rng.standard_normal((p, P, 2)), "D": rng.standard_normal((p, m))}
    layer = layer_from_params(raw, conj_sym=True, discretization="zoh")
    directions = 2 if two else 1
    count = 0
    for _state in range(P):
        count += 2 * m  # real and imaginary part of a row of B times the input
        for _direction in range(directions):
            count += 4  # the pole times the state
            count += 2 * p  # the real part of a column of C times the state
    count += p * m if dense else p
    assert layer.family.multiplications(layer, layer.order) == count
    assert layer.family.multiplications(layer, 0) == layer.D.size


def test_channels_of_s4d_are_counted_one_by_one(rng: np.random.Generator) -> None:
    layer = layer_from_params(s4d_params(rng, "s4d-v4", H=4, N=5), **S4D_OPTIONS["s4d-v4"])
    assert layer.is_bidirectional
    assert layer.family.multiplications(layer, 5) == 4 * (5 * (2 + 2 * (4 + 2)) + 1)
