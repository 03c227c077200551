"""Mutated checkpoints: an error of ours, or the very arrays that were saved; never another exception, never code run.

``SSMREDUCE_MUTANTS`` is the number of mutants of each kind (default 60), ``SSMREDUCE_MUTANT_SEED`` the first seed.
"""

from __future__ import annotations

import json
import os
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_cases import small
from checkpoint_mutants import STRUCTURE, bombs, bytes_of, json_of, values_of
from layer_cases import S4D_OPTIONS, s4d_params

from ssmreduce.files.description import side_of
from ssmreduce.files.formats import FILE_FORMATS
from ssmreduce.files.loading import load
from ssmreduce.files.saving import save
from ssmreduce.files.trees import flat
from ssmreduce.inspection import inspect_model
from theory.errors import SSMReduceError

COUNT = int(os.environ.get("SSMREDUCE_MUTANTS", "60"))
SEED = int(os.environ.get("SSMREDUCE_MUTANT_SEED", "0"))

CPU_SECONDS = 10.0
"""Processor time, not wall time, that no mutant of a few kB may take: they take milliseconds."""


def outcome(path: Path, **options: Any) -> dict[str, np.ndarray] | None:
    """The arrays that were loaded, also looked at and written again; ``None`` for an error of ours."""
    started = time.process_time()
    try:
        model = load(path, **options)
        inspect_model(model).to_json()
        save(model, path.with_name("again.msgpack"))
        return flat(model.tree)
    except SSMReduceError:
        return None
    finally:
        assert time.process_time() - started < CPU_SECONDS


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(
        (a.dtype, a.shape, a.tobytes()) == (second[key].dtype, second[key].shape, second[key].tobytes())
        for key, a in first.items()
    )


@pytest.mark.filterwarnings("ignore")  # arithmetic of absurd numbers; and zipfile's word on members of one name
@pytest.mark.parametrize("kind", ["bytes", "structure"])
@pytest.mark.parametrize("suffix", list(STRUCTURE))
def test_mutated_arrays(suffix: str, kind: str, tmp_path: Path) -> None:
    """With the JSON half every change is seen; of a file from elsewhere, without one, every error is ours."""
    mark = tmp_path / "executed"
    whole = small(np.random.default_rng(0)).save(tmp_path / f"whole{suffix}")
    data, before = whole.read_bytes(), outcome(whole)
    half = (
        whole.with_suffix(".json") if suffix == ".safetensors" else whole.with_name(f"{whole.name}.json")
    ).read_bytes()
    assert before is not None
    pickles = bombs(mark)
    for seed in range(SEED, SEED + COUNT):
        draw = random.Random(seed)
        mutant = (bytes_of if kind == "bytes" else STRUCTURE[suffix])(data, draw, draw.choice(pickles))
        path = tmp_path / f"mutant{suffix}"
        side = side_of(path)
        path.write_bytes(mutant)
        side.unlink(missing_ok=True)
        outcome(path, conj_sym=True)
        side.write_bytes(half)
        found = outcome(path)
        assert found is None or same(found, before), f"seed {seed}: other arrays, no error"
        assert not mark.exists(), f"seed {seed}: code was run"


@pytest.mark.filterwarnings("ignore")
def test_mutated_json_halves(tmp_path: Path) -> None:
    whole = small(np.random.default_rng(0), task="digits", accuracy=0.9).save(tmp_path / "whole")
    side, before = whole.with_suffix(".json"), outcome(whole)
    text = json.loads(side.read_text())
    assert before is not None
    for seed in range(SEED, SEED + COUNT):
        draw = random.Random(seed)
        side.write_bytes(json_of(text, draw).encode("utf-8", "surrogatepass"))
        found = outcome(whole)
        assert found is None or same(found, before), f"seed {seed}"
        side.write_bytes(bytes_of(json.dumps(text).encode(), draw, b"\x80\x04."))
        found = outcome(whole)
        assert found is None or same(found, before), f"seed {seed}"


TREES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "s5": (flat(small(np.random.default_rng(1)).tree), {"conj_sym": True, "discretization": "zoh"}),
    **{
        form: (
            {
                f"params/l{i}/{key.replace('.', '/')}": value
                for i in range(2)
                for key, value in s4d_params(np.random.default_rng(i), form).items()
            },
            options,
        )
        for form, options in S4D_OPTIONS.items()
    },
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(TREES))
def test_odd_arrays(name: str, tmp_path: Path) -> None:
    """Whole files whose arrays make no layers: other shapes, types, values, names; or copies of the network."""
    arrays, options = TREES[name]
    for seed in range(SEED, SEED + COUNT):
        draw = random.Random(seed)
        form = draw.choice(list(FILE_FORMATS.values()))
        path = tmp_path / "odd"
        with suppress(SSMReduceError):
            path.write_bytes(form.write(values_of(arrays, draw), {}))
            outcome(path, **options)


def outcome_of_keeping(path: Path, **options: Any) -> None:
    """Every second state of what is loaded, of its copies alike, written and read again."""

    def cut(layers: Any) -> list[Any]:
        return [layer.keep(np.arange(layer.order)[::2]) for layer in layers]

    model = load(path, **options)
    copies = {prefix: cut(layers) for prefix, layers in model.copies.items()}
    smaller = model.replace_layers(cut(model.layers), copies)
    again = load(smaller.save(path.with_name("again.msgpack")), prefix=model.prefix)
    assert [layer.order for layer in again.layers] == [-(-layer.order // 2) for layer in model.layers]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(TREES))
def test_odd_arrays_can_be_cut(name: str, tmp_path: Path) -> None:
    arrays, options = TREES[name]
    for seed in range(SEED, SEED + COUNT):
        draw = random.Random(seed)
        form = draw.choice(list(FILE_FORMATS.values()))
        path = tmp_path / "odd"
        with suppress(SSMReduceError):
            path.write_bytes(form.write(values_of(arrays, draw), {}))
            outcome_of_keeping(path, **options)
