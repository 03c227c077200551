"""One training run as a value: a frozen dataclass whose unknown keys are errors."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import pkgutil
from collections.abc import Mapping
from typing import Any, Self

from lra.errors import ConfigError
from lra.options import Checked, S4DOptions, S5Options, choice, size

OPTIONS: dict[str, type[S5Options] | type[S4DOptions]] = {"s5": S5Options, "s4d": S4DOptions}
"""The models, and what each has of its own, held by a config under the model's name. No option is called like one of
another model or like a key of `Config`, so that it can be given alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """Everything that decides the outcome of a run.

    Model letters are the S5 paper's. ``ssm_size`` counts eigenvalues before pairing (the reference's
    ``ssm_size_base``): with ``conj_sym`` a layer stores ``P = ssm_size / 2`` states. For S4D it is the ``d_state`` of
    a channel, of which half are stored. ``s5`` and ``s4d`` hold what only one of the models has. ``task_options`` are
    keyword arguments of the task's loader. ``total_steps, warmup_steps`` replace ``epochs, warmup_epochs`` in the
    learning rate's curve, not in the length of the run.
    """

    task: str
    task_options: dict = dataclasses.field(default_factory=dict)  # type: ignore[type-arg]
    model: str = choice("s5", "s4d")
    seed: int = 0

    # model
    n_layers: int = size(6)
    d_model: int = size(128)
    ssm_size: int = size(256)
    discretization: str = choice("zoh", "bilinear")
    bidirectional: bool = False
    step_rescale: float = 1.0
    dt_min: float = 0.001
    dt_max: float = 0.1
    dropout: float = 0.0
    prenorm: bool = True
    batchnorm: bool = True
    bn_momentum: float = 0.95
    mode: str = choice("pool", "last")
    mask_padding: bool = True
    precision: str = choice("float32", "bfloat16")
    s5: S5Options = dataclasses.field(default_factory=S5Options)
    s4d: S4DOptions = dataclasses.field(default_factory=S4DOptions)

    # optimizer
    epochs: int = size(100)
    batch_size: int = size(64)
    ssm_lr: float = 1e-3
    lr: float = 1e-3
    weight_decay: float = 0.05
    opt_config: str = "standard"
    dt_global: bool = False
    warmup_epochs: float = 1.0
    total_steps: int | None = dataclasses.field(default=None, metadata={"least": 1})
    warmup_steps: int | None = dataclasses.field(default=None, metadata={"least": 0})
    cosine: bool = True
    reference_schedule: bool = False

    # compressible models, see lra/penalties.py: weights of sums over the layers, added to the loss
    hankel_penalty: float = 0.0
    modal_penalty: float = 0.0
    penalty_every: int = size(1)
    # balanced truncations during the warm-up, see lra/compression.py: how many, and the part of each sum that may go
    compressions: int = dataclasses.field(default=0, metadata={"least": 0})
    compression_tolerance: float = 0.01

    # running
    eval_batch_size: int = size(100)
    checkpoint_every: int = size(500)
    log_every: int = size(50)
    train_limit: int | None = None
    validation_limit: int | None = None
    data: str | None = None
    start: str | None = None  # an exported model, whole or reduced, whose parameters the run begins with

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep_json()
        self._check_model()
        self._check_curve()
        self._check_compressibility()

    def _keep_json(self) -> None:
        """Keep the task's options as they come back from a checkpoint's JSON: lists, not tuples."""
        try:
            object.__setattr__(self, "task_options", json.loads(json.dumps(self.task_options)))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"task_options must be JSON values, not {self.task_options!r}") from error

    def _check_model(self) -> None:
        if not 0 < self.dt_min <= self.dt_max:
            raise ConfigError(f"need 0 < dt_min <= dt_max, not {self.dt_min} and {self.dt_max}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must lie in [0, 1), not {self.dropout}")
        self.own.check(self.ssm_size, self.d_model)

    def _check_curve(self) -> None:
        """Refuse a warm-up that is longer than the learning rate's curve."""
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ConfigError(f"warmup_epochs must lie in [0, epochs), not {self.warmup_epochs} of {self.epochs}")
        if self.total_steps is not None and (self.warmup_steps or 0) >= self.total_steps:
            raise ConfigError(f"warmup_steps must lie in [0, total_steps), not {self.warmup_steps}")

    def _check_compressibility(self) -> None:
        for name in ("hankel_penalty", "modal_penalty"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be a finite number, 0 or more, not {getattr(self, name)}")
        if not 0 < self.compression_tolerance < 1:
            raise ConfigError(f"compression_tolerance must lie in (0, 1), not {self.compression_tolerance}")

    @property
    def own(self) -> S5Options | S4DOptions:
        """What only this config's model has."""
        options: S5Options | S4DOptions = getattr(self, self.model)
        return options

    @property
    def sized_by_arrays(self) -> bool:
        """Whether layers may have other sizes than `P` says: a compressed model, or one that began with another's."""
        return bool(self.compressions) or self.start is not None

    @property
    def P(self) -> int:
        """Stored states of one layer (S4D: of one channel)."""
        return self.own.stored_states(self.ssm_size)

    @property
    def clips(self) -> bool:
        """Whether the model keeps its poles inside the unit disk by clipping; S4D's cannot leave it."""
        return self.model == "s5" and self.s5.clip_eigs

    def flat(self) -> dict[str, Any]:
        """Return the fields with the options of both models among them: names to plain values, for comparisons."""
        fields = self.to_dict()
        return {**fields, **fields.pop("s5"), **fields.pop("s4d")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a config from a mapping; an unknown key raises `ConfigError`.

        An option of S5 or S4D may stand in ``s5`` or ``s4d``, or alone: that is how the command line gives it, and how
        runs and exported models from before there were two groups hold it.
        """
        found = dict(values)
        for model, options in OPTIONS.items():
            group = found.get(model, {})
            group = group.to_dict() if isinstance(group, options) else group
            if not isinstance(group, Mapping):
                raise ConfigError(f"config key {model!r} takes a mapping of options, not {group!r}")
            alone = {key: found.pop(key) for key in options.names() if key in found}
            found[model] = options.from_dict({**group, **alone})
        unknown = sorted(set(found) - set(cls.names()))
        if unknown:
            known = {*cls.names(), *(key for options in OPTIONS.values() for key in options.names())}
            raise ConfigError(f"unknown config key {unknown[0]!r}; the keys are {', '.join(sorted(known))}")
        if "task" not in found:
            raise ConfigError("a config needs the key 'task'")
        return cls(**found)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, options of one model among them; an unknown key is a `ConfigError`.

        A mapping for ``s5`` or ``s4d`` changes the options that it names.
        """
        held = self.to_dict()
        for model in OPTIONS:
            if isinstance(changes.get(model), Mapping):
                changes[model] = {**held[model], **changes[model]}
        return self.from_dict({**held, **changes})


def config_names() -> list[str]:
    """Return the names of the files in ``lra/configs``."""
    import lra.configs

    return sorted(module.name for module in pkgutil.iter_modules(lra.configs.__path__))


def load_config(name: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """Return the config of ``lra/configs/NAME.py``, some of its fields changed.

    Raises
    ------
    ConfigError
        No such file, or an unknown key among the `overrides`.
    """
    if name not in config_names():
        raise ConfigError(f"no config named {name!r}; there are {', '.join(config_names())}")
    config: Config = importlib.import_module(f"lra.configs.{name}").config
    return config.replace(**(overrides or {}))


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``key=value`` from a command line; the value is a Python literal, or else a string."""
    key, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"{text!r} is not of the form key=value")
    try:
        return key.strip(), ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key.strip(), value
