r"""S4D: one system with one input and one output a channel, that is a batch of H; one step size a channel.

:math:`k_l = 2\Re\sum_n c_n b_n \bar\lambda_n^l` convolved with each channel; the reverse kernel, where there is one,
starts at the next sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.families.family import PADDED_EIGENVALUE, Fields, continuous
from theory.errors import DimensionError
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


class S4D:
    """Fields: ``Lambda, B, C`` (H, N), ``D`` (H,), ``log_step`` (H, 1) or (H, N)."""

    kind, default_form = "s4d", "s4d-v4"
    is_batch = True
    delay_reverse = 1

    def shapes(self, fields: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[tuple[int, ...], ...]]:
        """See :class:`Family`."""
        shape = fields["Lambda"]
        if len(shape) != 2:
            raise DimensionError("Lambda must have shape (H, N)", Lambda=shape)
        if len(fields["B"]) != 2:
            raise DimensionError("B must have shape (H, N)", B=fields["B"])
        H = shape[0]
        return {"B": (shape,), "C": (shape,), "C_reverse": (shape,), "D": ((H,),), "log_step": ((H, 1), shape)}

    def input_matrix(self, B: Array) -> Array:
        """See :class:`Family`."""
        return B[..., None]

    def field_b(self, B: Array) -> Array:
        """See :class:`Family`."""
        return B[..., 0]

    def system(self, layer: Fields, poles: Array, B: Array) -> DiagonalStateSpace:
        """See :class:`Family`."""
        factor = 1.0 if layer.conj_sym else 0.5
        reverse = None if layer.C_reverse is None else factor * layer.C_reverse
        return DiagonalStateSpace(
            poles,
            B,
            factor * layer.C[:, None, :],
            layer.D[:, None, None],
            dt=1.0,
            C_reverse=None if reverse is None else reverse[:, None, :],
            delay=0,
            delay_reverse=1,
        )

    def keep(self, layer: Fields, index: Array) -> dict[str, Array | None]:
        """See :class:`Family`; `index` is (r,) or, one row a channel, (H, r)."""
        H, N = layer.Lambda.shape
        rows = index if index.ndim == 2 else np.broadcast_to(index, (H, index.size))
        arrays = {key: getattr(layer, key) for key in ("Lambda", "B", "C", "C_reverse", "log_step")}
        return {
            key: value if value is None or value.shape[1] == 1 != N else np.take_along_axis(value, rows, axis=1)
            for key, value in arrays.items()
        }

    def multiplications(self, layer: Fields, order: int) -> int:
        """See :class:`Family`: of each state of a channel 4 and 2 a direction, and 2 for its input."""
        directions = 1 if layer.C_reverse is None else 2
        return int(layer.D.size) * (order * (6 * directions + 2) + 1)

    def pad(self, layer: Fields, extra: int) -> dict[str, Array | None]:
        """See :class:`Family`."""
        zeros = np.zeros((layer.Lambda.shape[0], extra))
        steps = layer.log_step
        if steps.shape[1] > 1:
            steps = np.concatenate([steps, np.repeat(np.median(steps, axis=1)[:, None], extra, axis=1)], axis=1)
        return {
            "Lambda": np.concatenate([layer.Lambda, zeros + PADDED_EIGENVALUE], axis=1),
            "B": np.concatenate([layer.B, zeros], axis=1),
            "C": np.concatenate([layer.C, zeros], axis=1),
            "C_reverse": None if layer.C_reverse is None else np.concatenate([layer.C_reverse, zeros], axis=1),
            "log_step": steps,
        }

    def matrices(self, layer: Fields, system: DiagonalStateSpace) -> dict[str, Array | None]:
        """See :class:`Family`."""
        reverse = None if system.C_reverse is None else system.C_reverse[:, 0, :]
        return {"C": system.C[:, 0, :], "C_reverse": reverse, "D": system.D[:, 0, 0].real}

    def eigenvalues(
        self, layer: Fields, poles: Array, dtype: np.dtype[Any], candidates: int
    ) -> tuple[Array, Array, bool]:
        """Eigenvalues for one step a channel: the layer's own, or the geometric mean where every state had its own."""
        steps = layer.log_step
        log_step = steps if steps.shape[1] == 1 else steps.mean(axis=1, keepdims=True)
        return continuous(poles, layer.discretization, layer.step_rescale * np.exp(log_step)), log_step, False
