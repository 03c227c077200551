r"""The largest gain of single modes by a search, for all of them at once: samples, then golden sections.

For poles within a few margins of the real axis and for two-sided systems, which have no closed form
(:mod:`theory.reduction.modal_gains`): that the global maximum is found is argued from the degree of the response, not
proved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

GRID = 128
"""Starting samples of a search in the pole's own angle `u`; the gain squared is a ratio of trigonometric polynomials
of degree at most four there, so it has far fewer extrema than samples."""

GOLDEN_STEPS = 40
"""Golden-section steps from one grid cell: the angle to 1e-9 of a cell, the value (flat at a maximum) to rounding."""


def searched_gains(pole: Array, margin: Array, b: Array, c: Array, system: DiagonalStateSpace) -> Array:
    """Gains of unit-norm modes by sampling and golden sections in the pole's own angle ``u``."""
    if system.is_discrete:  # angles are exact near 0, not near pi: turn z into -z where the pole is on the left
        left = pole.real < 0
        pole = np.where(left, -pole, pole)
        if c.ndim == 3 and system.delay != system.delay_reverse:
            c = c * np.where(left[:, None, None], np.array([1.0, -1.0]), 1.0)

    def gain(u: Array, mirrored: bool) -> Array:
        return _gain_at(u, pole[:, None], margin[:, None], b, c, system, mirrored)

    # One chart resolves the peak at the pole's angle; the other half of a real system is its mirror image, a
    # complex bidirectional one has a second peak, of its reverse direction, at the mirrored angle.
    charts = (False, True) if c.ndim == 3 and not system.conjugate_pairs else (False,)
    best = np.zeros(len(pole))
    grid = np.linspace(-np.pi, np.pi, GRID + 1)[1:] * np.ones((len(pole), 1))
    cell = 2.0 * np.pi / GRID
    for mirrored in charts:
        value = gain(grid, mirrored)
        best = np.maximum(best, value.max(axis=1))
        peak = (value >= np.roll(value, 1, axis=1)) & (value >= np.roll(value, -1, axis=1))
        order = np.argsort(np.where(peak, value, -1.0), axis=1)[:, -3:]
        low = np.take_along_axis(grid, order, axis=1) - cell
        best = np.maximum(best, _golden(lambda u, side=mirrored: gain(u, side), low, low + 2.0 * cell).max(axis=1))
    return best


def _golden(function: Any, low: Array, high: Array) -> Array:
    """Largest value seen by golden sections of [low, high], elementwise."""
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    best: Array = np.maximum(at_left, at_right)
    for _ in range(GOLDEN_STEPS):
        down = at_left > at_right
        high, low = np.where(down, right, high), np.where(down, low, left)
        probe = np.where(down, high - ratio * (high - low), low + ratio * (high - low))
        at_probe = function(probe)
        left, right = np.where(down, probe, right), np.where(down, left, probe)
        at_left, at_right = np.where(down, at_probe, at_right), np.where(down, at_left, at_probe)
        best = np.maximum(best, at_probe)
    return best


def _gain_at(
    u: Array, pole: Array, margin: Array, b: Array, c: Array, system: DiagonalStateSpace, mirrored: bool
) -> Array:
    r"""Largest singular value of each mode at the pole angles `u`, (n, k).

    Discrete: :math:`\theta=\pm\varphi+d` with :math:`\tan(d/2)=(1-r)/(1+r)\tan(u/2)`, the phase of the Blaschke factor;
    :math:`z-\lambda = e^{j\varphi}[(1-r-2\sin^2(d/2))+j\sin d]` cancels nowhere.
    Continuous: :math:`\omega=b+a\tan(u/2)`.
    """
    paired = system.conjugate_pairs
    tangent = np.tan(0.5 * u)
    if not system.is_discrete:
        offset = margin * tangent
        near, far = margin + 1j * offset, margin + 1j * (offset + 2.0 * pole.imag)  # s - pole, s - conj(pole)
        forward, forward_conj = 1.0 / near, 1.0 / far
        return _largest(b, [c], [(forward, forward_conj)], paired)
    phi = np.angle(pole)
    d = 2.0 * np.arctan(margin / (2.0 - margin) * tangent)
    theta = (-phi if mirrored else phi) + d
    offset_near = theta - phi if mirrored else d
    offset_far = d if mirrored else d + 2.0 * phi

    def inverse(offset: Array, angle: Array) -> Array:  # 1 / (e^{j(angle + offset)} - r e^{j angle})
        return np.exp(-1j * angle) / (margin - 2.0 * np.sin(0.5 * offset) ** 2 + 1j * np.sin(offset))

    near, far = inverse(offset_near, phi), inverse(offset_far, -phi)  # 1/(z - pole), 1/(z - conj(pole))
    lead = np.exp(1j * theta) if system.delay == 0 else np.ones(1)
    if c.ndim == 2:
        return _largest(b, [c], [(lead * near, lead * far)], paired)
    back = np.exp(-1j * theta) if system.delay_reverse == 0 else np.ones(1)
    reverse = (back * far.conj(), back * near.conj())  # 1/(conj(z) - pole) = conj(1/(z - conj(pole))) on the circle
    return _largest(b, [c[..., 0], c[..., 1]], [(lead * near, lead * far), reverse], paired)


def _largest(b: Array, outputs: list[Array], factors: list[tuple[Array, Array]], paired: bool) -> Array:
    """Largest singular value of ``sum_d (c_d f_d) b^T`` plus, if `paired`, the conjugate half: at most two columns."""
    columns: list[Array] = []
    for k in range(b.shape[-1]):
        column: Array = np.zeros(1)
        for c, (direct, conjugate) in zip(outputs, factors, strict=True):
            coupling = (c * b[:, k : k + 1])[:, :, None]
            column = column + coupling * direct[:, None, :]
            if paired:
                column = column + coupling.conj() * conjugate[:, None, :]
        columns.append(column)
    first = (np.abs(columns[0]) ** 2).sum(axis=1)
    if len(columns) == 1:
        return np.asarray(np.sqrt(first))
    second = (np.abs(columns[1]) ** 2).sum(axis=1)
    cross = np.abs((columns[0].conj() * columns[1]).sum(axis=1))
    return np.asarray(np.sqrt(0.5 * (first + second) + np.hypot(0.5 * (first - second), cross)))
