"""Where a response is largest, and the gain that is attained there: the lower end of the norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from theory.arithmetic.singular_value import gain_of
from theory.norms.peaks.grid import Grid
from theory.norms.peaks.locate import Located
from theory.norms.peaks.peak import Peak
from theory.norms.peaks.witness import attained_gain, resolvent_gain
from theory.norms.responses.compression import compress
from theory.norms.responses.modes import ModalSum
from theory.norms.responses.polynomial import Polynomial
from theory.norms.responses.resolvent import Resolvent
from theory.norms.responses.response import Response
from theory.norms.responses.substitution import Substitution
from theory.systems.boundary import AXIS, CIRCLE

CANCELS = 1e-13
"""Size of a residue, relative to the sum of its terms, that rounding may have left of zero."""

SPARE_CHANNELS = 2
"""Inputs and outputs, as a multiple of the modes, that are compressed before a large gain is looked for."""


def locate(response: Response, rtol: float) -> Peak:
    """Find a large gain of a response, very likely the largest; nothing here is part of a proof."""
    form, shape = response.form, response.shape
    if shape == "scalars":  # samples come with the proof's local models
        return Peak(rtol)
    if shape == "constant":
        return Peak(rtol, best=gain_of(form.D) if form.D.any() else 0.0)
    if shape == "pole":
        return _pole(form, rtol)
    if shape in ("few", "polynomial"):
        return Grid(compress(form) if isinstance(form, ModalSum) else form, rtol).search()
    peak = Located(compress(form, factor=SPARE_CHANNELS), rtol)
    peak.locate()
    return peak


def gain_at(response: Response, peak: Peak, frequency: float) -> float:
    """Return a gain that a modal sum attains at this frequency, by the input of the peak where there is one."""
    form = response.form
    vector = peak.vector if peak.vector is not None and peak.vector.size == form.B.shape[1] else None
    return attained_gain(form, frequency, vector)


def attained(response: Response, peak: Peak) -> tuple[Any, Any]:
    """Return a gain of the form that is attained at exactly the frequency that is reported, and that frequency."""
    form = response.form
    if isinstance(form, Polynomial):
        return form.attained(peak.frequency), peak.frequency
    if isinstance(form, (Resolvent, Substitution)):
        where = peak.frequency
        return resolvent_gain(form, peak.chart, peak.where), abs(where) if form.real_system else where
    if response.shape == "scalars":
        return peak.best, form.shaped(peak.where)
    if response.shape in ("constant", "pole"):
        return peak.best, peak.frequency
    return gain_at(response, peak, peak.frequency), peak.frequency


def _pole(modes: ModalSum, rtol: float) -> Peak:
    """The first pole on the boundary: the gain is infinite there unless the residue may be zero."""
    pole = modes.poles[modes.on_boundary][0]
    where = float(np.angle(pole)) if modes.discrete else float(pole.imag)
    where = -where if modes.reverse[modes.on_boundary][0] else where
    same = modes.on_boundary & (modes.poles == pole)
    residue = modes.C[:, same] @ modes.B[same]
    cancels = np.abs(residue).max() <= CANCELS * float(modes.weights[same].sum())
    return Peak(
        rtol,
        best=0.0 if cancels else np.inf,
        chart=CIRCLE if modes.discrete else AXIS,
        where=abs(where) if modes.real else where,
    )
