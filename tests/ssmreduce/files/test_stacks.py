"""An axis in front of all arrays: layers of scan, copies of pmap. Off on the way in, on again on the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import S4D_OPTIONS, s4d_params, s5_params
from odd_checkpoints import lru_arrays, single

import ssmreduce
from ssmreduce.command_line.parser import main
from ssmreduce.files.formats import FILE_FORMATS
from ssmreduce.layers.options import OptionError
from theory.errors import InputError

COUNT = 3

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "s5": (s5_params, {"conj_sym": True, "discretization": "zoh"}),
    "s4d-minimal": (lambda rng: s4d_params(rng, "s4d-minimal"), {}),
    "s4d-v4": (lambda rng: s4d_params(rng, "s4d-v4"), S4D_OPTIONS["s4d-v4"]),
    "s4d-jax": (lambda rng: s4d_params(rng, "s4d-jax"), {}),
    "lru": (lambda rng: lru_arrays(rng, "B_re"), {}),
    "lru-dense": (lambda rng: lru_arrays(rng, "B", m=2, p=4), {}),
}


def scanned(kind: str, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
    """Layers of a kind, each by itself and on top of each other, beside an array of the network."""
    layers = [single(KINDS[kind][0](rng)) for _ in range(COUNT)]
    stacked = {f"net/layers/seq/{key}": np.stack([raw[key] for raw in layers]) for key in layers[0]}
    return stacked | {"net/norm/scale": rng.standard_normal((COUNT, 4))}, layers


def nested(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        node = tree
        for part in key.split("/")[:-1]:
            node = node.setdefault(part, {})
        node[key.rpartition("/")[2]] = value
    return tree


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".msgpack"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_layers_of_scan_are_layers(kind: str, suffix: str, tmp_path: Path, rng: np.random.Generator) -> None:
    flat, layers = scanned(kind, rng)
    options = KINDS[kind][1]
    path = tmp_path / f"net{suffix}"
    form = next(form for form in FILE_FORMATS.values() if form.suffix == suffix)
    path.write_bytes(form.write(nested(flat), {}))
    model = ssmreduce.load(path, axis="layers", **options)
    assert [layer.name for layer in model.layers] == [f"net/layers/{i}/seq" for i in range(COUNT)]
    for layer, raw in zip(model.layers, layers):
        alone = ssmreduce.layer_from_params(raw, **options)
        assert np.array_equal(layer.system.poles, alone.system.poles)
        assert np.array_equal(layer.system.C, alone.system.C)
    again = form.read(model.save(tmp_path / f"again{suffix}").read_bytes(), path)
    held = dict(ssmreduce.layers.location.leaves(again.tree))
    for key, value in flat.items():
        found = held.get((key,), held.get(tuple(key.split("/"))))
        assert found.tobytes() == value.tobytes()
        assert found.shape == value.shape
    small = ssmreduce.reduce_model(model, orders=2)
    back = ssmreduce.load(small.save(tmp_path / f"small{suffix}"))  # the JSON half says that it is stacked
    for one, two in zip(small.layers, back.layers, strict=True):
        assert one.order == 2
        assert np.array_equal(one.system.poles, two.system.poles)
        assert np.array_equal(one.system.B, two.system.B)


def test_unlike_sizes_do_not_stack_and_padding_helps(tmp_path: Path, rng: np.random.Generator) -> None:
    flat, _ = scanned("s5", rng)
    np.savez(tmp_path / "net.npz", **flat)
    flags = [str(tmp_path / "net.npz"), "--conj-sym", "--axis", "layers", "-o", str(tmp_path / "small.npz"), "-q"]
    assert main(["reduce", *flags, "--orders", "4,3,2"]) == 2
    assert not (tmp_path / "small.npz").exists()
    assert main(["reduce", *flags, "--orders", "4,3,2", "--pad"]) == 0
    model = ssmreduce.load(tmp_path / "small.npz")
    reference = ssmreduce.reduce_model(
        ssmreduce.load(tmp_path / "net.npz", conj_sym=True, axis="layers"), orders=[4, 3, 2]
    )
    u = rng.standard_normal((50, 3))
    for one, two in zip(model.layers, reference.layers, strict=True):
        assert one.order == 4
        np.testing.assert_allclose(
            ssmreduce.simulate(one.system, u), ssmreduce.simulate(two.system, u), rtol=1e-12, atol=1e-12
        )


def test_copies_on_devices(tmp_path: Path, rng: np.random.Generator) -> None:
    raw = {f"params/layers_{i}/seq/{key}": value for i in range(2) for key, value in s5_params(rng).items()}
    raw["params/dense/kernel"] = rng.standard_normal((4, 2))
    flat = {key: np.stack([value] * 4) for key, value in raw.items()}
    flat |= {"dropout_rng": rng.integers(0, 99, (4, 2)), "step": np.array(7)}
    np.savez(tmp_path / "pmap.npz", **flat)
    model = ssmreduce.load(tmp_path / "pmap.npz", axis="device", conj_sym=True)
    assert np.array_equal(model.params["dense"]["kernel"], raw["params/dense/kernel"])
    same = dict(np.load(model.save(tmp_path / "same.npz")))
    assert same.keys() == flat.keys()
    assert all(same[key].tobytes() == flat[key].tobytes() for key in flat)
    small = dict(np.load(ssmreduce.reduce_model(model, orders=2).save(tmp_path / "small.npz")))
    assert small["params/layers_0/seq/B"].shape == (4, 2, 3, 2)
    assert all((part == small["params/layers_0/seq/B"][0]).all() for part in small["params/layers_0/seq/B"])
    assert np.array_equal(small["dropout_rng"], flat["dropout_rng"])
    apart = dict(np.load(model.taken_apart().save(tmp_path / "apart.npz")))
    assert all(np.array_equal(apart[key], raw[key]) for key in raw)


def test_neither_choice_passes_for_the_other(tmp_path: Path, rng: np.random.Generator) -> None:
    flat, layers = scanned("s5", rng)
    np.savez(tmp_path / "scan.npz", **flat)
    copies = {f"seq/{key}": np.stack([value] * 2) for key, value in layers[0].items()}
    np.savez(tmp_path / "pmap.npz", **copies)
    np.savez(tmp_path / "plain.npz", **{f"seq/{key}": value for key, value in layers[0].items()})
    with pytest.raises(InputError, match="axis='layers'"):
        ssmreduce.load(tmp_path / "scan.npz", axis="device", conj_sym=True)
    with pytest.raises(InputError, match="axis='device'"):
        ssmreduce.load(tmp_path / "pmap.npz", axis="layers", conj_sym=True)
    with pytest.raises(InputError, match="leave it out"):
        ssmreduce.load(tmp_path / "plain.npz", axis="layers", conj_sym=True)
    with pytest.raises(OptionError, match="'device', 'layers'"):
        ssmreduce.load(tmp_path / "plain.npz", axis="0", conj_sym=True)


def test_moments_and_averages_are_stacked_alike(tmp_path: Path, rng: np.random.Generator) -> None:
    """A training state: moments go, an average of the weights is cut and stacked like them."""
    flat, _ = scanned("s5", rng)
    state = {f"params/{key}": value for key, value in flat.items()}
    state |= {f"ema_params/{key}": 0.9 * value for key, value in flat.items() if key.startswith("net/layers")}
    state |= {f"opt_state/0/mu/{key}": 0 * value for key, value in flat.items()}
    np.savez(tmp_path / "state.npz", **state)
    model = ssmreduce.load(tmp_path / "state.npz", axis="layers", conj_sym=True)
    small = dict(np.load(ssmreduce.reduce_model(model, orders=2).save(tmp_path / "small.npz")))
    assert small["ema_params/net/layers/seq/B"].shape == small["params/net/layers/seq/B"].shape == (3, 2, 3, 2)
    assert not any(key.startswith("opt_state") for key in small)


def test_the_command_takes_layers_apart(tmp_path: Path, rng: np.random.Generator) -> None:
    flat, layers = scanned("lru", rng)
    np.savez(tmp_path / "net.npz", **flat)
    target = tmp_path / "apart.safetensors"
    command = ["convert", str(tmp_path / "net.npz"), "--axis", "layers", "--unstack", "-o", str(target), "-q"]
    assert main(command) == 0
    found = ssmreduce.load(target)
    assert found.stack is None
    for layer, raw in zip(found.layers, layers, strict=True):
        assert all(np.array_equal(value, raw[key]) for key, value in layer.to_params().items())
