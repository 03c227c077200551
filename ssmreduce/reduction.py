r"""Reduce one layer or system by one method: ``reduce``.

What comes back is the layer *as written*, parameters rounded to their storage; its bound includes that rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ssmreduce.layers.formats.layer_format import NotClosedError
from ssmreduce.layers.inversion import rounding_bound
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import as_layer_or_system
from ssmreduce.methods.registry import METHODS, Method, largest, system_of
from theory.errors import InputError
from theory.norms.bracket import Bracket
from theory.reduction.balancing import Remark, Truncation
from theory.reduction.bounds import require_consistent
from theory.systems.system import DiagonalStateSpace, System

Array = NDArray[Any]

NOT_WRITTEN = "not_written"
"""Under which name the diagnostics say why there is no layer."""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Reduction:
    r"""A smaller layer or system, and what is known about its error beforehand.

    Attributes
    ----------
    system : StateSpace or DiagonalStateSpace
        The reduced system; with a layer, that of the rounded parameters in :attr:`layer`.
    layer : SSMLayer or None
        The reduced layer, ready for the original scan, when a layer came in whose code base can hold it; where it
        cannot, ``diagnostics["not_written"]`` says why, and what can be done.
    method : str
        Name of the method, parameters included; :data:`ssmreduce.METHODS` reads it.
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
    remarks : tuple of Remark
        The same for programs: empty when the status is "ok".
    guarantee : str
        What the method promises of its result; empty if nothing.
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
    remarks: tuple[Remark, ...] = ()
    guarantee: str = ""
    diagnostics: dict[str, Any] = field(default_factory=dict)

    def error(self, rtol: float = 1e-3) -> Bracket:
        r"""Certify :math:`\|G-G_r\|_\infty` of what was written; see :func:`theory.norms.error_norm`."""
        from theory.norms import error_norm

        return error_norm(self.original, self.system, rtol=rtol)

    def error_in(self, band: tuple[float, float], rtol: float = 1e-3) -> Bracket:
        r"""Certify the largest error over a band of frequencies, of what was written.

        :math:`\text{lower}\le\max_{\omega\in[l,h]}\sigma_{\max}(G(\omega)-G_r(\omega))\le\text{upper}`; see
        :func:`theory.norms.band.band_norm`.

        Parameters
        ----------
        band : tuple of two floats
            ``(low, high)`` in rad/sample (rad/s in continuous time).
        rtol : float
            Relative width to aim for.
        """
        from theory.norms.band import band_norm
        from theory.systems.difference import difference

        return band_norm(difference(self.original, self.system), band, rtol)

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
            "remarks": [remark.value for remark in self.remarks],
        }

    def __repr__(self) -> str:
        worst, note = float(np.max(self.bound)), "" if self.status == "ok" else f", {self.status}"
        return f"Reduction({self.method}, order {self.order} of {self.original.n}, bound={worst:.6g}{note})"


def reduce(
    layer_or_system: Any,
    order: int | None = None,
    rtol: float | None = None,
    method: str | Method = "balanced",
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
        Stored states to keep (states, for a dense system), ``0 <= order <= n``; for S4D in every channel. 0 leaves
        the feedthrough alone.
    rtol : float, optional
        Instead of `order`: the smallest order found, at least 1, whose bound is at most `rtol` times
        :math:`\sigma_1`, the largest Hankel singular value (which is not more than the norm).
    method : str or Method
        A name, ``"balanced"``; a name with parameters, ``"balanced(condition_limit=1e12)"``; or a value,
        ``Balanced(condition_limit=1e12)``. The names are those of :data:`ssmreduce.METHODS`.
    seed : int, keyword only
        For methods that draw, as "random".
    dtype : dtype, optional, keyword only
        Precision of the reduced layer's parameters; by default that of the layer.
    **options
        What the method takes besides, by the names in its ``takes``. For a mapping: ``conj_sym`` and so on, see
        :func:`ssmreduce.layers.params.layer_from_params`.

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
    chosen = METHODS.find(method)
    data, rest = data_for([chosen], options)
    source = as_layer_or_system(layer_or_system, **rest)
    if isinstance(source, SSMLayer):
        source.require_stable()
    if "seed" in chosen.takes:
        data["seed"] = seed
    truncation = chosen.reduce(source, order=order, rtol=rtol, **data)
    if order is not None:
        return _written(source, chosen, truncation, order, dtype)
    found = _written(source, chosen, truncation, truncation.order, dtype)
    goal, n = rtol * largest(found.hsv), found.original.n
    while np.any(found.bound > goal) and found.order < n:  # rounding breaks the bound: more states, or all of them
        more = n if np.any(found.rounding > goal) else found.order + 1
        found = _written(source, chosen, chosen.reduce(source, order=more, **data), more, dtype)
    return found


def data_for(methods: Sequence[Method], options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split keywords into what one of the methods takes, and the options of a layer.

    Raises
    ------
    InputError
        A keyword that only other methods take, or that is a parameter of a method.
    """
    taken = {name for method in methods for name in method.takes}
    for name in options.keys() - taken:
        takers = [key for key, method in METHODS.items() if name in method.takes]
        if takers:
            names = ", ".join(method.name for method in methods)
            raise InputError(f"{name} is for {', '.join(takers)}; it was given with {names}")
        owners = [method for method in methods if name in method.parameters()]
        if owners:
            key, kind = owners[0].name.split("(")[0], type(owners[0]).__name__
            raise InputError(
                f"{name} is a parameter of the method {key!r}, and part of its name or value: "
                f'method="{key}({name}=...)", or method={kind}({name}=...)'
            )
    return (
        {name: value for name, value in options.items() if name in taken},
        {name: value for name, value in options.items() if name not in taken},
    )


def _written(
    source: SSMLayer | System, method: Method, truncation: Truncation, asked: int, dtype: DTypeLike | None
) -> Reduction:
    """Turn a truncation into what is stored, and add the rounding to its bound."""
    layer: SSMLayer | None = None
    unwritten: dict[str, str] = {}
    system = system_of(source)
    reduced, rounding = truncation.system, np.zeros(np.shape(truncation.bound))
    if isinstance(source, SSMLayer):
        same_type = dtype is None or np.dtype(dtype) == source.dtype
        if reduced is system and same_type:
            layer = source
        else:
            assert isinstance(reduced, DiagonalStateSpace)
            try:
                kept = truncation.kept if same_type else None
                layer = source.with_system(reduced, dtype=dtype) if kept is None else source.keep(kept)
            except NotClosedError as error:  # the system is the answer, and no layer of this code base
                unwritten = {NOT_WRITTEN: str(error)}
            if layer is not None and kept is None:
                layer.require_stable()
                rounding = np.asarray(rounding_bound(reduced, layer.system))
        reduced = reduced if layer is None else layer.system
    scalar = rounding.ndim == 0
    require_consistent(floor=truncation.floor, bound=truncation.bound + rounding)
    remarks = truncation.remarks
    if truncation.order < asked and Remark.FEWER_STATES not in remarks:
        remarks = (Remark.FEWER_STATES, *remarks)
    return Reduction(
        system=reduced,
        layer=layer,
        method=method.name,
        order=truncation.order,
        bound=float(truncation.bound + rounding) if scalar else truncation.bound + rounding,
        floor=truncation.floor,
        hsv=truncation.hsv,
        rounding=float(rounding) if scalar else rounding,
        status=truncation.status if remarks else "ok",
        remarks=remarks,
        guarantee=method.guarantee,
        original=system,
        diagnostics={**truncation.diagnostics, "summary": truncation.status, **unwritten},
    )
