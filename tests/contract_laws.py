"""The laws that every method obeys on every kind of layer and system, as functions of a method and a kind.

``law(method, kind)`` raises AssertionError where it does not hold. Each law says which pairs it is about. All of them
go through ``ssmreduce.reduce``, which is what users call.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from contract_cases import (
    KINDS,
    LAYERS,
    NAMES,
    applies,
    each_truncation_once,
    measured_error,
    members,
    orders,
    present,
    real_states,
    reduction,
    reductions,
    response,
    rounding,
    run,
    system_of,
    true_values,
    values_lost,
)
from contract_formulas import FORMULAS, exact_margin, gains
from tolerance import EPS

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.balanced import Balanced
from ssmreduce.methods.h2 import Descent
from ssmreduce.methods.registry import METHODS
from ssmreduce.methods.selection import Selection
from theory.errors import AccuracyError, InputError, OrderError, StabilityError
from theory.reduction.balancing import Remark
from theory.systems.system import DiagonalStateSpace, StateSpace, require_stable

LAWS: dict[str, Callable[..., None]] = {}

SWEPT = 1e-6
"""What a sweep may miss of a peak, relative."""

PROVED = 1e-6
"""Relative: what a proof of the Gramians' rounding may cost a floor or a bound of a dense system. It is the proved
error that float64 is accepted with (HSV_RTOL in theory/gramians/dense.py); floors go down by it and bounds up, never
inwards."""

HAIR = 1e-9
"""Relative distance from a bound at which a tolerance is asked for: more than bounds lose to rounding."""

RANKED = {"modal": 1e-3, "last_released": 1e-3}
"""Relative: a sweep misses a little of a peak, the released code computes in float32; the others differ in rounding."""


def law(about=lambda method, kind: True):
    """Enter a law, with the pairs of methods and kinds that it is about."""

    def enter(function):
        function.about = about
        LAWS[function.__name__] = function
        return function

    return enter


def selects(method, kind):
    """Whether a method keeps stored states of a kind: a dense system stores none."""
    return isinstance(METHODS.find(method), Selection) and isinstance(system_of(kind), DiagonalStateSpace)


def cases():
    """All triples of a law, a method and a kind that it is about, with their names."""
    return [  # laws last: what they share of a method and a kind is then computed in one process
        pytest.param(function, method, kind, id=f"{name}-{method}-{kind}")
        for kind in KINDS
        for method in NAMES
        for name, function in LAWS.items()
        if applies(method, kind) and function.about(method, kind)
    ]


def kept_of(found):
    """Which states were kept, one row a member."""
    return np.asarray(found.diagnostics["kept"]).reshape(len(members(found.original)), -1)


# --- what is known of the error --------------------------------------------------------------------------------------


@law()
def floor_error_bound(method, kind):
    """The error is measured by a sweep that shares no code with the package."""
    system = system_of(kind)
    for order, found in reductions(method, kind):
        floors, bounds = np.ravel(found.floor), np.ravel(found.bound)
        assert floors.size == bounds.size == len(members(system))
        for whole, part, floor, bound in zip(members(system), members(found.system), floors, bounds, strict=True):
            error, noise = measured_error(whole, part), rounding(whole) + rounding(part)
            assert floor <= error * (1 + SWEPT) + noise, f"order {order}: error below the floor"
            assert error <= bound + noise, f"order {order}: error above the bound"
            assert np.isfinite(bound)


def proof_costs(kind):
    """The Gramians of a diagonal system are in closed form; those of a dense one carry a proved error."""
    return PROVED if isinstance(system_of(kind), StateSpace) else 0.0


@law(lambda method, kind: METHODS.find(method).keeps_feedthrough)
def floor_of_adamyan_arov_and_krein(method, kind):
    """sigma_(r+1), of the larger direction where there are two, in 50 digits, up to what float64 loses of sigma_1."""
    for order, found in reductions(method, kind):
        rows = found.hsv.reshape(-1, found.hsv.shape[-1])
        for (own, values), floor, hsv in zip(true_values(kind), np.ravel(found.floor), rows, strict=True):
            lost = values_lost(kind, own)
            assert np.abs(hsv - own).max(initial=0) <= lost
            kept = real_states(kind, found.order)
            wanted = values[kept] if kept < values.size and order < system_of(kind).n else 0.0
            assert wanted * (1 - proof_costs(kind)) - lost <= floor <= wanted + lost


@law(lambda method, kind: isinstance(METHODS.find(method), Balanced))
def balanced_promises_twice_the_tail(method, kind):
    """2 sum sigma_i over what was truncated, twice that for two directions; the rest of the bound is rounding."""
    system = system_of(kind)
    both = isinstance(system, DiagonalStateSpace) and system.is_bidirectional
    for order, found in reductions(method, kind):
        if order == system.n:
            continue
        kept = np.ravel(found.diagnostics["states"])
        assert np.all(kept <= real_states(kind, order))
        paid = np.ravel(found.rounding) + 2 * np.ravel(found.diagnostics["perturbation"])
        for (own, _), k, bound, extra in zip(true_values(kind), kept, np.ravel(found.bound), paid, strict=True):
            tail = (4 if both else 2) * own[k:].sum()
            lost = 4 * own.size * values_lost(kind, own)
            assert tail - lost <= bound <= tail * (1 + proof_costs(kind)) + lost + extra


@law(lambda method, kind: isinstance(METHODS.find(method), Descent))
def a_descent_that_found_nothing_says_so(method, kind):
    """The result is balanced truncation of that order, bit for bit, exactly where the remark says so."""
    for order, found in reductions(method, kind):
        if found.order in (0, system_of(kind).n):
            continue
        start = reduction("balanced", kind, order)
        same = all(np.array_equal(getattr(found.system, x), getattr(start.system, x)) for x in ("poles", "B", "C"))
        assert same == (Remark.NOT_IMPROVED in found.remarks), f"order {order}: {found.status}"


@law(selects)
def selections_promise_the_gains_of_what_is_gone(method, kind):
    """sum kappa (||c|| + ||c_r||) ||b|| / (1-|pole|) over the removed states, kappa = 2 for pairs, and rounding."""
    for _, found in reductions(method, kind):
        for one, own, bound in zip(members(system_of(kind)), kept_of(found), np.ravel(found.bound), strict=True):
            c = np.linalg.norm(one.C, axis=0)
            c = c if one.C_reverse is None else c + np.linalg.norm(one.C_reverse, axis=0)
            each = (2 if one.conjugate_pairs else 1) * c * np.linalg.norm(one.B, axis=1) / exact_margin(one)
            wanted = np.delete(each, own).sum()
            assert wanted * (1 - 64 * one.n * EPS) <= bound <= wanted * (1 + 64 * (one.n + one.m + one.p) * EPS)


# --- what is kept of the form ----------------------------------------------------------------------------------------


@law()
def form_is_kept(method, kind):
    system, value = system_of(kind), METHODS.find(method)
    before = [np.array(x) for x in (system.poles, system.B, system.C, system.D)]
    for order, found in reductions(method, kind):
        small = found.system
        assert type(small) is type(system)
        assert found.order == small.n <= order
        assert small.dt == system.dt
        assert small.is_real == system.is_real
        assert small.D.dtype == system.D.dtype
        assert not value.keeps_feedthrough or np.array_equal(small.D, system.D)
        require_stable(small)
        if isinstance(system, DiagonalStateSpace):
            for field in ("delay", "delay_reverse", "conjugate_pairs", "batch_shape", "is_bidirectional"):
                assert getattr(small, field) == getattr(system, field)
        assert found.hsv.shape[:-1] == np.shape(found.bound)
        assert np.all(np.diff(found.hsv, axis=-1) <= 0)
        assert found.method == value.name
        assert (found.status == "ok") == (found.remarks == ())
        assert set(found.remarks) - {Remark.NOT_IMPROVED} or found.order == order
    for old, new in zip(before, (system.poles, system.B, system.C, system.D), strict=True):
        assert np.array_equal(old, new)


@law(lambda method, kind: kind in LAYERS)
def layers_stay_layers(method, kind):
    """The reduced layer is what was certified, in the precision and under the options of the original."""
    layer = KINDS[kind]
    for _, found in reductions(method, kind):
        assert isinstance(found.layer, SSMLayer)
        assert found.system is found.layer.system
        assert found.original is layer.system
        assert found.layer.order == found.order
        assert found.layer.to_params().keys() == layer.to_params().keys()
        for field in ("kind", "form", "dtype", "conj_sym", "discretization", "clip_eigs", "step_rescale", "n_channels"):
            assert getattr(found.layer, field) == getattr(layer, field)


@law()
def all_states_are_the_system_and_none_its_feedthrough(method, kind):
    system, omega = system_of(kind), np.linspace(-3, 3, 7)
    everything, nothing = reduction(method, kind, system.n), reduction(method, kind, 0)
    assert (everything.order, nothing.order) == (system.n, 0)
    assert np.all(np.asarray(everything.bound) == 0)
    for whole, same, static in zip(members(system), members(everything.system), members(nothing.system), strict=True):
        assert np.array_equal(response(whole, omega), response(same, omega))
        assert np.array_equal(response(static, omega), np.broadcast_to(static.D, (7, *whole.D.shape)))


@law(lambda method, kind: kind in ("S5", "S4D bidirectional", "S5 layer bidirectional"))
def same_seed_same_result(method, kind):
    for order, one in reductions(method, kind):
        two = run(method, kind, order, seed=0)
        assert np.array_equal(one.system.poles, two.system.poles)
        assert np.array_equal(one.system.C, two.system.C)


# --- orders, tolerances, refusals ------------------------------------------------------------------------------------


@law()
def refusals_are_for_want_of_states_only(method, kind):
    """An order is refused where fewer states are numerically there, nowhere else; its advice can be followed."""
    for order in orders(kind):  # reduction() holds that a refused order is more than is there
        found = reduction(method, kind, order)
        assert found is not None or order > present(kind)
        if selects(method, kind):
            assert found is not None
            assert found.order == order
    most = min(present(kind), system_of(kind).n)
    assert run(method, kind, most).order <= most


@law()
def tolerances_are_met_with_as_few_states_as_meet_them(method, kind):
    n = system_of(kind).n
    goals = {0.3: n, 0.0: n}  # with the order that is known to meet them
    for order in {1, n // 2, n - 1} - {0}:
        found = reduction(method, kind, order)
        if found is not None and found.order and needed(found):  # a state of one pole may be a pair's half: none
            goals |= {needed(found) * (1 + HAIR): order, needed(found) * (1 - HAIR): n}
    with each_truncation_once(method):
        answers = {rtol: run(method, kind, rtol=rtol, seed=0) for rtol in goals}
    for rtol, most in goals.items():
        found = answers[rtol]
        assert meets(found, rtol)
        assert 1 <= found.order <= most
        try:
            less = reduction(method, kind, found.order - 1) if found.order > 1 else None
        except (AccuracyError, StabilityError):
            less = None
        fewer = less is not None and less.order > 0 and meets(less, rtol)
        assert not fewer, f"order {found.order - 1} meets {rtol:.3g} as well"


def meets(found, rtol):
    sigma = found.hsv[..., 0] if found.hsv.shape[-1] else 0.0
    return bool(np.all(found.bound <= rtol * sigma))


def needed(found):
    """The tolerance that this reduction just meets, in its worst channel; None where the layer is zero."""
    sigma = found.hsv[..., 0]
    return float(np.max(found.bound / sigma)) if np.all(sigma > 0) else None


@law(lambda method, kind: kind in ("S5", "S5 layer", "S4D layer"))
def orders_that_are_none_are_refused(method, kind):
    for order in (-1, 9, 1.5, True, "3"):
        with pytest.raises(OrderError if type(order) is int else InputError):
            run(method, kind, order)


@law(lambda method, kind: kind == "S5")
def unstable_systems_are_refused(method, kind):
    for pole in (1.0, -1.0, 1.0 + 1e-12, 3j):
        poles = KINDS[kind].poles.copy()
        poles[3] = pole
        with pytest.raises(StabilityError) as caught:
            run(method, kind, 4, source=KINDS[kind].replace(poles=poles))
        assert pole in caught.value.poles


# --- selections ------------------------------------------------------------------------------------------------------


def worth(method, kind):
    """What each state is worth, one row a member: by the formula, or by the score of a method that is not in it."""
    if method in FORMULAS:
        return [FORMULAS[method](one) for one in members(system_of(kind))]
    return np.asarray(METHODS.find(method).score(KINDS[kind])).reshape(len(members(system_of(kind))), -1)


@law(lambda method, kind: selects(method, kind) and not METHODS.find(method).takes)
def the_best_states_are_kept(method, kind):
    values = worth(method, kind)
    for order in orders(kind)[1:-1]:
        for value, kept in zip(values, kept_of(reduction(method, kind, order)), strict=True):
            gone = np.setdiff1d(np.arange(value.size), kept)
            assert value[kept].min() >= value[gone].max() * (1 - RANKED.get(method, 1e-6))


@law(lambda method, kind: method == "modal" and selects(method, kind))
def exact_gains_remove_what_moves_least(method, kind):
    """One state less: of all choices of one, the one whose error is smallest."""
    n = system_of(kind).n
    for one, kept in zip(members(system_of(kind)), kept_of(reduction(method, kind, n - 1)), strict=True):
        own = gains(one)
        (gone,) = np.setdiff1d(np.arange(n), kept)
        assert own[gone] <= own.min() * (1 + RANKED["modal"])


@law(selects)
def kept_states_keep_their_bits(method, kind):
    for _, found in reductions(method, kind):
        for whole, part, kept in zip(members(found.original), members(found.system), kept_of(found), strict=True):
            assert np.array_equal(part.poles, whole.poles[kept])
            assert np.array_equal(part.B, whole.B[kept])
            assert np.array_equal(part.C, whole.C[:, kept])
        assert np.all(np.asarray(found.rounding) == 0)


@law(lambda method, kind: selects(method, kind) and kind in LAYERS)
def larger_orders_keep_what_smaller_ones_keep(method, kind):
    for few, more in pairwise(kept_of(reduction(method, kind, order)) for order in range(system_of(kind).n + 1)):
        for a, b in zip(few, more, strict=True):
            assert set(a) < set(b)
