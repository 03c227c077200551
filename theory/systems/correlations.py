r"""What scalar systems do along recorded signals, from correlations of the signals: sums over states, without states.

A batch (S4D) has one input a channel, and :math:`x_{i,t}=\sum_k\lambda_i^kb_iu_{t-k}`. So

.. math:: \sum_t\bar x_{i,t}y_t=\bar b_i\sum_k\bar\lambda_i^kr_k,\qquad r_k=\sum_t\bar u_{t-k}y_t,

with the r of all lags from one transform of the signals, and :math:`S_{ij}=\sum_tx_{i,t}\bar x_{j,t}` solves, by the
recursion of the states, with :math:`g_i=\sum_t\overline{\lambda_ix_{i,t-1}}u_t` and :math:`e=\sum_t|u_t|^2`,

.. math:: (1-\lambda_i\bar\lambda_j)S_{ij}=b_i\bar b_je+b_ig_j+\bar b_j\bar g_i
          -\lambda_i\bar\lambda_j\sum_{\text{sequences}}x_{i,\text{last}}\bar x_{j,\text{last}}.

For N sequences of L samples and n states that is O(N L (n + log L)) instead of O(N L n^2), by matrix products. The
division loses digits where poles are slow; channels with less than :data:`LEAST_MARGIN` are for scans, and a real
coordinate of which fewer than eight digits are left (the imaginary part of an almost real state) is taken for zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from theory.systems.scan import CHUNK_BYTES, Record
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

LEAST_MARGIN = 1e-6
"""Of the poles of a channel, for the division."""
LARGEST_ROUNDING = 1e-8
"""Of a coordinate's sum of squares, relative to it: with more the coordinate is taken for zero."""


def divisible(system: DiagonalStateSpace, signals: Record) -> Array:
    """Which channels of a batch are far enough from the circle for sums without states, (H,)."""
    if system.conjugate_pairs and signals.values.dtype.kind == "c":
        return np.zeros(system.batch_shape, dtype=bool)  # real coordinates are for real signals
    return np.asarray(system.margin.min(axis=-1, initial=1.0) >= LEAST_MARGIN)


def powers(poles: Array, count: int) -> Array:
    """``poles ** k`` for k < count, (..., count): by products of about ``2 sqrt(count)`` factors."""
    step = max(1, int(np.ceil(np.sqrt(count))))
    few = _first_powers(poles, step)
    many = _first_powers(few[..., -1] * poles, -(-count // step))
    both = many[..., None] * few[..., None, :]
    return np.asarray(both.reshape(*poles.shape, both.shape[-2] * both.shape[-1])[..., :count])


def _first_powers(poles: Array, count: int) -> Array:
    factors = np.repeat(np.asarray(poles, dtype=complex)[..., None], count, axis=-1)
    factors[..., 0] = 1.0
    return np.asarray(np.cumprod(factors, axis=-1))


def some_channels(channels: int, bytes_each: int) -> Iterator[slice]:
    """Slices of the channels whose arrays fit :data:`theory.systems.scan.CHUNK_BYTES`."""
    step = max(1, CHUNK_BYTES // max(1, bytes_each))
    return (slice(start, min(start + step, channels)) for start in range(0, channels, step))


@dataclass(frozen=True, eq=False)
class Channels:
    """Recorded inputs of scalar systems, channel by channel.

    Attributes
    ----------
    backwards : ndarray, shape (H, N, L)
        Every sequence from its last sample on, zero past its first.
    """

    backwards: Array

    @classmethod
    def of(cls, signals: Record) -> Channels:
        """Signals (N, L, H), turned around; what lies past the end of a sequence is not looked at."""
        return cls(np.ascontiguousarray(_clean(signals.reversed()).transpose(2, 0, 1)))

    def lags(self, wanted: Channels) -> Array:
        """``sum_t conj(u_{t-k}) y_t`` for every lag k < L, (H, L), over all sequences; of `wanted` signals y."""
        H, N, L = self.backwards.shape
        found = np.empty((H, L), dtype=np.result_type(self.backwards, wanted.backwards))
        for rows in some_channels(H, 96 * N * L):
            found[rows] = _lags(self.backwards[rows], wanted.backwards[rows])
        return found

    @cached_property
    def own(self) -> Array:
        """The lags of the inputs with themselves."""
        return self.lags(self)

    def sums(self, system: DiagonalStateSpace, *lagged: Array) -> tuple[Array, ...]:
        """``sum x x^*`` over what the output sees, (H, K, K), and ``sum x^* y`` for :meth:`lags` of y, (H, K) each.

        The causal part of the system alone; K = 2 n real coordinates for conjugate pairs.
        """
        H, N, L = self.backwards.shape
        parts = []
        for rows in some_channels(H, 32 * L * (system.n + N)):
            p, b = powers(system.poles[rows], L), system.B[rows, :, 0]
            square, rounding = self._square(rows, system.poles[rows], b, p, system)
            seen = np.diagonal(square, axis1=1, axis2=2).real * LARGEST_ROUNDING > rounding
            along = [self._along(p, b, lags[rows], system.delay, system.conjugate_pairs) for lags in lagged]
            parts.append((square * seen[:, :, None] * seen[:, None, :], *(one * seen for one in along)))
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _along(self, p: Array, b: Array, lags: Array, delay: int, paired: bool) -> Array:
        """``sum_t conj(x) y``, in real coordinates for conjugate pairs."""
        count = p.shape[-1] - delay
        found = b.conj() * (p[..., :count].conj() @ lags[:, delay:, None])[..., 0]
        return np.concatenate([found.real, -found.imag], axis=-1) if paired else found

    def _square(
        self, rows: slice, poles: Array, b: Array, p: Array, system: DiagonalStateSpace
    ) -> tuple[Array, Array]:
        """``sum_t x x^*`` over all sequences, in real coordinates for conjugate pairs; the rounding of its diagonal."""
        own, u = self.own[rows], self.backwards[rows]
        if u.dtype.kind == "c":
            last = u @ np.swapaxes(p, -1, -2)
        else:  # real signals never become complex
            columns = np.ascontiguousarray(np.swapaxes(p, -1, -2)).view(float)
            last = np.ascontiguousarray(u @ columns).view(complex)
        last = last * b[:, None, :]
        energy = own[:, :1, None].real
        before = b.conj() * (p[..., 1:].conj() @ own[:, 1:, None])[..., 0]

        def product(turned: bool) -> Array:
            """``sum x_i conj(w_j)``, w the states or, turned, their conjugates."""
            mu, c, g, w = (part.conj() if turned else part for part in (poles, b, before, last))
            both, ends = poles[:, :, None] * mu.conj()[:, None, :], np.swapaxes(last, -1, -2) @ w.conj()
            found = b[:, :, None] * g[:, None, :] + before.conj()[:, :, None] * c.conj()[:, None, :]
            found += b[:, :, None] * c.conj()[:, None, :] * energy - both * ends
            found /= 1.0 - both
            return np.asarray(found - ends if system.delay else found)

        terms = 2 * np.abs(b * before) + np.abs(b) ** 2 * energy[..., 0] + (np.abs(last) ** 2).sum(axis=1)
        rounding = np.finfo(float).eps * terms / system.margin[rows]  # of 1 - |pole|^2, within a factor of two
        if not system.conjugate_pairs:
            return product(turned=False), rounding
        plain, turned = product(turned=False), product(turned=True)
        real, crossed = (plain.real + turned.real) / 2, (plain.imag + turned.imag) / 2
        square = np.block([[real, np.swapaxes(crossed, -1, -2)], [crossed, (plain.real - turned.real) / 2]])
        return square, np.concatenate([rounding, rounding], axis=-1)


def _clean(signals: Record) -> Array:
    values = signals.values.astype(complex if signals.values.dtype.kind == "c" else float, copy=False)
    return values if signals.is_full else values * signals.mask[..., None]


def transforms(real: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Forward and back along the last axis, zeros added up to a size."""
    found: Any = (scipy.fft.rfft, scipy.fft.irfft) if real else (scipy.fft.fft, scipy.fft.ifft)
    forward, back = found
    return forward, back


def _lags(one: Array, other: Array) -> Array:
    """``sum_s conj(one_{s+k}) other_s``, summed over the sequences: signals backwards."""
    L = one.shape[-1]
    size, real = scipy.fft.next_fast_len(2 * L - 1, real=True), one.dtype.kind != "c" and other.dtype.kind != "c"
    forward, back = transforms(real)
    first = forward(one, size)
    second = first if other is one else forward(other, size)
    found = back((first * second.conj()).sum(axis=1), size)[..., :L]
    return np.asarray(found.conj())


def kernel(poles: Array, weights: Array, count: int, delay: int, paired: bool) -> Array:
    """Impulse response of one direction, (H, count): ``weights_i = C_i B_i``."""
    found = (weights[:, None, :] @ powers(poles, count))[:, 0]
    found = 2.0 * found.real if paired else found
    return np.concatenate([np.zeros_like(found[:, :delay]), found[:, : count - delay]], axis=1)


def convolved(system: DiagonalStateSpace, signals: Record) -> Array:
    """Outputs of a batch of scalar systems along recorded signals, (N, L, H), by transforms; zero past the end."""
    N, L, H = signals.values.shape
    found = np.zeros((N, L, H), dtype=float if system.conjugate_pairs else complex)
    size = scipy.fft.next_fast_len(2 * L - 1, real=system.conjugate_pairs)
    forward, back = transforms(system.conjugate_pairs)
    ways = [(system.C, system.delay)]
    if system.C_reverse is not None:
        ways.append((system.C_reverse, system.delay_reverse))
    for rows in some_channels(H, 32 * L * (2 * N + system.n)):
        poles, b = system.poles[rows], system.B[rows, :, 0]
        part = Record(values=signals.values[..., rows], lengths=signals.lengths)
        for way, (C, delay) in enumerate(ways):
            u = _clean(part.reversed() if way else part)
            h = kernel(poles, C[rows, 0] * b, L, delay, system.conjugate_pairs)
            y = back(forward(u.transpose(2, 0, 1), size) * forward(h, size)[:, None], size)[..., :L].transpose(1, 2, 0)
            if way:
                y = Record(values=y, lengths=part.lengths).reversed().values
            found[..., rows] += y
        found[..., rows] += _clean(part) * system.D[rows, 0, 0]
    return found if signals.is_full else found * signals.mask[..., None]
