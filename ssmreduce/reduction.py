r"""Reduce one layer or system by one method: ``reduce``.

What comes back is the layer *as written*, parameters rounded to their storage; its bound includes that rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ssmreduce.layers.inversion import rounding_bound
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import as_layer_or_system
from ssmreduce.methods.registry import METHODS, Method, checked_order
from theory.errors import InputError, ToleranceError
from theory.norms.bracket import Bracket
from theory.reduction.balancing import Truncation
from theory.systems.system import DiagonalStateSpace, System

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Reduction:
    r"""A smaller layer or system, and what is known about its error beforehand.

    Attributes
    ----------
    system : StateSpace or DiagonalStateSpace
        The reduced system; with a layer, that of the rounded parameters in :attr:`layer`.
    layer : SSMLayer or None
        The reduced layer, ready for the original scan, when a layer came in.
    method : str
        Key of :data:`ssmreduce.methods.registry.METHODS`.
    order : int
        Stored states; never more than asked for.
    bound : float or ndarray
        :math:`\|G-G_r\|_\infty\le` bound, for :attr:`system`, rounding included; one for each channel of S4D.
    floor : float or ndarray
        No system of this order (with the same D, for a causal layer) has a smaller error.
    hsv : ndarray, shape (..., N), descending
        Hankel singular values of the original.
    rounding : float or ndarray
        The part of the bound that is the rounding of stored parameters; 0 where states were kept bit for bit.
    status : str
        "ok", or a sentence of advice.
    diagnostics : dict
        ``kept`` (indices, for modal methods), eigenvector ``condition``, and so on.
    original : StateSpace or DiagonalStateSpace
        What was reduced.
    """

    system: System
    layer: SSMLayer | None
    method: str
    order: int
    bound: Any
    floor: Any
    hsv: Array
    rounding: Any
    status: str
    original: System
    diagnostics: dict[str, Any] = field(default_factory=dict)

    def error(self, rtol: float = 1e-3) -> Bracket:
        r"""Certify :math:`\|G-G_r\|_\infty` of what was written; see :func:`theory.norms.error_norm`."""
        from theory.norms import error_norm

        return error_norm(self.original, self.system, rtol=rtol)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON; without the systems."""

        def plain(value: Any) -> Any:
            return np.asarray(value, dtype=float).tolist()

        return {
            "method": self.method,
            "order": self.order,
            "original_order": self.original.n,
            "bound": plain(self.bound),
            "floor": plain(self.floor),
            "rounding": plain(self.rounding),
            "status": self.status,
        }

    def __repr__(self) -> str:
        worst, note = float(np.max(self.bound)), "" if self.status == "ok" else f", {self.status}"
        return f"Reduction({self.method}, order {self.order} of {self.original.n}, bound={worst:.6g}{note})"


def reduce(
    layer_or_system: Any,
    order: int | None = None,
    rtol: float | None = None,
    method: str = "balanced",
    *,
    seed: int = 0,
    dtype: DTypeLike | None = None,
    **options: Any,
) -> Reduction:
    r"""Reduce a layer or system to fewer states, with an a-priori bound on its error.

    .. math:: \text{floor} \le \|G-G_r\|_\infty \le \text{bound}

    Parameters
    ----------
    layer_or_system : object
        An :class:`SSMLayer`, a live layer with ``ssm_params()`` and ``ssm_options()``, a mapping of a layer's
        parameters, a :class:`StateSpace`, a :class:`DiagonalStateSpace`, or a python-control ``StateSpace``.
    order : int, optional
        Stored states to keep (states, for a dense system), ``1 <= order <= n``; for S4D in every channel.
    rtol : float, optional
        Instead of `order`: the smallest order found whose bound is at most `rtol` times :math:`\sigma_1`, the largest
        Hankel singular value (which is not more than the norm).
    method : str
        One of :data:`ssmreduce.methods.registry.METHODS`.
    seed : int, keyword only
        For "random".
    dtype : dtype, optional, keyword only
        Precision of the reduced layer's parameters; by default that of the layer.
    **options
        For a mapping: ``conj_sym`` and so on, see :func:`ssmreduce.layers.params.layer_from_params`.

    Returns
    -------
    Reduction

    Raises
    ------
    OrderError
        The order is out of range, or more than is numerically present; carries the attainable one.
    StabilityError
        A state is not stable; the message names it, and the two ways on.
    InputError, ToleranceError, AccuracyError
    """
    source = as_layer_or_system(layer_or_system, **options)
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; the methods are {', '.join(METHODS)}")
    if (order is None) == (rtol is None):
        raise InputError(
            "give either order (states to keep) or rtol (bound relative to the largest Hankel singular value)"
        )
    chosen = METHODS[method]
    system = source.system if isinstance(source, SSMLayer) else source
    if isinstance(source, SSMLayer):
        source.require_stable()
    if order is not None:
        return _reduce(source, system, chosen, checked_order(order, system.n), seed, dtype)
    if rtol is None or not (rtol >= 0 and math.isfinite(rtol)):
        raise ToleranceError(
            f"rtol must be a finite number >= 0, got {rtol}", float("nan") if rtol is None else rtol, 0.0
        )
    return _by_tolerance(source, system, chosen, rtol, seed, dtype)


def _reduce(
    source: SSMLayer | System, system: System, method: Method, order: int, seed: int, dtype: DTypeLike | None
) -> Reduction:
    truncation = (
        method.reduce(system, order=order, seed=seed) if method.score is None else _scored(source, method, order, seed)
    )
    return _written(source, system, method, truncation, order, dtype)


def _scored(source: SSMLayer | System, method: Method, order: int, seed: int) -> Truncation:
    """Rank the states by the score of the layer: some scores see its stored parameters, not only its system."""
    from ssmreduce.methods.registry import keep_best

    assert method.score is not None
    return keep_best(source, method.score, order=order, seed=seed)  # type: ignore[arg-type]


def _written(
    source: SSMLayer | System,
    system: System,
    method: Method,
    truncation: Truncation,
    asked: int,
    dtype: DTypeLike | None,
) -> Reduction:
    """Turn a truncation into what is stored, and add the rounding to its bound."""
    layer: SSMLayer | None = None
    reduced, rounding = truncation.system, np.zeros(np.shape(truncation.bound))
    diagnostics = dict(truncation.diagnostics)
    diagnostics["summary"] = truncation.status
    if isinstance(source, SSMLayer):
        same_type = dtype is None or np.dtype(dtype) == source.dtype
        if reduced is system and same_type:
            layer = source
        elif "kept" in diagnostics and same_type:
            layer = source.keep(diagnostics["kept"])
        else:
            assert isinstance(reduced, DiagonalStateSpace)
            layer = source.with_system(reduced, dtype=dtype)
            layer.require_stable()
            rounding = np.asarray(rounding_bound(reduced, layer.system))
        reduced = layer.system
    scalar = rounding.ndim == 0
    return Reduction(
        system=reduced,
        layer=layer,
        method=method.name,
        order=truncation.order,
        bound=float(truncation.bound + rounding) if scalar else truncation.bound + rounding,
        floor=truncation.floor,
        hsv=truncation.hsv,
        rounding=float(rounding) if scalar else rounding,
        status="ok" if truncation.order == asked and ";" not in truncation.status else truncation.status,
        original=system,
        diagnostics=diagnostics,
    )


def _by_tolerance(
    source: SSMLayer | System, system: System, method: Method, rtol: float, seed: int, dtype: DTypeLike | None
) -> Reduction:
    """The method's own smallest order; then more states while rounding is what breaks the bound."""
    if method.score is None:
        first = method.reduce(system, rtol=rtol, seed=seed)
    else:
        from ssmreduce.methods.registry import keep_best

        first = keep_best(source, method.score, rtol=rtol, seed=seed)  # type: ignore[arg-type]
    found = _written(source, system, method, first, first.order, dtype)
    sigma = found.hsv[..., 0] if found.hsv.shape[-1] else np.zeros(found.hsv.shape[:-1])
    while np.any(found.bound > rtol * sigma) and found.order < system.n:
        hopeless = np.any(found.rounding > rtol * sigma)
        found = _reduce(source, system, method, system.n if hopeless else found.order + 1, seed, dtype)
    return found
