"""Synthetic pulse waves for a heart-rate network of other people, whose data are not at hand."""

from __future__ import annotations

import numpy as np


def pulse_waves(count: int, L: int, seed: int, amplitudes: tuple[float, float] = (3.0, 100.0)) -> np.ndarray:
    """Signals (count, L, 1) at 100 Hz: beats of two bumps, 50 to 120 a minute, on breath and low-pass noise.

    Of mean 0, with standard deviations drawn between the amplitudes, uniform on a logarithmic scale.
    """
    rng = np.random.default_rng(seed)
    t, window = np.arange(L) / 100.0, np.hanning(21)
    found = np.zeros((count, L, 1), np.float32)
    for x in found:
        period, jitter = 60 / rng.uniform(50, 120), rng.uniform(0.01, 0.15)
        width, second = rng.uniform(0.06, 0.12), rng.uniform(0.2, 0.6)
        steps = period * np.maximum(0.4, 1 + jitter * rng.standard_normal(int((t[-1] + 3) / (0.4 * period)) + 1))
        y = rng.uniform(0, 0.5) * np.sin(2 * np.pi * rng.uniform(0.1, 0.4) * t + rng.uniform(0, 2 * np.pi))
        for beat in np.cumsum(steps) - 1.0:
            late = (t - beat - 0.3 * period) / (1.5 * width)
            bumps = np.exp(-0.5 * ((t - beat) / width) ** 2) + second * np.exp(-0.5 * late**2)
            y += (1 + 0.1 * rng.standard_normal()) * bumps
        noise = np.convolve(rng.standard_normal(L + 20), window / window.sum(), "valid")
        y += rng.choice([0.02, 0.1, 0.5, 2.0]) * noise
        x[:, 0] = (y - y.mean()) / y.std() * np.exp(rng.uniform(*np.log(amplitudes)))
    return found
