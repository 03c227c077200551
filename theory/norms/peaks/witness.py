r"""The lower end of a norm: a gain attained at a frequency that anyone can re-evaluate.

:math:`|u^*G(\omega)v|/(\|u\|\|v\|)` is below the largest gain for any u and v; it is evaluated here in extended
precision at *exactly* the float64 frequency that is reported, and rounded down by its evaluation error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EXTENDED, OPERATIONS_4000, SECOND_ORDER, SMALLEST
from theory.arithmetic.singular_value import gain_of
from theory.norms.responses.modes import ModalSum
from theory.norms.responses.resolvent import Resolvent
from theory.norms.responses.substitution import Substitution
from theory.systems.boundary import AXIS, CIRCLE, INFINITY
from theory.systems.margin import discrete_margin

Array = NDArray[Any]

SLIP = 4e-16
"""Distance of an evaluated point from the reported frequency: rad on the circle, relative near infinity; two units."""

POINT = 1e-30
"""Absolute: distance from the unit circle of a point that is a float64 pair with its exact defect."""

EXTENDED_SUM = 1e-9
"""Relative: more than what rounding a bound of the rounding to float64 can hide."""


def extended_modes(modes: ModalSum, frequency: float) -> tuple[Array, Array]:
    """Return the mode functions at one frequency in extended precision and bounds of their relative errors, (N,)."""
    poles = modes.poles.astype(np.clongdouble)
    low = np.zeros(poles.size, np.clongdouble) if modes.low is None else modes.low.astype(np.clongdouble)
    if not modes.discrete:
        if np.isinf(frequency):
            return np.zeros(poles.size, np.clongdouble), np.zeros(poles.size)
        return 1 / ((1j * np.longdouble(frequency) - poles) - low), np.full(poles.size, 8 * EXTENDED)
    angle = np.longdouble(frequency)
    exact = np.cos(angle) + 1j * np.sin(angle)
    z = np.complex128(exact)
    # modulus one exactly, the angle to extended precision
    turn = np.imag((exact - z) * np.conj(z))
    rest = np.clongdouble(z) * (np.longdouble(discrete_margin(z)) + 1j * turn - turn * turn / 2)
    z_each, rest_each = np.full(poles.size, np.clongdouble(z)), np.full(poles.size, rest)
    z_each, rest_each = (
        np.where(modes.reverse, z_each.conj(), z_each),
        np.where(modes.reverse, rest_each.conj(), rest_each),
    )
    distance = (z_each - poles) + (rest_each - low)
    value = 1 / distance
    value = np.where(modes.direct, value * (z_each + rest_each), value)
    with np.errstate(divide="ignore"):
        relative = 16 * EXTENDED + np.asarray((4 * EXTENDED + POINT) / np.abs(distance), dtype=float)
    return value, relative


def attained_gain(modes: ModalSum, frequency: float, vector: Array | None = None) -> float:
    """Return a gain that the modal sum attains at `frequency`, rounded down by its evaluation error.

    `vector` (m,) is an input that nearly attains it, if one is known: singular vectors are not searched then.
    """
    p, m = modes.D.shape
    r, relative = extended_modes(modes, frequency)
    if vector is not None:
        u, v = _improved(modes, r.astype(complex), vector)
    else:
        rough = (modes.C * r.astype(complex)) @ modes.B + modes.D
        if not np.isfinite(rough).all():
            return 0.0
        left, _, right = np.linalg.svd(rough) if min(p, m) <= 32 else _dominant(rough)
        u, v = left[:, 0], right[0].conj()
    u, v = u.astype(np.clongdouble), v.astype(np.clongdouble)
    value = (u.conj() @ modes.C.astype(np.clongdouble)) @ (r * (modes.B.astype(np.clongdouble) @ v))
    value = value + u.conj() @ (modes.D.astype(np.clongdouble) @ v)
    size = np.abs(r).astype(float)
    terms = float(size @ modes.weights) + float(np.linalg.norm(modes.D))
    rounding = 4.0 * (modes.poles.size + p + m + 16) * EXTENDED * terms
    error = SECOND_ORDER * (rounding + float((size * relative) @ modes.weights))
    error += float(modes.loss(size[None] * (1 + OPERATIONS_4000)).absolute[0])
    norms = float(np.sqrt(np.vdot(u, u).real * np.vdot(v, v).real))
    gain = float(np.abs(value)) * (1 - SLIP) / (norms * (1 + SLIP)) - error * (1 + EXTENDED_SUM)
    return max(gain * (1.0 - modes.relative_loss), 0.0) if np.isfinite(gain) else 0.0


def resolvent_gain(boundary: Resolvent | Substitution, chart: str, where: float) -> float:
    """Return a gain attained at the float64 frequency that is reported for the sample at `where`."""
    x = np.array([where])
    value, rounding, loss = boundary.response(chart, x)
    # the sample lies within rounding of the frequency that is reported
    slip = {CIRCLE: SLIP, AXIS: 0.0, INFINITY: SLIP * abs(where)}[chart]
    if isinstance(boundary, Substitution):  # whose distances from poles near z = 1 are known better than 1e-16
        slip *= min(1.0, abs(where)) if chart == CIRCLE else 1.0
    slope = 0.0
    if slip:
        arc = boundary.arc(chart, x, np.array([slip + SMALLEST]))
        slope, loss = arc.first[0], arc.loss
    gain = gain_of(value[0]) - SECOND_ORDER * (float(rounding[0]) + float(loss.absolute[0]) + float(slope) * slip)
    return max(gain, 0.0) if np.isfinite(gain) else 0.0


def _improved(modes: ModalSum, r: Array, v: Array, *, rounds: int = 2) -> tuple[Array, Array]:
    """A few steps of the power method: squares the small error of a vector that nearly is singular."""
    for _ in range(rounds):
        u = modes.C @ (r * (modes.B @ v)) + modes.D @ v
        u = u / np.linalg.norm(u)
        v = modes.B.conj().T @ (r.conj() * (modes.C.conj().T @ u)) + modes.D.conj().T @ u
        v = v / np.linalg.norm(v)
    return u, v


def _dominant(G: Array, *, steps: int = 40, block: int = 8) -> tuple[Array, Array, Array]:
    """Leading singular vectors by block power iteration: enough for a witness."""
    V = np.linalg.qr(np.random.default_rng(0).normal(size=(G.shape[1], block)).astype(complex))[0]
    for _ in range(steps):
        V = np.linalg.qr(G.conj().T @ (G @ V))[0]
    left, values, right = np.linalg.svd(G @ V, full_matrices=False)
    return left, values, right @ V.conj().T
