r"""Back from a discrete-time system to the parameters that the original code turns into it.

Zero-order hold: :math:`\lambda=\log(\bar\lambda)/h` (principal branch), :math:`b=\bar b/(h\varphi_1(\lambda h))`.
Parameters are stored in float32, where a pole with :math:`1-|\bar\lambda|` of 1e-5 tolerates little rounding. S5 has
one step size a state, which is free: any :math:`h` gives the same discrete system in exact arithmetic, so of a few
dozen step sizes the one is taken whose rounded product :math:`\lambda h` comes closest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ssmreduce.layers.families import CLIP, Family, Fields, discrete
from ssmreduce.layers.formats import LAYER_FORMATS
from theory.errors import DimensionError, InputError, TimeBaseError, require_finite
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]

CANDIDATES = 64
"""Step sizes tried for each state of an S5 layer: the best of 64 rounds 64 times less, on average."""

TINY_POLE = 1e-30
"""A pole of 0 is the image of no eigenvalue; this one is, and no float64 output can tell the two apart."""

FIELDS = ("Lambda", "B", "C", "C_reverse", "D", "log_step")


class Source(Fields, Protocol):
    """What a layer must say about itself: :class:`ssmreduce.SSMLayer` does."""

    @property
    def family(self) -> Family: ...  # noqa: D102
    @property
    def form(self) -> str: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def n_channels(self) -> int: ...  # noqa: D102
    @property
    def is_bidirectional(self) -> bool: ...  # noqa: D102


def invert(
    layer: Source, system: DiagonalStateSpace, *, dtype: DTypeLike | None = None, candidates: int = CANDIDATES
) -> dict[str, Any]:
    """Return the fields of a layer like `layer` that computes `system` under the same discretization.

    Parameters
    ----------
    layer : SSMLayer
        Gives family, discretization, ``conj_sym``, ``clip_eigs``, ``step_rescale``, and the range of step sizes.
    system : DiagonalStateSpace
        Stable, discrete time, current-state form as ``layer.system``, any number of states. Conjugate pairs; or, for
        a layer without ``conj_sym``, complex, of which the layer then outputs the real part.
    dtype : dtype, optional
        Precision of the stored arrays; by default that of `layer`.
    candidates : int
        Number of step sizes tried for each state of an S5 layer.

    Returns
    -------
    dict
        ``Lambda, B, C, C_reverse, D, log_step`` as the stored arrays decode, ``source``, those arrays, and ``dtype``:
        what ``layer.replace`` takes. :func:`rounding_bound` says how far the system of these is from `system`.

    Raises
    ------
    InputError, DimensionError, TimeBaseError, StabilityError
        The system is not of the layer's form (delay, direction, channels, diagonal D), or not stable.
    """
    _check_form(layer, system)
    family, form = layer.family, LAYER_FORMATS[layer.form]
    matrices = outputs(layer, system)
    require_stable(system)
    real = np.dtype(layer.dtype if dtype is None else dtype)
    poles = np.where(np.abs(system.poles) < TINY_POLE, TINY_POLE + 0j, system.poles)
    Lambda, log_step, stored_as_is = family.eigenvalues(layer, poles, real, candidates)
    if not stored_as_is:  # B must go with the eigenvalues that storage holds
        blank = {"B": np.ones(Lambda.shape, complex), "C": np.zeros(Lambda.shape, complex)}
        read = form.decode(form.encode({**matrices, **blank, "Lambda": Lambda, "log_step": log_step}, real))
        Lambda, log_step = read["Lambda"], read["log_step"]
    if layer.clip_eigs and (Lambda.real > CLIP).any():
        raise InputError(
            f"the system needs Re(Lambda) = {Lambda.real.max():.3g}, which clip_eigs=True would clip at {CLIP:g}; "
            "its step sizes are tied to the channels, so write the layer with clip_eigs=False"
        )
    step = layer.step_rescale * np.exp(log_step)
    gain = discrete(Lambda, np.ones((*Lambda.shape, 1)), layer.discretization, step).B[..., 0]
    B = family.field_b(system.B / gain[..., None])
    return stored({**matrices, "Lambda": Lambda, "B": B, "log_step": log_step}, layer.form, real)


def outputs(layer: Source, system: DiagonalStateSpace) -> dict[str, Any]:
    """Return ``C, C_reverse, D`` of the layer that outputs what `system` does."""
    matrices = layer.family.matrices(layer, system)
    factor = 1.0 if layer.conj_sym or not system.conjugate_pairs else 2.0
    return {key: value if key == "D" or value is None else factor * value for key, value in matrices.items()}


def stored(fields: Mapping[str, Any], form: str, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the fields of a layer as its stored arrays decode, with these arrays: what a file will hold."""
    with np.errstate(over="ignore"):  # infinity is refused by the layer, with its name
        source = LAYER_FORMATS[form].encode(fields, dtype)
    return {**LAYER_FORMATS[form].decode(source), "source": source, "dtype": dtype}


def rounding_bound(ideal: DiagonalStateSpace, written: DiagonalStateSpace) -> float | Array:
    r"""Bound :math:`\|G-\hat G\|_\infty` of two diagonal systems with the same states in the same order.

    .. math:: \sum_i \frac{\|c_i\|\|b_i-\hat b_i\|+\|c_i-\hat c_i\|\|\hat b_i\|}{1-|\lambda_i|}
              + \frac{\|\hat c_i\|\|\hat b_i\||\lambda_i-\hat\lambda_i|}{(1-|\lambda_i|)(1-|\hat\lambda_i|)},

    twice that for conjugate pairs, both directions added, plus the difference of D (2-norm). Closed form, for the
    rounding of stored parameters; a number for a single system, (H,) for a batch.

    Parameters
    ----------
    ideal, written : DiagonalStateSpace
        Stable, same shapes.
    """
    if ideal.poles.shape != written.poles.shape:
        raise DimensionError("both systems need the same states", ideal=ideal.poles.shape, written=written.poles.shape)

    def size(array: Array, axis: int) -> Array:
        norms: Array = np.linalg.norm(array, axis=axis)
        return norms

    margin, margin_written = ideal.margin, written.margin
    # the same mode may be scaled differently on the two sides: b -> a b, c -> c / a changes nothing
    scale = np.einsum("...nm,...nm->...n", ideal.B.conj(), written.B)
    norm = size(ideal.B, -1) ** 2
    scale = np.where(norm > 0, scale / np.where(norm > 0, norm, 1.0), 1.0)
    scale = np.where(scale == 0, 1.0, scale)
    B = ideal.B * scale[..., None]
    total: Array = np.zeros(margin.shape[:-1])
    directions = [(ideal.C, written.C)]
    if ideal.C_reverse is not None and written.C_reverse is not None:
        directions.append((ideal.C_reverse, written.C_reverse))
    for C, C_written in directions:
        C = C / scale[..., None, :]
        c, dc, c_written = size(C, -2), size(C - C_written, -2), size(C_written, -2)
        db, b_written = size(B - written.B, -1), size(written.B, -1)
        move = c_written * b_written * np.abs(ideal.poles - written.poles) / (margin * margin_written)
        total = total + ((c * db + dc * b_written) / margin + move).sum(axis=-1)
    pairs = 2.0 if ideal.conjugate_pairs else 1.0
    total = pairs * total + np.linalg.norm(ideal.D - written.D, ord=2, axis=(-2, -1))
    return float(total) if total.ndim == 0 else total


def _check_form(layer: Source, system: DiagonalStateSpace) -> None:
    if not isinstance(system, DiagonalStateSpace):
        raise InputError(
            f"a layer runs a diagonal system; got {type(system).__name__} "
            "(theory.reduction.diagonalization re-diagonalizes)"
        )
    if not system.is_discrete:
        raise TimeBaseError("the system must run in discrete time, as layer.system does", system.dt)
    if layer.conj_sym and not system.conjugate_pairs:
        raise InputError(
            "the layer stores conjugate pairs (conj_sym=True), the system does not: store one pole of each pair"
        )
    if system.is_bidirectional != layer.is_bidirectional:
        raise InputError("one of layer and system is bidirectional, the other is not")
    H, family = layer.n_channels, layer.family
    batch, ports = ((H,), (1, 1)) if family.is_batch else ((), (layer.C.shape[0], layer.B.shape[1]))
    if system.batch_shape != batch or (system.p, system.m) != ports:
        raise DimensionError(
            f"the system must have {ports[1]} inputs and {ports[0]} outputs" + (f" in a batch of {H}" if batch else ""),
            B=system.B.shape,
            C=system.C.shape,
        )
    if system.delay != layer.delay or (system.is_bidirectional and system.delay_reverse != family.delay_reverse):
        raise InputError(
            f"the layer has delay={layer.delay} (0: its output sees the updated state), "
            f"delay_reverse={family.delay_reverse}; the system has delay={system.delay}, "
            f"delay_reverse={system.delay_reverse}. Reduce layer.system itself"
        )
    require_finite(poles=system.poles)
