"""Every option of training: a run that was stopped goes on to the bits of one that was not."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import lra.train
from lra.checkpoint import read_tensors
from lra.penalties import layer_sums
from lra.train import train_and_evaluate

pytestmark = pytest.mark.jax

OPTIONS = {
    "penalties": {"hankel_penalty": 1e-3, "modal_penalty": 1e-3, "penalty_every": 2},
}


def bits(workdir):
    return {
        name: {key: value.tobytes() for key, value in read_tensors(workdir / f"{name}.safetensors")[0].items()}
        for name in ("best", "last")
    }


def records(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def train_with_a_stop(config, workdir, monkeypatch, after):
    """Train, be interrupted in the step after `after` steps, go on."""
    make = lra.train.make_train_step

    def failing(*arguments):
        step = make(*arguments)

        def run(state, batch):
            if int(state.step) == after:
                raise KeyboardInterrupt
            return step(state, batch)

        return run

    monkeypatch.setattr(lra.train, "make_train_step", failing)
    with pytest.raises(KeyboardInterrupt):
        train_and_evaluate(config, workdir, quiet=True)
    monkeypatch.setattr(lra.train, "make_train_step", make)
    return train_and_evaluate(config, workdir, quiet=True)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_stopped_run_goes_on_to_the_same_bits(smoke, tmp_path, monkeypatch, name):
    config = smoke.replace(**OPTIONS[name])
    whole = train_and_evaluate(config, tmp_path / "whole", quiet=True)
    resumed = train_with_a_stop(config, tmp_path / "stopped", monkeypatch, after=5)
    assert bits(tmp_path / "stopped") == bits(tmp_path / "whole")
    assert records(tmp_path / "stopped") == records(tmp_path / "whole")
    assert resumed.test == whole.test


def test_penalties_are_logged_and_fall(smoke, tmp_path):
    config = smoke.replace(hankel_penalty=1.0, modal_penalty=1.0, lr=0.0, ssm_lr=0.05, weight_decay=0.0)
    train_and_evaluate(config, tmp_path, quiet=True)
    lines = [line for line in records(tmp_path) if "train_loss" in line]
    for name in ("hankel_sum", "modal_sum"):
        values = [line[name] for line in lines]
        assert values[-1] < values[0]
    assert lines[-1]["train_loss"] < 3  # the loss without the penalty, near log 10
    from lra.checkpoint import nest

    params = nest(read_tensors(tmp_path / "last.safetensors")[0])["params"]
    found = jax.jit(layer_sums(config))(params)
    np.testing.assert_array_equal(found["hankel_sum"], np.float32(lines[-1]["hankel_sum"]))


def test_a_run_from_before_an_option_is_resumed(smoke, tmp_path):
    outcome = train_and_evaluate(smoke, tmp_path, quiet=True)
    old = json.loads((tmp_path / "config.json").read_text())
    del old["hankel_penalty"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert train_and_evaluate(smoke, tmp_path, quiet=True) == outcome
