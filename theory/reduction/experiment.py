r"""What recorded inputs and outputs say about a system, in sums: all that a least squares fit needs.

With the states x, inputs u and wanted outputs y of all samples, :math:`X^*X, X^*U, X^*Y, U^*U, U^*Y` and
:math:`\|Y\|^2` give the residual of any C and D,

.. math:: \|Y-XC^T-UD^T\|^2=\|Y\|^2-2\Re\langle W,M^*Y\rangle+\langle W,M^*MW\rangle,\quad M=[X\ U],\ W=[C\ D]^T,

to rounding of the largest term. The sums without states are those of every system, and are taken once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DimensionError
from theory.systems.correlations import Channels, divisible
from theory.systems.scan import Record, aligned_states, channels_of, real_output, record, require_scannable
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment:
    """Recorded inputs, the outputs that are wanted, zero where nothing counts, and their sums.

    Attributes
    ----------
    given, wanted : Record
        In double precision, (N, L, m) and (N, L, p).
    uu, uy : ndarray
        Shapes (m, m) and (m, p); for a batch one number a channel, (H,).
    energy : float or ndarray
        Of the wanted outputs; for a batch (H,).
    """

    given: Record
    wanted: Record
    uu: Array
    uy: Array
    energy: Any

    @classmethod
    def of(
        cls, system: DiagonalStateSpace, inputs: ArrayLike, outputs: ArrayLike, lengths: ArrayLike | None = None
    ) -> Experiment:
        """Validate a record of a system's inputs and wanted outputs.

        Raises
        ------
        DimensionError, InputError, TimeBaseError
        """
        require_scannable(system)
        given = _clean(record(inputs, lengths, channels_of(system, system.m)))
        wanted = _clean(record(outputs, lengths, channels_of(system, system.p), "outputs"))
        U, Y = given.values, wanted.values
        if U.shape[:2] != Y.shape[:2]:
            raise DimensionError("inputs and outputs need the same samples", inputs=U.shape, outputs=Y.shape)
        if system.batch_shape:
            uu, uy, energy = (_along(a, b) for a, b in ((U, U), (U, Y), (Y, Y)))
            return cls(given=given, wanted=wanted, uu=uu.real, uy=uy, energy=energy.real)
        flat, target = (part.reshape(-1, part.shape[2]) for part in (U, Y))
        power = float(np.vdot(target, target).real)
        return cls(given=given, wanted=wanted, uu=flat.conj().T @ flat, uy=flat.conj().T @ target, energy=power)

    @cached_property
    def channels(self) -> Channels:
        """The inputs of a batch, channel by channel."""
        return Channels.of(self.given)

    @cached_property
    def along(self) -> Array:
        """Their lags with the wanted outputs."""
        return self.channels.lags(Channels.of(self.wanted))

    def some(self, chosen: Array) -> Experiment:
        """Some channels of a batch."""
        given, wanted = (
            Record(values=one.values[..., chosen], lengths=one.lengths) for one in (self.given, self.wanted)
        )
        return Experiment(
            given=given, wanted=wanted, uu=self.uu[chosen], uy=self.uy[chosen], energy=self.energy[chosen]
        )


def _clean(signals: Record) -> Record:
    """In double precision, zero past the end of every sequence."""
    values = signals.values.astype(complex if signals.values.dtype.kind == "c" else float, order="C", copy=False)
    return Record(values=values if signals.is_full else values * signals.mask[..., None], lengths=signals.lengths)


def _along(one: Array, other: Array) -> Array:
    """``sum conj(one) other`` over all samples, channel by channel."""
    return np.asarray(np.einsum("slh,slh->h", one.conj(), other))


def _state_sums(system: DiagonalStateSpace, experiment: Experiment) -> tuple[Array, Array, Array]:
    """``X^*X``, ``X^*U``, ``X^*Y`` from the states themselves: (H, K, K) and (H, K, c), H = 1 for one system."""
    batch, sums = bool(system.batch_shape), None
    for rows, states in aligned_states(system, experiment.given):
        signals = (experiment.given.values[rows], experiment.wanted.values[rows])
        if batch:
            x = np.moveaxis(states, 2, 0).reshape(system.batch_shape[0], -1, states.shape[-1])
            z = np.stack(signals, axis=-1).transpose(2, 0, 1, 3).reshape(x.shape[0], -1, 2)
            U, Y = z[..., :1], z[..., 1:]
        else:
            x = states.reshape(1, -1, states.shape[-1])
            U, Y = (part.reshape(1, -1, part.shape[2]) for part in signals)
        xh = np.swapaxes(x, -1, -2).conj()
        part_sums = [xh @ x, xh @ U, xh @ Y]
        sums = part_sums if sums is None else [a + b for a, b in zip(sums, part_sums)]
    assert sums is not None
    return sums[0], sums[1], sums[2]


def _channel_sums(system: DiagonalStateSpace, experiment: Experiment) -> tuple[Array, Array, Array]:
    """The same of a batch: from correlations where they say enough, else from states."""
    quick = divisible(system, experiment.given)
    if system.is_bidirectional or not quick.any():  # the product of both directions is no correlation
        return _state_sums(system, experiment)
    square, xu, xy = experiment.channels.sums(system, experiment.channels.own, experiment.along)
    found = np.swapaxes(square, -1, -2), xu[..., None], xy[..., None]
    if not quick.all():
        slow = np.flatnonzero(~quick)
        for whole, part in zip(found, _state_sums(system[slow], experiment.some(slow)), strict=True):
            whole[slow] = part
    return found


ROUNDING = 1e-10
"""Part of a state's energy in its real or imaginary part that is taken for rounding of stored numbers (1e-5 of it)."""


def sizes(energies: Array, paired: int) -> Array:
    """What columns are divided by: their own size; where nearly all of a state lies in its other part, that of it.

    The imaginary part of a state whose pole is real but for rounding is rounding; divided by its own size it would be
    fitted with coefficients that no arithmetic stands. States in conjugate pairs: `paired` of them, else 0.
    """
    energies = np.maximum(energies, 0.0)
    if paired:
        states = energies.reshape(*energies.shape[:-1], -1, 2, paired)
        both = states.sum(axis=-2, keepdims=True)
        energies = np.where(states > ROUNDING * both, states, both).reshape(energies.shape)
    size = np.sqrt(energies)
    return np.asarray(np.where(size > 0, size, 1.0))


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
    paired: int = 0
    """Stored states, of which the columns are real and imaginary parts, in one direction or two; 0: complex columns."""

    @classmethod
    def of(cls, system: DiagonalStateSpace, experiment: Experiment) -> Moments:
        """Accumulate over the record."""
        batch = bool(system.batch_shape)
        xx, xu, xy = _channel_sums(system, experiment) if batch else _state_sums(system, experiment)
        C, D = real_output(system), np.asarray(system.D)
        uu, uy = experiment.uu, experiment.uy
        if batch:
            uu, uy = uu[:, None, None], uy[:, None, None]
        else:
            C, D, uu, uy = C[None], D[None], uu[None], uy[None]
        c, d = np.swapaxes(C, -1, -2), np.swapaxes(D, -1, -2)
        ux = np.swapaxes(xu, -1, -2).conj()
        xr, ur = xy - xx @ c - xu @ d, uy - ux @ c - uu @ d
        # ||Y - X c - U d||^2 = ||Y||^2 - <c, X*Y + X*R> - <d, U*Y + U*R>
        explained = (c.conj() * (xy + xr)).sum(axis=(1, 2)).real + (d.conj() * (uy + ur)).sum(axis=(1, 2)).real
        residual = np.maximum(experiment.energy - explained, 0.0)
        square = ur.shape[1] == ur.shape[2]
        return cls(
            xx=xx, xu=xu, uu=np.diagonal(uu, axis1=1, axis2=2).real, xr=xr,
            ur=np.diagonal(ur, axis1=1, axis2=2) if square else np.zeros((ur.shape[0], ur.shape[2])),
            residual=residual if batch else float(residual[0]), energy=experiment.energy, batch=batch,
            paired=system.n if system.conjugate_pairs else 0,
        )  # fmt: skip

    def solve(self, ridge: float, feedthrough: bool, seen: int | None = None) -> tuple[Array, Array]:
        """Return the corrections of ``[C, C_reverse]`` (..., p, K) and of d (p,) or (H,).

        Of the columns of C only the first `seen` change, where that is given.
        """
        if seen is not None:
            of_these = replace(self, xx=self.xx[:, :seen, :seen], xu=self.xu[:, :seen], xr=self.xr[:, :seen], paired=0)
            some, d = of_these.solve(ridge, feedthrough)
            return np.concatenate([some, np.zeros((*some.shape[:-1], self.xx.shape[1] - seen))], axis=-1), d
        H, K, p = self.xr.shape
        size = sizes(np.diagonal(self.xx, axis1=-2, axis2=-1).real, self.paired)
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
