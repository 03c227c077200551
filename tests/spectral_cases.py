"""Gramians over frequencies by their definition: quadrature with A written out as a matrix, no code of the package."""

from __future__ import annotations

import numpy as np
from recorded_cases import matrices

NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)


def panels(frequencies, low, high):
    """Nodes and weights on [low, high]: panels that shrink towards every frequency at which something peaks."""
    cuts = np.concatenate([c + s * 4.0 ** -np.arange(12.0) for c in np.ravel(frequencies) for s in (-1, 1)])
    edges = np.unique(np.concatenate([[low, high], cuts[(cuts > low) & (cuts < high)], np.linspace(low, high, 9)]))
    half = 0.5 * np.diff(edges)[:, None]
    return ((edges[:-1, None] + half) + half * NODES).ravel(), (half * WEIGHTS).ravel()


def peaks(system):
    """Frequencies of the poles, both signs."""
    found = np.ravel(np.angle(system.poles) if system.is_discrete else system.poles.imag)
    return np.concatenate([found, -found])


def value(system, omega):
    """Of a dense system along the boundary, (w, p, m)."""
    z = np.exp(1j * omega) if system.is_discrete else 1j * omega
    return system.C @ np.linalg.inv(z[:, None, None] * np.eye(system.n) - system.A) @ system.B + system.D


def flat(size):
    """The spectral density of white noise."""
    return lambda omega: np.broadcast_to(np.eye(size), (omega.size, size, size))


def integrals(item, intervals, into=None, out=None, also=()):
    r"""``(P, Q)`` of one system over the intervals, for the densities `into` and `out`, functions of frequency.

    Two directions: the backward one sees every density mirrored; P is the mean, Q the sum.
    """
    into, out = into or flat(item.m), out or flat(item.p)
    A, B, C = matrices(item, item.C)
    backwards = item.C_reverse is not None
    C_reverse = matrices(item, item.C_reverse)[2] if backwards else C
    P = Q = np.zeros(A.shape, complex)
    for low, high in intervals:
        omega, weight = panels(np.append(peaks(item), also), low, high)
        z = np.exp(1j * omega) if item.is_discrete else 1j * omega
        R = np.linalg.inv(z[:, None, None] * np.eye(len(A)) - A)
        S = 0.5 * (into(omega) + into(-omega)) if backwards else into(omega)
        P = P + np.einsum("w,wim,wmk,wjk->ij", weight, R @ B, S, (R @ B).conj(), optimize=True) / (2 * np.pi)
        for rows, density in ((C, out(omega)), (C_reverse, out(-omega)))[: 1 + backwards]:
            seen = rows @ R
            Q = Q + np.einsum("w,wpi,wpq,wqj->ij", weight, seen.conj(), density, seen, optimize=True) / (2 * np.pi)
    return P, Q
