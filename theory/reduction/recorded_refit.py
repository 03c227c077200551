r"""Output matrices that fit recorded signals: poles and B stay, C and the diagonal of D are least squares.

.. math:: \min_{C,d}\ \sum_t\big\|y_t-C x_t-d\circ u_t\big\|^2

along the states that recorded inputs drive. Solved for a *correction* of what is there, so that a ridge pulls towards
the given matrices, not towards zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DimensionError
from theory.systems import pairs
from theory.systems.given import SystemLike, as_system
from theory.systems.scan import Record, aligned_states, channels_of, record, require_scannable
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Refit:
    """A system with new output matrices, and the mean squared error per sample before and after, over the record.

    ``energy`` is that of the target without what ``D`` of the target's system would explain: none is subtracted.
    """

    system: DiagonalStateSpace
    before: Any
    after: Any
    energy: Any


def real_output(system: DiagonalStateSpace) -> Array:
    """``[C, C_reverse]`` in the coordinates of :func:`theory.systems.scan.aligned_states`, (..., p, K)."""
    parts = [system.C] if system.C_reverse is None else [system.C, system.C_reverse]
    if system.conjugate_pairs:
        parts = [pairs.real_output(part) for part in parts]
    return np.concatenate(parts, axis=-1)


def with_real_output(system: DiagonalStateSpace, output: Array, D: Array) -> DiagonalStateSpace:
    """Undo :func:`real_output`; a real pole has no imaginary part to be seen."""
    halves = np.split(output, 2, axis=-1) if system.is_bidirectional else [output]
    if system.conjugate_pairs:
        n, real = system.n, system.poles.imag[..., None, :] == 0
        halves = [0.5 * (half[..., :n] - 1j * np.where(real, 0.0, half[..., n:])) for half in halves]
    return system.replace(C=halves[0], C_reverse=halves[1] if system.is_bidirectional else None, D=D)


def refit_output(
    system: SystemLike,
    inputs: ArrayLike,
    outputs: ArrayLike,
    lengths: ArrayLike | None = None,
    *,
    ridge: float = 1e-6,
    feedthrough: bool | None = None,
) -> Refit:
    r"""Fit C (of both directions) and the diagonal of D to recorded inputs and outputs.

    Parameters
    ----------
    system : DiagonalStateSpace
        Stable, discrete time; one system, or a batch of scalar ones (S4D).
    inputs, outputs : array_like, shapes (N, L, m) and (N, L, p), or (L, m) and (L, p)
        The record; the number of channels for a batch.
    lengths : array_like of int, shape (N,), optional
        Samples that count in each sequence.
    ridge : float, keyword only
        Added to the normal matrix after its columns were scaled to one; relative, dimensionless.
    feedthrough : bool, keyword only
        Whether the diagonal of D is fitted too; where left out, if there are as many inputs as outputs.

    Returns
    -------
    Refit
        ``after <= before`` for ridge -> 0; with a ridge up to the part that it holds back.

    Raises
    ------
    StabilityError, DimensionError, InputError
    """
    system = as_system(system, diagonal=True)
    require_scannable(system)
    require_stable(system)
    given = record(inputs, lengths, channels_of(system, system.m))
    wanted = record(outputs, lengths, channels_of(system, system.p), "outputs")
    if given.values.shape[:2] != wanted.values.shape[:2]:
        raise DimensionError(
            "inputs and outputs need the same samples", inputs=given.values.shape, outputs=wanted.values.shape
        )
    feedthrough = system.m == system.p if feedthrough is None else feedthrough
    if feedthrough and system.m != system.p:
        raise DimensionError("a diagonal feedthrough needs as many inputs as outputs", D=system.D.shape)
    moments = Moments.of(system, given, wanted)
    correction, d = moments.solve(ridge, feedthrough)
    D = system.D
    if feedthrough:
        D = D + (d[:, None, None] if system.batch_shape else np.diag(d))
    fitted = with_real_output(system, real_output(system) + correction, D.real if system.conjugate_pairs else D)
    count = given.count
    before, energy = moments.residual / count, moments.energy / count
    change = moments.change(correction, d)
    return Refit(system=fitted, before=before, after=np.maximum(before + change / count, 0.0), energy=energy)


@dataclass(kw_only=True)
class Moments:
    """Sums over all samples: states with states, with inputs, with residuals; (H, ...) with H = 1 for one system."""

    xx: Array  # (H, K, K)
    xu: Array  # (H, K, c)
    uu: Array  # (H, c)
    xr: Array  # (H, K, c)
    ur: Array  # (H, c)
    residual: Any
    energy: Any
    batch: bool

    @classmethod
    def of(cls, system: DiagonalStateSpace, given: Record, wanted: Record) -> Moments:
        """Accumulate over the record."""
        batch = bool(system.batch_shape)
        output, sums = real_output(system), None
        for rows, states in aligned_states(system, given):
            mask = given.mask[rows][..., None]
            u, y = given.values[rows] * mask, wanted.values[rows] * mask
            if batch:
                seen = np.einsum("slhk,hk->slh", states, output[:, 0])
                error = y - seen - u * system.D[:, 0, 0]
                x = np.moveaxis(states, 2, 0).reshape(system.batch_shape[0], -1, states.shape[-1])
                U, R = (np.moveaxis(part, 2, 0).reshape(part.shape[2], -1, 1) for part in (u, error))
                energy = (np.abs(y) ** 2).sum(axis=(0, 1))
            else:
                error = y - states @ output.T - u @ system.D.T
                x = states.reshape(1, -1, states.shape[-1])
                U, R = u.reshape(1, -1, u.shape[2]), error.reshape(1, -1, error.shape[2])
                energy = (np.abs(y) ** 2).sum()
            xh = np.swapaxes(x, -1, -2).conj()
            same = U.shape == R.shape
            part_sums = [
                xh @ x, xh @ U, (np.abs(U) ** 2).sum(axis=1), xh @ R,
                (U.conj() * R).sum(axis=1) if same else np.zeros(R.shape[::2]),
                (np.abs(R) ** 2).sum(axis=(1, 2)), energy,
            ]  # fmt: skip
            sums = part_sums if sums is None else [a + b for a, b in zip(sums, part_sums)]
        assert sums is not None
        residual = sums[5] if batch else sums[5][0]
        return cls(
            xx=sums[0], xu=sums[1], uu=sums[2], xr=sums[3], ur=sums[4], residual=residual, energy=sums[6], batch=batch
        )

    def solve(self, ridge: float, feedthrough: bool) -> tuple[Array, Array]:
        """Return the corrections of ``[C, C_reverse]`` (..., p, K) and of d (p,) or (H,)."""
        H, K, p = self.xr.shape
        size = np.sqrt(np.maximum(np.diagonal(self.xx, axis1=-2, axis2=-1).real, 0.0))
        size = np.where(size > 0, size, 1.0)
        normal = self.xx / size[:, :, None] / size[:, None, :] + ridge * np.eye(K)
        right = self.xr / size[:, :, None]
        if not feedthrough:
            solution, d = np.linalg.solve(normal, right), np.zeros((H, p))
        else:  # one more unknown a channel: eliminate it
            scale = np.sqrt(np.where(self.uu > 0, self.uu, 1.0))
            mixed = self.xu / size[:, :, None] / scale[:, None, :]
            both = np.linalg.solve(normal, np.concatenate([right, mixed], axis=-1))
            plain, along = both[..., :p], both[..., p:]
            pivot = 1.0 + ridge - (mixed.conj() * along).sum(axis=1).real
            rest = self.ur / scale - (mixed.conj() * plain).sum(axis=1)
            d = np.where(pivot > ridge, rest / np.where(pivot > ridge, pivot, 1.0), 0.0)
            solution = plain - along * d[:, None, :]
            d = d / scale
        correction = np.swapaxes(solution / size[:, :, None], -1, -2)
        return (correction, d[:, 0]) if self.batch else (correction[0], d[0])

    def change(self, correction: Array, d: Array) -> Any:
        """What the corrections change in the summed squared error: exact, the error is quadratic in them."""
        c = correction if self.batch else correction[None]
        e = d[:, None] if self.batch else d[None]
        columns = np.swapaxes(c, -1, -2)
        linear = (columns.conj() * self.xr).sum(axis=(1, 2))
        quadratic = (columns.conj() * (self.xx @ columns)).sum(axis=(1, 2))
        if self.uu.shape == e.shape:
            linear = linear + (e.conj() * self.ur).sum(axis=1)
            quadratic = quadratic + (np.abs(e) ** 2 * self.uu).sum(axis=1)
            quadratic = quadratic + 2.0 * ((columns.conj() * self.xu).sum(axis=1) * e).sum(axis=1).real
        total = (quadratic - 2.0 * linear).real
        return total if self.batch else float(total[0])


def recorded_outputs(system: DiagonalStateSpace, inputs: ArrayLike, lengths: ArrayLike | None = None) -> Array:
    """Return what a system makes of recorded inputs, started at rest: (N, L, p), zero past the end of a sequence."""
    require_scannable(system)
    given, output = record(inputs, lengths, channels_of(system, system.m)), real_output(system)
    width = system.batch_shape[0] if system.batch_shape else system.p
    kind = float if system.conjugate_pairs else complex
    found = np.zeros((*given.values.shape[:2], width), dtype=kind)
    for rows, states in aligned_states(system, given):
        u = given.values[rows] * given.mask[rows][..., None]
        if system.batch_shape:
            found[rows] = np.einsum("slhk,hk->slh", states, output[:, 0]) + u * system.D[:, 0, 0]
        else:
            found[rows] = states @ output.T + u @ system.D.T
    return found


def mean_error(
    system: DiagonalStateSpace, inputs: ArrayLike, outputs: ArrayLike, lengths: ArrayLike | None = None
) -> Any:
    """Return the mean squared error per sample of a system on a record; one for each channel of a batch."""
    given = record(inputs, lengths, channels_of(system, system.m))
    wanted = record(outputs, given.lengths, channels_of(system, system.p), "outputs")
    rest = np.where(given.mask[..., None], recorded_outputs(system, given.values, given.lengths) - wanted.values, 0.0)
    total = (np.abs(rest) ** 2).sum(axis=(0, 1)) / given.count
    return total if system.batch_shape else float(total.sum())
