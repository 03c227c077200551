"""The weights of lra/weights: what they are, and that the records beside them say so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ssmreduce
from lra.clipping import load_stable

FOLDER = Path(__file__).resolve().parents[2] / "lra" / "weights"
FILES = sorted(FOLDER.glob("*.safetensors"))


def test_there_are_weights() -> None:
    assert len(FILES) >= 6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_weights_load_and_their_records_name_the_run(path: Path) -> None:
    training = json.loads(path.with_suffix(".json").read_text())["training"]
    assert training["finished"]
    model = load_stable(path, clip_eigs=True)  # psmnist_small_s5 has a pole 5e-5 outside of the circle
    for layer in model.layers:
        poles = layer.discrete_poles if hasattr(layer, "discrete_poles") else layer.system.poles
        assert (np.abs(poles) < 1).all()


def test_the_penalty_made_the_twins_smaller() -> None:
    """By the sum of the Hankel singular values, computed here and not in JAX."""
    for name in ("smnist_small_s5", "smnist_small_s4d"):
        without, penalised = (
            sum(float(ssmreduce.hankel_singular_values(layer.system).sum()) for layer in ssmreduce.load(path).layers)
            for path in (FOLDER / f"{name}.safetensors", FOLDER / f"{name}_hankel.safetensors")
        )
        assert penalised < 0.7 * without
