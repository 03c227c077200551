"""The full S4D of the S4 code (PyTorch), versions 3 and 4: same content, other names, other transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import expit, logit

from ssmreduce.layers.formats.layer_format import Array, Arrays, Recognized, expect, negative_real, paired, pairs
from theory.errors import DimensionError, InputError

_TRANSFORM = " (of inv_dt; softplus: configs of S4 version 4; exp: older and converted checkpoints)"

RELU_SHIFT = 1e-4
"""What the S4 code adds to ``relu(A_real)``."""


def _log_expm1(decay: Array) -> Array:
    result: Array = decay + np.log(-np.expm1(-decay))
    return result


TRANSFORMS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "exp": (np.exp, np.log),
    "softplus": (lambda stored: np.logaddexp(0.0, stored), _log_expm1),
    "relu": (lambda stored: np.maximum(stored, 0.0) + RELU_SHIFT, lambda decay: decay - RELU_SHIFT),
    "sigmoid": (expit, logit),
    "none": (lambda stored: stored, lambda decay: decay),
}
"""``real_transform`` of the S4 code: from the stored number to :math:`-\\Re\\lambda`, and back."""


class TorchS4D(Recognized):
    """What both versions share; the attributes below `fixed` are what they differ in."""

    name: str
    kind, title = "s4d", "S4D (PyTorch)"
    fixed: Mapping[str, Any] = {"conj_sym": True, "clip_eigs": False}
    usual: Mapping[str, Any] = {"real_transform": "exp"}
    discretizations: tuple[str, ...] = ("zoh", "bilinear")
    ambiguity = (
        " (S4D of version 4: 'zoh' unless configured otherwise; version 3 and configs that match S4: 'bilinear')"
    )
    anchor: str
    prefix: str
    step: str
    real: str
    imag = "A_imag"
    sign: float
    softplus = False
    is_v3 = False

    def __init__(self, real_transform: str = "exp") -> None:
        self.real_transform = real_transform
        self.stated = {**type(self).stated, "real_transform": real_transform}
        if real_transform != "exp":
            self.name, self.title = f"{self.name}-{real_transform}", f"{self.title}, real_transform={real_transform}"

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        key = self.prefix
        C = expect(f"{key}C", raw[f"{key}C"], None, None, None, 2)
        channels, H, N = C.shape[:3]
        if channels not in (1, 2):
            raise DimensionError(f"{key}C must have 1 channel, or 2 when bidirectional", C=C.shape)
        decay = expect(f"{key}{self.real}", raw[f"{key}{self.real}"], None, N).astype(np.float64)
        copies = decay.shape[0]
        if not copies or H % copies:
            raise DimensionError(f"the {copies} copies of A must divide the {H} channels", A=decay.shape, C=C.shape)
        imag = expect(f"{key}{self.imag}", raw[f"{key}{self.imag}"], copies, N).astype(np.float64)
        B = raw[f"{key}B"]
        B = paired(expect(f"{key}B", B[0] if B.ndim == 4 and B.shape[0] == 1 else B, None, N, 2))
        if not B.shape[0] or H % B.shape[0]:
            raise DimensionError(f"the {B.shape[0]} copies of B must divide the {H} channels", B=B.shape, C=C.shape)
        stored = raw[f"{key}{self.step}"].astype(np.float64)
        stored = stored[:, None] if stored.ndim == 1 else stored
        if stored.shape not in ((H, 1), (H, N)):
            raise DimensionError(
                f"{key}{self.step} must have shape ({H}, 1) or ({H}, {N})", **{self.step: stored.shape}
            )
        D = raw["D"]
        C = paired(C)
        tile = (H // copies, 1)
        return {
            "Lambda": np.tile(-TRANSFORMS[self.real_transform][0](decay) + 1j * self.sign * imag, tile),
            "B": np.tile(B, (H // B.shape[0], 1)),
            "C": C[0],
            "C_reverse": C[1] if channels == 2 else None,
            "D": expect("D", D[0] if D.ndim == 2 and D.shape[0] == 1 else D, H).astype(np.float64),
            "log_step": np.log(np.logaddexp(0.0, stored)) if self.softplus else stored,
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        key, log_step, v3 = self.prefix, fields["log_step"], self.is_v3
        parts = [fields["C"]] if fields["C_reverse"] is None else [fields["C"], fields["C_reverse"]]
        step = np.exp(log_step)
        stored = step + np.log(-np.expm1(-step)) if self.softplus else log_step
        return {
            f"{key}C": pairs(np.stack(parts), dtype),
            f"{key}{self.step}": (stored[:, 0] if v3 and stored.shape[1] == 1 else stored).astype(dtype),
            f"{key}{self.real}": self._stored(negative_real(fields["Lambda"], "S4D")).astype(dtype),
            f"{key}{self.imag}": (self.sign * fields["Lambda"].imag).astype(dtype),
            f"{key}B": pairs(fields["B"] if v3 else fields["B"][None], dtype),
            "D": fields["D"].astype(dtype) if v3 else fields["D"][None].astype(dtype),
        }

    def _stored(self, decay: Array) -> Array:
        """The real parts as the transform stores them."""
        with np.errstate(all="ignore"):
            stored = TRANSFORMS[self.real_transform][1](decay)
        if not (np.isfinite(stored).all() and (self.real_transform != "relu" or (stored >= 0).all())):
            raise InputError(
                f"real_transform={self.real_transform!r} cannot hold Re(Lambda) from {-decay.max():.3g} to "
                f"{-decay.min():.3g}; a method of selection keeps the stored ones (method='modal')"
            )
        return stored

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`."""
        key = self.prefix
        H = raw[f"{key}C"].shape[1]
        chosen = {name: value for name, value in raw.items() if name != f"{key}A"}
        states = [f"{key}{self.real}", f"{key}{self.imag}", f"{key}B"]
        if raw[f"{key}{self.step}"].ndim == 2 and raw[f"{key}{self.step}"].shape[1] > 1:
            states.append(f"{key}{self.step}")
        for name in states:
            array = raw[name]
            axis = array.ndim - 2 if name == f"{key}B" else array.ndim - 1
            if index.ndim == 2 and array.shape[axis - 1] != H:  # copies shared by channels: write them out
                repeats = [1] * array.ndim
                repeats[axis - 1] = H // array.shape[axis - 1]
                array = np.tile(array, repeats)
            if index.ndim == 1:
                chosen[name] = np.take(array, index, axis=axis)
            else:
                rows = np.arange(H)[:, None]
                lead: tuple[Any, ...] = (slice(None),) * (axis - 1)
                chosen[name] = array[(*lead, rows, index)]
        C = raw[f"{key}C"]
        chosen[f"{key}C"] = C[:, :, index] if index.ndim == 1 else C[:, np.arange(H)[:, None], index]
        return chosen


class Version4(TorchS4D):
    """Step sizes through a softplus, as in the configs of version 4."""

    name, title = "s4d-v4", "S4D (PyTorch, version 4, dt_transform=softplus)"
    anchor = "kernel.inv_dt"
    keys: tuple[str, ...] = ("kernel.inv_dt", "kernel.C", "kernel.B", "kernel.A_real", "kernel.A_imag", "D")
    prefix, step, real, sign = "kernel.", "inv_dt", "A_real", -1.0
    softplus = True
    stated: Mapping[str, Any] = {"dt_transform": "softplus"}
    question = _TRANSFORM


class Version4Exp(Version4):
    """Step sizes through the exponential, as in older configs and converted checkpoints."""

    name, title = "s4d-v4-exp", "S4D (PyTorch, version 4, dt_transform=exp)"
    softplus = False
    stated = {"dt_transform": "exp"}  # noqa: RUF012


class Version3(TorchS4D):
    """The names of version 3, without the leading axes of version 4."""

    name, title = "s4d-v3", "S4D (PyTorch, version 3)"
    anchor = "kernel.kernel.inv_A_real"
    keys: tuple[str, ...] = (*(f"kernel.kernel.{name}" for name in ("C", "log_dt", "B", "inv_A_real", "A_imag")), "D")
    optional: tuple[str, ...] = ("kernel.kernel.A",)
    prefix, step, real, sign = "kernel.kernel.", "log_dt", "inv_A_real", 1.0
    is_v3 = True


class Earlier(Version3):
    """The names before them: the same content."""

    name, title, imag, real = "s4d-v3-w", "S4D (PyTorch, before version 3)", "w_imag", "inv_w_real"
    anchor = "kernel.kernel.inv_w_real"
    keys = (*(f"kernel.kernel.{name}" for name in ("C", "log_dt", "B", "inv_w_real", "w_imag")), "D")


class EarlierLog(Earlier):
    """Another name for the decay, which is always a logarithm then."""

    name, real = "s4d-v3-log-w", "log_w_real"
    anchor = "kernel.kernel.log_w_real"
    keys = (*(f"kernel.kernel.{name}" for name in ("C", "log_dt", "B", "log_w_real", "w_imag")), "D")


FORMATS = (
    *(form(real) for real in TRANSFORMS for form in (Version4, Version4Exp, Version3, Earlier)),
    EarlierLog(),
)
