"""What is written is run by the library that it came from, where that installs: its forward pass answers as simulate.

``make torch`` installs PyTorch, s5-pytorch and LRU-pytorch and runs this; discretax needs Python 3.12.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tolerance import relative

import ssmreduce
from ssmreduce.command_line.parser import main

AGREE = 1e-5
"""Of the largest output: what a forward pass in float32 may differ."""

LENGTH = 64


def library(*names: str) -> list[Any]:
    """Modules of a library, whose own deprecation warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = []
        for name in names:
            try:
                found.append(importlib.import_module(name))
            except ImportError:
                pytest.skip(f"needs {name}")
        return found


def reduced(path: Path, target: Path, order: int, *flags: str) -> ssmreduce.Model:
    """By the command line alone."""
    assert main(["reduce", str(path), *flags, "--orders", str(order), "-o", str(target), "-q", "--no-certify"]) == 0
    return ssmreduce.load(target)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("step_scale", [1.0, 2.0])
def test_s5_pytorch(bidirectional: bool, step_scale: float, tmp_path: Path, rng: np.random.Generator) -> None:
    torch, s5 = library("torch", "s5")
    torch.manual_seed(0)
    width, states, order = 6, 12, 7
    net = torch.nn.ModuleList(s5.S5(width, states, bidir=bidirectional) for _ in range(2))
    torch.save({"model": net.state_dict(), "epoch": 3}, tmp_path / "net.pth")
    u = rng.standard_normal((LENGTH, width)).astype("f4")

    def runs(modules: Any, model: ssmreduce.Model) -> None:
        for module, layer in zip(modules, model.layers, strict=True):
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                y = module(torch.from_numpy(u)[None], step_scale=step_scale)[0].numpy()
            assert relative(y, ssmreduce.simulate(layer.replace(step_rescale=step_scale).system, u)) < AGREE

    runs(net, ssmreduce.load(tmp_path / "net.pth"))
    small = reduced(tmp_path / "net.pth", tmp_path / "small.pth", order)
    again = torch.nn.ModuleList(s5.S5(width, order, bidir=bidirectional) for _ in range(2))
    again.load_state_dict(torch.load(tmp_path / "small.pth", weights_only=True)["model"])
    assert [layer.order for layer in small.layers] == [order, order]
    runs(again, small)


def test_lru_pytorch(tmp_path: Path, rng: np.random.Generator) -> None:
    torch, module = library("torch", "LRU_pytorch")
    torch.manual_seed(0)
    net = module.LRU(3, 5, 12, rmin=0.4, rmax=0.95)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    u = rng.standard_normal((LENGTH, 3)).astype("f4")
    small = reduced(tmp_path / "net.pt", tmp_path / "small.pt", 7)
    again = module.LRU(3, 5, 7)
    again.load_state_dict(torch.load(tmp_path / "small.pt", weights_only=True))
    for one, model in ((net, ssmreduce.load(tmp_path / "net.pt")), (again, small)):
        with torch.no_grad():
            y = one(torch.from_numpy(u)).numpy()
        assert relative(y, ssmreduce.simulate(model.layers[0].system, u)) < AGREE


def test_s4d_of_the_s4_codes_example(tmp_path: Path, rng: np.random.Generator) -> None:
    """Our own module with that code's names and formula, since it is no package."""
    (torch,) = library("torch")
    from torch_s4d import S4D

    torch.manual_seed(0)
    net = S4D(4, 12)
    torch.save({"model": net.state_dict()}, tmp_path / "net.pth")
    small = reduced(tmp_path / "net.pth", tmp_path / "small.pth", 7)
    again = S4D(4, 7)
    again.load_state_dict(torch.load(tmp_path / "small.pth", weights_only=True)["model"])
    u = rng.standard_normal((4, LENGTH)).astype("f4")
    for one, model in ((net, ssmreduce.load(tmp_path / "net.pth")), (again, small)):
        with torch.no_grad():
            kernel = one.kernel(LENGTH).numpy().astype(float)
            D = one.D.numpy().astype(float)
        y = np.stack([np.convolve(kernel[h], u[h])[:LENGTH] + D[h] * u[h] for h in range(4)])
        assert relative(y, ssmreduce.simulate(model.layers[0].system, u[..., None])[..., 0]) < AGREE


@pytest.mark.parametrize(
    ("module", "name", "options", "state"),
    [
        ("s5", "S5SequenceMixer", {"conj_sym": True, "clip_eigs": True, "discretization": "zoh"}, "state_dim"),
        ("lru", "LRUSequenceMixer", {}, "state_dim"),
        ("s4d", "S4DSequenceMixer", {}, "state_dim"),
        ("linoss", "LinOSSSequenceMixer", {}, "state_dim"),
    ],
)
def test_discretax(module: str, name: str, options: dict, state: str, rng: np.random.Generator) -> None:
    """Arrays of a module of Equinox, by their names in its tree; of LinOSS, which keeps states only, by selection."""
    jax, equinox, mixers = library("jax", "equinox", f"discretax.sequence_mixers.{module}")
    kind, width = getattr(mixers, name), 4
    layer_of = kind(width, jax.random.PRNGKey(0), **{state: 12})
    u = rng.standard_normal((LENGTH, width)).astype("f4")

    def arrays(tree: Any) -> dict[str, np.ndarray]:
        leaves, _ = jax.tree_util.tree_flatten_with_path(equinox.filter(tree, equinox.is_array))
        return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}

    def runs(one: Any, layer: ssmreduce.SSMLayer) -> None:
        y = np.asarray(one(jax.numpy.asarray(u), jax.random.PRNGKey(1)))
        z = ssmreduce.simulate(layer.system, u.T[..., None])[..., 0].T if layer.family.is_batch else None
        assert relative(y, ssmreduce.simulate(layer.system, u) if z is None else z) < AGREE

    layer = ssmreduce.layer_from_params(arrays(layer_of), **options)
    runs(layer_of, layer)
    small = ssmreduce.reduce(layer, 4, method="modal" if module == "linoss" else "balanced").layer
    assert small is not None
    held = small.to_params()
    paths, structure = jax.tree_util.tree_flatten_with_path(layer_of)
    keys = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    new = [jax.numpy.asarray(held[key]) if key in held else leaf for key, (_, leaf) in zip(keys, paths)]
    runs(jax.tree_util.tree_unflatten(structure, new), small)


@pytest.mark.parametrize(
    ("module", "name", "flags", "doubled"),
    [
        ("s5", "S5SequenceMixer", ["--conj-sym", "--clip-eigs", "--discretization", "zoh"], 2),
        ("lru", "LRUSequenceMixer", [], 1),
        ("s4d", "S4DSequenceMixer", [], 2),
    ],
)
def test_files_of_discretax(
    module: str, name: str, flags: list[str], doubled: int, tmp_path: Path, rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Whole modules as Equinox writes them: their numbers of states, too, are those of the smaller module."""
    import pathlib

    from ssmreduce.files import recipes

    jax, equinox, mixers = library("jax", "equinox", f"discretax.sequence_mixers.{module}")
    kind, width, order = getattr(mixers, name), 4, 4

    def network(states: int) -> Any:
        layers = [kind(width, jax.random.PRNGKey(i), state_dim=states) for i in range(2)]
        return {"layers": layers, "head": equinox.nn.Linear(width, 2, key=jax.random.PRNGKey(9)), "act": jax.nn.gelu}

    monkeypatch.chdir(tmp_path)
    model = network(12)
    equinox.tree_serialise_leaves("net.eqx", model)
    exec(recipes.EQUINOX_NAMES, {"model": model, "jax": jax, "equinox": equinox, "pathlib": pathlib})
    small = reduced(Path("net.eqx"), Path("small.eqx"), order, "--names", "names.txt", *flags)
    again = equinox.tree_deserialise_leaves("small.eqx", network(doubled * order))
    assert jax.tree_util.tree_structure(again) == jax.tree_util.tree_structure(network(doubled * order))
    u = rng.standard_normal((LENGTH, width)).astype("f4")
    for one, layer in zip(again["layers"], small.layers, strict=True):
        assert (getattr(one, "P", order), getattr(one, "state_dim", 8)) == (order, 8)
        y = np.asarray(one(jax.numpy.asarray(u), jax.random.PRNGKey(1)))
        z = ssmreduce.simulate(layer.system, u.T[..., None])[..., 0].T if layer.family.is_batch else None
        assert relative(y, ssmreduce.simulate(layer.system, u) if z is None else z) < AGREE
