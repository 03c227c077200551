"""How each code base stores one layer: the keys, the transforms, and the axis on which the states lie.

A form decodes stored arrays to the fields of a layer in float64, encodes fields back to arrays of the stored
precision, and selects states without touching a bit. Facts about each code: ``docs/`` (notation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.errors import DimensionError, InputError

Array = NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Form:
    """One storage convention.

    Attributes
    ----------
    name, kind, title : str
        Key in :data:`FORMS`; "s5" or "s4d"; what to call it in messages.
    anchor : str
        The dotted key whose presence marks a layer of this form.
    keys, optional : tuple of str
        Dotted keys of one layer that must, or may, be present.
    fixed : dict
        Options that the code base leaves no choice in.
    decode : callable
        Stored arrays -> fields ``Lambda, B, C, C_reverse, D, log_step``.
    encode : callable
        Fields and real dtype -> stored arrays.
    select : callable
        Stored arrays and state index -> stored arrays of the chosen states, bit for bit.
    """

    name: str
    kind: str
    title: str
    anchor: str
    keys: tuple[str, ...]
    optional: tuple[str, ...] = ()
    fixed: dict[str, Any] = field(default_factory=dict)
    decode: Callable[[Mapping[str, Array]], dict[str, Any]]
    encode: Callable[[Mapping[str, Any], np.dtype[Any]], Arrays]
    select: Callable[[Arrays, Array], Arrays]


def _complex(pair: Array) -> Array:
    """``(..., 2)`` real pairs to complex128."""
    wide = pair.astype(np.float64)
    return wide[..., 0] + 1j * wide[..., 1]


def _pair(value: Array, dtype: np.dtype[Any]) -> Array:
    """Complex to ``(..., 2)`` real pairs."""
    return np.stack([value.real, value.imag], axis=-1).astype(dtype)


def _expect(key: str, array: Array, *shape: int | None) -> Array:
    """Check a shape; ``None`` accepts any length."""
    if array.ndim != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ")"
        raise DimensionError(f"{key} must have shape {wanted}", **{key: array.shape})
    return array


def _negative_real(Lambda: Array, form: str) -> Array:
    """``-Re(Lambda)``, which these forms store as a logarithm."""
    decay = -Lambda.real
    if not (decay > 0).all():
        raise InputError(
            f"{form} stores log(-Re(Lambda)), so every Re(Lambda) must be negative; the largest is {-decay.min():.3g}"
        )
    return decay


# --- S5 -------------------------------------------------------------------------------------------------------------


def _decode_s5(raw: Mapping[str, Array]) -> dict[str, Any]:
    real = _expect("Lambda_re", raw["Lambda_re"], None)
    P = real.shape[0]
    imag = _expect("Lambda_im", raw["Lambda_im"], P)
    B = _expect("B", raw["B"], P, None, 2)
    H = B.shape[1]
    log_step = raw["log_step"]
    log_step = log_step[:, 0] if log_step.ndim == 2 and log_step.shape[1] == 1 else log_step
    _expect("log_step", log_step, P)
    reverse: Array | None = None
    if "C1" in raw:
        forward, reverse = _expect("C1", raw["C1"], H, P, 2), _expect("C2", raw["C2"], H, P, 2)
    else:
        wide = raw["C"]
        if wide.ndim != 3 or wide.shape[0] != H or wide.shape[1] not in (P, 2 * P) or wide.shape[2] != 2:
            raise DimensionError(
                f"C must have shape ({H}, {P}, 2), or ({H}, {2 * P}, 2) when bidirectional", C=wide.shape, B=B.shape
            )
        forward = wide[:, :P]
        reverse = wide[:, P:] if wide.shape[1] == 2 * P and P else None
    return {
        "Lambda": real.astype(np.float64) + 1j * imag.astype(np.float64),
        "B": _complex(B),
        "C": _complex(forward),
        "C_reverse": None if reverse is None else _complex(reverse),
        "D": _expect("D", raw["D"], H).astype(np.float64),
        "log_step": log_step.astype(np.float64),
    }


def _encode_s5(wide: bool) -> Callable[[Mapping[str, Any], np.dtype[Any]], Arrays]:
    def encode(fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        C, reverse = fields["C"], fields["C_reverse"]
        raw = {
            "Lambda_re": fields["Lambda"].real.astype(dtype),
            "Lambda_im": fields["Lambda"].imag.astype(dtype),
            "B": _pair(fields["B"], dtype),
            "D": fields["D"].astype(dtype),
            "log_step": fields["log_step"].astype(dtype)[:, None],
        }
        if reverse is None:
            return raw | {"C": _pair(C, dtype)}
        if wide:
            return raw | {"C": _pair(np.concatenate([C, reverse], axis=1), dtype)}
        return raw | {"C1": _pair(C, dtype), "C2": _pair(reverse, dtype)}

    return encode


def _select_s5(raw: Arrays, index: Array) -> Arrays:
    P = raw["Lambda_re"].shape[0]
    chosen = {key: raw[key][index] for key in ("Lambda_re", "Lambda_im", "B", "log_step")} | {"D": raw["D"]}
    for key in ("C", "C1", "C2"):
        if key in raw:
            wide = key == "C" and raw[key].shape[1] == 2 * P
            chosen[key] = raw[key][:, np.concatenate([index, index + P]) if wide else index]
    return chosen


# --- S4D ------------------------------------------------------------------------------------------------------------


def _take(array: Array, index: Array, axis: int) -> Array:
    """Select states along `axis`: one index for all, or one row (column) of `index` a channel."""
    if index.ndim == 1:
        return np.take(array, index, axis=axis)
    return np.take_along_axis(array, index, axis=axis)


def _decode_minimal(raw: Mapping[str, Array]) -> dict[str, Any]:
    C = _expect("kernel.C", raw["kernel.C"], None, None, 2)
    H, N = C.shape[:2]
    decay = _expect("kernel.log_A_real", raw["kernel.log_A_real"], H, N).astype(np.float64)
    imag = _expect("kernel.A_imag", raw["kernel.A_imag"], H, N).astype(np.float64)
    return {
        "Lambda": -np.exp(decay) + 1j * imag,
        "B": np.ones((H, N), complex),
        "C": _complex(C),
        "C_reverse": None,
        "D": _expect("D", raw["D"], H).astype(np.float64),
        "log_step": _expect("kernel.log_dt", raw["kernel.log_dt"], H).astype(np.float64)[:, None],
    }


def _encode_minimal(fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
    if fields["C_reverse"] is not None:
        raise InputError("the minimal S4D has no reverse direction")
    if fields["log_step"].shape[1] != 1:
        raise InputError("the minimal S4D has one step size a channel")
    return {
        "kernel.C": _pair(fields["B"] * fields["C"], dtype),
        "kernel.log_dt": fields["log_step"][:, 0].astype(dtype),
        "kernel.log_A_real": np.log(_negative_real(fields["Lambda"], "the minimal S4D")).astype(dtype),
        "kernel.A_imag": fields["Lambda"].imag.astype(dtype),
        "D": fields["D"].astype(dtype),
    }


def _select_minimal(raw: Arrays, index: Array) -> Arrays:
    C = raw["kernel.C"]
    return raw | {
        "kernel.C": np.stack([_take(C[..., part], index, 1) for part in (0, 1)], axis=-1),
        "kernel.log_A_real": _take(raw["kernel.log_A_real"], index, 1),
        "kernel.A_imag": _take(raw["kernel.A_imag"], index, 1),
    }


@dataclass(frozen=True)
class _Torch:
    """The full S4D of the S4 code, versions 3 and 4: same content, other names, other transforms."""

    prefix: str
    step: str
    real: str
    sign: float
    softplus: bool

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        key = self.prefix
        C = _expect(f"{key}C", raw[f"{key}C"], None, None, None, 2)
        channels, H, N = C.shape[:3]
        if channels not in (1, 2):
            raise DimensionError(f"{key}C must have 1 channel, or 2 when bidirectional", C=C.shape)
        decay = _expect(f"{key}{self.real}", raw[f"{key}{self.real}"], None, N).astype(np.float64)
        copies = decay.shape[0]
        if not copies or H % copies:
            raise DimensionError(f"the {copies} copies of A must divide the {H} channels", A=decay.shape, C=C.shape)
        imag = _expect(f"{key}A_imag", raw[f"{key}A_imag"], copies, N).astype(np.float64)
        B = raw[f"{key}B"]
        B = _complex(_expect(f"{key}B", B[0] if B.ndim == 4 and B.shape[0] == 1 else B, None, N, 2))
        if not B.shape[0] or H % B.shape[0]:
            raise DimensionError(f"the {B.shape[0]} copies of B must divide the {H} channels", B=B.shape, C=C.shape)
        stored = raw[f"{key}{self.step}"].astype(np.float64)
        stored = stored[:, None] if stored.ndim == 1 else stored
        if stored.shape not in ((H, 1), (H, N)):
            raise DimensionError(
                f"{key}{self.step} must have shape ({H}, 1) or ({H}, {N})", **{self.step: stored.shape}
            )
        D = raw["D"]
        C = _complex(C)
        tile = (H // copies, 1)
        return {
            "Lambda": np.tile(-np.exp(decay) + 1j * self.sign * imag, tile),
            "B": np.tile(B, (H // B.shape[0], 1)),
            "C": C[0],
            "C_reverse": C[1] if channels == 2 else None,
            "D": _expect("D", D[0] if D.ndim == 2 and D.shape[0] == 1 else D, H).astype(np.float64),
            "log_step": np.log(np.logaddexp(0.0, stored)) if self.softplus else stored,
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        key, log_step = self.prefix, fields["log_step"]
        parts = [fields["C"]] if fields["C_reverse"] is None else [fields["C"], fields["C_reverse"]]
        step = np.exp(log_step)
        stored = step + np.log(-np.expm1(-step)) if self.softplus else log_step
        v3 = self.step == "log_dt"
        return {
            f"{key}C": _pair(np.stack(parts), dtype),
            f"{key}{self.step}": (stored[:, 0] if v3 and stored.shape[1] == 1 else stored).astype(dtype),
            f"{key}{self.real}": np.log(_negative_real(fields["Lambda"], "S4D")).astype(dtype),
            f"{key}A_imag": (self.sign * fields["Lambda"].imag).astype(dtype),
            f"{key}B": _pair(fields["B"] if v3 else fields["B"][None], dtype),
            "D": fields["D"].astype(dtype) if v3 else fields["D"][None].astype(dtype),
        }

    def select(self, raw: Arrays, index: Array) -> Arrays:
        key = self.prefix
        H = raw[f"{key}C"].shape[1]
        chosen = {name: value for name, value in raw.items() if name != f"{key}A"}
        states = [f"{key}{self.real}", f"{key}A_imag", f"{key}B"]
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


_V4_SOFTPLUS = _Torch("kernel.", "inv_dt", "A_real", -1.0, True)
_V4_EXP = _Torch("kernel.", "inv_dt", "A_real", -1.0, False)
_V3 = _Torch("kernel.kernel.", "log_dt", "inv_A_real", 1.0, False)
_V4_KEYS = ("kernel.inv_dt", "kernel.C", "kernel.B", "kernel.A_real", "kernel.A_imag", "D")
_V3_KEYS = (*(f"kernel.kernel.{name}" for name in ("C", "log_dt", "B", "inv_A_real", "A_imag")), "D")


def _decode_jax(raw: Mapping[str, Array]) -> dict[str, Any]:
    real = _expect("A_re", raw["A_re"], None, None)
    N, H = real.shape
    imag = _expect("A_im", raw["A_im"], N, H)
    C = _complex(_expect("C", raw["C"], N, H, 2))
    return {
        "Lambda": (real.astype(np.float64) + 1j * imag.astype(np.float64)).T,
        "B": np.ones((H, N), complex),
        "C": C.T,
        "C_reverse": None,
        "D": _expect("D", raw["D"], 1, H).astype(np.float64)[0],
        "log_step": _expect("log_step", raw["log_step"], 1, H).astype(np.float64).T,
    }


def _encode_jax(fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
    if fields["C_reverse"] is not None:
        raise InputError("the Annotated S4D has no reverse direction")
    if fields["log_step"].shape[1] != 1:
        raise InputError("the Annotated S4D has one step size a channel")
    Lambda = fields["Lambda"].T
    return {
        "A_re": Lambda.real.astype(dtype),
        "A_im": Lambda.imag.astype(dtype),
        "B_re": np.ones(Lambda.shape, dtype),  # stored by that code, and not used by its kernel
        "B_im": np.zeros(Lambda.shape, dtype),
        "C": _pair((fields["B"] * fields["C"]).T, dtype),
        "D": fields["D"][None].astype(dtype),
        "log_step": fields["log_step"].T.astype(dtype),
    }


def _select_jax(raw: Arrays, index: Array) -> Arrays:
    columns = index if index.ndim == 1 else index.T
    states = {key: _take(raw[key], columns, 0) for key in ("A_re", "A_im", "B_re", "B_im") if key in raw}
    return raw | states | {"C": np.stack([_take(raw["C"][..., part], columns, 0) for part in (0, 1)], axis=-1)}


_PAIRED_ZOH = {"conj_sym": True, "clip_eigs": False}

FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form(
            name="s5", kind="s5", title="reference S5", anchor="Lambda_re",
            keys=("Lambda_re", "Lambda_im", "B", "D", "log_step"), optional=("C", "C1", "C2"),
            decode=_decode_s5, encode=_encode_s5(wide=False), select=_select_s5,
        ),
        Form(
            name="s5-wide", kind="s5", title="reference S5 (C_init=complex_normal, bidirectional)", anchor="Lambda_re",
            keys=("Lambda_re", "Lambda_im", "B", "C", "D", "log_step"),
            decode=_decode_s5, encode=_encode_s5(wide=True), select=_select_s5,
        ),
        Form(
            name="s4d-minimal", kind="s4d", title="minimal S4D (PyTorch)", anchor="kernel.log_A_real",
            keys=("kernel.C", "kernel.log_dt", "kernel.log_A_real", "kernel.A_imag", "D"),
            fixed={**_PAIRED_ZOH, "discretization": "zoh"},
            decode=_decode_minimal, encode=_encode_minimal, select=_select_minimal,
        ),
        Form(
            name="s4d-v4", kind="s4d", title="S4D (PyTorch, version 4, dt_transform=softplus)", anchor="kernel.inv_dt",
            keys=_V4_KEYS, fixed=_PAIRED_ZOH,
            decode=_V4_SOFTPLUS.decode, encode=_V4_SOFTPLUS.encode, select=_V4_SOFTPLUS.select,
        ),
        Form(
            name="s4d-v4-exp", kind="s4d", title="S4D (PyTorch, version 4, dt_transform=exp)", anchor="kernel.inv_dt",
            keys=_V4_KEYS, fixed=_PAIRED_ZOH, decode=_V4_EXP.decode, encode=_V4_EXP.encode, select=_V4_EXP.select,
        ),
        Form(
            name="s4d-v3", kind="s4d", title="S4D (PyTorch, version 3)", anchor="kernel.kernel.inv_A_real",
            keys=_V3_KEYS, optional=("kernel.kernel.A",), fixed=_PAIRED_ZOH,
            decode=_V3.decode, encode=_V3.encode, select=_V3.select,
        ),
        Form(
            name="s4d-jax", kind="s4d", title="S4D (JAX, Annotated S4)", anchor="A_re",
            keys=("A_re", "A_im", "C", "D", "log_step"), optional=("B_re", "B_im"),
            fixed={"conj_sym": False, "clip_eigs": True, "discretization": "zoh"},
            decode=_decode_jax, encode=_encode_jax, select=_select_jax,
        ),
    )
}  # fmt: skip
