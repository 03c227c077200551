"""A layer in the parameters of another code base computes the same, or says why it cannot be there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import S4D_OPTIONS, s4d_params, s5_params
from odd_checkpoints import lru_arrays, torch_s5_arrays
from tolerance import relative, tol

import ssmreduce
from ssmreduce.command_line.parser import main
from ssmreduce.layers.conversion import moved
from ssmreduce.layers.formats import LAYER_FORMATS
from ssmreduce.layers.location import joints, leaves
from theory.errors import InputError

ZOH = {"conj_sym": True, "discretization": "zoh"}

SOURCES: dict[str, Any] = {
    "s5": lambda rng, dtype: (s5_params(rng, dtype=dtype), ZOH),
    "s5, all modes": lambda rng, dtype: (s5_params(rng, dtype=dtype), {**ZOH, "conj_sym": False}),
    "s5, bilinear": lambda rng, dtype: (s5_params(rng, dtype=dtype), {**ZOH, "discretization": "bilinear"}),
    "s5, dirac": lambda rng, dtype: (s5_params(rng, dtype=dtype), {**ZOH, "discretization": "dirac"}),
    "s5, clipped": lambda rng, dtype: (s5_params(rng, dtype=dtype, decay=(1e-6, 1e-4)), {**ZOH, "clip_eigs": True}),
    "s5, half rate": lambda rng, dtype: (s5_params(rng, dtype=dtype), {**ZOH, "step_rescale": 2.0}),
    "s5, both directions": lambda rng, dtype: (s5_params(rng, dtype=dtype, bidirectional="C1C2"), ZOH),
    "s5-wide": lambda rng, dtype: (s5_params(rng, dtype=dtype, bidirectional="wide"), ZOH),
    "s5-torch": lambda rng, dtype: (torch_s5_arrays(rng, directions=1), {"discretization": "bilinear"}),
    "lru": lambda rng, dtype: (lru_arrays(rng, "B_re"), {}),
    "lru-dense": lambda rng, dtype: (lru_arrays(rng, "B"), {}),
    "lru-dense, rectangular": lambda rng, dtype: (lru_arrays(rng, "B", m=2, p=4), {}),
    "lru-delayed": lambda rng, dtype: (lru_arrays(rng, "Bp"), {}),
    **{
        form: lambda rng, dtype, form=form: (s4d_params(rng, form, dtype=dtype), S4D_OPTIONS[form])
        for form in S4D_OPTIONS
    },
}
WAYS = [
    (source, form)
    for source in SOURCES
    for form, entry in LAYER_FORMATS.items()
    if entry.kind == ("s4d" if source.startswith("s4d") else "s5")
    and not any(word in form for word in ("relu", "sigmoid"))
]
SAID = ("real B", "real matrix", "norm of the whole", "one direction", "cannot hold", "no reverse direction",
        "and not written so", "not moved", "D must be 0")  # fmt: skip


def layer_of(source: str, rng: np.random.Generator, dtype: type = np.float64) -> ssmreduce.SSMLayer:
    raw, options = SOURCES[source](rng, dtype)
    return ssmreduce.layer_from_params(raw, **options)


def answer(layer: ssmreduce.SSMLayer, u: np.ndarray) -> np.ndarray:
    return ssmreduce.simulate(layer.system, u.T[..., None] if layer.family.is_batch else u)


def refusal(layer: ssmreduce.SSMLayer, form: str) -> str:
    """What is said where a layer has no such form; nothing where it has."""
    try:
        layer.in_form(form)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("source", "form"), WAYS)
def test_the_outputs_stay_or_the_reason_is_told(source: str, form: str, rng: np.random.Generator) -> None:
    layer = layer_of(source, rng)
    inputs = layer.n_channels if layer.family.is_batch else layer.B.shape[1]
    u = rng.standard_normal((60, inputs))
    if (source, form) not in MUST and (reason := refusal(layer, form)):
        assert any(words in reason for words in SAID)
        return
    there, params = layer.in_form(form), layer.to_params(form=form)
    assert there.form == form
    stated = {key: value for key, value in there.options().items() if value is not None}
    again = ssmreduce.layer_from_params(params, **stated)  # as whoever reads these arrays has it
    assert again.form == form
    assert relative(answer(again, u), answer(layer, u)) < tol(60, cond=10.0)
    back = there.in_form(layer.form) if layer.delay == there.delay else there
    assert relative(answer(back, u), answer(layer, u)) < tol(60, cond=10.0)


MUST = [
    ("s5", "lru-dense"), ("s5", "lru"), ("s5", "s5-torch"), ("s5", "s5-complex"), ("s5, all modes", "lru"),
    ("s5, bilinear", "s5-torch"), ("s5, dirac", "s5-torch"), ("s5, both directions", "s5-wide"),
    ("s5, both directions", "s5-torch"), ("s5-wide", "s5"), ("lru", "s5"), ("lru-dense", "s5"), ("lru-delayed", "s5"),
    ("lru-delayed", "lru-dense"), ("lru-dense", "lru-delayed"), ("lru-dense, rectangular", "s5"),
    ("lru", "lru-delayed"), ("s5-torch", "s5"), ("s4d-minimal", "s4d-v4"), ("s4d-v4-exp", "s4d-v3"),
    ("s4d-jax", "s4d-minimal"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "form"), MUST)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_these_ways_are_open(source: str, form: str, dtype: type, rng: np.random.Generator) -> None:
    layer = layer_of(source, rng, dtype)
    there = layer.in_form(form)
    assert there.dtype == layer.dtype
    assert there.order == layer.order
    inputs = layer.n_channels if layer.family.is_batch else layer.B.shape[1]
    u = rng.standard_normal((60, inputs))
    slow = 1.0 / np.min(layer.margin)  # how far rounding of a stored pole reaches
    assert relative(answer(there, u), answer(layer, u)) < tol(60, cond=slow, dtype=layer.dtype.type)


@pytest.mark.parametrize(
    ("source", "form"),
    [("s5", "s5-complex"), ("s5, all modes", "s5-torch"), ("s5-wide", "s5"), ("s4d-v4", "s4d-v4-complex")],
)
def test_what_need_not_change_keeps_its_bits(source: str, form: str, rng: np.random.Generator) -> None:
    layer = layer_of(source, rng, np.float32)
    there = layer.in_form(form)
    assert there.system.poles.tobytes() == layer.system.poles.tobytes()
    assert there.system.B.tobytes() == layer.system.B.tobytes()
    assert there.system.C.tobytes() == layer.system.C.tobytes()
    back, held = there.in_form(layer.form).to_params(), layer.to_params()
    assert back.keys() == held.keys()
    assert all(back[key].tobytes() == held[key].tobytes() for key in held if back[key].size == held[key].size)
    assert source != "s5" or all(back[key].size == held[key].size for key in held)  # S4D's copies are written out


@pytest.mark.parametrize(
    ("source", "form", "said"),
    [
        ("s5", "s4d-v4", "no batch"),
        ("s4d-v4", "s5", "as many times the states"),
        ("s5, both directions", "lru", "no reverse direction"),
        ("lru-dense, rectangular", "lru", "cannot hold"),
        ("s4d-minimal", "s4", "kernel.P"),
        ("s5", "s5-wide", "cannot hold the directions"),
        ("s4d-minimal", "s4d-discretax", "D must be 0"),
        ("s5", "S5", "unknown form"),
    ],
)
def test_refusals_say_why(source: str, form: str, said: str, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=said):
        layer_of(source, rng).to_params(form=form)


def test_a_delayed_layer_with_a_pole_of_zero_stays(rng: np.random.Generator) -> None:
    layer = layer_of("lru-delayed", rng)
    system = layer.system.replace(poles=np.concatenate([[0.0], layer.system.poles[1:]]))
    there = layer.with_system(system)
    assert (np.abs(there.system.poles) > 0).all()  # the LRU cannot store a pole of 0; a smaller one stands for it
    with pytest.raises(InputError, match="pole of 0"):
        moved(system, 0, LAYER_FORMATS["lru-dense"])


@pytest.mark.parametrize("spelling", ["nested", "dotted", "joined", "keystr", "boxed"])
@pytest.mark.parametrize(
    ("source", "form"), [("s5", "lru"), ("lru", "s5"), ("s4d-jax", "s4d-v4"), ("s4d-minimal", "s4d-jax")]
)
def test_a_whole_file_in_another_form(
    source: str, form: str, spelling: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Every array lies beside those that it replaces, spelled as they are; everything else stays."""
    tree: dict[str, Any] = {"head": {"kernel": rng.standard_normal((2, 2))}}
    options: dict[str, Any] = {}
    for i in range(2):
        raw, options = SOURCES[source](rng, np.float64)
        for key, value in raw.items():
            parts = ["layers", str(i), "seq", *key.split(".")]
            if spelling in ("nested", "boxed"):
                node = tree
                for part in parts[:-1] if spelling == "nested" else parts:
                    node = node.setdefault(part, {})
                node[parts[-1] if spelling == "nested" else "value"] = value
            else:
                joint = {"dotted": ".", "joined": "/", "keystr": ""}[spelling]
                tree[joint.join(f"['{part}']" if spelling == "keystr" else part for part in parts)] = value
    before = ssmreduce.Model(tree=tree, options=options, format="msgpack")
    path = before.in_form(form).save(tmp_path / "net.msgpack")
    after = ssmreduce.load(path)
    assert [layer.name for layer in after.layers] == [layer.name for layer in before.layers]
    assert all(layer.form == form for layer in after.layers)
    u = rng.standard_normal((40, before.layers[0].n_channels))
    for one, two in zip(before.layers, after.layers, strict=True):
        assert relative(answer(two, u), answer(one, u)) < tol(40, cond=10.0)
    assert np.array_equal(after.tree["head"]["kernel"], tree["head"]["kernel"])
    only = {".".join(joints(path)[3:]) for path, _ in leaves(after.tree) if joints(path)[0] == "layers"}
    assert only == {*after.layers[0].to_params()}


def test_the_command_line_converts(tmp_path: Path, rng: np.random.Generator) -> None:
    raw, _ = SOURCES["s5"](rng, np.float32)
    np.savez(tmp_path / "net.npz", **{f"seq/{key}": value for key, value in raw.items()})
    command = ["convert", str(tmp_path / "net.npz"), "--conj-sym", "-q", "-o"]
    assert main([*command, str(tmp_path / "lru.safetensors"), "--form", "lru"]) == 0
    assert ssmreduce.load(tmp_path / "lru.safetensors").layers[0].form == "lru"
    assert main([*command, str(tmp_path / "x.npz"), "--form", "s4d-v4"]) == 2
    assert not (tmp_path / "x.npz").exists()
