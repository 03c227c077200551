r"""One layer in the parameters of another code base: the same system, so the same outputs, or a reason why not.

What the form holds as it is, it holds bit for bit; else the discrete system is inverted under the rule of the other
code base, to the precision of the stored arrays. A layer whose output sees the state before the update becomes one
whose output sees the updated state by :math:`C'=C\bar\Lambda^{-1}`, :math:`D'=D-2\Re(C\bar\Lambda^{-1}\bar B)`,
and back by :math:`C=C'\bar\Lambda`, :math:`D=D'+2\Re(C'\bar B)`, where D is dense.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.families import FAMILIES
from ssmreduce.layers.formats import LAYER_FORMATS, LayerFormat
from ssmreduce.layers.inversion import FIELDS, invert, stored
from theory.errors import DimensionError, InputError
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

OPTIONS = ("conj_sym", "discretization", "clip_eigs", "delay", "step_rescale")
"""Options of a layer that a form may fix."""


def converted(layer: Any, form: str) -> dict[str, Any]:
    """Return the fields of a layer that computes what `layer` does, stored as another code base stores it.

    Parameters
    ----------
    layer : SSMLayer
    form : str
        A key of :data:`ssmreduce.layers.formats.LAYER_FORMATS`.

    Returns
    -------
    dict
        Fields and options, for ``layer.replace``.

    Raises
    ------
    InputError, StabilityError
        The form is unknown, of another kind, only read and not written, or cannot hold the layer: directions, D, delay,
        eigenvalues; the message says which.
    """
    target = _form(layer, form)
    allowed = target.discretizations or (layer.discretization,)
    options = {key: getattr(layer, key) for key in OPTIONS}
    free = layer.discretization != "dirac" or "discretization" not in LAYER_FORMATS[layer.form].fixed
    options["discretization"] = layer.discretization if layer.discretization in allowed and free else allowed[0]
    # a form that does not fix where its output looks has S5's place of it
    options |= {"delay": 0, **{key: value for key, value in target.fixed.items() if key in OPTIONS}}
    system = layer.system
    if options["delay"] != layer.delay:
        system = moved(system, options["delay"], target)
    same = all(options[key] == getattr(layer, key) for key in OPTIONS if key != "conj_sym")
    blank = layer.replace(form=form, source=None, **options)
    for D in _feedthroughs(layer, system):
        try:
            if same:
                found = _as_they_are(layer, target, D, options["conj_sym"])
                if found is not None:
                    return {"form": form, **options, **found}
            if layer.family.is_batch:
                fields = invert(blank, system)
            else:
                fields = invert(blank.replace(D=D), system.replace(D=D if D.ndim == 2 else np.diag(D)))
        except DimensionError:  # D is of the shape that this form has not
            continue
        _check_written(target, fields["source"])
        return {"form": form, **options, **fields}
    what = "dense" if layer.D.ndim == 2 or system.D.ndim == 2 else "diagonal"
    raise InputError(f"{target.title} cannot hold the {what} D {layer.D.shape} of this layer")


def _form(layer: Any, form: str) -> LayerFormat:
    """The form that was asked for, if layers of this kind may have it."""
    if form not in LAYER_FORMATS:
        known = [name for name, entry in LAYER_FORMATS.items() if entry.kind == layer.kind]
        raise InputError(f"unknown form {form!r}; a layer of kind {layer.kind!r} may have {', '.join(known)}")
    target = LAYER_FORMATS[form]
    if target.kind != layer.kind:
        why = (
            "one system of all channels is no batch of systems of one channel each"
            if FAMILIES[target.kind].is_batch
            else "a batch of systems of one channel each has as many times the states as one system"
        )
        raise InputError(f"{target.title} is of kind {target.kind!r}, this layer of kind {layer.kind!r}: {why}")
    return target


def moved(system: DiagonalStateSpace, delay: int, target: LayerFormat) -> DiagonalStateSpace:
    """The same transfer function with the output before (1) or after (0) the update of the state."""
    if system.is_bidirectional:
        raise InputError(f"{target.title} has delay={delay}, and a layer of two directions is not moved")
    factor = 2.0 if system.conjugate_pairs else 1.0
    if delay == 0 and not (np.abs(system.poles) > 0).all():
        raise InputError(
            f"{target.title} has delay=0 (its output sees the updated state), this layer delay=1 and a pole of 0: "
            "the state before the update cannot be had from the updated one"
        )
    C = system.C / system.poles if delay == 0 else system.C * system.poles
    through = factor * ((C if delay == 0 else system.C) @ system.B).real
    return system.replace(C=C, D=system.D - through if delay == 0 else system.D + through, delay=delay)


def _feedthroughs(layer: Any, system: DiagonalStateSpace) -> list[Array]:
    """D in the shapes that it may have: as it came first, then dense, or diagonal where it is."""
    if layer.family.is_batch:
        return [layer.D]
    dense: Array = system.D.real
    square = dense.shape[0] == dense.shape[1]
    diagonal = [np.diagonal(dense)] if square and np.array_equal(dense, np.diag(np.diagonal(dense))) else []
    return [dense, *diagonal] if layer.D.ndim == 2 else [*diagonal, dense]


def _as_they_are(layer: Any, target: LayerFormat, D: Array, conj_sym: bool) -> dict[str, Any] | None:
    """The fields of the layer where the form holds them without a change of any bit but a factor of 2 in C."""
    factor = 1.0 if layer.conj_sym == conj_sym else 2.0 if layer.conj_sym else 0.5
    fields = {key: getattr(layer, key) for key in FIELDS} | {"D": D}
    for key in ("C", "C_reverse"):
        fields[key] = None if fields[key] is None else factor * fields[key]
    found = stored(fields, target.name, layer.dtype)
    _check_written(target, found["source"])
    for key, value in fields.items():
        if (value is None) != (found[key] is None) or (value is not None and not np.array_equal(value, found[key])):
            return None
    return found


def _check_written(target: LayerFormat, source: dict[str, Array]) -> None:
    """Whether what the form writes is of that form: S4 is read, and written as S4D."""
    lacking = [key for key in target.keys if key not in source]
    if lacking:
        raise InputError(f"layers are read from {target.title}, and not written so: no {', '.join(lacking)} is made up")
    if not target.recognizes(source, dict(target.stated)):
        raise InputError(f"{target.title} cannot hold the directions of this layer")
