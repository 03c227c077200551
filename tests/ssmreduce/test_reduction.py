"""reduce: floor <= error <= bound for what is written, by every method; the reduced layer runs in the original scan."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from contract_cases import FOR_LAYERS, briefly
from hypothesis import given
from hypothesis import strategies as st
from layer_cases import GOLDEN, S4D_OPTIONS, s4d_params, s5_layers, s5_params, s5_scan, two_sided

from ssmreduce.files.loading import load
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import layer_from_params
from ssmreduce.methods.registry import METHODS
from ssmreduce.reduction import Reduction, reduce
from theory.errors import AccuracyError, InputError, OrderError, SSMReduceError, StabilityError, ToleranceError
from theory.reduction.balancing import Remark
from theory.systems.realization import dense
from theory.systems.response import frequency_response
from theory.systems.system import DiagonalStateSpace, StateSpace

SELECTING = [name for name, method in METHODS.items() if method.kind == "selection"]


def swept_error(result: Reduction, points: int = 400) -> np.ndarray:
    """Largest gain of the error on a grid that visits the poles, (...): a lower bound, by another route."""
    first = result.original
    omega = np.linspace(-np.pi, np.pi, points)
    omega = np.unique(
        np.concatenate(
            [
                omega,
                np.angle(first.poles).ravel(),
                -np.angle(first.poles).ravel(),
                np.angle(result.system.poles).ravel(),
            ]
        )
    )
    gap = frequency_response(first, omega) - frequency_response(result.system, omega)
    return np.linalg.norm(gap, ord=2, axis=(-2, -1)).max(axis=-1)


@pytest.mark.parametrize("method", FOR_LAYERS)
@given(layer=s5_layers(), data=st.data())
def test_floor_error_bound(method: str, layer: SSMLayer, data: st.DataObject) -> None:
    order = data.draw(st.integers(1, layer.order))
    try:
        result = reduce(layer, order=order, method=briefly(method))
    except (OrderError, AccuracyError) as error:
        attainable = error.attainable if isinstance(error, OrderError) else 0
        result = None
    if result is None:
        assert METHODS[method].kind == "projection"
        assert 0 <= attainable < order
        return
    assert 1 <= result.order <= order
    assert result.layer is not None
    assert result.layer.order == result.order
    assert result.system is result.layer.system
    swept = swept_error(result)
    scale = max(1.0, float(result.hsv.max(initial=0.0)))
    assert swept <= result.bound * (1 + 1e-9) + 1e-11 * scale
    error = result.error(rtol=1e-2)
    assert error.upper >= result.floor * (1 - 1e-9)
    assert error.lower <= result.bound * (1 + 1e-9)
    assert swept <= error.upper * (1 + 1e-9) + 1e-11 * scale
    result.layer.require_stable()
    for name in (
        "kind",
        "conj_sym",
        "discretization",
        "clip_eigs",
        "step_rescale",
        "dtype",
        "form",
        "is_bidirectional",
    ):
        assert getattr(result.layer, name) == getattr(layer, name)
    assert np.array_equal(result.layer.D, layer.D) or not METHODS[method].keeps_feedthrough


@pytest.mark.parametrize("method", FOR_LAYERS)
@given(layer=s5_layers())
def test_full_order_is_the_layer_itself(method: str, layer: SSMLayer) -> None:
    result = reduce(layer, order=layer.order, method=method)
    assert result.layer is not None
    before, after = layer.to_params(), result.layer.to_params()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert result.bound == 0
    assert result.floor == 0
    assert result.error().upper == 0
    assert result.status == "ok"


@given(layer=s5_layers(), data=st.data())
def test_reduced_layer_runs_in_the_original_scan(layer: SSMLayer, data: st.DataObject) -> None:
    order = data.draw(st.integers(1, layer.order))
    method = briefly(data.draw(st.sampled_from(FOR_LAYERS)))
    try:
        result = reduce(layer, order=order, method=method)
    except (OrderError, AccuracyError):
        return
    u = np.random.default_rng(0).standard_normal((30, layer.n_channels))
    options = {key: getattr(layer, key) for key in ("conj_sym", "discretization", "clip_eigs", "step_rescale")}
    assert result.layer is not None
    y = s5_scan(result.layer.to_params(), u, **options)
    wanted = two_sided(result.system, u)
    assert np.abs(y - wanted).max() < 1e-9 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("method", SELECTING)
def test_selected_states_keep_their_bits(method: str, rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng, P=8, bidirectional="C1C2"), conj_sym=True, discretization="zoh")
    result = reduce(layer, order=3, method=method)
    kept = result.diagnostics["kept"]
    assert kept.shape == (3,)
    assert np.array_equal(result.layer.to_params()["B"], layer.to_params()["B"][kept])
    assert result.rounding == 0
    nested = [set(reduce(layer, order=r, method=method).diagnostics["kept"]) for r in range(1, 9)]
    assert all(a < b for a, b in pairwise(nested))


@pytest.mark.parametrize("method", FOR_LAYERS)
@pytest.mark.parametrize("form", S4D_OPTIONS)
def test_s4d(method: str, form: str, rng: np.random.Generator) -> None:
    layer = layer_from_params(s4d_params(rng, form), **S4D_OPTIONS[form])
    for order in (2, 4):
        result = reduce(layer, order=order, method=briefly(method))
        assert result.layer is not None
        assert result.layer.order == result.order <= order
        swept, error = swept_error(result), result.error(rtol=1e-2)
        assert (swept <= result.bound * (1 + 1e-9) + 1e-12).all()
        assert (error.upper >= result.floor * (1 - 1e-9)).all()
        assert (swept <= error.upper * (1 + 1e-9) + 1e-12).all()
        again = layer_from_params(result.layer.to_params(), **S4D_OPTIONS[form])
        assert np.array_equal(again.system.poles, result.system.poles)
        assert np.array_equal(
            again.system.B * again.system.C.swapaxes(1, 2), result.system.B * result.system.C.swapaxes(1, 2)
        )


@pytest.mark.parametrize("name", ["s5_tiny_trunc_halfglu1_standard.npz", "s4d_minimal.npz"])
def test_dtype_can_be_chosen(name: str) -> None:
    layer = load(GOLDEN / name, **({"conj_sym": True, "discretization": "zoh"} if "s5" in name else {})).layers[0]
    single, double = reduce(layer, order=2), reduce(layer, order=2, dtype=np.float64)
    assert (single.layer.dtype, double.layer.dtype) == (np.float32, np.float64)
    assert np.max(double.rounding) < 1e-4 * np.max(single.rounding)
    assert reduce(layer, order=layer.order, dtype=np.float64).layer.dtype == np.float64
    assert reduce(layer, order=2, method="last", dtype=np.float64).layer.dtype == np.float64


@pytest.mark.parametrize("method", FOR_LAYERS)
def test_relative_tolerance_holds(method: str, rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng, P=10), conj_sym=True, discretization="zoh")
    orders = []
    for rtol in (3.0, 0.5, 0.1, 1e-3, 1e-12, 0.0):
        result = reduce(layer, rtol=rtol, method=briefly(method))
        assert result.bound <= rtol * result.hsv[0]
        orders.append(result.order)
    assert orders == sorted(orders)
    assert orders[-1] == 10


class TestSystems:
    """Everything that is not a layer."""

    def test_dense(self, rng: np.random.Generator) -> None:
        full = dense(
            layer_from_params(s5_params(rng, P=6, dtype=np.float64), conj_sym=True, discretization="zoh").system
        )
        result = reduce(full, order=5)
        assert result.layer is None
        assert isinstance(result.system, StateSpace)
        assert result.system.n == 5
        assert result.floor <= result.error().upper
        assert result.error().lower <= result.bound
        for method in SELECTING:  # pairs of poles alone: an odd order has room for one state less
            result = reduce(full, order=5, method=method)
            assert isinstance(result.system, StateSpace)
            assert result.order == result.system.n == 4
            assert result.floor <= result.error().upper
            assert result.error().lower <= result.bound
            assert Remark.FEWER_STATES in result.remarks
        descended = reduce(full, order=4, method="h2")  # through the modes, and dense again
        assert isinstance(descended.system, StateSpace)
        assert descended.order == descended.system.n == 4
        assert descended.error().lower <= descended.bound
        with pytest.raises(InputError, match="diagonal"):
            reduce(full, order=4, method="empirical", inputs=np.ones((1, 8, full.m)))

    def test_diagonal_in_continuous_time(self, rng: np.random.Generator) -> None:
        poles = -rng.uniform(0.1, 2, 6) + 1j * rng.uniform(0, 5, 6)
        system = DiagonalStateSpace(poles, rng.standard_normal((6, 2)), rng.standard_normal((2, 6)), dt=None)
        for method in FOR_LAYERS:
            try:
                METHODS[method].applies(system)
            except InputError:
                continue
            result = reduce(system, order=3, method=method)
            assert result.system.dt is None
            assert result.floor <= result.error().upper
            assert result.error().lower <= result.bound

    def test_python_control(self) -> None:
        control = pytest.importorskip("control")
        system = control.ss(np.diag([-0.1, -1.0, -10.0]), np.ones((3, 1)), np.ones((1, 3)), 0.0)
        result = reduce(system, order=1)
        assert result.system.dt is None
        assert result.floor <= result.error().upper
        assert result.error().lower <= result.bound

    def test_mapping(self, rng: np.random.Generator) -> None:
        raw = s5_params(rng)
        assert reduce(raw, order=2, conj_sym=True, discretization="zoh").layer.order == 2
        with pytest.raises(InputError, match="conj_sym"):
            reduce(raw, order=2)


@pytest.mark.parametrize("method", FOR_LAYERS)
@pytest.mark.parametrize("order", [-1, 6, 2.5, True, "3", None])
def test_bad_orders(method: str, order: object, rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh")
    with pytest.raises((OrderError, InputError)) as caught:
        reduce(layer, order=order, method=method)  # type: ignore[arg-type]
    if isinstance(order, int) and not isinstance(order, bool):
        assert isinstance(caught.value, OrderError)
        assert caught.value.attainable == 5


@pytest.mark.parametrize("rtol", [-1.0, float("nan"), float("inf")])
def test_bad_tolerances(rtol: float, rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh")
    with pytest.raises(ToleranceError):
        reduce(layer, rtol=rtol)


def test_bad_arguments_are_named(rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh")
    with pytest.raises(InputError, match=r"unknown method 'best'.*balanced"):
        reduce(layer, order=2, method="best")
    with pytest.raises(InputError, match="either order"):
        reduce(layer)
    with pytest.raises(InputError, match="either order"):
        reduce(layer, order=2, rtol=0.1)


@pytest.mark.parametrize("method", FOR_LAYERS)
def test_unstable_layers_are_refused_with_the_ways_on(method: str, rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    raw["Lambda_re"][0] = 0.01
    layer = layer_from_params(raw, conj_sym=True, discretization="zoh")
    with pytest.raises(StabilityError, match=r"state 0.*layer\.keep.*clip_eigs=True"):
        reduce(layer, order=2, method=briefly(method))
    assert reduce(layer.keep(layer.margin > 0), order=2, method=briefly(method)).order == 2
    assert reduce(layer.replace(clip_eigs=True), order=2, method=briefly(method)).order <= 2


def test_results_are_plain_to_look_at(rng: np.random.Generator) -> None:
    result = reduce(layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh"), order=2)
    assert repr(result).startswith("Reduction(balanced, order 2 of 5, bound=")
    assert result.to_dict()["order"] == 2
    with pytest.raises(AttributeError):
        result.order = 3  # type: ignore[misc]


def test_every_method_is_described() -> None:
    assert next(iter(METHODS)) == "balanced"
    assert set(METHODS) >= {"aire", "lamp", "last", "last_released", "magnitude", "modal", "random", "residualized"}
    for name, method in METHODS.items():
        assert method.name == name
        assert method.summary.endswith(".")
        assert method.title


def test_errors_are_ours_and_builtins() -> None:
    for error in (InputError, OrderError, StabilityError, ToleranceError):
        assert issubclass(error, (SSMReduceError,))
        assert issubclass(error, ValueError)
