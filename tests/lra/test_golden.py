"""Our S5 equals the reference S5 on its golden numbers, to float32 accuracy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

from lra.models import s5_model
from lra.models.s5 import S5SSM, discretize
from lra.optimizer import optimizer

pytestmark = pytest.mark.jax

TOLERANCE = 2e-6


def assert_trees_close(actual: Any, expected: Any, atol: float) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, leaf), wanted in zip(jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected)):
        np.testing.assert_allclose(leaf, wanted, rtol=0, atol=atol, err_msg=jax.tree_util.keystr(path))


def test_parameter_tree_is_the_reference_tree(golden):
    model = s5_model(**golden.options, blocks=2)
    variables = jax.eval_shape(model.init, jax.random.key(0), golden["x"])
    shapes = jax.tree.map(lambda leaf: leaf.shape, dict(variables))
    assert shapes == jax.tree.map(np.shape, golden.variables)


@pytest.mark.parametrize("scan", ["sequential", "associative", "chunked"])
def test_outputs(golden, scan):
    model = s5_model(**golden.options, scan=scan, scan_chunk=5)
    np.testing.assert_allclose(
        jax.jit(model.apply)(golden.variables, golden["x"]), golden["eval_logprobs"], rtol=0, atol=TOLERANCE
    )


def test_outputs_with_step_rescale(golden):
    model = s5_model(**golden.options, step_rescale=2.0)
    np.testing.assert_allclose(
        jax.jit(model.apply)(golden.variables, golden["x"]),
        golden["eval_logprobs_step_rescale2"],
        rtol=0,
        atol=TOLERANCE,
    )


def test_one_training_step(golden):
    model = s5_model(**golden.options)
    start = golden.variables

    def loss_fn(params: Any) -> Any:
        log_probs, updated = model.apply(
            {**start, "params": params}, golden["x"], training=True, mutable=["batch_stats"]
        )
        return -jnp.take_along_axis(log_probs, golden["y"][:, None], axis=1).mean(), updated["batch_stats"]

    (loss, batch_stats), grads = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))(start["params"])
    tx = optimizer(1e-3, 4e-3, 0.05, dt_global="dtglobal" in golden.name)
    updates, _ = jax.jit(lambda g, p: tx.update(g, tx.init(p), p))(grads, start["params"])

    assert loss == pytest.approx(float(golden["train_loss"]), abs=TOLERANCE)
    assert_trees_close(batch_stats, golden.tree("after_step/batch_stats/"), TOLERANCE)
    assert_trees_close(optax.apply_updates(start["params"], updates), golden.tree("after_step/params/"), TOLERANCE)


def test_states_cut_by_a_mask_equal_the_reference_mask(golden):
    """The reference prunes by zeroing states; the same states removed for good give the same outputs."""
    params = golden.tree("params/")
    for i, mask in enumerate(golden["prune30_mask"]):
        seq = params["encoder"][f"layers_{i}"]["seq"]
        for name, leaf in seq.items():
            if name in ("Lambda_re", "Lambda_im", "B", "log_step"):
                seq[name] = leaf[mask]
            elif name != "D":
                seq[name] = leaf[:, np.tile(mask, leaf.shape[1] // len(mask))]
    sizes = tuple(int(mask.sum()) for mask in golden["prune30_mask"])
    assert len(set(sizes)) > 1, "the case should have layers of different sizes"
    model = s5_model(**{**golden.options, "P": sizes})
    log_probs = jax.jit(model.apply)({**golden.variables, "params": params}, golden["x"])
    np.testing.assert_allclose(log_probs, golden["prune30_eval_logprobs"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
class TestOperator:
    def test_discretization(self, golden_file, discretization):
        case = golden_file("s5_operator")
        Lambda_bar, B_bar = discretize(
            jnp.asarray(case["Lambda"], jnp.complex64),
            jnp.asarray(case["B"], jnp.complex64),
            jnp.asarray(case["step"], jnp.float32),
            discretization,
        )
        np.testing.assert_allclose(Lambda_bar, case[f"{discretization}_Lambda_bar"], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(B_bar, case[f"{discretization}_B_bar"], rtol=0, atol=TOLERANCE)

    @pytest.mark.parametrize("bidirectional", [False, True])
    @pytest.mark.parametrize("conj_sym", [False, True])
    def test_outputs(self, golden_file, discretization, bidirectional, conj_sym):
        case = golden_file("s5_operator")

        def pair(z: np.ndarray) -> np.ndarray:
            return np.stack([z.real, z.imag], axis=-1).astype(np.float32)

        P, H = case["B"].shape
        params = {
            "Lambda_re": case["Lambda"].real.astype(np.float32),
            "Lambda_im": case["Lambda"].imag.astype(np.float32),
            "B": pair(case["B"]),
            "C": pair(case["C2"] if bidirectional else case["C2"][:, :P]),
            "D": np.zeros(H, np.float32),
            "log_step": np.log(case["step"])[:, None].astype(np.float32),
        }
        layer = S5SSM(
            H=H,
            P=P,
            C_init="complex_normal",
            discretization=discretization,
            conj_sym=conj_sym,
            bidirectional=bidirectional,
        )
        y = jax.jit(layer.apply)({"params": params}, case["u"].astype(np.float32))
        expected = case[f"{discretization}_bi{int(bidirectional)}_conj{int(conj_sym)}_y"]
        np.testing.assert_allclose(y, expected, rtol=0, atol=TOLERANCE)


def test_parameters_of_a_reference_train_state_run(golden_folder):
    """A checkpoint as a user of the reference writes it: its tree goes straight into our model."""
    state = serialization.msgpack_restore((golden_folder / "s5_tiny_trainstate.msgpack").read_bytes())
    params = state["params"]
    seq = params["encoder"]["layers_0"]["seq"]
    model = s5_model(
        d_model=seq["D"].shape[0],
        n_layers=1,
        P=seq["Lambda_re"].shape[0],
        d_input=params["encoder"]["encoder"]["kernel"].shape[0],
        n_classes=params["decoder"]["kernel"].shape[1],
        bidirectional="C2" in seq,
        activation="full_glu" if "out1" in params["encoder"]["layers_0"] else "half_glu1",
    )
    x = np.ones((2, 7, params["encoder"]["encoder"]["kernel"].shape[0]), np.float32)
    variables = {"params": params, "batch_stats": state["batch_stats"]}
    assert np.isfinite(jax.jit(model.apply)(variables, x)).all()
