r"""What each stored state is worth, by several criteria: larger is worth more.

With :math:`g_i=\|c_i\|\|b_i\|/(1-|\lambda_i|)` of the discretized layer:

=================  =====================================================================================
``hinf``           exact H-infinity gain of the state (of the pair), :func:`theory.reduction.modal_gains.modal_gains`
``last``           :math:`g_i^2` over the sum of all :math:`g_j^2\ge g_i^2`, :func:`prefix_normalised`
``last_released``  what the released LAST code computes instead, see :func:`last_energies`
``aire``           :math:`\|c_i\|^2\|b_i\|^2/(1-|\lambda_i|^2)`, normalised in the same way
``magnitude``      :math:`|\lambda_i|\|b_i\|\|c_i\|`
``lamp``           magnitude squared, normalised in the same way
``random``         a uniform draw
=================  =====================================================================================

In continuous time (systems only) :math:`-\Re\lambda` takes the place of :math:`1-|\lambda|`, and twice that the
place of :math:`1-|\lambda|^2`. None of these is a bound on the error;
:func:`theory.reduction.bounds.modal_bound` is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from theory.errors import InputError
from theory.reduction.modal_gains import modal_gains
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]
Scored = SSMLayer | DiagonalStateSpace
Variant = Literal["paper", "released"]

RELEASED_EPS = 1e-8
"""What the released LAST code adds to its denominators."""

CRITERIA = ("hinf", "last", "last_released", "aire", "magnitude", "lamp", "random")


def _parts(source: Scored) -> tuple[Array, Array, Array, Array, Array | None]:
    """``|pole|, 1-|pole|, ||b||, ||c||, ||c_reverse||`` of every stored state; unstable ones are refused."""
    if isinstance(source, SSMLayer):
        source.require_stable()
        system, outputs = source.system, 1.0 if source.conj_sym else 2.0
        margin = source.margin
    elif isinstance(source, DiagonalStateSpace):
        require_stable(source)
        system, outputs, margin = source, 1.0, source.margin
    else:
        raise InputError(f"scores are for layers and diagonal systems, got {type(source).__name__}")
    reverse = None if system.C_reverse is None else outputs * np.linalg.norm(system.C_reverse, axis=-2)
    b, c = np.linalg.norm(system.B, axis=-1), outputs * np.linalg.norm(system.C, axis=-2)
    return np.abs(system.poles), margin, b, c, reverse


def prefix_normalised(values: Array) -> Array:
    r"""Return LAST's normalisation along the last axis.

    .. math:: s_{(k)} = h_{(k)} \Big/ \sum_{j\ge k} h_{(j)},\qquad h_{(1)}\le h_{(2)}\le\dots

    The largest of a layer always scores 1, so no global threshold up to 1 empties a layer. Equal values are taken in
    the order of their index; where all the rest is 0 the score is 0, and 1 for the last.
    """
    order = np.argsort(values, axis=-1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=-1)
    tail = np.cumsum(ascending[..., ::-1], axis=-1)[..., ::-1]
    score: Array = np.divide(ascending, tail, out=np.zeros_like(ascending), where=tail > 0)
    if score.shape[-1]:
        score[..., -1] = 1.0
    result: Array = np.empty_like(score)
    np.put_along_axis(result, order, score, axis=-1)
    return result


def _as_released(layer: SSMLayer) -> tuple[Array, Array]:
    """``1-|pole|`` and ``||b||`` in the precision and the order of operations of the reference code."""
    wide = np.result_type(layer.dtype, np.complex64)
    Lambda, B = layer.effective_Lambda.astype(wide), layer.B.astype(wide)
    step = layer.dtype.type(layer.step_rescale) * np.exp(layer.log_step.astype(layer.dtype))
    if layer.discretization != "bilinear":
        pole = np.exp(Lambda * step)
        gain = (pole - 1) / Lambda if layer.discretization == "zoh" else np.ones_like(Lambda)
    else:
        lead = 1 / (1 - (step / 2) * Lambda)
        pole, gain = lead * (1 + (step / 2) * Lambda), lead * step
    return (1 - np.abs(pole)).astype(float), np.linalg.norm(gain[:, None] * B, axis=-1).astype(float)


def last_energies(source: Scored, variant: Variant = "paper") -> Array:
    r"""Return the squared gain of every state as LAST takes it, before normalisation.

    ``"paper"``: :math:`\|c\|^2\|b\|^2/(1-|\lambda|)^2` with :math:`(\|c_f\|^2+\|c_b\|^2)/2` for two directions; it does
    not change under :math:`b\to ab, c\to c/a`. ``"released"``: what the released code computes, in which ``/ 2 ** 2``
    divides by four and leaves C of a bidirectional layer in the first power, and 1e-8 is added to the denominator; in
    the arithmetic of the stored parameters, as there: float32 leaves :math:`1-|\lambda|` few digits near the circle.

    Raises
    ------
    StabilityError
        A state is not stable; the released code gives it a finite score.
    """
    _, margin, b, c, reverse = _parts(source)
    if variant == "paper":
        square = c**2 if reverse is None else 0.5 * (c**2 + reverse**2)
        return square * b**2 / margin**2  # type: ignore[no-any-return]
    if variant == "released":
        if isinstance(source, SSMLayer) and not source.family.is_batch:
            margin, b = _as_released(source)
        output = c**2 if reverse is None else (c + reverse) / 4.0
        return output * b**2 / (margin**2 + RELEASED_EPS)  # type: ignore[no-any-return]
    raise InputError(f"variant must be 'paper' or 'released', got {variant!r}")


def last_scores(source: Scored, variant: Variant = "paper") -> Array:
    """Return LAST's score of every state, in (0, 1]: :func:`last_energies`, prefix-normalised. A score, not a bound."""
    return prefix_normalised(last_energies(source, variant))


def aire_scores(source: Scored) -> Array:
    r"""Return :math:`\|c\|^2\|b\|^2/(1-|\lambda|^2)`, each state's impulse energy, prefix-normalised."""
    _, margin, b, c, reverse = _parts(source)
    square = c**2 if reverse is None else 0.5 * (c**2 + reverse**2)
    discrete = source.system.is_discrete if isinstance(source, SSMLayer) else source.is_discrete
    return prefix_normalised(square * b**2 / (margin * (2.0 - margin) if discrete else 2.0 * margin))


def magnitude_scores(source: Scored) -> Array:
    r"""Return :math:`|\lambda|\|b\|\|c\|`, with :math:`\sqrt{(\|c_f\|^2+\|c_b\|^2)/2}` for two directions."""
    radius, _, b, c, reverse = _parts(source)
    output = c if reverse is None else np.sqrt(0.5 * (c**2 + reverse**2))
    return radius * b * output


def lamp_scores(source: Scored) -> Array:
    """Return the squared magnitude, prefix-normalised: LAMP's layer-adaptive score with a state as the unit."""
    return prefix_normalised(magnitude_scores(source) ** 2)


def hinf_scores(source: Scored) -> Array:
    """Return the exact H-infinity gain of every state alone, conjugate included."""
    _parts(source)
    return modal_gains(source.system if isinstance(source, SSMLayer) else source)


def random_scores(source: Scored, seed: int = 0) -> Array:
    """Return a uniform draw in [0, 1) for every state; the same for the same seed and shape."""
    shape = _parts(source)[0].shape
    return np.random.default_rng(seed).random(shape)


def state_scores(source: Scored, criterion: str = "last", *, variant: Variant = "paper", seed: int = 0) -> Array:
    """Return the score of every stored state, in the shape of the poles.

    Parameters
    ----------
    source : SSMLayer or DiagonalStateSpace
    criterion : str
        One of :data:`CRITERIA`.
    variant : {"paper", "released"}
        For "last".
    seed : int
        For "random".

    Raises
    ------
    StabilityError
        A state is not stable; the message names it and the two ways on.
    InputError
        Unknown criterion.
    """
    if criterion == "last":
        return last_scores(source, variant)
    if criterion == "random":
        return random_scores(source, seed)
    table = {
        "hinf": hinf_scores,
        "last_released": lambda item: last_scores(item, "released"),
        "aire": aire_scores,
        "magnitude": magnitude_scores,
        "lamp": lamp_scores,
    }
    if criterion not in table:
        raise InputError(f"unknown criterion {criterion!r}; the criteria are {', '.join(CRITERIA)}")
    return table[criterion](source)


def top(values: Array, order: int) -> Array:
    """Return the indices of the `order` largest along the last axis, ascending; of equal ones the later index is kept.

    The same rule as in :func:`prefix_normalised`, so that keeping by a score and by its normalised form agree.
    """
    ranked = np.argsort(values, axis=-1, kind="stable")
    return np.sort(ranked[..., values.shape[-1] - order :], axis=-1)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReleasedThreshold:
    """What the released LAST code would prune: budget asked, threshold, and the mask of kept states for each layer."""

    keep: int
    threshold: float
    masks: tuple[Array, ...]


def released_threshold(layer_scores: Sequence[Array], ratio: float) -> ReleasedThreshold:
    """Prune as the released code does: one threshold by value over all layers, ties keep more than the budget.

    Parameters
    ----------
    layer_scores : sequence of ndarray
        LAST scores of each layer.
    ratio : float
        Percentage of states to remove, 0 to 100.

    Notes
    -----
    For exact budgets with at least one state a layer use :func:`ssmreduce.methods.allocation.allocate`.
    """
    if not 0 <= ratio <= 100:
        raise InputError(f"ratio is a percentage from 0 to 100 here, got {ratio}")
    flat = np.concatenate([np.ravel(values) for values in layer_scores])
    if not flat.size:
        raise InputError("there are no states to prune")
    keep = max(int(flat.size * (100 - ratio) / 100), 1)
    threshold = float(np.sort(flat)[-keep])
    return ReleasedThreshold(
        keep=keep, threshold=threshold, masks=tuple(values >= threshold for values in layer_scores)
    )
