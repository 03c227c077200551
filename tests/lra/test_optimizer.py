"""Groups of parameters and learning-rate curves."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.errors import ConfigError
from lra.optimizer import label_leaves, optimizer, schedule

pytestmark = pytest.mark.jax

LEAVES = ("B", "C", "C1", "C2", "D", "Lambda_re", "Lambda_im", "log_step", "scale", "bias", "kernel")


@pytest.mark.parametrize(
    ("opt_config", "slow", "slow_decay"),
    [
        ("standard", {"B", "Lambda_re", "Lambda_im", "log_step"}, set()),
        ("BandCdecay", {"Lambda_re", "Lambda_im", "log_step"}, {"B"}),
        ("BfastandCdecay", {"Lambda_re", "Lambda_im", "log_step"}, set()),
        ("noBCdecay", {"B", "C", "C1", "C2", "D", "Lambda_re", "Lambda_im", "log_step"}, set()),
    ],
)
@pytest.mark.parametrize("dt_global", [False, True])
def test_groups(opt_config, slow, slow_decay, dt_global):
    labels = label_leaves({"a": dict.fromkeys(LEAVES, 0)}, opt_config, dt_global)["a"]
    expected = {name: "ssm" if name in slow else "ssm_decay" if name in slow_decay else "regular" for name in LEAVES}
    if dt_global:
        expected["log_step"] = "regular"
    assert labels == expected


@pytest.mark.parametrize("opt_config", ["standard", "BandCdecay", "BfastandCdecay", "noBCdecay"])
def test_decay_alone(opt_config):
    """With zero gradients a step only decays: by rate times decay in the groups that have one."""
    params = {name: jnp.ones(2) for name in LEAVES}
    tx = optimizer(1e-3, 4e-3, 0.5, opt_config)
    updates, _ = jax.jit(lambda p: tx.update(jax.tree.map(jnp.zeros_like, p), tx.init(p), p))(params)
    wanted = {"ssm": 0.0, "ssm_decay": -1e-3 * 0.5, "regular": -4e-3 * 0.5}
    for name, label in label_leaves(params, opt_config, False).items():
        np.testing.assert_allclose(updates[name], wanted[label], rtol=1e-6)


def test_unknown_group_is_an_error():
    with pytest.raises(ConfigError, match="BandCdecay"):
        label_leaves({}, "fast", False)


def test_groups_of_s4():
    kernel = dict.fromkeys(("inv_dt", "A_real", "A_imag", "B", "C"), 0)
    params = {
        "encoder": {
            "encoder": {"kernel": 0, "bias": 0},
            "layers_0": {
                "seq": {"D": 0, "kernel": kernel},
                "norm": {"scale": 0},
                "output_linear": {"kernel": 0, "bias": 0},
            },
            "norm": {"scale": 0, "bias": 0},
        },
        "decoder": {"bias": 0},
    }
    labels = label_leaves(params, "s4", dt_global=True)
    assert labels["encoder"]["encoder"] == {"kernel": "regular", "bias": "regular"}
    assert labels["decoder"] == {"bias": "regular"}
    assert labels["encoder"]["norm"] == {"scale": "plain", "bias": "plain"}
    layer = labels["encoder"]["layers_0"]
    assert layer["output_linear"] == {"kernel": "regular", "bias": "plain"}
    assert layer["norm"] == {"scale": "plain"}
    assert layer["seq"]["D"] == "regular"
    states = {"A_real": "ssm", "A_imag": "ssm", "B": "ssm"}
    assert layer["seq"]["kernel"] == {**states, "inv_dt": "plain", "C": "regular"}
    slow = label_leaves(params, "s4_slow_C", dt_global=False)["encoder"]["layers_0"]["seq"]["kernel"]
    assert slow == {**states, "inv_dt": "ssm", "C": "ssm_decay"}


def curve(**options):
    rate = schedule(2.0, steps_per_epoch=10, epochs=5, **options)
    return np.asarray(jax.vmap(rate)(jnp.arange(50)) * jnp.ones(50))


def test_warm_up_then_half_a_cosine():
    rates = curve(warmup_epochs=1)
    np.testing.assert_allclose(rates[:10], 2.0 * np.arange(1, 11) / 10, rtol=1e-6)
    np.testing.assert_allclose(rates[10:], 1 + np.cos(np.pi * np.arange(40) / 40), atol=1e-6)
    assert rates.argmax() == 9
    assert rates[-1] > 0


def test_reference_schedule_has_its_two_quirks():
    rates = curve(warmup_epochs=1, reference=True)
    assert rates[0] == 2.0  # the first step runs at the full rate
    np.testing.assert_allclose(rates[1:11], 2.0 * np.arange(1, 11) / 10, rtol=1e-6)  # then one step late
    k = np.arange(10, 49)  # the cosine counts from the start and ends early
    np.testing.assert_allclose(rates[11:], 1 + np.cos(np.pi * np.minimum(k, 40) / 40), atol=1e-6)
    np.testing.assert_allclose(rates[41:], 0, atol=1e-6)


def test_a_curve_counted_in_steps_is_cut_off_by_the_end_of_training_or_stays_at_zero():
    long, short = curve(total_steps=80, warmup_steps=5), curve(total_steps=20, warmup_steps=5)
    np.testing.assert_allclose(long[:5], 2.0 * np.arange(1, 6) / 5, rtol=1e-6)
    np.testing.assert_allclose(long[5:], 1 + np.cos(np.pi * np.arange(45) / 75), atol=1e-6)
    assert long[-1] > 0.5
    np.testing.assert_allclose(short[5:20], 1 + np.cos(np.pi * np.arange(15) / 15), atol=1e-6)
    np.testing.assert_array_equal(short[20:], 0)


def test_without_warm_up_and_without_cosine():
    np.testing.assert_array_equal(curve(warmup_epochs=0, cosine=False), 2.0)
    assert curve(warmup_epochs=0)[0] == 2.0
    assert curve(warmup_epochs=0.25)[2] == 2.0


def test_every_rate_is_finite_under_jit():
    rate = jax.jit(schedule(1.0, 3, 2, 0.5))
    assert all(np.isfinite(rate(step)) for step in range(10))
