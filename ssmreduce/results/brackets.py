"""Brackets of batches and of quotients."""

from __future__ import annotations

import numpy as np

from theory.norms.bracket import Bracket


def worst(bracket: Bracket) -> Bracket:
    """Bracket of a batch of independent systems as one system: the largest of their norms."""
    lower, upper = np.asarray(bracket.lower, dtype=float), np.asarray(bracket.upper, dtype=float)
    if lower.ndim == 0:
        frequency = float(np.asarray(bracket.frequency))
        return Bracket(float(lower), float(upper), frequency, bracket.status, bracket.diagnostics)
    if lower.size == 0:
        return Bracket(0.0, 0.0, 0.0, "closed")
    peak = int(lower.argmax())
    frequency = float(np.broadcast_to(np.asarray(bracket.frequency, dtype=float), lower.shape).ravel()[peak])
    return Bracket(
        float(lower.max()), float(upper.max()), frequency, bracket.status, {**bracket.diagnostics, "channel": peak}
    )


def relative(error: Bracket, norm: Bracket) -> Bracket:
    """Error over norm, as a bracket: the smallest quotient of their ends and the largest, rounded outwards."""
    if error.upper == 0:
        return Bracket(0.0, 0.0, error.frequency, "closed")
    lower = np.nextafter(error.lower / norm.upper, 0.0) if norm.upper > 0 else np.inf
    upper = np.nextafter(error.upper / norm.lower, np.inf) if norm.lower > 0 else np.inf
    closed = error.status == norm.status == "closed"
    return Bracket(float(lower), float(upper), error.frequency, "closed" if closed else "open")
