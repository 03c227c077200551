"""Configs: unknown keys and impossible values are errors, files load, overrides parse."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path

import pytest

from lra.config import OPTIONS, Config, config_names, load_config, parse_override
from lra.errors import ConfigError
from lra.options import S4DOptions, S5Options

pytestmark = pytest.mark.jax

ROOT = Path(__file__).parents[2]


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
        Config(task="digits", model="s4d", s4d=S4DOptions(n_ssm=3))
    other = Config(task="digits", model="s4d", s4d=S4DOptions(n_ssm=2), s5=S5Options(blocks=7))
    assert other.own.n_ssm == 2  # the blocks are S5's


def test_the_choices_are_those_of_the_models():
    from lra.models import OWN_OPTIONS, block, precision, s4d, s5, scan

    modes = importlib.import_module("lra.models.classifier").MODES  # lra.models.classifier is also a function
    held = {"C_init": s5.C_INITS, "discretization": s5.DISCRETIZATIONS, "activation": block.ACTIVATIONS}
    held |= {"mode": modes, "A_init": s4d.INITS, "dt_transform": s4d.DT_TRANSFORMS, "scan": scan.IMPLEMENTATIONS}
    held |= {"precision": precision.PRECISIONS, "model": tuple(OWN_OPTIONS)}
    fields = [field for kind in (Config, S5Options, S4DOptions) for field in dataclasses.fields(kind)]
    found = {field.name: set(field.metadata["choices"]) for field in fields if "choices" in field.metadata}
    assert found == {name: set(choices) for name, choices in held.items()}
    assert tuple(OPTIONS) == tuple(OWN_OPTIONS)


@pytest.mark.parametrize(("model", "key", "value", "wrong"), [("s5", "blocks", 4, 0), ("s4d", "A_init", "inv", "exp")])
def test_an_option_of_one_model_may_stand_in_its_group_or_alone(model, key, value, wrong):
    """As configs and their JSON hold it, and as the command line and older files do; the later word counts."""
    config = Config.from_dict({"task": "digits", "model": model, key: value})
    assert config.to_dict()[model][key] == value
    assert key not in config.to_dict()
    assert config.flat()[key] == value
    assert config == Config.from_dict({"task": "digits", "model": model, model: {key: value}})
    assert config == Config(task="digits", model=model).replace(**{key: value})
    assert config.replace(**{model: {}}) == config
    for fault in ({key: wrong}, {model: {key: wrong}}, {model: {"states": 3}}, {model: 3}):
        with pytest.raises(ConfigError):
            config.replace(**fault)


def test_no_option_has_the_name_of_another():
    names = [name for kind in (Config, *OPTIONS.values()) for name in kind.names()]
    assert len(set(names)) == len(names)


def test_configs_of_shipped_models_load():
    """They were written when the options of S5 and S4D stood side by side."""
    files = [file for folder in ("lra/weights", "ssmreduce/checkpoints") for file in (ROOT / folder).glob("*.json")]
    held = [json.loads(file.read_text())["training"].get("config") for file in files]
    configs = [values for values in held if isinstance(values, dict)]
    assert len(configs) >= 6
    for values in configs:
        flat = Config.from_dict(values).flat()
        assert {key: flat[key] for key in values if key not in OPTIONS} == {
            key: value for key, value in values.items() if key not in OPTIONS
        }


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
    assert Config(task="digits", ssm_size=16, s5=S5Options(blocks=1)).P == 8
    assert Config(task="digits", ssm_size=16, s5=S5Options(blocks=1, conj_sym=False)).P == 16
