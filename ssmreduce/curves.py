"""The pictures of an analysis as numbers: what :mod:`ssmreduce.view.analysis_plot` draws.

Nothing here is certified but what says so: gains are float64 evaluations at the frequencies that are drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import Source, shared, system_of
from ssmreduce.reduction import Reduction
from ssmreduce.view.analysis_plot import GainPicture, HankelPicture, PolePicture
from theory.norms.bracket import Bracket
from theory.reduction.balancing import real_order
from theory.reduction.bounds import balanced_bound, hankel_floor
from theory.systems.difference import difference
from theory.systems.margin import discrete_margin
from theory.systems.response import frequency_response
from theory.systems.system import DiagonalStateSpace, System

Array = NDArray[Any]

EVEN = 160
"""Frequencies spread evenly over the axis of a picture."""

AROUND = (-2.0, -0.7, 0.0, 0.7, 2.0)
"""Where a peak is drawn: at the angle of a pole, and to both sides, in multiples of its margin."""

MOST_POLES = 32
"""Poles whose peaks are drawn, those closest to the boundary: the others are wider than the even grid's step."""

LOWEST = 1e-5
"""Lowest frequency of a logarithmic axis, relative to the highest."""


def title_of(source: Source) -> str:
    """What a picture calls a layer or system."""
    system = system_of(source)
    name = source.name if isinstance(source, SSMLayer) else ""
    return f"{name or type(source).__name__} ({system.n} stored states)"


def margins(source: Source) -> Array:
    """Stability margin of every pole, as exactly as the source knows it."""
    if isinstance(source, (SSMLayer, DiagonalStateSpace)):
        return np.asarray(source.margin)
    return discrete_margin(source.poles) if source.is_discrete else np.asarray(-source.poles.real)


def hankel_picture(source: Source) -> HankelPicture:
    """Hankel singular values, and what follows from them for every order: floor, and bound of balanced truncation."""
    system, balancing = system_of(source), shared(system_of(source))
    directions = 2 if isinstance(system, DiagonalStateSpace) and system.is_bidirectional else 1
    orders = np.arange(system.n + 1)

    def worst(value: Any) -> float:
        return float(np.max(value, initial=0.0))

    states = [real_order(system, int(order)) for order in orders]
    ceiling = balancing.ceiling_hsv
    return HankelPicture(
        name=title_of(source),
        values=balancing.hsv.reshape(-1, balancing.hsv.shape[-1]),
        per_order=real_order(system, 1),
        orders=orders,
        floor=np.array([worst(hankel_floor(balancing.floor_hsv, k)) for k in states]),
        bound=np.array([worst(balanced_bound(ceiling, k, directions=directions)) for k in states]),
    )


def gain_picture(source: Source, norm: Bracket, reduction: Reduction | None, error: Bracket | None) -> GainPicture:
    """Gains of a system (of a batch: of one channel), and with a reduction also of that, and of the error.

    The channel is the one whose error is largest, without a reduction the one whose norm is.
    """
    system, name = system_of(source), title_of(source)
    smaller = None if reduction is None else reduction.system
    if isinstance(system, DiagonalStateSpace) and system.batch_shape:
        judged = norm if error is None else error
        channel = int(np.argmax(judged.lower))
        norm, error = _of_channel(norm, channel), None if error is None else _of_channel(error, channel)
        index = np.unravel_index(channel, system.batch_shape)
        system = system[index]
        smaller = smaller[index] if isinstance(smaller, DiagonalStateSpace) else None
        name = f"{name}, channel {channel}"
    curves: dict[str, System] = {"$G$": system}
    peaks = {"$G$": norm}
    if smaller is not None and error is not None:
        curves |= {"$G_r$": smaller, "error $G-G_r$": difference(system, smaller)}
        peaks["error $G-G_r$"] = error
    witnesses = {label: (float(peak.frequency), float(peak.lower)) for label, peak in peaks.items()}
    omega, logarithmic = _grid(system, np.array([at for at, _ in witnesses.values()]))
    return GainPicture(
        name=name,
        omega=omega,
        gains={label: largest_gain(frequency_response(one, omega)) for label, one in curves.items()},
        witnesses=witnesses,
        discrete=system.is_discrete,
        logarithmic=logarithmic,
    )


def pole_picture(source: Source, reduction: Reduction | None) -> PolePicture:
    """Poles of a layer or system, and with a reduction also those of that."""
    groups = {"of the original": _map(source)}
    if reduction is not None:
        groups[f"of order {reduction.order}, {reduction.method}"] = _map(reduction.layer or reduction.system)
    return PolePicture(name=title_of(source), groups=groups, discrete=system_of(source).is_discrete)


def largest_gain(response: Array) -> Array:
    """Largest singular value of each matrix (..., p, m), from the smaller of its two Gram matrices."""
    if 0 in response.shape[-2:]:
        return np.zeros(response.shape[:-2])
    size = np.abs(response).max(axis=(-2, -1), keepdims=True)
    scaled = response / np.where(size > 0, size, 1.0)
    wide = response.shape[-2] < response.shape[-1]
    other = np.conj(np.swapaxes(scaled, -1, -2))
    gram = scaled @ other if wide else other @ scaled
    return np.asarray(size[..., 0, 0] * np.sqrt(np.linalg.eigvalsh(gram)[..., -1]))


def _map(source: Source) -> tuple[Array, Array]:
    system = system_of(source)
    poles = np.asarray(source.poles).ravel()
    across = np.angle(poles) if system.is_discrete else poles.imag
    return np.abs(across) if system.is_real else across, margins(source).ravel()


def _of_channel(bracket: Bracket, channel: int) -> Bracket:
    lower, upper, frequency = (np.ravel(end)[channel] for end in (bracket.lower, bracket.upper, bracket.frequency))
    return Bracket(float(lower), float(upper), float(frequency), bracket.status)


def _grid(system: System, witnesses: Array) -> tuple[Array, bool]:
    """Frequencies of a picture, and whether its axis is logarithmic: of real systems, whose responses are even."""
    poles, margin = np.asarray(system.poles), margins(system)
    closest = np.argsort(margin)[:MOST_POLES]
    centre = (np.angle(poles) if system.is_discrete else poles.imag)[closest]
    offsets = margin[closest, None] * np.array(AROUND)
    near = np.concatenate([(centre[:, None] + offsets).ravel(), witnesses[np.isfinite(witnesses)]])
    reach = np.concatenate([np.abs(near), margin, [0.0]])
    highest = np.pi if system.is_discrete else 10.0 * (reach.max() or 1.0)
    if not system.is_real:
        even = np.linspace(-highest, highest, EVEN)
        return np.unique(np.concatenate([even, near[np.abs(near) <= highest]])), False
    near = np.abs(near)
    scales = np.concatenate([near[near > 0], margin[margin > 0], [highest / 100.0]])
    lowest = max(0.3 * scales.min(), LOWEST * highest)
    even = np.geomspace(lowest, highest, EVEN)
    return np.unique(np.concatenate([even, near[(near >= lowest) & (near <= highest)]])), True
