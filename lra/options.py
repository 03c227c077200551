"""What S5 and S4D have of their own, as two frozen values whose fields are checked by what is said beside each."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Self

from lra.errors import ConfigError


def choice(default: str, *others: str) -> Any:
    """Return a field that takes one of a few words."""
    return dataclasses.field(default=default, metadata={"choices": (default, *others)})


def size(default: int) -> Any:
    """Return a field that counts something, from 1."""
    return dataclasses.field(default=default, metadata={"least": 1})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """A frozen value that refuses wrong types, unknown words and counts below 1."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            kinds = typing.get_args(hints[field.name]) or (hints[field.name],)
            object.__setattr__(self, field.name, self._accepted(field, kinds, getattr(self, field.name)))

    @staticmethod
    def _accepted(field: dataclasses.Field[Any], kinds: tuple[type, ...], value: Any) -> Any:
        if float in kinds and type(value) is int:
            value = float(value)
        if type(value) not in kinds:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise ConfigError(f"config key {field.name!r} takes {wanted}, not {value!r}")
        choices, least = field.metadata.get("choices"), field.metadata.get("least")
        if choices is not None and value not in choices:
            raise ConfigError(f"{field.name} {value!r} is not one of {', '.join(choices)}")
        if least is not None and value is not None and value < least:
            raise ConfigError(f"config key {field.name!r} must be at least {least}, not {value}")
        return value

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the fields."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a value from a mapping; an unknown key raises `ConfigError`."""
        unknown = sorted(set(values) - set(cls.names()))
        if unknown:
            raise ConfigError(f"unknown config key {unknown[0]!r}; the keys are {', '.join(sorted(cls.names()))}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, nested values as dicts, in the form that `from_dict` takes back."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class S5Options(Checked):
    """What only an S5 model has; see `lra.models.s5.S5SSM` and `lra.models.block.Block`.

    Attributes
    ----------
    blocks : int
        Copies of the HiPPO matrix that the eigenvalues start from.
    C_init : {"trunc_standard_normal", "lecun_normal", "complex_normal"}
        Distribution of the initial output matrix.
    conj_sym : bool
        One stored state stands for a conjugate pair.
    clip_eigs : bool
        No pole leaves the unit disk.
    activation : {"half_glu1", "full_glu", "half_glu2", "gelu"}
        What follows the layer.
    scan : {"auto", "sequential", "associative", "chunked"}
        How the recurrence is computed.
    scan_chunk : int
        Samples of a chunk of the chunked scan.
    """

    blocks: int = size(8)
    C_init: str = choice("trunc_standard_normal", "lecun_normal", "complex_normal")
    conj_sym: bool = True
    clip_eigs: bool = False
    activation: str = choice("half_glu1", "full_glu", "half_glu2", "gelu")
    scan: str = choice("auto", "sequential", "associative", "chunked")
    scan_chunk: int = size(64)

    def stored_states(self, ssm_size: int) -> int:
        """Return the stored states of a layer of `ssm_size` eigenvalues."""
        return ssm_size // 2 if self.conj_sym else ssm_size

    def check(self, ssm_size: int, d_model: int) -> None:
        """Refuse a layer whose eigenvalues do not split into the blocks."""
        del d_model
        pairs = " of whole conjugate pairs" if self.conj_sym else ""
        if ssm_size % (self.blocks * (2 if self.conj_sym else 1)):
            raise ConfigError(f"ssm_size {ssm_size} does not split into {self.blocks} equal blocks{pairs}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class S4DOptions(Checked):
    """What only an S4D model has; see `lra.models.s4d.S4DKernel`.

    Attributes
    ----------
    n_ssm : int, optional
        Copies of A and B, a divisor of the channels; default one a channel.
    A_init : {"lin", "inv", "legs"}
        Initial eigenvalues.
    dt_transform : {"softplus", "exp"}
        How a step size is stored.
    """

    n_ssm: int | None = dataclasses.field(default=None, metadata={"least": 1})
    A_init: str = choice("lin", "inv", "legs")
    dt_transform: str = choice("softplus", "exp")

    def stored_states(self, ssm_size: int) -> int:
        """Return the stored states of a channel of `ssm_size` eigenvalues."""
        return ssm_size // 2

    def check(self, ssm_size: int, d_model: int) -> None:
        """Refuse an odd number of states, and copies that do not divide the channels."""
        if ssm_size % 2:
            raise ConfigError(f"pairs of conjugates need an even ssm_size, not {ssm_size}")
        if self.n_ssm is not None and d_model % self.n_ssm:
            raise ConfigError(f"n_ssm {self.n_ssm} does not divide the {d_model} channels")
