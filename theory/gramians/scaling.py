r"""A dense system in units of its own: powers of two for states, time, inputs and outputs; the same system, exactly.

:math:`A=\rho DA'D^{-1},\ B=\beta DB',\ C=\gamma C'D^{-1}` with D diagonal; then
:math:`P=\tfrac{\beta^2}{\rho}DP'D,\ Q=\tfrac{\gamma^2}{\rho}D^{-1}Q'D^{-1}` and
:math:`\sigma_i=\tfrac{\beta\gamma}{\rho}\sigma_i'`. In discrete time :math:`\rho=1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.margin import state_scaling
from theory.systems.system import StateSpace

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scaled:
    """The primed matrices and the exponents of two: `states` (n,) of D, `rate` (even) of rho, `inputs`, `outputs`."""

    A: Array
    B: Array
    C: Array
    discrete: bool
    states: Array
    rate: int
    inputs: int
    outputs: int

    def reach(self, L: Array) -> Array:
        """A factor of P from one of P'."""
        return (
            np.ldexp(L, (self.states + (self.inputs - self.rate // 2))[:, None])
            if L.dtype.kind == "f"
            else (self.reach(L.real) + 1j * self.reach(L.imag))
        )

    def sight(self, L: Array) -> Array:
        """A factor of Q from one of Q'."""
        return (
            np.ldexp(L, (self.outputs - self.rate // 2 - self.states)[:, None])
            if L.dtype.kind == "f"
            else (self.sight(L.real) + 1j * self.sight(L.imag))
        )

    def gain(self, values: Any) -> Any:
        """Hankel singular values from the primed ones."""
        return np.ldexp(values, self.inputs + self.outputs - self.rate)

    def norm(self, value: float) -> float:
        """The H2 norm from the primed one."""
        return float(np.ldexp(value, self.inputs + self.outputs - self.rate // 2))

    def realization(self, A: Array, B: Array, C: Array) -> tuple[Array, Array, Array]:
        """A small system in our units from one in primed units: the states stay, inputs and outputs share the gain."""
        whole = self.inputs + self.outputs
        half = whole // 2
        return A * 2.0**self.rate, B * 2.0**half, C * 2.0 ** (whole - half)


def scaled(system: StateSpace, rate: int | None = None) -> Scaled:
    """Return the system in its own units; `rate`, even, is found from the entries of ``A`` when left out.

    Where a scaling would lose a bit to underflow or overflow, there is none.
    """
    d = state_scaling(system.A)
    with np.errstate(all="ignore"):
        A, B, C = system.A * d / d[:, None], system.B / d[:, None], system.C * d
        if rate is None:
            rate = 0 if system.is_discrete else 2 * (_exponent(A) // 2)
        inputs, outputs = _exponent(B), _exponent(C)
        A, B, C = A * 2.0**-rate, B * 2.0**-inputs, C * 2.0**-outputs
        back = A * 2.0**rate / d * d[:, None], B * 2.0**inputs * d[:, None], C * 2.0**outputs / d
    if not all(np.array_equal(x, y) for x, y in zip(back, (system.A, system.B, system.C))):
        A, B, C, d, rate, inputs, outputs = system.A, system.B, system.C, np.ones(system.n), 0, 0, 0
    states = np.frexp(d)[1] - 1
    return Scaled(A=A, B=B, C=C, discrete=system.is_discrete, states=states, rate=rate, inputs=inputs, outputs=outputs)


def _exponent(X: Array) -> int:
    """Exponent of two of the largest entry, 0 for none; within what leaves room to both sides."""
    largest = float(np.abs(X).max(initial=0.0))
    return int(np.clip(np.frexp(largest)[1], -1000, 1000)) if largest > 0 and np.isfinite(largest) else 0
