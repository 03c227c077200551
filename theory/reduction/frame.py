r"""The plain responses of stored states at many frequencies, and products with them, for descents.

With p and m ports and w frequencies a response itself has w p m entries. Products of it with a few vectors a frequency
are two products with C and B, all frequencies at once, and of conjugate pairs with real matrices: a pair is reached
along :math:`\beta_1=(\Re b)v` and :math:`\beta_2=(\Im b)v`, has the states :math:`x_1=f_1(\beta_1+j\beta_2)` and
:math:`x_2=f_2(\beta_1-j\beta_2)`, and is seen as :math:`(\Re c)(x_1+x_2)+(\Im c)\,j(x_1-x_2)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.reduction.descent import Point
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The plain responses of stored states, in the span of their inputs and outputs."""

    discrete: bool
    paired: bool
    ways: tuple[tuple[int, int], ...]  #: of each direction: sign of time, and 1 - delay
    rows: Array  #: (k, m), orthonormal: the inputs that count
    columns: Array  #: (p, k), orthonormal: the outputs that count

    @classmethod
    def of(cls, system: DiagonalStateSpace, *others: DiagonalStateSpace) -> Frame:
        """Compress without loss: inputs to the rows of [Re B; Im B], outputs to the columns of [Re C, Im C], of all."""
        every = system, *others
        ways = [(1, 1 - system.delay)]
        if system.is_bidirectional:
            ways.append((-1, 1 - system.delay_reverse))
        B = np.concatenate([one.B for one in every])
        C = np.concatenate([part for one in every for part in (one.C, one.C_reverse) if part is not None], axis=1)
        rows = _span(np.concatenate([B.real, B.imag]).T).T
        columns = _span(np.concatenate([C.real, C.imag], axis=1))
        return cls(
            discrete=system.is_discrete, paired=system.conjugate_pairs, ways=tuple(ways), rows=rows, columns=columns
        )

    def inside(self, point: Point) -> Point:
        """A point in the compressed ports."""
        return replace(point, B=point.B @ self.rows.T, C=self._outputs(self.columns.T, point.C))

    def outside(self, point: Point) -> Point:
        """And back."""
        return replace(point, B=point.B @ self.rows, C=self._outputs(self.columns, point.C))

    def _outputs(self, matrix: Array, C: Array) -> Array:
        """A matrix times the outputs of each direction."""
        return np.concatenate([matrix @ part for part in np.split(C, len(self.ways))])

    def facing(self, poles: Array) -> Array:
        """The poles as the boundary meets them: of a direction back in time conjugate, as those of pairs are anyway."""
        backwards = not self.paired and any(sign < 0 for sign, _ in self.ways)
        return np.concatenate([poles, poles.conj()]) if backwards else poles

    def terms(self, point: Point, omega: Array) -> list[tuple[slice, bool, Array, Array]]:
        """Of each direction and half: its outputs, whether it is conjugate, the weights of the states, their slopes."""
        p, found = point.C.shape[0] // len(self.ways), []
        for k, (sign, ahead) in enumerate(self.ways):
            zeta = (np.exp(1j * sign * omega) if self.discrete else 1j * omega)[:, None]
            for mirrored in (False, True) if self.paired else (False,):
                inverse = 1.0 / (zeta - (point.poles.conj() if mirrored else point.poles))
                weight = zeta**ahead * inverse
                found.append((slice(k * p, (k + 1) * p), mirrored, weight, weight * inverse))
        return found

    def response(self, point: Point, omega: Array) -> Array:
        """(w, p, m), without the feedthrough."""
        total: Any = 0.0
        for way, mirrored, weight, _ in self.terms(point, omega):
            C, B = (point.C[way].conj(), point.B.conj()) if mirrored else (point.C[way], point.B)
            total = total + (C * weight[:, None, :]) @ B
        return np.asarray(total)


def _span(X: Array) -> Array:
    """Orthonormal basis of the columns of a real matrix; the identity where they are as many as the rows."""
    return np.eye(X.shape[0]) if X.shape[1] >= X.shape[0] else np.asarray(np.linalg.qr(X)[0])


class Sampled:
    """A response as it is, (w, p, m): for few ports; arrays of vectors are (ports, q, w)."""

    def __init__(self, value: Array) -> None:
        self.value, self.adjoint = value, np.ascontiguousarray(value.conj().swapaxes(1, 2))

    def times(self, V: Array) -> Array:
        """The response times V (m, q, w)."""
        return np.asarray((self.value @ V.transpose(2, 0, 1)).transpose(1, 2, 0))

    def adjoint_times(self, Y: Array) -> Array:
        """The adjoint of the response times Y (p, q, w)."""
        return np.asarray((self.adjoint @ Y.transpose(2, 0, 1)).transpose(1, 2, 0))


class Factors:
    """A point's response at given frequencies as products.

    Arrays of vectors are (ports, q, w): with the frequencies last, as NumPy's innermost loops are slow over q = 2.
    """

    def __init__(self, frame: Frame, point: Point, omega: Array) -> None:
        self.paired, self.point = frame.paired, point
        terms = frame.terms(point, omega)
        halves = 2 if self.paired else 1
        self.ways = [terms[k][0] for k in range(0, len(terms), halves)]
        weights = [np.ascontiguousarray(weight.T)[:, None, :] for _, _, weight, _ in terms]
        slopes = [np.ascontiguousarray(slope.T)[:, None, :] for _, _, _, slope in terms]
        self.values = [weights[k : k + halves] for k in range(0, len(terms), halves)]
        self.slopes = [slopes[k : k + halves] for k in range(0, len(terms), halves)]
        self.B = _parts(point.B, 0) if self.paired else point.B
        self.C = [_parts(point.C[way], 1) if self.paired else point.C[way] for way in self.ways]

    def times(self, V: Array) -> Array:
        """The response times V (m, q, w)."""
        reached = self.reached(V)
        total: Any = 0.0
        for C, values in zip(self.C, self.values, strict=True):
            total = total + _product(C, self._sums([f * x for f, x in zip(values, reached, strict=True)]))
        return np.asarray(total)

    def adjoint_times(self, Y: Array) -> Array:
        """The adjoint of the response times Y (p, q, w)."""
        total: Any = 0.0
        for C, values in zip(self.C, self.values, strict=True):
            back = [f.conj() * x for f, x in zip(values, self._seen(C, Y), strict=True)]
            total = total + _product(self.B.conj().T, self._sums(back, -1.0))
        return np.asarray(total)

    def gradients(self, U: Array, V: Array) -> tuple[Array, Array, Array]:
        r"""Of :math:`-\Re\sum\langle U,G_rV\rangle` along poles, B and C, for U (p, q, w) and V (m, q, w)."""
        poles, B, C = np.zeros(self.point.poles.shape, complex), [], []
        reached = self.reached(V)
        for own, values, slopes in zip(self.C, self.values, self.slopes, strict=True):
            seen = self._seen(own, U)
            for k, (x, y, slope) in enumerate(zip(reached, seen, slopes, strict=True)):
                along = -(slope.conj() * (y * x.conj())).sum(axis=(1, 2))
                poles += along.conj() if k else along
            states = self._sums([f * x for f, x in zip(values, reached, strict=True)])
            C.append(-self._joined(_outer(U, states, self.paired), 1))
            back = self._sums([f.conj() * y for f, y in zip(values, seen, strict=True)], -1.0)
            B.append(-self._joined(_outer(back, V, self.paired), 0))
        return poles, np.asarray(sum(B)), np.concatenate(C)

    def reached(self, V: Array) -> list[Array]:
        """What comes to the states of each half: ``b v`` and ``conj(b) v``."""
        return self._halves(_product(self.B, V), 1.0)

    def _seen(self, C: Array, Y: Array) -> list[Array]:
        """The outputs against the columns of C and of its conjugate."""
        return self._halves(_product(C.conj().T, Y), -1.0)

    def _halves(self, both: Array, sign: float) -> list[Array]:
        if not self.paired:
            return [both]
        n = len(both) // 2
        turned = sign * 1j * both[n:]
        return [both[:n] + turned, both[:n] - turned]

    def _sums(self, halves: list[Array], sign: float = 1.0) -> Array:
        if not self.paired:
            return halves[0]
        one, two = halves
        return np.concatenate([one + two, (sign * 1j) * (one - two)])

    def _joined(self, parts: Array, axis: int) -> Array:
        if not self.paired:
            return parts
        real, imaginary = np.split(parts, 2, axis=axis)
        return np.asarray(real + 1j * imaginary)


def _parts(X: Array, axis: int) -> Array:
    return np.concatenate([X.real, X.imag], axis=axis)


def _product(matrix: Array, V: Array) -> Array:
    """``matrix @ V`` over the first axis; a real matrix is not made complex."""
    flat = np.ascontiguousarray(V).reshape(len(V), -1)
    found = matrix @ flat if np.iscomplexobj(matrix) else (matrix @ flat.view(float)).view(complex)
    return np.asarray(found).reshape(-1, *V.shape[1:])


def _outer(left: Array, right: Array, real: bool) -> Array:
    """``sum left right^*`` over frequencies and vectors, or its real part."""
    one, two = (np.ascontiguousarray(X).reshape(len(X), -1) for X in (left, right))
    return np.asarray(one.view(float) @ two.view(float).T if real else one @ two.conj().T)
