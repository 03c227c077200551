r"""S5: one system with H inputs and H outputs (or m and p, where D is dense), one step size a state.

:math:`x_k = \bar\Lambda x_{k-1} + \bar B u_k,\; y_k = s\,\Re(\tilde C x_k) + D u_k`, and the same backwards in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.families.family import CLIP, PADDED_EIGENVALUE, Fields, continuous
from theory.errors import DimensionError, InputError
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

DEFAULT_LOG_STEP = float(np.log(0.01))
"""Step size where a layer without states gives none to go by: in the middle of S5's initial range, 0.001 to 0.1."""

STEP_RANGE = 0.1
"""Step sizes are tried down to ``exp(-0.1)`` times the layer's own: wide enough for every pattern of rounding."""

CLIP_ROOM = 1.001
"""Eigenvalues stay this factor below the clip, so that rounding to float32 does not carry them into it."""

PADDED_LOG_STEP = -4.0
"""A padding state: stable, of no further meaning."""


class S5:
    """Fields: ``Lambda, log_step`` (P,), ``B`` (P, H), ``C`` (H, P), ``D`` (H,); or (P, m), (p, P) and (p, m)."""

    kind, default_form = "s5", "s5"
    is_batch = False
    delay_reverse = 0

    def shapes(self, fields: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[tuple[int, ...], ...]]:
        """See :class:`Family`."""
        shape = fields["Lambda"]
        if len(shape) != 1:
            raise DimensionError("Lambda must have shape (P,)", Lambda=shape)
        if len(fields["B"]) != 2:
            raise DimensionError("B must have shape (P, H)", B=fields["B"])
        P, m = shape[0], fields["B"][1]
        dense = len(fields["D"]) == 2
        p = fields["D"][0] if dense else m
        D = ((p, m),) if dense else ((m,),)
        return {"B": ((P, m),), "C": ((p, P),), "C_reverse": ((p, P),), "D": D, "log_step": (shape,)}

    def input_matrix(self, B: Array) -> Array:
        """See :class:`Family`."""
        return B

    def field_b(self, B: Array) -> Array:
        """See :class:`Family`."""
        return B

    def system(self, layer: Fields, poles: Array, B: Array) -> DiagonalStateSpace:
        """See :class:`Family`."""
        factor = 1.0 if layer.conj_sym else 0.5
        reverse = None if layer.C_reverse is None else factor * layer.C_reverse
        return DiagonalStateSpace(
            poles,
            B,
            factor * layer.C,
            layer.D if layer.D.ndim == 2 else np.diag(layer.D),
            dt=1.0,
            C_reverse=reverse,
            delay=layer.delay,
            delay_reverse=0,
        )

    def keep(self, layer: Fields, index: Array) -> dict[str, Array | None]:
        """See :class:`Family`."""
        return {
            "Lambda": layer.Lambda[index],
            "B": layer.B[index],
            "C": layer.C[:, index],
            "C_reverse": None if layer.C_reverse is None else layer.C_reverse[:, index],
            "log_step": layer.log_step[index],
        }

    def multiplications(self, layer: Fields, order: int) -> int:
        """See :class:`Family`: of each state 4 and 2p a direction, and 2m for its input."""
        directions = 1 if layer.C_reverse is None else 2
        each = directions * (4 + 2 * int(layer.C.shape[0])) + 2 * int(layer.B.shape[1])
        return order * each + int(layer.D.size)

    def pad(self, layer: Fields, extra: int) -> dict[str, Array | None]:
        """See :class:`Family`."""
        zeros = np.zeros((layer.C.shape[0], extra))
        step = float(np.median(layer.log_step)) if layer.log_step.size else PADDED_LOG_STEP
        return {
            "Lambda": np.concatenate([layer.Lambda, np.full(extra, PADDED_EIGENVALUE)]),
            "B": np.concatenate([layer.B, np.zeros((extra, layer.B.shape[1]))]),
            "C": np.concatenate([layer.C, zeros], axis=1),
            "C_reverse": None if layer.C_reverse is None else np.concatenate([layer.C_reverse, zeros], axis=1),
            "log_step": np.concatenate([layer.log_step, np.full(extra, step)]),
        }

    def matrices(self, layer: Fields, system: DiagonalStateSpace) -> dict[str, Array | None]:
        """See :class:`Family`."""
        if layer.D.ndim == 2:
            return {"C": system.C, "C_reverse": system.C_reverse, "D": system.D.real}
        diagonal = np.diagonal(system.D)
        if diagonal.size:
            off = np.abs(system.D - np.diag(diagonal)).max()
            if off > 0:
                raise InputError(f"the layer's D is diagonal; the system's D has off-diagonal entries up to {off:.3g}")
        return {"C": system.C, "C_reverse": system.C_reverse, "D": diagonal.real}

    def eigenvalues(
        self, layer: Fields, poles: Array, dtype: np.dtype[Any], candidates: int
    ) -> tuple[Array, Array, bool]:
        """Eigenvalues and log-steps, both representable in `dtype`, with the least rounding of their product.

        The step sizes are free: any gives the same discrete system in exact arithmetic.
        """
        scaled = continuous(poles, layer.discretization, np.ones(poles.shape))  # eigenvalue times step
        log_step = np.full(poles.shape, np.median(layer.log_step) if layer.log_step.size else DEFAULT_LOG_STEP)
        if layer.clip_eigs:  # Re(Lambda) = Re(scaled) / step must stay below the clip
            log_step = np.minimum(log_step, np.log(scaled.real / (CLIP_ROOM * CLIP)) - np.log(layer.step_rescale))
        tries = _rounded(log_step[:, None] - np.linspace(0.0, STEP_RANGE, max(candidates, 1)), dtype)
        steps = layer.step_rescale * np.exp(tries)
        exact = scaled[:, None] / steps
        real, imag = _rounded(exact.real, dtype), _rounded(exact.imag, dtype)
        miss = np.hypot((real - exact.real) * steps, (imag - exact.imag) * steps)
        best = np.argmin(miss, axis=1)
        rows = np.arange(poles.size)
        return real[rows, best] + 1j * imag[rows, best], tries[rows, best], True


def _rounded(array: Array, dtype: np.dtype[Any]) -> Array:
    return array.astype(dtype).astype(np.float64)
