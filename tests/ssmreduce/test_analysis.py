"""analyze: the smallest order that is certified, by walking every order; and pictures that show what was computed."""

from __future__ import annotations

import numpy as np
import pytest
from contract_cases import (
    KINDS,
    diagonal,
    measured_error,
    members,
    present,
    response,
    rounding,
    run,
    system_of,
    true_values,
)
from layer_cases import s5_params
from strategies import gaussian, stable_poles

import ssmreduce
from ssmreduce import analyze
from ssmreduce.methods.registry import least_order, shared
from ssmreduce.view.analysis_plot import GainPicture
from theory.errors import InputError, MissingDependencyError, OrderError, StabilityError, ToleranceError
from theory.gramians.hankel import causal_hankel_singular_values
from theory.reduction.balancing import real_order
from theory.reduction.bounds import hankel_floor
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace, StateSpace

SOME = (
    "S5 layer", "S5 layer bidirectional", "S4D layer", "complex", "continuous", "dense", "clustered", "zero poles",
)  # fmt: skip
RTOL = 1e-3


def top(values):
    return float(np.max(values, initial=0.0))


def sizes(kind, *parts):
    """Tolerances from far too small to far too large, relative to the largest Hankel value."""
    return [part * max(own[0] for own, _ in true_values(kind)) for part in parts]


def certified(kind, method):
    """Upper ends of the certified errors of all orders, through the plain verbs."""
    found = []
    for order in range(system_of(kind).n + 1):
        try:
            found.append(top(run(method, kind, order).error(RTOL).upper))
        except OrderError:  # fewer states are numerically there
            assert order > present(kind)
            found.append(np.inf)
    return found


@pytest.mark.parametrize("method", ["balanced", "modal", "residualized"])
@pytest.mark.parametrize("kind", SOME)
def test_the_smallest_order_that_is_certified(kind, method) -> None:
    analysis = analyze(KINDS[kind], rtol=RTOL)
    errors = certified(kind, method)
    goals = [*sizes(kind, 1e-3, 0.03, 0.3, 10.0), errors[1], np.nextafter(errors[1], 0), np.nextafter(errors[2], 0)]
    for goal in goals:
        meets = [order for order, error in enumerate(errors) if error <= goal]
        if not meets:  # D is written with rounding, whatever the order
            with pytest.raises(ToleranceError) as refused:
                analysis.reduce(error=goal, method=method)
            assert refused.value.best == min(errors)
            continue
        found = analysis.reduce(error=goal, method=method)
        assert found.order == run(method, kind, min(meets)).order
        assert top(found.error(RTOL).upper) <= goal
        for one, small in zip(members(system_of(kind)), members(found.system), strict=True):
            assert measured_error(one, small) <= goal + rounding(one) + rounding(small)


@pytest.mark.parametrize("kind", SOME)
def test_a_relative_error_is_met_against_every_gain_that_is_attained(kind) -> None:
    analysis = analyze(KINDS[kind], rtol=RTOL)
    system = system_of(kind)
    for part, found in zip((0.5, 0.1, 0.02), analysis.reduce(relative_error=[0.5, 0.1, 0.02]), strict=True):
        assert top(found.error(RTOL).upper) <= part * top(analysis.norm.lower)
        if found.order:
            assert top(run("balanced", kind, found.order - 1).error(RTOL).upper) > part * top(analysis.norm.lower) * (
                1 - 1e-12
            )
    gains = [
        np.linalg.norm(response(one, np.ravel(at)[:1]), 2, axis=(1, 2)).item()
        for one, at in zip(members(system), np.ravel(analysis.norm.frequency), strict=True)
    ]  # the witness of each channel attains its lower end
    slack = max(rounding(one) for one in members(system))
    assert np.allclose(gains, np.ravel(analysis.norm.lower), rtol=1e-9, atol=slack)


@pytest.mark.parametrize("part", [0.0, 0.5, 0.9, 0.999, 1 - 1e-7])
@pytest.mark.parametrize("kind", SOME)
def test_energy_by_hankel_values_in_fifty_digits(kind, part) -> None:
    system = system_of(kind)
    each = 2 if isinstance(system, DiagonalStateSpace) and system.conjugate_pairs else 1
    order = max(
        next(r for r in range(system.n + 1) if (own[: each * r] ** 2).sum() >= part * (own**2).sum())
        for own, _ in true_values(kind)
    )
    assert analyze(KINDS[kind]).reduce(energy=part).order == order


def test_all_of_the_energy_keeps_every_state() -> None:
    assert analyze(KINDS["S5 layer"]).reduce(energy=1.0).order == KINDS["S5 layer"].order


def test_lists_give_tuples_and_shared_work_is_done_once(monkeypatch) -> None:
    from ssmreduce import analysis as module

    asked = []
    monkeypatch.setattr(module, "error_norm", lambda *args, **kw: asked.append(1) or ssmreduce.error_norm(*args, **kw))
    analysis = analyze(KINDS["S5 layer"])
    one, two = analysis.reduce([1, 2])
    assert (one.order, two.order) == (1, 2)
    assert analysis.reduce(2) is two
    assert analysis.reduce(np.array([2]))[0].order == 2
    assert not asked
    goal = top(two.error().upper)
    for _ in range(2):
        analysis.reduce(error=goal)
        analysis.reduce(error=[goal, goal])
    assert 0 < len(asked) <= analysis.system.n + 1


def test_data_that_may_change_is_read_anew() -> None:
    layer = KINDS["S5 layer"]
    inputs = np.random.default_rng(0).standard_normal((4, 30, layer.n_channels))
    analysis = analyze(layer, "empirical")
    before = analysis.reduce(2, inputs=inputs)
    inputs[:, :, 1:] *= 1e-3
    after = analysis.reduce(2, inputs=inputs)
    assert not np.allclose(before.system.poles, after.system.poles)
    assert top(analysis.error(analysis.reduce(relative_error=0.2, inputs=inputs)).upper) <= 0.2 * analysis.norm.upper


def test_a_tolerance_below_the_rounding_of_the_parameters_says_what_can_be_reached() -> None:
    layer = ssmreduce.layer_from_params(
        s5_params(np.random.default_rng(3), 4, 2, dtype=np.float64), conj_sym=True, discretization="zoh", name="wide"
    )
    analysis = analyze(layer)
    with pytest.raises(ToleranceError) as refused:
        analysis.reduce(error=0.0, dtype=np.float32)
    best = refused.value.best
    assert 0 < best < 1e-3
    assert top(analysis.error(analysis.reduce(error=best, dtype=np.float32)).upper) == best
    with pytest.raises(ToleranceError) as relative:
        analysis.reduce(relative_error=0.0, dtype=np.float32)
    assert relative.value.best == pytest.approx(best / analysis.norm.lower)
    assert analysis.reduce(error=0.0).system is layer.system


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"order": 1, "error": 1.0}, {"error": -1.0}, {"error": np.nan}, {"relative_error": np.inf},
        {"energy": 1.5}, {"energy": -0.1}, {"error": True}, {"error": "0.1"}, {"order": 2.5}, {"order": True},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(InputError):
        analyze(KINDS["S5 layer"]).reduce(**wrong)


def test_refusals_at_the_door() -> None:
    with pytest.raises(OrderError):
        analyze(KINDS["S5 layer"]).reduce(99)
    with pytest.raises(StabilityError):
        analyze(StateSpace([[1.5]], [[1]], [[1]], dt=1.0))
    with pytest.raises(InputError):
        analyze(KINDS["S5 layer"], [])
    with pytest.raises(InputError, match="hsv"):
        analyze(KINDS["S5 layer"]).plot("bode")


# --- pictures --------------------------------------------------------------------------------------------------------


def line(axes, part):
    (found,) = [line for line in axes.lines if part in str(line.get_label())]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


@pytest.mark.parametrize("kind", ["S5 layer", "S4D layer bidirectional", "complex", "dense continuous", "no input"])
def test_every_picture_of_every_kind(kind) -> None:
    pytest.importorskip("matplotlib")
    analysis = analyze(KINDS[kind])
    reduction = analysis.reduce(min(1, present(kind)))
    for picture in ("hsv", "sigma", "poles", "loss"):
        axes = analysis.plot(picture, reduction=reduction)
        axes.figure.canvas.draw()
        assert axes.get_xlabel()
        assert axes.get_legend() is not None


def test_what_the_pictures_show() -> None:
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(5)
    system = DiagonalStateSpace(
        stable_poles(rng, "spread", (5,), 0.1, True), gaussian(rng, 5, 2), gaussian(rng, 3, 5), np.zeros((3, 2))
    )
    analysis = analyze(system, ["balanced", "modal"])
    reduction = analysis.reduce(2)
    error = reduction.error(RTOL)

    omega, gain = line(analysis.plot("sigma", reduction=reduction), "error $")
    at, peak = line(analysis.plot("sigma", reduction=reduction), f"{error.lower:.4g}")
    assert (at.item(), peak.item()) == (error.frequency, error.lower)
    wrong = np.linalg.norm(response(system, omega) - response(reduction.system, omega), 2, axis=(1, 2))
    assert np.allclose(gain, wrong, rtol=1e-6)
    assert wrong.max() == pytest.approx(error.lower, rel=1e-6)

    values = np.linalg.svd(_hankel(dense(system)), compute_uv=False)[:10]
    order, floor = line(analysis.plot("hsv"), "floor")
    assert order.tolist() == list(range(6))
    assert np.allclose(floor[:-1], values[::2], rtol=1e-6)
    assert np.isnan(floor[-1])
    _, bound = line(analysis.plot("hsv"), "bound")
    assert np.allclose(bound[:-1], [2 * values[2 * r :].sum() for r in order[:-1].astype(int)], rtol=1e-6)

    axes = analysis.plot("loss", orders=[1, 2, 4])
    order, upper = line(axes, "balanced: certified")
    assert order.tolist() == [1, 2, 4]
    assert upper.tolist() == [ssmreduce.reduce(system, r).error(RTOL).upper for r in (1, 2, 4)]
    _, floor = line(axes, "floor")
    assert (floor <= upper).all()
    assert np.allclose(floor, values[[2, 4, 8]], rtol=1e-6)


@pytest.mark.parametrize(("at", "where"), [(0.01, ", left of the axis"), (0.5, ""), (3.0, ", right of the axis")])
def test_a_peak_that_the_axis_does_not_have_says_where_it_is(at: float, where: str) -> None:
    """It stood at the edge, beside a frequency that was not there; and frequencies have units."""
    figure = pytest.importorskip("matplotlib.figure").Figure()
    omega = np.array([0.1, 0.5, 1.0])
    for discrete, unit in ((True, "rad/sample"), (False, "rad/s")):
        axes = figure.add_subplot()
        gains = {"$G$": np.array([1.0, 2.0, 1.0])}
        told = {"name": "x", "omega": omega, "gains": gains, "discrete": discrete, "logarithmic": True}
        GainPicture(witnesses={"$G$": (at, 2.0)}, **told).draw(axes)
        (label,) = [one.get_label() for one in axes.lines if "peak" in one.get_label()]
        assert label == f"certified peak 2 at {at:.4g} {unit}{where}"


def _hankel(full: StateSpace, steps: int = 400):
    """Block Hankel matrix of the impulse response: its singular values are the Hankel values up to its tail."""
    power = [np.linalg.matrix_power(full.A, k) for k in range(2 * steps)]
    reach = np.hstack([power[k] @ full.B for k in range(steps)])
    see = np.vstack([full.C @ power[k] for k in range(steps)])
    return np.linalg.qr(see, "r") @ np.linalg.qr(reach.T, "r").T


def test_without_matplotlib_a_picture_names_the_extra(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="plot"):
        analyze(KINDS["S5 layer"]).plot("hsv")


@pytest.mark.parametrize("seed", range(4))
def test_the_least_order_allows_for_another_feedthrough(seed):
    """Where D may change, the strictly causal part alone bounds the error from below."""
    system = diagonal(seed, delay=0, m=2, p=2)
    for hsv in (causal_hankel_singular_values(system), shared(system).floor_hsv):
        for order in range(system.n):
            assert least_order(system, hankel_floor(hsv, real_order(system, order))) <= order
