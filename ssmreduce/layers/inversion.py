r"""Back from a discrete-time system to the parameters that the original code turns into it.

Zero-order hold: :math:`\lambda=\log(\bar\lambda)/h` (principal branch), :math:`b=\bar b/(h\varphi_1(\lambda h))`.
Parameters are stored in float32, where a pole with :math:`1-|\bar\lambda|` of 1e-5 tolerates little rounding. S5 has
one step size a state, which is free: any :math:`h` gives the same discrete system in exact arithmetic, so of a few
dozen step sizes the one is taken whose rounded product :math:`\lambda h` comes closest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ssmreduce.layers.forms import FORMS
from theory.errors import DimensionError, InputError, TimeBaseError, require_finite
from theory.systems import discretization as rules
from theory.systems.system import DiagonalStateSpace, require_stable

if TYPE_CHECKING:
    from ssmreduce.layers.layer import SSMLayer

Array = NDArray[Any]


def invert(
    layer: SSMLayer, system: DiagonalStateSpace, *, dtype: DTypeLike | None = None, candidates: int = 64
) -> SSMLayer:
    """Return a layer like `layer` that computes `system` under the same discretization.

    Parameters
    ----------
    layer : SSMLayer
        Gives kind, discretization, ``conj_sym``, ``clip_eigs``, ``step_rescale``, and the range of step sizes.
    system : DiagonalStateSpace
        Stable, discrete time, current-state form as ``layer.system``, any number of states. Conjugate pairs; or, for
        a layer without ``conj_sym``, complex, of which the layer then outputs the real part.
    dtype : dtype, optional
        Precision of the stored arrays; by default that of `layer`.
    candidates : int
        Number of step sizes tried for each state of an S5 layer.

    Returns
    -------
    SSMLayer
        Its ``.system`` is that of the rounded parameters; :func:`rounding_bound` says how far it is from `system`.

    Raises
    ------
    InputError, DimensionError, TimeBaseError, StabilityError
        The system is not of the layer's form (delay, direction, channels, diagonal D), or not stable.
    """
    _check_form(layer, system)
    require_stable(system)
    real = np.dtype(layer.dtype if dtype is None else dtype)
    poles = _away_from_zero(system.poles)
    factor = 1.0 if layer.conj_sym or not system.conjugate_pairs else 2.0
    C, reverse = factor * system.C, None if system.C_reverse is None else factor * system.C_reverse
    D: Array
    if layer.kind == "s5":
        D = np.diagonal(system.D).real
        Lambda, log_step = _s5_eigenvalues(layer, poles, real, candidates)
    else:
        D = system.D[:, 0, 0].real
        C, reverse = C[:, 0, :], None if reverse is None else reverse[:, 0, :]
        log_step = _s4d_steps(layer)
        Lambda = _logarithm(poles, layer, layer.step_rescale * np.exp(log_step))
        form, shape = FORMS[layer.form], Lambda.shape
        blank = {"B": np.ones(shape, complex), "C": np.zeros(shape, complex), "C_reverse": reverse, "D": D}
        read = form.decode(form.encode({"Lambda": Lambda, "log_step": log_step, **blank}, real))
        Lambda, log_step = read["Lambda"], read["log_step"]
    if layer.clip_eigs and (Lambda.real > _clip()).any():
        worst = Lambda.real.max()
        raise InputError(
            f"the system needs Re(Lambda) = {worst:.3g}, which clip_eigs=True would clip at {_clip():g}; "
            "its step sizes are tied to the channels, so write the layer with clip_eigs=False"
        )
    step = layer.step_rescale * np.exp(log_step)
    rule = rules.zero_order_hold if layer.discretization == "zoh" else rules.bilinear
    gain = rule(Lambda, np.ones((*Lambda.shape, 1)), step).B[..., 0]
    B = system.B / gain[..., None]
    unrounded = layer.replace(
        Lambda=Lambda,
        B=B if layer.kind == "s5" else B[..., 0],
        C=C,
        C_reverse=reverse,
        D=D,
        log_step=log_step,
        dtype=real,
        source=None,
    )
    return stored(unrounded)


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


def _clip() -> float:
    from ssmreduce.layers.layer import CLIP

    return CLIP


def _rounded(array: Array, dtype: np.dtype[Any]) -> Array:
    return array.astype(dtype).astype(np.float64)


def _check_form(layer: SSMLayer, system: DiagonalStateSpace) -> None:
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
    H = layer.n_channels
    batch, ports = ((), (H, H)) if layer.kind == "s5" else ((H,), (1, 1))
    if system.batch_shape != batch or (system.p, system.m) != ports:
        raise DimensionError(
            f"the system must have {ports[1]} inputs and {ports[0]} outputs" + (f" in a batch of {H}" if batch else ""),
            B=system.B.shape,
            C=system.C.shape,
        )
    wanted = (0, 0) if layer.kind == "s5" else (0, 1)
    if system.delay != wanted[0] or (system.is_bidirectional and system.delay_reverse != wanted[1]):
        raise InputError(
            f"the layer's output sees the updated state (delay={wanted[0]}, delay_reverse={wanted[1]}); the system has "
            f"delay={system.delay}, delay_reverse={system.delay_reverse}. Reduce layer.system itself"
        )
    if layer.kind == "s5" and H:
        off = np.abs(system.D - np.diag(np.diagonal(system.D))).max()
        if off > 0:
            raise InputError(f"the layer's D is diagonal; the system's D has off-diagonal entries up to {off:.3g}")
    require_finite(poles=system.poles)


def _away_from_zero(poles: Array) -> Array:
    """A pole of 0 is the image of no eigenvalue; 1e-30 is, and no float64 output can tell the two apart."""
    return np.where(np.abs(poles) < 1e-30, 1e-30 + 0j, poles)


def _logarithm(poles: Array, layer: SSMLayer, step: Array) -> Array:
    """Continuous-time eigenvalues for the given steps."""
    ones = np.ones((*poles.shape, 1))
    inverse = rules.inverse_zero_order_hold if layer.discretization == "zoh" else rules.inverse_bilinear
    return inverse(poles, ones, step).poles


def _s5_eigenvalues(layer: SSMLayer, poles: Array, dtype: np.dtype[Any], candidates: int) -> tuple[Array, Array]:
    """Eigenvalues and log-steps, both representable in `dtype`, with the least rounding of their product."""
    scaled = _logarithm(poles, layer, np.ones(poles.shape))  # eigenvalue times step
    log_step = np.full(poles.shape, np.median(layer.log_step) if layer.order else np.log(0.01))
    if layer.clip_eigs:  # Re(Lambda) = Re(scaled) / step must stay below the clip
        log_step = np.minimum(log_step, np.log(scaled.real / (1.001 * _clip())) - np.log(layer.step_rescale))
    tries = _rounded(log_step[:, None] - np.linspace(0.0, 0.1, max(candidates, 1)), dtype)
    steps = layer.step_rescale * np.exp(tries)
    exact = scaled[:, None] / steps
    real, imag = _rounded(exact.real, dtype), _rounded(exact.imag, dtype)
    miss = np.hypot((real - exact.real) * steps, (imag - exact.imag) * steps)
    best = np.argmin(miss, axis=1)
    rows = np.arange(poles.size)
    return real[rows, best] + 1j * imag[rows, best], tries[rows, best]


def _s4d_steps(layer: SSMLayer) -> Array:
    """One step a channel: the layer's own, or the geometric mean where every state had its own."""
    return layer.log_step if layer.log_step.shape[1] == 1 else layer.log_step.mean(axis=1, keepdims=True)


def stored(layer: SSMLayer) -> SSMLayer:
    """Return the layer as its stored arrays decode: what a file will hold."""
    form = FORMS[layer.form]
    source = form.encode(
        {key: getattr(layer, key) for key in ("Lambda", "B", "C", "C_reverse", "D", "log_step")}, layer.dtype
    )
    return layer.replace(**form.decode(source), source=source)
