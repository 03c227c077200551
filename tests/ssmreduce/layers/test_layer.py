"""SSMLayer: what the scan computes is what its system says; states are dropped bit for bit; bad arrays are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from layer_cases import GOLDEN, S4D_OPTIONS, s4d_params, s5_layers, s5_params, s5_scan, two_sided
from tolerance import tol

from ssmreduce.layers.layer import CLIP, SSMLayer
from ssmreduce.layers.params import layer_from_params
from theory.errors import DimensionError, InputError, StabilityError
from theory.systems.margin import discrete_margin

OPERATOR = dict(np.load(GOLDEN / "s5_operator.npz"))


@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
@pytest.mark.parametrize("bidirectional", [0, 1])
@pytest.mark.parametrize("conj_sym", [0, 1])
def test_reference_operator(rule: str, bidirectional: int, conj_sym: int) -> None:
    """Golden outputs of the reference S5 operator, through the system of the layer."""
    g, P = OPERATOR, 3
    layer = SSMLayer(
        kind="s5", Lambda=g["Lambda"], B=g["B"], C=g["C2"][:, :P], C_reverse=g["C2"][:, P:] if bidirectional else None,
        D=np.zeros(2), log_step=np.log(g["step"]), conj_sym=bool(conj_sym), discretization=rule,
    )  # fmt: skip
    assert np.abs(layer.poles - g[f"{rule}_Lambda_bar"]).max() < 2e-7
    assert np.abs(layer.system.B - g[f"{rule}_B_bar"]).max() < 2e-7
    wanted = g[f"{rule}_bi{bidirectional}_conj{conj_sym}_y"]
    assert np.abs(two_sided(layer.system, g["u"]) - wanted).max() < 2e-6 * np.abs(wanted).max()
    raw = layer.to_params()
    assert (
        np.abs(s5_scan(raw, g["u"], conj_sym=bool(conj_sym), discretization=rule) - wanted).max()
        < 2e-6 * np.abs(wanted).max()
    )


@given(s5_layers())
def test_system_is_what_the_scan_computes(layer: SSMLayer) -> None:
    u = np.random.default_rng(0).standard_normal((40, layer.n_channels))
    options = {key: getattr(layer, key) for key in ("conj_sym", "discretization", "clip_eigs", "step_rescale")}
    wanted = s5_scan(layer.to_params(), u, **options)
    assert np.abs(two_sided(layer.system, u) - wanted).max() < 1e-10 * max(1.0, np.abs(wanted).max())
    assert layer.system.is_real


@given(s5_layers())
def test_transfer_function_is_the_scan_impulse_response(layer: SSMLayer) -> None:
    """DFT of a periodised impulse through the plain scan equals the frequency response."""
    from theory.systems.response import frequency_response

    layer = layer.replace(Lambda=layer.Lambda - 20.0)  # short memory, so that nothing wraps around
    L, H = 512, layer.n_channels
    centre = L // 2
    omega = 2 * np.pi * np.arange(0, L, 64) / L
    response = frequency_response(layer.system, omega)
    options = {key: getattr(layer, key) for key in ("conj_sym", "discretization", "clip_eigs", "step_rescale")}
    for j in range(H):
        u = np.zeros((L, H))
        u[centre, j] = 1.0
        y = np.roll(s5_scan(layer.to_params(), u, **options), -centre, axis=0)
        wanted = np.fft.fft(y, axis=0)[::64]
        memory = np.abs(layer.poles).max() ** (L // 2)
        assert np.abs(response[:, :, j] - wanted).max() < (1e-9 + 1e3 * memory) * max(1.0, np.abs(wanted).max())


@given(s5_layers())
def test_margin_is_that_of_the_pole_without_its_rounding(layer: SSMLayer) -> None:
    assert np.allclose(layer.margin, discrete_margin(layer.poles), rtol=1e-9, atol=1e-14)
    tiny = layer.replace(
        Lambda=-1e-7 + 1j * layer.Lambda.imag, log_step=np.full(layer.order, np.log(1e-4)), clip_eigs=False
    )
    step = tiny.step
    assert np.allclose(tiny.margin, -tiny.Lambda.real * step, rtol=1e-6)  # 1e-11: lost in the pole, kept in the margin


def test_clipping_acts_at_use_only(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    raw["Lambda_re"][:2] = [0.3, -1e-6]
    layer = layer_from_params(raw, conj_sym=True, discretization="zoh", clip_eigs=True)
    assert (layer.effective_Lambda.real[:2] == CLIP).all()
    assert (layer.Lambda.real[:2] == raw["Lambda_re"][:2]).all()
    assert np.array_equal(layer.to_params()["Lambda_re"], raw["Lambda_re"])
    layer.require_stable()


def test_an_unstable_state_is_named_with_the_ways_on(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    raw["Lambda_re"][3] = 0.1
    layer = layer_from_params(raw, conj_sym=True, discretization="zoh", name="encoder/layers_0/seq")
    with pytest.raises(StabilityError, match=r"encoder/layers_0/seq.*state 3.*layer\.keep.*clip_eigs=True") as caught:
        layer.require_stable()
    assert caught.value.margin < 0
    assert caught.value.poles.shape == (1,)
    layer.keep(layer.margin > 0).require_stable()
    layer.replace(clip_eigs=True).require_stable()


def test_a_pole_on_the_circle_is_not_stable(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    raw["Lambda_re"][0] = 0.0
    with pytest.raises(StabilityError):
        layer_from_params(raw, conj_sym=True, discretization="zoh").require_stable()


def test_a_margin_that_float64_poles_cannot_hold_is_not_stable(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    raw["Lambda_re"][0], raw["Lambda_im"][0] = -1e-20, 0.0  # exp(-1e-20 step) is 1 in float64, whatever rounds
    layer = layer_from_params(raw, conj_sym=True, discretization="zoh", clip_eigs=False)
    assert 0 < layer.margin[0] < 1e-20
    with pytest.raises(StabilityError, match="state 0"):
        layer.require_stable()


@given(s5_layers())
def test_kept_states_are_bit_equal(layer: SSMLayer) -> None:
    kept = np.arange(layer.order)[::2][::-1]
    small, full, part = layer.keep(kept), layer.to_params(), layer.keep(kept).to_params()
    for key in ("Lambda_re", "Lambda_im", "B", "log_step"):
        assert np.array_equal(part[key], full[key][kept])
        assert part[key].dtype == full[key].dtype
    assert np.array_equal(part["D"], full["D"])
    for name in ("poles", "B"):
        assert np.array_equal(getattr(small.system, name), getattr(layer.system, name)[kept])
    assert np.array_equal(small.system.C, layer.system.C[:, kept])
    if layer.C_reverse is not None:
        assert np.array_equal(small.system.C_reverse, layer.system.C_reverse[:, kept])
    mask = np.zeros(layer.order, bool)
    mask[kept] = True
    assert np.array_equal(layer.keep(mask).Lambda, layer.Lambda[mask])


@pytest.mark.parametrize("form", S4D_OPTIONS)
def test_s4d_keeps_states_for_each_channel(form: str, rng: np.random.Generator) -> None:
    layer = layer_from_params(s4d_params(rng, form), **S4D_OPTIONS[form])
    index = np.array([[0, 2], [1, 4], [3, 2], [0, 1]])
    small = layer.keep(index)
    rows = np.arange(4)[:, None]
    for name in ("Lambda", "B", "C"):
        assert np.array_equal(getattr(small, name), getattr(layer, name)[rows, index])
    again = layer_from_params(small.to_params(), **S4D_OPTIONS[form])
    assert np.array_equal(again.Lambda, small.Lambda)
    assert np.array_equal(again.system.poles, small.system.poles)
    assert np.array_equal(layer.keep([4, 1]).C, layer.C[:, [4, 1]])
    assert layer.keep([]).order == 0


@pytest.mark.parametrize("form", S4D_OPTIONS)
def test_s4d_kernel(form: str, rng: np.random.Generator) -> None:
    """System of every channel against the kernel formula ``sum w_n base_n^l``."""
    layer = layer_from_params(s4d_params(rng, form), **S4D_OPTIONS[form])
    dt, L = layer.step, 12
    w = layer.B * layer.C
    Lambda = layer.effective_Lambda
    if layer.discretization == "zoh":
        base, w = np.exp(dt * Lambda), w * np.expm1(dt * Lambda) / np.where(Lambda == 0, 1, Lambda)
    else:
        base, w = (1 + dt * Lambda / 2) / (1 - dt * Lambda / 2), w * dt / (1 - dt * Lambda / 2)
    factor = 2.0 if layer.conj_sym else 1.0
    kernel = factor * (w[..., None] * base[..., None] ** np.arange(L)).sum(1).real
    system = layer.system
    assert system.batch_shape == (4,)
    impulse = np.zeros((L, 1))
    impulse[0] = 1.0
    causal = system.replace(C_reverse=None, D=None)
    for h in range(4):
        y = two_sided(causal[h], impulse)[:, 0]
        assert np.abs(y - kernel[h]).max() < tol(L) * np.abs(kernel).max()
    assert (system.delay, system.delay_reverse) == (0, 1)


def test_layers_are_values(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    before = {key: value.copy() for key, value in raw.items()}
    layer = layer_from_params(raw, conj_sym=True, discretization="zoh")
    raw["B"][:] = 0
    assert np.array_equal(layer.to_params()["B"], before["B"])
    with pytest.raises(ValueError):
        layer.B[0, 0] = 1
    layer.to_params()["B"][:] = 7
    assert np.array_equal(layer.to_params()["B"], before["B"])
    with pytest.raises(AttributeError):
        layer.clip_eigs = True  # type: ignore[misc]
    assert layer.replace(C=2 * layer.C).to_params()["C"][0, 0, 0] == 2 * before["C"][0, 0, 0]


def test_fields_are_what_storage_holds() -> None:
    """Arguments finer than the storage are rounded on entry: the layer is what a file will hold."""
    layer = SSMLayer(
        kind="s5", Lambda=[-0.1 + 0.3j], B=[[0.1]], C=[[0.7]], D=[0.1], log_step=[-2.3], conj_sym=True, dtype=np.float32
    )
    assert layer.Lambda.real[0] == np.float64(np.float32(-0.1))
    assert layer.log_step[0] == np.float64(np.float32(-2.3))
    assert layer.replace(dtype=np.float64).B[0, 0] == np.float64(np.float32(0.1))


BAD = [
    ("B", lambda a: a[:, :1, :1], DimensionError, "B"),
    ("B", lambda a: a[:3], DimensionError, "B"),
    ("C", lambda a: a[:, :3], DimensionError, "C"),
    ("D", lambda a: a[:2], DimensionError, "D"),
    ("log_step", lambda a: a[:2], DimensionError, "log_step"),
    ("log_step", lambda a: a * np.nan, InputError, "log_step"),
    ("log_step", lambda a: a + 1e4, InputError, "log_step"),
    ("Lambda_im", lambda a: a[:2], DimensionError, "Lambda_im"),
    ("Lambda_re", lambda a: np.where(np.arange(5) == 2, np.inf, a), InputError, "Lambda"),
    ("B", lambda a: a * np.nan, InputError, "B"),
    ("D", lambda a: a.astype(object), InputError, "D"),
    ("D", lambda a: np.array(["x"] * 3), InputError, "D"),
]


@pytest.mark.parametrize(("key", "spoil", "error", "named"), BAD)
def test_bad_arrays_are_named(key: str, spoil: object, error: type, named: str, rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    raw[key] = spoil(raw[key])  # type: ignore[operator]
    with pytest.raises(error, match=rf"layer encoder/3.*{named}"):
        layer_from_params(raw, conj_sym=True, discretization="zoh", name="encoder/3")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kind": "s6"}, "kind"),
        ({"discretization": "euler"}, "discretization"),
        ({"conj_sym": "yes"}, "conj_sym"),
        ({"step_rescale": 0.0}, "step_rescale"),
        ({"dtype": np.int32}, "dtype"),
        ({"form": "s4d-v4"}, "form"),
    ],
)
def test_bad_options_are_named(change: dict[str, object], match: str, rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh")
    with pytest.raises(InputError, match=match):
        layer.replace(**change)


@pytest.mark.parametrize(
    ("index", "match"),
    [
        ([0, 0], "twice"),
        ([7], "indices run"),
        ([-1], "indices run"),
        ([0.5], "integers"),
        ([True], "mask"),
        ([[0]], "shape"),
    ],
)
def test_bad_indices_are_refused(index: list[object], match: str, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=match):
        layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh").keep(index)


def test_a_layer_without_states_is_its_feedthrough(rng: np.random.Generator) -> None:
    layer = layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh").keep([])
    u = rng.standard_normal((4, 3))
    assert layer.order == 0
    assert np.array_equal(two_sided(layer.system, u), u @ np.diag(layer.D))
    assert layer_from_params(layer.to_params(), conj_sym=True, discretization="zoh").order == 0
