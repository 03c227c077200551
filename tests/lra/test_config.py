"""Configs: unknown keys and impossible values are errors, files load, overrides parse."""

from __future__ import annotations

import dataclasses
import importlib
import json

import pytest

from lra.config import CHOICES, MODELS, Config, config_names, load_config, parse_override
from lra.errors import ConfigError

pytestmark = pytest.mark.jax


def test_unknown_keys_are_errors():
    with pytest.raises(ConfigError, match="learning_rate"):
        Config.from_dict({"task": "digits", "learning_rate": 1.0})
    with pytest.raises(ConfigError, match="epoch'"):
        load_config("digits", {"epoch": 3})
    with pytest.raises(ConfigError, match="task"):
        Config.from_dict({})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("lr", "high"),
        ("conj_sym", 1),
        ("dropout", 1.0),
        ("dt_min", 0.0),
        ("dt_min", 1.0),
        ("warmup_epochs", 100),
        ("ssm_size", 7),
        ("batch_size", -1),
        ("data", 3),
        ("task_options", "L=8"),
        ("total_steps", 0),
        ("warmup_steps", -1),
        ("model", "s6"),
        ("activation", "relu"),
        ("scan", "parallel"),
        ("blocks", 6),  # 256 states
        ("blocks", 256),  # blocks of one state cannot be halved
    ],
)
def test_impossible_values_are_errors(key, value):
    with pytest.raises(ConfigError):
        Config.from_dict({"task": "digits", key: value})


def test_copies_of_s4d_divide_the_channels():
    with pytest.raises(ConfigError, match="n_ssm 3 does not divide the 128"):
        Config(task="digits", model="s4d", n_ssm=3)
    assert Config(task="digits", model="s4d", n_ssm=2, blocks=7).n_ssm == 2


def test_the_choices_are_those_of_the_models():
    from lra.models import OWN_OPTIONS, block, precision, s4d, s5, scan

    modes = importlib.import_module("lra.models.classifier").MODES  # lra.models.classifier is also a function
    found = {"C_init": s5.C_INITS, "discretization": s5.DISCRETIZATIONS, "activation": block.ACTIVATIONS}
    found |= {"mode": modes, "A_init": s4d.INITS, "dt_transform": s4d.DT_TRANSFORMS, "scan": scan.IMPLEMENTATIONS}
    found |= {"precision": precision.PRECISIONS}
    assert found == CHOICES
    assert tuple(OWN_OPTIONS) == MODELS


def test_configs_are_frozen_and_come_back_from_dicts():
    config = Config(task="digits", lr=1)
    assert config.lr == 1.0
    assert isinstance(config.lr, float)
    assert Config.from_dict(config.to_dict()) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.lr = 2.0


@pytest.mark.parametrize("name", config_names())
def test_every_file_says_what_it_is_and_loads(name):
    config = load_config(name)
    assert isinstance(config, Config)
    doc = importlib.import_module(f"lra.configs.{name}").__doc__
    assert f"python -m lra train {name} --workdir" in doc
    for word in ("Paper", "Command", "Expect"):
        assert f"\n{word} " in doc, f"lra/configs/{name}.py does not say {word}"


def test_no_such_config():
    with pytest.raises(ConfigError, match="digits"):
        load_config("cifar1000")


def test_overrides_parse():
    assert parse_override("lr=1e-3") == ("lr", 1e-3)
    assert parse_override("bidirectional=True") == ("bidirectional", True)
    assert parse_override("C_init=lecun_normal") == ("C_init", "lecun_normal")
    with pytest.raises(ConfigError, match="key=value"):
        parse_override("lr")


def test_options_of_the_task_are_stored_as_json_gives_them_back():
    config = Config(task="speech35", task_options={"words": ("yes", "no")})
    assert config.task_options == {"words": ["yes", "no"]}
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert parse_override("task_options={'L': 128}") == ("task_options", {"L": 128})
    with pytest.raises(ConfigError, match="JSON"):
        Config(task="text", task_options={"L": 1j})


def test_stored_states():
    assert Config(task="digits", ssm_size=16, blocks=1).P == 8
    assert Config(task="digits", ssm_size=16, blocks=1, conj_sym=False).P == 16
