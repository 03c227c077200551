"""A small model, when two are the same, and what a refusal says: for the tests of reading and of writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import s5_params

from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.loading import load
from ssmreduce.files.model import Model


def small(rng: np.random.Generator, **training: Any) -> Model:
    tree = {"params": {"encoder": {f"layers_{i}": {"seq": s5_params(rng)} for i in range(2)}}}
    return Model(
        tree=tree, options={"conj_sym": True, "discretization": "zoh", "activation": "half_glu1"}, training=training
    )


def same(first: Model, second: Model) -> bool:
    pairs = zip(first.layers, second.layers, strict=True)
    return all(
        a.to_params().keys() == b.to_params().keys()
        and all(
            np.array_equal(v, b.to_params()[k]) and v.dtype == b.to_params()[k].dtype for k, v in a.to_params().items()
        )
        for a, b in pairs
    )


def refusal(path: Path) -> str:
    """What is said of a file that is not read."""
    with pytest.raises(CheckpointError) as caught:
        load(path, conj_sym=True)
    return str(caught.value)
