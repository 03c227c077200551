"""Back from a system to stored parameters: the layer written computes the system, up to the rounding it reports."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_cases import S4D_OPTIONS, s4d_params, s5_layers, s5_params, s5_scan, two_sided

from ssmreduce.layers.inversion import rounding_bound
from ssmreduce.layers.layer import CLIP, SSMLayer
from ssmreduce.layers.params import layer_from_params
from theory.errors import DimensionError, InputError, StabilityError, TimeBaseError
from theory.systems.response import frequency_response


def largest_difference(first: object, second: object) -> float:
    omega = np.linspace(-np.pi, np.pi, 301)
    gap = frequency_response(first, omega) - frequency_response(second, omega)
    return float(np.linalg.norm(gap, ord=2, axis=(-2, -1)).max())


@given(s5_layers())
def test_round_trip(layer: SSMLayer) -> None:
    """with_system(system) computes the same system: to rounding in float64, within the reported bound in float32."""
    again = layer.with_system(layer.system)
    bound = rounding_bound(layer.system, again.system)
    assert again.dtype == layer.dtype
    assert largest_difference(layer.system, again.system) <= bound * (1 + 1e-6) + 1e-12
    eps = np.finfo(layer.dtype).eps
    peak = np.linalg.norm(layer.C, axis=0) * np.linalg.norm(layer.system.B, axis=1)
    if layer.C_reverse is not None:
        peak = peak + np.linalg.norm(layer.C_reverse, axis=0) * np.linalg.norm(layer.system.B, axis=1)
    # relative rounding of b, c and of the margin, and the phase of the pole (rounded itself) against its margin
    assert (
        bound
        <= 4 * eps * (peak / layer.margin * (4 + (1 + np.abs(np.angle(layer.poles))) / layer.margin)).sum() + 1e-12
    )


@given(s5_layers())
def test_written_layer_runs_in_the_original_scan(layer: SSMLayer) -> None:
    """The reduced parameters, run by the original code, give the outputs of the system that was asked for."""
    target = layer.system.keep(np.arange(layer.order)[::-1][: max(1, layer.order // 2)])
    written = layer.with_system(target)
    u = np.random.default_rng(1).standard_normal((30, layer.n_channels))
    options = {key: getattr(layer, key) for key in ("conj_sym", "discretization", "clip_eigs", "step_rescale")}
    y = s5_scan(written.to_params(), u, **options)
    wanted = two_sided(target, u)
    room = 1e-10 if layer.dtype == np.float64 else 1e-4
    assert np.abs(y - wanted).max() < room * max(1.0, np.abs(wanted).max())


@given(s5_layers(), st.integers(0, 2**32 - 1))
def test_any_stable_poles_can_be_written(layer: SSMLayer, seed: int) -> None:
    """Real poles on both sides, zero, very close to the circle: margins survive float32, clips touch nothing."""
    rng = np.random.default_rng(seed)
    margin = 10.0 ** rng.uniform(-7, -0.01, 8)
    poles = (1 - margin) * np.exp(1j * rng.uniform(-np.pi, np.pi, 8))
    poles[:4] = [0.0, 0.9, -0.9 if layer.discretization == "zoh" else 0.5, 1 - 1e-6]
    H = layer.n_channels
    system = layer.system.replace(
        poles=poles, B=rng.standard_normal((8, H)), C=rng.standard_normal((H, 8)),
        C_reverse=rng.standard_normal((H, 8)) if layer.is_bidirectional else None,
    )  # fmt: skip
    written = layer.with_system(system)
    written.require_stable()
    assert np.array_equal(written.effective_Lambda, written.Lambda)
    eps = float(np.finfo(layer.dtype).eps)
    gap = np.abs(written.poles - poles)
    assert (gap <= 8 * eps).all()
    deep = np.abs(poles) < 1e-3  # 1-|pole| says nothing there
    assert (np.abs(written.margin - system.margin)[~deep] <= 1e-13 + 8 * eps * system.margin[~deep]).all()


def test_rounding_of_slow_poles_in_float32(rng: np.random.Generator) -> None:
    """The choice of step sizes is worth most of an order of magnitude; the reported bound shows it."""
    layer = layer_from_params(s5_params(rng, P=64, H=8, dt_min=1e-4), conj_sym=True, discretization="zoh")
    chosen, plain = layer.with_system(layer.system), layer.with_system(layer.system, candidates=1)
    assert 5 * rounding_bound(layer.system, chosen.system) < rounding_bound(layer.system, plain.system)
    assert (np.abs(chosen.margin / layer.margin - 1) < 2e-7).all()
    steps = np.exp(chosen.log_step)
    assert steps.min() > 0.5 * np.exp(layer.log_step).min()
    assert steps.max() <= np.exp(layer.log_step).max()


def test_clip_is_met_by_the_choice_of_the_step(rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng, dt_min=0.05), conj_sym=True, discretization="zoh", clip_eigs=True)
    slow = layer.system.replace(poles=(1 - 1e-8) * np.exp(1j * rng.uniform(0, 3, 5)))
    written = layer.with_system(slow)
    assert (written.Lambda.real <= CLIP).all()
    assert np.allclose(written.margin, 1e-8, rtol=1e-6)


@pytest.mark.parametrize("form", S4D_OPTIONS)
def test_s4d_round_trip(form: str, rng: np.random.Generator) -> None:
    layer = layer_from_params(s4d_params(rng, form, dtype=np.float64), **S4D_OPTIONS[form])
    again = layer.with_system(layer.system)
    assert np.max(rounding_bound(layer.system, again.system)) < 1e-9
    assert largest_difference(layer.system, again.system) < 1e-9
    single = layer.with_system(layer.system, dtype=np.float32)
    assert single.dtype == np.float32
    assert all(value.dtype == np.float32 for value in single.to_params().values())
    read = layer_from_params(single.to_params(), **S4D_OPTIONS[form])
    assert np.array_equal(read.system.poles, single.system.poles)
    assert np.array_equal(read.system.B, single.system.B)
    bound = rounding_bound(layer.system, single.system)
    assert largest_difference(layer.system, single.system) <= np.max(bound)
    assert np.max(bound) < 1e-3


def test_without_conj_sym_the_real_system_is_written(rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng), conj_sym=False, discretization="zoh")
    assert layer.system.conjugate_pairs
    again = layer.with_system(layer.system)
    assert np.allclose(again.system.C * again.system.B[:, 0], 0.5 * layer.C * layer.system.B[:, 0], rtol=1e-6)
    assert np.allclose(again.C, layer.C, rtol=1e-6)


@given(s5_layers())
def test_rounding_bound_holds(layer: SSMLayer) -> None:
    """Also for changes much larger than rounding, and whatever the scaling of the states."""
    rng = np.random.default_rng(3)
    n = layer.order
    other = layer.system.replace(
        poles=layer.poles * (1 - 1e-3 * rng.uniform(0, 1, n)),
        B=layer.system.B * (1 + 1e-3 * rng.standard_normal(layer.system.B.shape)),
        C=layer.system.C * (1 + 1e-3 * rng.standard_normal(layer.system.C.shape)),
    )
    scale = 10.0 ** rng.uniform(-3, 3, n) * np.exp(1j * rng.uniform(0, 6, n))
    same = other.replace(
        B=other.B * scale[:, None], C=other.C / scale,
        C_reverse=None if other.C_reverse is None else other.C_reverse / scale,
    )  # fmt: skip
    plain, scaled = rounding_bound(layer.system, other), rounding_bound(layer.system, same)
    assert largest_difference(layer.system, other) <= plain * (1 + 1e-9)
    assert largest_difference(layer.system, same) <= scaled * (1 + 1e-6)
    assert scaled <= 20 * plain + 1e-9
    assert rounding_bound(layer.system, layer.system) < 1e-10


def test_what_is_no_layer_is_refused(rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh")
    system = layer.system
    with pytest.raises(InputError, match="delay"):
        layer.with_system(system.replace(delay=1))
    with pytest.raises(InputError, match="bidirectional"):
        layer.with_system(system.replace(C_reverse=system.C))
    with pytest.raises(InputError, match="off-diagonal"):
        layer.with_system(system.replace(D=np.ones((3, 3))))
    with pytest.raises(InputError, match="conjugate pairs"):
        layer.with_system(system.replace(conjugate_pairs=False))
    with pytest.raises(DimensionError):
        layer.with_system(system.replace(B=system.B[:, :2], D=system.D[:, :2]))
    with pytest.raises(StabilityError):
        layer.with_system(system.replace(poles=np.full(5, 1.1)))
    with pytest.raises(TimeBaseError):
        layer.with_system(system.replace(delay=1, dt=None, poles=-np.ones(5)))
    with pytest.raises(InputError, match="diagonal system"):
        layer.with_system("G")  # type: ignore[arg-type]
