r"""LinOSS and damped LinOSS (discretax, linax, its authors): forced oscillators, output :math:`\Re(Cx)` of positions.

Of each oscillator the two modes are :math:`\lambda,\bar\lambda`, and its position answers an input :math:`f` by
:math:`\sum_k 2\Re(\rho\lambda^k)f`, a real number; so the layer is

.. math:: \sum_i 2\Re(\rho_i\lambda_i^k)\,\Re(c_ib_i^\top),\qquad
          \Re(cb^\top)=\Re c\,\Re b^\top-\Im c\,\Im b^\top,

two stored states of the same pole, one for the real parts and one for the imaginary parts; a part that is zero is none.
With :math:`d=\sigma(\text{steps})`, implicit: :math:`|\lambda|^2=1/(1+d^2A)`, :math:`\arg\lambda=\arctan d\sqrt A`,
:math:`\rho=d^2|\lambda|^2\lambda/(\lambda-\bar\lambda)`; damped: :math:`|\lambda|^2=1/S`, :math:`S=1+dG`,
:math:`2\Re\lambda=1+1/S-d^2A/S`, :math:`\rho=d^2/S\cdot\lambda/(\lambda-\bar\lambda)`.
An oscillator fixes :math:`\rho`, and a reduced system has residues of any phase: states are kept, no other system is
written back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import expit

from ssmreduce.layers.formats.layer_format import Array, Arrays, NotClosedError, Recognized, expect, paired
from theory.errors import InputError, StabilityError

ANGLE = 1e-6
"""Smallest angle of a pole to the real axis, in radians, of an oscillator that is taken apart into two modes; its
residue is one over it. Below, the two modes are one of order two, which no diagonal system has."""


class ImplicitLinOSS(Recognized):
    """See :class:`LayerFormat`; the implicit rule, or of the same arrays the one without damping, which is refused."""

    name, kind, title = "linoss", "s5", "LinOSS (implicit)"
    anchor = "A_diag"
    beside: tuple[str, ...] = ("B", "C", "steps")
    keys: tuple[str, ...] = ("A_diag", "B", "C", "D", "steps")
    projects = False
    fixed: Mapping[str, Any] = {
        "conj_sym": True, "clip_eigs": False, "discretization": "dirac", "delay": 0, "step_rescale": 1.0,
    }  # fmt: skip
    stated: Mapping[str, Any] = {"linoss": "im"}
    question = " (how its oscillators are stepped: im, implicit, is stable; imex, without damping, never forgets)"

    def recognizes(self, raw: Mapping[str, Array], options: Mapping[str, Any]) -> bool:
        """Damped ones are told by their G."""
        return "G_diag" not in raw and super().recognizes(raw, options)

    def modes(self, raw: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        """Logarithm of the modulus, angle and residue of each oscillator's pole."""
        d, A = _steps(raw)
        squared = d**2 * np.maximum(A, 0.0)
        return -0.5 * np.log1p(squared), np.arctan(np.sqrt(squared)), d**2 / (1.0 + squared)

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`."""
        modulus, angle, weight = self.modes(raw)
        P = modulus.size
        degenerate = np.minimum(angle, np.pi - angle) < ANGLE
        if degenerate.any():
            which = np.flatnonzero(degenerate)
            raise InputError(
                f"oscillator {', '.join(map(str, which[:6]))} of {P} does not oscillate: both of its poles lie at one "
                "place on the real axis (A_diag at a bound, where its derivative vanishes), a double pole, that no "
                "diagonal system has. Move it off in the training code, or remove it where it was pruned"
            )
        B, C = paired(expect("B", raw["B"], P, None, 2)), paired(expect("C", raw["C"], None, P, 2))
        D = expect("D", raw["D"], B.shape[1]).astype(np.float64)
        expect("C", C, B.shape[1], P)
        pole = np.exp(modulus + 1j * angle)
        residue = weight * pole / (2j * pole.imag)
        parts = [(B.real, C.real), (B.imag, -C.imag)]
        there = np.stack([b.any(axis=1) & c.any(axis=0) for b, c in parts], axis=1).ravel()
        both = np.repeat(np.arange(P), 2)[there]
        return {
            "Lambda": (modulus + 1j * angle)[both],
            "B": np.stack([residue[:, None] * b for b, _ in parts], axis=1).reshape(2 * P, -1)[there],
            "C": np.stack([c for _, c in parts], axis=2).reshape(-1, 2 * P)[:, there].astype(complex),
            "C_reverse": None,
            "D": D,
            "log_step": np.zeros(int(there.sum())),
        }

    def encode(self, fields: Mapping[str, Any], dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`."""
        raise NotClosedError(
            "an oscillator of LinOSS answers every input with the same phase, so that the residue of a mode is a real "
            "matrix times one number that its pole fixes; those of a reduced system are complex, of any phase"
        )

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """Oscillators of which a part is kept; of what is not, the parts of B are zeros."""
        B, C = raw["B"], raw["C"]
        there = np.stack([B[..., part].any(axis=1) & C[..., part].any(axis=0) for part in (0, 1)], axis=1)
        flat = np.flatnonzero(there.ravel())[index]
        kept: Array = np.isin(np.arange(there.size), flat).reshape(there.shape)
        rows = np.flatnonzero(kept.any(axis=1))
        chosen = {key: value[rows] for key, value in raw.items() if key in ("A_diag", "G_diag", "steps")}
        zeroed = np.where(kept[rows][:, None, :], B[rows], np.zeros((), B.dtype))
        return raw | chosen | {"B": zeroed, "C": C[:, rows]}


class UndampedLinOSS(ImplicitLinOSS):
    """Every pole on the circle."""

    name, title = "linoss-imex", "LinOSS (implicit-explicit, without damping)"
    stated: Mapping[str, Any] = {"linoss": "imex"}

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """Never: see the message."""
        raise StabilityError(
            "LinOSS with the implicit-explicit rule and no damping is symplectic: |pole| = 1 for every oscillator, so "
            "its impulse response never decays, no norm is finite, no Gramian exists, and there is no error to bound. "
            "The implicit rule (linoss='im') and damped LinOSS, which has G_diag, are read",
            np.exp(1j * np.zeros(np.shape(raw["A_diag"]))),
            0.0,
        )


class DampedLinOSS(ImplicitLinOSS):
    """The implicit-explicit rule with damping, A held where the poles are complex."""

    name, title = "linoss-damped", "D-LinOSS"
    beside = ("B", "C", "steps", "G_diag")
    keys = ("A_diag", "G_diag", "B", "C", "D", "steps")
    stated: Mapping[str, Any] = {}

    def recognizes(self, raw: Mapping[str, Array], options: Mapping[str, Any]) -> bool:
        """Tell by G."""
        return "G_diag" in raw

    def modes(self, raw: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        """See :class:`ImplicitLinOSS`."""
        d, A = _steps(raw)
        G = np.maximum(expect("G_diag", raw["G_diag"], A.size).astype(np.float64), 0.0)
        S = 1.0 + d * G
        low, high = ((1.0 + S + sign * 2.0 * np.sqrt(S)) / d**2 for sign in (-1.0, 1.0))
        A = np.clip(A, low, high)
        # 2 Re(pole) / (2 |pole|), and its distances from -1 and 1, from which the angle is told without cancellation
        above, below = (high - A) * d**2, (A - low) * d**2
        angle = 2.0 * np.arctan2(np.sqrt(np.maximum(below, 0.0)), np.sqrt(np.maximum(above, 0.0)))
        return -0.5 * np.log1p(d * G), angle, d**2 / S


def _steps(raw: Mapping[str, Array]) -> tuple[Array, Array]:
    """Step sizes and stiffnesses."""
    A = expect("A_diag", raw["A_diag"], None).astype(np.float64)
    return expit(expect("steps", raw["steps"], A.size).astype(np.float64)), A


FORMATS = (ImplicitLinOSS(), UndampedLinOSS(), DampedLinOSS())
