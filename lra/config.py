"""One training run as a value: a frozen dataclass whose unknown keys are errors."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import pkgutil
import typing
from collections.abc import Mapping
from typing import Any

from lra.errors import ConfigError

MODELS: tuple[str, ...] = ("s5", "s4d")
CHOICES: dict[str, tuple[str, ...]] = {
    "C_init": ("lecun_normal", "trunc_standard_normal", "complex_normal"),
    "discretization": ("zoh", "bilinear"),
    "activation": ("full_glu", "half_glu1", "half_glu2", "gelu"),
    "mode": ("pool", "last"),
    "A_init": ("lin", "inv", "legs"),
    "dt_transform": ("softplus", "exp"),
    "scan": ("auto", "sequential", "associative", "chunked"),
    "precision": ("float32", "bfloat16"),
}
SIZES: tuple[str, ...] = (
    "n_layers",
    "d_model",
    "ssm_size",
    "blocks",
    "epochs",
    "batch_size",
    "eval_batch_size",
    "log_every",
    "checkpoint_every",
    "penalty_every",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the outcome of a run.

    Model letters are the S5 paper's. ``ssm_size`` counts eigenvalues before pairing (the reference's
    ``ssm_size_base``): with ``conj_sym`` a layer stores ``P = ssm_size / 2`` states. For S4D it is the ``d_state`` of
    a channel, of which half are stored; ``n_ssm, A_init, dt_transform`` are S4D's, ``blocks, C_init, conj_sym,
    clip_eigs, activation, scan, scan_chunk`` are S5's. ``task_options`` are keyword arguments of the task's loader.
    ``total_steps, warmup_steps`` replace ``epochs, warmup_epochs`` in the learning rate's curve, not in the length of
    the run.
    """

    task: str
    task_options: dict = dataclasses.field(default_factory=dict)  # type: ignore[type-arg]
    model: str = "s5"
    seed: int = 0

    # model
    n_layers: int = 6
    d_model: int = 128
    ssm_size: int = 256
    blocks: int = 8
    C_init: str = "trunc_standard_normal"
    discretization: str = "zoh"
    conj_sym: bool = True
    clip_eigs: bool = False
    bidirectional: bool = False
    step_rescale: float = 1.0
    dt_min: float = 0.001
    dt_max: float = 0.1
    activation: str = "half_glu1"
    dropout: float = 0.0
    prenorm: bool = True
    batchnorm: bool = True
    bn_momentum: float = 0.95
    mode: str = "pool"
    mask_padding: bool = True
    precision: str = "float32"
    n_ssm: int | None = None
    A_init: str = "lin"
    dt_transform: str = "softplus"
    scan: str = "auto"
    scan_chunk: int = 64

    # optimizer
    epochs: int = 100
    batch_size: int = 64
    ssm_lr: float = 1e-3
    lr: float = 1e-3
    weight_decay: float = 0.05
    opt_config: str = "standard"
    dt_global: bool = False
    warmup_epochs: float = 1.0
    total_steps: int | None = None
    warmup_steps: int | None = None
    cosine: bool = True
    reference_schedule: bool = False

    # compressible models, see lra/penalties.py: weights of sums over the layers, added to the loss
    hankel_penalty: float = 0.0
    modal_penalty: float = 0.0
    penalty_every: int = 1
    # balanced truncations during the warm-up, see lra/compression.py: how many, and the part of each sum that may go
    compressions: int = 0
    compression_tolerance: float = 0.01

    # running
    eval_batch_size: int = 100
    checkpoint_every: int = 500
    log_every: int = 50
    train_limit: int | None = None
    validation_limit: int | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kinds = typing.get_args(hints[field.name]) or (hints[field.name],)
            if float in kinds and type(value) is int:
                object.__setattr__(self, field.name, float(value))
            elif type(value) not in kinds:
                wanted = " or ".join(kind.__name__ for kind in kinds)
                raise ConfigError(f"config key {field.name!r} takes {wanted}, not {value!r}")
        try:  # as it comes back from a checkpoint's JSON: lists, not tuples
            object.__setattr__(self, "task_options", json.loads(json.dumps(self.task_options)))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"task_options must be JSON values, not {self.task_options!r}") from error
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ConfigError(f"config key {name!r} must be at least 1, not {getattr(self, name)}")
        if self.model not in MODELS:
            raise ConfigError(f"model {self.model!r} is not one of {', '.join(MODELS)}")
        if not 0 < self.dt_min <= self.dt_max:
            raise ConfigError(f"need 0 < dt_min <= dt_max, not {self.dt_min} and {self.dt_max}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must lie in [0, 1), not {self.dropout}")
        for name in ("hankel_penalty", "modal_penalty"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be a finite number, 0 or more, not {getattr(self, name)}")
        if self.compressions < 0 or not 0 < self.compression_tolerance < 1:
            raise ConfigError(
                "compressions must be 0 or more and compression_tolerance in (0, 1), "
                f"not {self.compressions} and {self.compression_tolerance}"
            )
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ConfigError(f"warmup_epochs must lie in [0, epochs), not {self.warmup_epochs} of {self.epochs}")
        if self.total_steps is not None and self.total_steps < 1:
            raise ConfigError(f"total_steps must be at least 1, not {self.total_steps}")
        if self.warmup_steps is not None and not 0 <= self.warmup_steps < (self.total_steps or float("inf")):
            raise ConfigError(f"warmup_steps must lie in [0, total_steps), not {self.warmup_steps}")
        if (self.conj_sym or self.model == "s4d") and self.ssm_size % 2:
            raise ConfigError(f"pairs of conjugates need an even ssm_size, not {self.ssm_size}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} {getattr(self, name)!r} is not one of {', '.join(choices)}")
        if self.model == "s5" and self.ssm_size % (self.blocks * (2 if self.conj_sym else 1)):
            raise ConfigError(
                f"ssm_size {self.ssm_size} does not split into {self.blocks} equal blocks"
                + (" of whole conjugate pairs" if self.conj_sym else "")
            )
        if self.model == "s4d" and self.n_ssm is not None and (self.n_ssm < 1 or self.d_model % self.n_ssm):
            raise ConfigError(f"n_ssm {self.n_ssm} does not divide the {self.d_model} channels")

    @property
    def P(self) -> int:
        """Stored states of one layer (S4D: of one channel)."""
        return self.ssm_size // 2 if self.conj_sym or self.model == "s4d" else self.ssm_size

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict that `from_dict` takes back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Build a config from a mapping; an unknown key raises `ConfigError`."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"unknown config key {unknown[0]!r}; the keys are {', '.join(sorted(known))}")
        if "task" not in values:
            raise ConfigError("a config needs the key 'task'")
        return cls(**values)

    def replace(self, **changes: Any) -> Config:
        """Return a copy with some fields changed; an unknown key raises `ConfigError`."""
        return self.from_dict({**self.to_dict(), **changes})


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
