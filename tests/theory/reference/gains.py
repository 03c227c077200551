"""Gains by an independent route: mpmath at 50 digits, from the definition of the transfer function."""

from __future__ import annotations

from typing import Any

import mpmath as mp

from theory.systems.system import DiagonalStateSpace, StateSpace


def _matrix(array: Any) -> mp.matrix:
    rows, columns = array.shape
    result = mp.matrix(rows, columns)
    for i in range(rows):
        for j in range(columns):
            result[i, j] = mp.mpc(complex(array[i, j]))
    return result


def exact_response(system: StateSpace | DiagonalStateSpace, frequency: Any, along: Any = None) -> mp.matrix:
    """Return G at a frequency (rad/sample or rad/s, ``inf`` allowed), or G times the vector `along`, in mpmath."""
    discrete = system.dt is not None
    infinite = not discrete and mp.isinf(frequency)
    D = _matrix(system.D) if system.D.size else mp.matrix(system.p, system.m)
    if along is not None:
        along = _matrix(along[:, None])
        D = D * along
    if infinite or system.n == 0:
        return D
    z = mp.expj(mp.mpf(frequency)) if discrete else mp.mpc(0, mp.mpf(frequency))
    if isinstance(system, StateSpace):
        with mp.workdps(200):  # companion matrices of tiny poles have determinants of 1e-76
            z = mp.expj(mp.mpf(frequency)) if discrete else mp.mpc(0, mp.mpf(frequency))
            matrix, B = z * mp.eye(system.n) - _matrix(system.A), _matrix(system.B)
            state = mp.inverse(matrix) * B if along is None else mp.lu_solve(matrix, B * along)
            return D + _matrix(system.C) * state

    def one_direction(C: Any, B: Any, poles: Any, point: Any, delay: int) -> mp.matrix:
        total = mp.matrix(system.p, system.m if along is None else 1)
        for i, pole in enumerate(poles):
            factor = (point if delay == 0 else 1) / (point - mp.mpc(complex(pole)))
            if along is not None:
                factor *= mp.fsum(mp.mpc(complex(B[i, j])) * along[j] for j in range(system.m))
                for k in range(system.p):
                    total[k, 0] += mp.mpc(complex(C[k, i])) * factor
                continue
            for k in range(system.p):
                left = mp.mpc(complex(C[k, i])) * factor
                for j in range(system.m):
                    total[k, j] += left * mp.mpc(complex(B[i, j]))
        return total

    def both(C: Any, point: Any, delay: int) -> mp.matrix:
        total = one_direction(C, system.B, system.poles, point, delay)
        if system.conjugate_pairs:
            total += one_direction(C.conj(), system.B.conj(), system.poles.conj(), point, delay)
        return total

    total = D + both(system.C, z, system.delay)
    if system.C_reverse is not None:
        total += both(system.C_reverse, 1 / z, system.delay_reverse)
    return total


def exact_gain(system: StateSpace | DiagonalStateSpace, frequency: Any) -> Any:
    """Return the largest singular value of G at a frequency as an mpmath number."""
    return largest_singular_value(exact_response(system, frequency))


def largest_singular_value(G: mp.matrix) -> Any:
    """Return the largest singular value of a matrix of mpmath numbers."""
    if G.rows == 0 or G.cols == 0:
        return mp.mpf(0)
    if G.rows == 1 or G.cols == 1:
        return mp.sqrt(mp.fsum(abs(x) ** 2 for x in G))
    H = G.H * G if G.cols <= G.rows else G * G.H
    if H.rows == 2:
        half = (H[0, 0].real + H[1, 1].real) / 2
        return mp.sqrt(half + mp.sqrt(((H[0, 0].real - H[1, 1].real) / 2) ** 2 + abs(H[0, 1]) ** 2))
    return mp.sqrt(max(mp.eighe(H, eigvals_only=True)))
