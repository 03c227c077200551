"""What arrays cannot tell of a layer: options that are asked for where they matter, and never guessed in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssmreduce.layers.families import CLIP
from ssmreduce.layers.formats import LayerFormat
from theory.errors import InputError

OPTIONS: dict[str, tuple[Any, ...]] = {
    "conj_sym": (True, False),
    "discretization": ("zoh", "bilinear", "dirac"),
    "clip_eigs": (True, False),
    "step_rescale": (),
    "bidirectional": (True, False),
    "dt_transform": ("softplus", "exp"),
    "real_transform": ("exp", "softplus", "relu", "sigmoid", "none"),
    "linoss": ("im", "imex"),
}
"""Every option to the values that it may have; of ``step_rescale`` any positive number."""

LAYER_OPTIONS = tuple(OPTIONS)
"""Options that arrays cannot tell and :func:`ssmreduce.layer_from_params` understands."""


class OptionError(InputError):
    """The arrays of a layer do not tell an option that its system depends on.

    Attributes
    ----------
    option : str
        The keyword of :func:`ssmreduce.load` and :func:`ssmreduce.layer_from_params`, the name in the JSON half.
    values : tuple
        What it may be.
    """

    def __init__(self, message: str, option: str, values: Sequence[Any]) -> None:
        self.option, self.values = option, tuple(values)
        super().__init__(message)


def asked(where: str, option: str, why: str, values: Sequence[Any] = ()) -> OptionError:
    """Return the error that asks for an option, with the keyword and the flag."""
    values = values or OPTIONS[option]
    flag = f"--{option.replace('_', '-')}"
    flags = f"{flag} or --no-{flag[2:]}" if set(values) == {True, False} else f"{flag} {'|'.join(map(str, values))}"
    keywords = " or ".join(f"{option}={value!r}" for value in values)
    return OptionError(
        f"{where}the arrays do not tell {option}{why}: pass {keywords}; on the command line {flags}", option, values
    )


def checked(where: str, options: Mapping[str, Any]) -> None:
    """Refuse options that no layer has.

    Raises
    ------
    InputError
    """
    unknown = [key for key in options if key not in LAYER_OPTIONS]
    if unknown:
        raise InputError(f"{where}unknown option {unknown[0]!r}; the options of a layer are {', '.join(LAYER_OPTIONS)}")


def options_of(
    form: LayerFormat,
    where: str,
    options: Mapping[str, Any],
    raw: Mapping[str, Any],
    fields: Mapping[str, Any],
    place: str,
) -> dict[str, Any]:
    """Complete the options of one layer; contradict, and ask where the arrays cannot tell.

    Parameters
    ----------
    form : LayerFormat
        How the layer is stored.
    where : str
        Beginning of a message.
    options : mapping
        What was given; ``None`` is nothing.
    raw, fields : mapping
        The stored arrays, and what they decode to.
    place : str
        Where the layer lies in its tree, ``/``-joined: naming is what tells the reference code from others.

    Raises
    ------
    OptionError
        An option that matters was neither given nor told.
    InputError
        One that contradicts the format.
    """
    given = {key: value for key, value in options.items() if value is not None}
    for key, value in form.fixed.items():
        if given.get(key, value) != value:
            raise InputError(f"{where}{form.title} always has {key}={value}, got {given[key]!r}")
    keys = ("conj_sym", "discretization", "clip_eigs", "step_rescale")
    chosen: dict[str, Any] = {"step_rescale": 1.0, **form.presumed(raw, place)}
    chosen |= {key: given[key] for key in keys if key in given}
    chosen |= form.fixed
    if "conj_sym" not in chosen:
        why = (
            " (True: one eigenvalue of each conjugate pair is stored, the default of S5 and LAST, output 2 Re(C x); "
            "False: all are, output Re(C x))"
        )
        raise asked(where, "conj_sym", why)
    if "discretization" not in chosen:
        raise asked(where, "discretization", form.ambiguity, form.discretizations)
    if form.discretizations and chosen["discretization"] not in form.discretizations:
        known = " or ".join(map(repr, form.discretizations))
        raise InputError(
            f"{where}{form.title} has the discretization {known}, got {chosen['discretization']!r}{form.ambiguity}"
        )
    if "clip_eigs" not in chosen:
        above = float(fields["Lambda"].real.max(initial=float("-inf")))
        if CLIP < above < 0:  # an unstable layer is refused by whatever needs a stable one, with the same two ways on
            why = f", and it matters: the largest Re(Lambda) is {above:.3g}, which a model that clips holds at {CLIP:g}"
            raise asked(where, "clip_eigs", why)
        chosen["clip_eigs"] = False
    return chosen
