"""The configs of the paper's tasks hold the numbers of the published scripts, typed here a second time, by row."""

from __future__ import annotations

import types

import jax
import numpy as np
import pytest

from lra.config import Config, config_names, load_config
from lra.step import TrainState, build_model, build_optimizer, make_train_step

pytestmark = pytest.mark.jax

S5_TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx", "speech35")
LECUN, TRUNCATED, BFAST = "lecun_normal", "trunc_standard_normal", "BfastandCdecay"
S5_TABLE = {  # rows of the S5 scripts; a single value holds for all tasks
    "n_layers": (8, 6, 6, 6, 6, 6, 6),
    "d_model": (128, 256, 128, 512, 192, 128, 96),
    "ssm_size": (16, 192, 256, 384, 256, 256, 128),
    "P": (8, 96, 128, 192, 128, 128, 64),
    "blocks": (8, 12, 16, 3, 8, 16, 16),
    "C_init": (LECUN, LECUN, TRUNCATED, LECUN, TRUNCATED, "complex_normal", LECUN),
    "activation": ("half_glu2", "half_glu2", *["half_glu1"] * 5),
    "clip_eigs": (False, False, False, True, False, False, False),
    "dt_min": (1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-4, 1e-3),
    "dt_global": (False, True, True, False, False, False, False),
    "dropout": (0, 0.1, 0, 0.1, 0.05, 0, 0.1),
    "ssm_lr": (1e-3, 1e-3, 1e-3, 1e-3, 9e-4, 6e-4, 2e-3),
    "lr": (3e-3, 4e-3, 2e-3, 4.5e-3, 4.5e-3, 1.8e-3, 8e-3),
    "batch_size": (50, 50, 32, 50, 64, 32, 16),
    "epochs": (40, 35, 20, 250, 200, 75, 40),
    "warmup_epochs": (1, 0, 1, 1, 1, 1, 1),
    "weight_decay": (0.04, 0.07, 0.05, 0.07, 0.03, 0.06, 0.04),
    "opt_config": (BFAST, "standard", "standard", BFAST, "standard", "BandCdecay", "noBCdecay"),
    "bn_momentum": (0.95, 0.95, 0.95, 0.95, 0.9, 0.9, 0.95),
    "seed": (6554595, 8825365, 5464368, 16416, 8180844, 6429262, 4062966),
    "task": S5_TASKS,
    "model": "s5",
    "batchnorm": True,
    "prenorm": True,
    "bidirectional": True,
    "discretization": "zoh",
    "conj_sym": True,
    "cosine": True,
    "dt_max": 0.1,
    "mode": "pool",
    "step_rescale": 1.0,
    "mask_padding": (False, False, False, True, True, True, True),  # the reference never masks
    "total_steps": None,
    "warmup_steps": None,
}
PARAMETERS = {  # what the reference prints as [*] Trainable Parameters
    "listops": 188_490,
    "text": 1_321_154,
    "retrieval": 772_098,
    "image": 5_133_706,
    "pathfinder": 1_113_602,
    "pathx": 694_018,
    "speech35": 283_523,
}
INPUTS = {  # channels or vocabulary, classes
    "listops": (20, 10),
    "text": (135, 2),
    "retrieval": (98, 2),
    "pathfinder": (1, 2),
    "pathx": (1, 2),
    "speech35": (1, 35),
}

S4D_TASKS = (
    "listops",
    "text",
    "retrieval",
    "image",
    "pathfinder",
    "pathx",
    "speech35",
)  # listops imdb aan cifar ... sc
S4D_TABLE = {
    "n_layers": 6,
    "d_model": (256, 256, 256, 512, 256, 256, 128),
    "prenorm": (False, True, True, False, True, True, True),
    "batchnorm": True,
    "dropout": (0, 0, 0, 0.1, 0, 0, 0),
    "ssm_size": (4, 4, 4, 64, 64, 64, 64),
    "n_ssm": (1, 1, 1, 1, 256, 256, 2),
    "ssm_lr": 0.001,
    "dt_min": (1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-4, 1e-3),
    "dt_max": 0.1,
    "batch_size": (32, 16, 64, 50, 64, 16, 16),
    "lr": (0.01, 0.01, 0.01, 0.01, 0.004, 0.001, 0.01),
    "weight_decay": 0.05,
    "epochs": (40, 32, 20, 200, 200, 50, 40),
    "total_steps": (120_000, 50_000, 50_000, 180_000, 500_000, 500_000, 200_000),
    "warmup_steps": (12_000, 5_000, 5_000, 18_000, 50_000, 50_000, 1_000),
    "mode": "pool",
    "seed": (3333, 3333, 3333, 2222, 3333, 3333, 2222),
    "task": S4D_TASKS,
    "model": "s4d",
    "bidirectional": True,
    "A_init": "lin",
    "discretization": "zoh",
    "dt_transform": "softplus",
    "bn_momentum": 0.9,  # PyTorch's momentum of 0.1
    # the rates of (A, B), dt and C: small or global
    "opt_config": ("s4", "s4", "s4", "s4_slow_C", "s4_slow_C", "s4_slow_C", "s4"),
    "dt_global": (True, True, True, False, False, False, False),
}


def column(table, i):
    return {key: row[i] if isinstance(row, tuple) else row for key, row in table.items()}


@pytest.mark.parametrize("i", range(7))
@pytest.mark.parametrize(("table", "suffix"), [(S5_TABLE, ""), (S4D_TABLE, "_s4d")], ids=["s5", "s4d"])
def test_numbers_of_the_tables(table, suffix, i):
    expected = column(table, i)
    config = load_config(expected["task"] + suffix)
    held = {**config.flat(), "P": config.P}
    assert {key: held[key] for key in expected} == expected


def mock_task(config: Config) -> types.SimpleNamespace:
    """What a model asks of a task, without data."""
    d_input, n_classes = INPUTS.get(config.task, (1, 10))
    tokens = config.task in ("listops", "text", "retrieval")
    facts = {"d_input": d_input, "n_classes": n_classes, "tokens": tokens, "padded": tokens}
    return types.SimpleNamespace(**facts, retrieval=config.task == "retrieval")


def shapes(config: Config, batch: int = 2) -> tuple[dict, dict]:
    """Shapes of a batch at the config's own sizes (16 samples long), and of the model's variables."""
    task = mock_task(config)
    n = batch * (2 if task.retrieval else 1)
    x = jax.ShapeDtypeStruct((n, 16), np.int32) if task.tokens else jax.ShapeDtypeStruct((n, 16, task.d_input), "f4")
    inputs = {"x": x, "y": jax.ShapeDtypeStruct((batch,), np.int32)}
    if task.padded:
        inputs["lengths"] = jax.ShapeDtypeStruct((n,), np.int32)
    model = build_model(config, task)
    return inputs, jax.eval_shape(model.init, jax.random.key(0), x, inputs.get("lengths"))


@pytest.mark.parametrize("name", config_names())
def test_a_training_step_of_every_config_fits_together(name):
    """Traced at full width, not run: shapes, optimizer groups and the task's head fit together."""
    config = load_config(name, {"n_layers": 1})
    inputs, variables = shapes(config, batch=config.batch_size)
    tx = build_optimizer(config, 100)
    params = variables["params"]
    totals = jax.ShapeDtypeStruct((3,), "f4")
    step = jax.ShapeDtypeStruct((), np.int32)
    state = TrainState(step, params, variables.get("batch_stats", {}), jax.eval_shape(tx.init, params), totals)
    new, loss = jax.eval_shape(make_train_step(build_model(config, mock_task(config)), tx, config.seed), state, inputs)
    assert loss.shape == ()
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), new) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )


@pytest.mark.parametrize("name", S5_TASKS)
def test_models_have_as_many_parameters_as_the_reference(name):
    params = shapes(load_config(name))[1]["params"]
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == PARAMETERS[name]


@pytest.mark.parametrize("name", S4D_TASKS)
def test_s4d_kernels_have_the_shapes_of_the_table(name):
    config = load_config(f"{name}_s4d")
    params = shapes(config)[1]["params"]["encoder"]
    H, half, copies = config.d_model, config.ssm_size // 2, config.s4d.n_ssm
    kernel = {key: leaf.shape for key, leaf in params["layers_5"]["seq"]["kernel"].items()}
    assert kernel == {
        "inv_dt": (H, 1),
        "A_real": (copies, half),
        "A_imag": (copies, half),
        "B": (1, copies, half, 2),
        "C": (2, H, half, 2),
    }
    assert ("norm" in params) == config.prenorm
