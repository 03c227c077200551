"""The idea of a layer family, and the little that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from theory.systems import discrete_modes as rules
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

PADDED_EIGENVALUE = -0.5
"""Of states that only fill up: stable at every step size, and of no consequence."""

CLIP = -1e-4
"""Where ``clip_eigs`` holds the real part of an eigenvalue: the constant of the reference code."""


class Fields(Protocol):
    """The arrays and options of a layer that a family looks at; :class:`ssmreduce.SSMLayer` has them."""

    @property
    def Lambda(self) -> Array: ...  # noqa: D102, N802
    @property
    def B(self) -> Array: ...  # noqa: D102, N802
    @property
    def C(self) -> Array: ...  # noqa: D102, N802
    @property
    def C_reverse(self) -> Array | None: ...  # noqa: D102, N802
    @property
    def D(self) -> Array: ...  # noqa: D102, N802
    @property
    def log_step(self) -> Array: ...  # noqa: D102
    @property
    def conj_sym(self) -> bool: ...  # noqa: D102
    @property
    def clip_eigs(self) -> bool: ...  # noqa: D102
    @property
    def discretization(self) -> str: ...  # noqa: D102
    @property
    def delay(self) -> int: ...  # noqa: D102
    @property
    def step_rescale(self) -> float: ...  # noqa: D102


class Family(Protocol):
    """What one kind of layer is, apart from how it is stored.

    Attributes
    ----------
    kind : str
        Its name: key in :data:`FAMILIES`, ``layer.kind``, ``architecture`` of a checkpoint.
    default_form : str
        The layer format of arrays that came from no file, a key of :data:`ssmreduce.layers.formats.LAYER_FORMATS`.
    is_batch : bool
        Whether the layer is one system with one input and one output a channel (a batch), or a single system.
    delay_reverse : int
        Delay of the reverse direction; the forward one has 0.
    """

    kind: str
    default_form: str
    is_batch: bool
    delay_reverse: int

    def shapes(self, fields: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[tuple[int, ...], ...]]:
        """Return the shapes that each field may have, given those of Lambda, B and D that came.

        Raises
        ------
        DimensionError
            Lambda or B has another number of axes.
        """
        ...

    def input_matrix(self, B: Array) -> Array:
        """Return B as ``(..., n, m)``."""
        ...

    def system(self, layer: Fields, poles: Array, B: Array) -> DiagonalStateSpace:
        """Return the real system of a layer, given its discrete poles and input matrix."""
        ...

    def keep(self, layer: Fields, index: Array) -> dict[str, Array | None]:
        """Return the fields of the states `index`."""
        ...

    def multiplications(self, layer: Fields, order: int) -> int:
        """Count the real multiplications of one step of the recurrence with `order` stored states, D's included."""
        ...

    def pad(self, layer: Fields, extra: int) -> dict[str, Array | None]:
        """Return the fields with `extra` states added that no input reaches and no output sees.

        Raises
        ------
        InputError
            The family has no need of it.
        """
        ...

    def matrices(self, layer: Fields, system: DiagonalStateSpace) -> dict[str, Array | None]:
        """Return ``C``, ``C_reverse`` and ``D`` of a system in the shapes of the fields of `layer`.

        Raises
        ------
        InputError
            D is not diagonal, and that of `layer` is.
        """
        ...

    def eigenvalues(
        self, layer: Fields, poles: Array, dtype: np.dtype[Any], candidates: int
    ) -> tuple[Array, Array, bool]:
        """Return continuous eigenvalues and log-steps of discrete poles, and whether `dtype` holds them as they are."""
        ...

    def field_b(self, B: Array) -> Array:
        """Return an input matrix ``(..., n, m)`` in the shape of the field."""
        ...


DISCRETIZATIONS = ("zoh", "bilinear", "dirac")
"""How a layer's code gets from continuous to discrete time; ``dirac``: poles as zero-order hold, B as it is stored."""


def discrete(Lambda: Array, B: Array, discretization: str, step: Array) -> rules.Discretized:
    """Discrete poles, input matrix ``(..., n, m)`` and margins of a layer's eigenvalues, for the given steps."""
    if discretization == "bilinear":
        return rules.bilinear(Lambda, B, step)
    held = rules.zero_order_hold(Lambda, B, step)
    return held._replace(B=B.astype(complex)) if discretization == "dirac" else held


def continuous(poles: Array, discretization: str, step: Array) -> Array:
    """Continuous-time eigenvalues of discrete poles, for the given steps."""
    ones = np.ones((*poles.shape, 1))
    inverse = rules.inverse_bilinear if discretization == "bilinear" else rules.inverse_zero_order_hold
    return inverse(poles, ones, step).poles
