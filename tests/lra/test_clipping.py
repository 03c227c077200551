"""Models with unstable poles: refused with the way on, or clipped as their code would, with what that did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ssmreduce
from lra.__main__ import main
from lra.clipping import load_stable
from lra.evaluate import evaluate
from ssmreduce.layers.families.family import CLIP

DIGITS = ssmreduce.shipped_checkpoint("digits_s5")


@pytest.fixture(scope="module")
def unstable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model of digits with one pole moved a little to the right of the axis."""
    model = ssmreduce.load(DIGITS)
    layer = model.layers[1]
    Lambda = np.array(layer.Lambda)
    Lambda[3] = 0.01 + 1j * Lambda[3].imag
    path = tmp_path_factory.mktemp("unstable") / "model.safetensors"
    ssmreduce.save(model.replace_layers([model.layers[0], layer.replace(Lambda=Lambda)]), path)
    assert (ssmreduce.load(path).layers[1].margin <= 0).sum() == 1
    return path


@pytest.mark.parametrize("words", [[], ["--method", "balanced"]])
def test_it_is_refused_with_the_way_on(unstable: Path, tmp_path: Path, capsys: Any, words: list[str]) -> None:
    assert main(["reduce", str(unstable), "--ratio", "0.5", "-o", str(tmp_path / "x.safetensors"), *words]) != 0
    told = capsys.readouterr().err
    assert "1 of layer 2" in told
    assert "--clip-eigs" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--polish", "0", "--examples", "60"], ["--method", "balanced"]])
def test_clipped_it_is_reduced_and_stays_stable(unstable: Path, tmp_path: Path, capsys: Any, words: list[str]) -> None:
    path = tmp_path / "x.safetensors"
    assert main(["reduce", str(unstable), "--ratio", "0.25", "--clip-eigs", "--quiet", "-o", str(path), *words]) == 0
    small, record = ssmreduce.load(path), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert all((layer.margin > 0).all() for layer in small.layers)
    assert all(layer.effective_Lambda.real.max() <= CLIP for layer in small.layers)
    assert evaluate(path)["accuracy"] > 0.9
    if "balanced" in words:
        return
    told = record["training"]["reduction"]["data"]["clipped"]
    assert (told["poles"], told["examples"]) == (1, 200)
    assert 0 < told["divergence"] < 1e-2
    assert "1 unstable poles were clipped" in capsys.readouterr().out


def test_a_stable_model_is_not_touched() -> None:
    model = load_stable(DIGITS, clip_eigs=True)
    assert not model.options.get("clip_eigs", False)
    for layer, same in zip(model.layers, ssmreduce.load(DIGITS).layers, strict=True):
        np.testing.assert_array_equal(layer.poles, same.poles)


def test_a_sweep_is_refused_with_the_way_on_or_clipped(unstable: Path, tmp_path: Path, capsys: Any) -> None:
    words = [
        "sweep",
        str(unstable),
        "--ratios",
        "0,0.25",
        "--methods",
        "balanced",
        "--examples",
        "60",
        "--quiet",
        "--jobs",
        "1",
    ]
    assert main([*words, "-o", str(tmp_path / "refused")]) != 0
    assert "--clip-eigs" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "swept"), "--clip-eigs"]) == 0
    rows = json.loads((tmp_path / "swept" / "sweep.json").read_text(encoding="utf-8"))["rows"]
    assert [row["ratio"] for row in rows] == [0.0, 0.25]
    assert all(row["accuracy"] > 0.9 and np.isfinite(row["error_upper"]) for row in rows)
