"""A model of S4 layers, reduced with networks that run what is written of them, and with one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import s4_params, s4d_params
from toy_network import ToyNetwork

import ssmreduce
from ssmreduce.layers.params import layer_from_params
from theory.errors import DimensionError, InputError

FAST = ssmreduce.Recipe(observability=("exact",), polish=0, together=0)
SMALL = {"count": 8, "L": 12}


class Module(ToyNetwork):
    """Runs stored arrays as S4's code does: the low-rank term and the length that a file lacks are the module's own."""

    def run(self, parts: ssmreduce.Parts, rows: np.ndarray, record: Sequence[int] = ()) -> ssmreduce.Pass:
        layers = tuple(map(self._as_s4, parts.layers, self.parts.layers))
        return super().run(replace(parts, layers=layers), rows, record)

    def _as_s4(self, layer: ssmreduce.SSMLayer, own: ssmreduce.SSMLayer) -> ssmreduce.SSMLayer:
        return layer_from_params({**own.to_params(), **layer.to_params()}, dt_transform="exp")


def model_of(path: Path, *raws: dict[str, Any]) -> ssmreduce.Model:
    np.savez(path, **{f"layers.{i}.layer.{key}": value for i, raw in enumerate(raws) for key, value in raw.items()})
    return ssmreduce.load(path, dt_transform="exp")


@pytest.fixture
def model(tmp_path: Path, rng: np.random.Generator) -> ssmreduce.Model:
    return model_of(tmp_path / "s4.npz", s4_params(rng), s4_params(rng))


@pytest.mark.parametrize("choice", [{"recipe": FAST}, {"method": "balanced"}, {"method": "last"}], ids=str)
def test_layers_that_run_by_their_systems_are_reduced(
    choice: dict[str, Any], model: ssmreduce.Model, tmp_path: Path
) -> None:
    network = ToyNetwork(model.layers, **SMALL)
    smaller = ssmreduce.reduce_model(model, budget=model.n_states // 2, network=network, **choice)
    again = ssmreduce.load(smaller.save(tmp_path / "smaller.npz"))
    assert [layer.order for layer in again.layers] == smaller.training["reduction"]["orders"]
    rows = np.arange(network.count)
    given, written = (network.run(replace(network.parts, layers=one.layers), rows) for one in (smaller, again))
    np.testing.assert_array_equal(written.logits, given.logits)


@pytest.mark.parametrize("choice", [{"recipe": FAST}, {"method": "balanced"}], ids=str)
def test_a_module_that_keeps_the_low_rank_term_is_refused(choice: dict[str, Any], model: ssmreduce.Model) -> None:
    """Of other sizes, as torch refuses it; the cause stays."""
    with pytest.raises(InputError, match=r"came as S4, .*fails \(DimensionError: .*layers\[i\]\.system") as caught:
        ssmreduce.reduce_model(model, ratio=0.5, network=Module(model.layers, **SMALL), **choice)
    assert isinstance(caught.value.__cause__, DimensionError)


def test_so_is_one_in_which_it_fits_by_chance(tmp_path: Path) -> None:
    """No real pole: as many states as S4 stores, and another system without a word."""
    rng = np.random.default_rng(1)
    raw = s4_params(rng, copies=1)
    raw["kernel.A_imag"] += 10.0
    raw["kernel.P"] = rng.standard_normal(raw["kernel.P"].shape)
    model = model_of(tmp_path / "s4.npz", raw)
    assert model.layers[0].order == raw["kernel.C"].shape[2]
    with pytest.raises(InputError, match="gives other logits"):
        ssmreduce.reduce_model(model, ratio=0.5, network=Module(model.layers, **SMALL), recipe=FAST)


def test_layers_that_stay_in_their_form_cost_no_pass(rng: np.random.Generator, tmp_path: Path) -> None:
    raw = s4d_params(rng, "s4d-minimal")
    np.savez(tmp_path / "s4d.npz", **{f"layers.0.{key}": value for key, value in raw.items()})
    model = ssmreduce.load(tmp_path / "s4d.npz")
    network = ToyNetwork(model.layers, **SMALL)
    ssmreduce.reduce_model(model, orders=2, method="balanced", network=network)
    assert network.runs == 0
