"""Parameter trees: read in every form, given back bit for bit, and asked about what they cannot tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_cases import GOLDEN, S4D_OPTIONS, TINY, s4d_params, s5_params

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.location import find_layers
from ssmreduce.layers.params import as_layer_or_system, layer_from_params, read_layers
from theory.errors import InputError, TimeBaseError
from theory.systems.system import DiagonalStateSpace, StateSpace


class FrozenLike(Mapping[str, Any]):
    """A mapping that is no dict, as Flax's FrozenDict."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = {k: FrozenLike(v) if isinstance(v, dict) else v for k, v in content.items()}

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


def same_bits(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return set(first) == set(second) and all(
        np.asarray(first[k]).dtype == second[k].dtype and np.array_equal(first[k], second[k]) for k in first
    )


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(1, 4), st.sampled_from(["", "C1C2", "wide"]),
    st.sampled_from([np.float32, np.float64]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_s5_params_come_back_bit_for_bit(
    seed: int, P: int, H: int, two: str, dtype: type, conj: bool, clip: bool
) -> None:
    raw = s5_params(np.random.default_rng(seed), P, H, bidirectional=two, dtype=dtype)
    layer = layer_from_params(raw, conj_sym=conj, discretization="zoh", clip_eigs=clip)
    assert same_bits(raw, layer.to_params())
    assert same_bits(raw, layer.replace(source=None).to_params())  # also from the fields alone
    assert layer.dtype == dtype
    assert layer.is_bidirectional == (two in ("C1C2", "wide") and (P > 0 or two == "C1C2"))


@pytest.mark.parametrize("form", S4D_OPTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_s4d_params_come_back_bit_for_bit(form: str, dtype: type, rng: np.random.Generator) -> None:
    raw = s4d_params(rng, form, dtype=dtype)
    layer = layer_from_params(raw, **S4D_OPTIONS[form])
    assert same_bits(raw, layer.to_params())
    assert layer.kind == "s4d"
    assert (layer.n_channels, layer.order) == (4, 5)


@pytest.mark.parametrize("name", TINY)
def test_reference_tree(name: str) -> None:
    data = np.load(GOLDEN / name)
    flat = {key: data[key] for key in data.files if key.startswith("params/")}
    layers = read_layers(flat, **TINY[name])
    assert [layer.name for layer in layers] == [f"params/encoder/layers_{i}/seq" for i in range(2)]
    for layer in layers:
        for key, value in layer.to_params().items():
            assert np.array_equal(value, flat[f"{layer.name}/{key}"])
            assert value.dtype == flat[f"{layer.name}/{key}"].dtype
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        node = nested
        *parts, last = key.split("/")
        for part in parts:
            node = node.setdefault(part, {})
        node[last] = value
    for tree in (nested, FrozenLike(nested), nested["params"], nested["params"]["encoder"]):
        again = read_layers(tree, **TINY[name])
        assert all(
            np.array_equal(a.Lambda, b.Lambda) and np.array_equal(a.C, b.C) for a, b in zip(layers, again, strict=True)
        )


@pytest.mark.parametrize("name", ["s4d_minimal.npz", "s4d_v4_lin_zoh_softplus_bi_bn_prenorm.npz"])
def test_reference_s4d_kernels(name: str) -> None:
    """Kernels of the PyTorch code, both directions, from the state dict alone."""
    data = np.load(GOLDEN / name)
    state = {key.removeprefix("sd/"): data[key] for key in data.files if key.startswith("sd/")}
    options = {} if "minimal" in name else S4D_OPTIONS["s4d-v4"]
    layer = read_layers(state, **options)[0]
    wanted = data["k"][None] if "k" in data.files else data["layer0_kernel"]
    system = layer.system
    outputs = [system.C] if system.C_reverse is None else [system.C, system.C_reverse]
    assert len(outputs) == wanted.shape[0]
    for C, kernel in zip(outputs, wanted, strict=True):
        powers = system.poles[..., None] ** np.arange(kernel.shape[-1])
        mine = 2 * ((C[:, 0, :] * system.B[:, :, 0])[..., None] * powers).sum(1).real
        assert np.abs(mine - kernel).max() < 5e-7 * max(1.0, np.abs(kernel).max())


def test_optimizer_moments_are_no_layers(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    state = {"step": 3, "params": {"seq": raw}, "opt_state": {"mu": {"seq": raw}, "nu": {"seq": raw}}}
    assert [layer.name for layer in read_layers(state, conj_sym=True, discretization="zoh")] == ["params/seq"]
    everything = dict(np.load(GOLDEN / next(iter(TINY))))  # holds the parameters after a training step, too
    assert len(read_layers(everything, conj_sym=True, discretization="zoh")) == 2


def test_layers_come_in_the_order_of_the_network(rng: np.random.Generator) -> None:
    tree = {f"layers_{i}": {"seq": s5_params(rng, P=i + 1)} for i in (10, 2, 0, 1)}
    assert [layer.order for layer in read_layers(tree, conj_sym=True, discretization="zoh")] == [1, 2, 3, 11]


def test_leaves_of_other_kinds(rng: np.random.Generator) -> None:
    """Variables that hold a value, lists, and 16-bit floats are read; the 16-bit ones widened."""
    raw = s5_params(rng)
    boxed = {key: SimpleNamespace(value=value) for key, value in raw.items()}
    assert same_bits(raw, layer_from_params(boxed, conj_sym=True, discretization="zoh").to_params())
    half = layer_from_params({**raw, "D": raw["D"].astype(np.float16)}, conj_sym=True, discretization="zoh")
    assert half.dtype == np.float32
    assert layer_from_params({**raw, "D": raw["D"].tolist()}, conj_sym=True, discretization="zoh").n_channels == 3


def test_tensors_are_detached(rng: np.random.Generator) -> None:
    class Tensor:
        """What a PyTorch parameter does."""

        def __init__(self, array: np.ndarray, live: bool = True) -> None:
            self.array, self.live = array, live

        def detach(self) -> Tensor:
            return Tensor(self.array, live=False)

        def cpu(self) -> Tensor:
            return self

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            if self.live:
                raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
            return self.array

    raw = s4d_params(rng, "s4d-minimal")
    state = {key: Tensor(value) for key, value in raw.items()}
    assert same_bits(raw, layer_from_params(state).to_params())


def test_what_a_tree_cannot_tell_is_asked_for(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=r"conj_sym=True.*conj_sym=False"):
        layer_from_params(s5_params(rng))
    with pytest.raises(InputError, match=r"dt_transform='softplus'.*dt_transform='exp'"):
        layer_from_params(s4d_params(rng, "s4d-v4"), discretization="zoh")
    with pytest.raises(InputError, match=r"discretization='zoh'.*'bilinear'"):
        layer_from_params(s4d_params(rng, "s4d-v3"))


def test_contradictions_and_unknown_options_are_named(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    with pytest.raises(InputError, match="bidirectional=True"):
        layer_from_params(raw, conj_sym=True, discretization="zoh", bidirectional=True)
    with pytest.raises(InputError, match="unknown option 'clip'"):
        layer_from_params(raw, conj_sym=True, discretization="zoh", clip=True)
    with pytest.raises(InputError, match="conj_sym=True"):
        layer_from_params(s4d_params(rng, "s4d-minimal"), conj_sym=False, discretization="zoh")
    with pytest.raises(InputError, match="C and also C1"):
        layer_from_params({**raw, "C1": raw["C"]}, conj_sym=True, discretization="zoh")
    with pytest.raises(InputError, match="clip_eigs"):
        layer_from_params(raw, conj_sym=True, discretization="zoh", clip_eigs="no")


@pytest.mark.parametrize("key", ["Lambda_re", "Lambda_im", "B", "C", "log_step"])
def test_missing_arrays_are_named(key: str, rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    del raw[key]
    with pytest.raises(InputError, match=key):
        layer_from_params(raw, conj_sym=True, discretization="zoh")


def test_other_layers_are_recognised_and_refused(rng: np.random.Generator) -> None:
    raw = s5_params(rng)
    with pytest.raises(InputError, match="low rank"):
        layer_from_params({**raw, "P": raw["D"]}, conj_sym=True, discretization="zoh")
    with pytest.raises(InputError, match="LRU"):
        read_layers({"layers_0": {"nu_log": raw["D"], "theta_log": raw["D"]}}, conj_sym=True, discretization="zoh")
    with pytest.raises(InputError, match="lacks"):
        read_layers({"layers.0.layer.kernel.kernel.log_w_real": raw["D"]})
    with pytest.raises(InputError, match="no S5 or S4D layer"):
        read_layers({"dense": {"kernel": raw["D"]}}, conj_sym=True, discretization="zoh")
    with pytest.raises(InputError, match="holds 2 layers"):
        layer_from_params({"layers_0": raw, "layers_1": raw}, conj_sym=True, discretization="zoh")


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    tree: dict[str, Any] = {}
    for _ in range(5000):
        tree = {"x": tree}
    with pytest.raises(InputError, match="nested"):
        find_layers(tree)


class TestSources:
    """as_layer_or_system takes whatever a user holds."""

    def test_own_kinds_pass_through(self, rng: np.random.Generator) -> None:
        layer = layer_from_params(s5_params(rng), conj_sym=True, discretization="zoh")
        for item in (layer, layer.system, StateSpace([[0.5]], [[1]], [[1]], dt=1.0)):
            assert as_layer_or_system(item) is item
            with pytest.raises(InputError, match="conj_sym"):
                as_layer_or_system(item, conj_sym=True)

    def test_live_layers(self, rng: np.random.Generator) -> None:
        raw = s5_params(rng)

        class Live:
            def ssm_params(self) -> dict[str, Any]:
                return raw

            def ssm_options(self) -> dict[str, Any]:
                return {"conj_sym": False, "activation": "gelu", "discretization": "bilinear"}

        layer = as_layer_or_system(Live())
        assert isinstance(layer, SSMLayer)
        assert (layer.conj_sym, layer.discretization) == (False, "bilinear")
        assert as_layer_or_system(Live(), clip_eigs=True).clip_eigs

    def test_other_packages(self) -> None:
        control = pytest.importorskip("control")
        A, B, C, D = [[-0.5, 0.1], [0, -0.2]], [[1], [1]], [[1, 0]], [[0.0]]
        assert as_layer_or_system(control.ss(A, B, C, D)).dt is None
        assert as_layer_or_system(control.ss(A, B, C, D, True)).dt == 1.0
        assert as_layer_or_system(control.ss(A, B, C, D, 0.1)).dt == 0.1
        with pytest.raises(TimeBaseError, match="dt=0"):
            as_layer_or_system(control.ss(A, B, C, D, None))
        from scipy import signal

        assert as_layer_or_system(signal.StateSpace(A, B, C, D)).dt is None
        assert as_layer_or_system(signal.StateSpace(A, B, C, D, dt=0.5)).dt == 0.5

    @pytest.mark.parametrize(
        ("item", "match"), [("model.npz", "load"), (3.0, "float"), (None, "NoneType"), ([1, 2], "list")]
    )
    def test_everything_else_is_told_what_to_pass(self, item: object, match: str) -> None:
        with pytest.raises(InputError, match=match):
            as_layer_or_system(item)

    def test_a_model_is_told_apart(self) -> None:
        with pytest.raises(InputError, match="reduce_model"):
            as_layer_or_system(SimpleNamespace(layers=(1, 2), params={}))

    def test_diagonal_systems_of_ours(self) -> None:
        assert isinstance(as_layer_or_system(DiagonalStateSpace([0.5], [[1]], [[1]])), DiagonalStateSpace)
