"""A layer from its arrays: the one place where S5's letters meet control's.

======================  =====================================  =================================
stored                  meaning                                control
======================  =====================================  =================================
``Lambda_re/_im``       continuous eigenvalues                 ``poles``, after discretization
``log_step``            log of each state's step               inside ``poles`` and ``B``
``B (P, H, 2)``         continuous input matrix                ``B (n, m)``, after discretization
``C | C1 (H, P, 2)``    output matrix                          ``C (p, n)``
``C2``                  output matrix, reversed time           ``C_reverse``
``D (H,)``              diagonal feedthrough                   ``D = diag(D)``
======================  =====================================  =================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.formats import LAYER_FORMATS, LayerFormat
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.location import as_array, find_layers, leaves
from ssmreduce.layers.options import LAYER_OPTIONS, asked, checked, options_of
from theory.errors import DimensionError, InputError, StabilityError
from theory.systems.system import StateSpace, System

Array = NDArray[Any]

UNKNOWN = (
    "layers are known by the names of their arrays, which the page 'What is read and written' lists (S5's are "
    "Lambda_re, Lambda_im, B, C or C1 and C2, D, log_step). A layer of other code goes in as the system that it is: "
    "ssmreduce.DiagonalStateSpace(poles, B, C, D, dt=1.0, delay=0), which reduce, compare and analyze take"
)
"""What to do where no layer is recognised."""


def _form_of(raw: Mapping[str, Array], where: str, options: Mapping[str, Any]) -> LayerFormat:
    """Recognise the format of one layer's arrays."""
    anchored = [form for form in LAYER_FORMATS.values() if form.anchor in raw and raw.keys() >= {*form.beside}]
    if not anchored:
        listing = ", ".join(sorted(raw)[:8]) or "nothing"
        raise InputError(
            f"{where}no S5 or S4D parameters here (found {listing}); {UNKNOWN}"
        )
    chosen = [form for form in anchored if form.recognizes(raw, options)]
    if not chosen:
        key = next(key for key in anchored[0].stated if options.get(key) not in {f.stated.get(key) for f in anchored})
        if options.get(key, anchored[0].usual.get(key)) is None:
            raise asked(where, key, anchored[0].question)
        known = ", ".join(repr(value) for value in dict.fromkeys(form.stated[key] for form in anchored))
        raise InputError(f"{where}{key} must be one of {known}, got {options[key]!r}")
    form = chosen[0]
    try:
        missing = form.missing(raw)
    except InputError as error:
        raise InputError(f"{where}{error}") from None
    if missing:
        raise InputError(f"{where}the {form.title} layer lacks {', '.join(missing)}")
    return form


def layer_from_params(params: Mapping[Any, Any], *, name: str = "", **options: Any) -> SSMLayer:
    """Read one layer from a mapping of its arrays; ``layer.to_params()`` gives them back bit for bit.

    Parameters
    ----------
    params : mapping of str to array
        The arrays of one layer, under the keys of any of :data:`ssmreduce.layers.formats.LAYER_FORMATS`; others are
        ignored.
    name : str
        For messages.
    **options
        What arrays cannot tell; asked for where it matters and nothing else tells. ``conj_sym`` (bool, S5): whether
        one eigenvalue of each conjugate pair is stored. ``discretization``: "zoh", "bilinear", or "dirac" of event-ssm
        (S5, S4D of versions 3 and 4; an S5 layer of the reference code, known by its place ``.../seq`` or by its two
        directions, is taken as "zoh", that code's default). ``clip_eigs`` (bool, S5): whether the model clips
        ``Re(Lambda)`` at -1e-4, where an eigenvalue lies above. ``dt_transform``: "softplus" or "exp" (S4 version 4).
        ``real_transform``: how the S4 code stores the real part; "exp" unless given. ``linoss``: "im" or "imex", how
        LinOSS without damping steps its oscillators. ``step_rescale``: 1 unless given. ``bidirectional``: checked if
        given.

    Raises
    ------
    OptionError
        An option that the arrays do not tell; carries its name and its values.
    InputError, DimensionError
        Missing arrays, shapes that do not fit, NaN; the message names layer, array and option.
    """
    where = f"layer {name}: " if name else "layer: "
    checked(where, options)
    found = find_layers(params)
    if len(found) > 1:
        raise InputError(
            f"the tree holds {len(found)} layers ({', '.join(list(found)[:4])}, ...): pass one of them, "
            "or use read_layers or load"
        )
    tree = dict(leaves(params))
    paths = next(iter(found.values())) if found else {".".join(path): path for path in tree}
    raw = {key: as_array(tree[path], f"{where}{key}") for key, path in paths.items()}
    form = _form_of(raw, where, options)
    wanted = {key: raw[key] for key in form.keys + form.optional if key in raw}
    for key, array in wanted.items():
        if array.dtype.kind == "c" and key not in form.complex_keys:
            raise InputError(f"{where}{key} has dtype {array.dtype}; real numbers are needed")
    try:
        fields = form.decode(wanted)
    except DimensionError as error:
        raise _prefixed(error, where, _stacked(raw)) from None
    except StabilityError as error:
        raise StabilityError(f"{where}{error}", error.poles, error.margin) from None
    place = name or next(iter(found), "")
    chosen = options_of(form, where, options, wanted, fields, place)
    is_bidirectional = fields["C_reverse"] is not None
    if options.get("bidirectional") not in (None, is_bidirectional):
        raise InputError(
            f"{where}bidirectional={options['bidirectional']} was given, but the arrays say {is_bidirectional}"
        )
    dtype = _precision([array.dtype for array in wanted.values()])
    source = {key: np.array(value) for key, value in wanted.items()}
    chosen |= {"kind": form.kind, "form": form.name, "name": name, "dtype": dtype, "source": source}
    return SSMLayer(**fields, **chosen)


def _precision(dtypes: list[np.dtype[Any]]) -> np.dtype[Any]:
    """The real type in which reduced arrays are stored: 16 bits if all arrays are of one such type.

    A length or a counter beside them has no say.
    """
    dtypes = [dtype for dtype in dtypes if dtype.kind not in "iu"] or dtypes
    if len(set(dtypes)) == 1 and dtypes[0].name in ("float16", "bfloat16"):
        return dtypes[0]
    wide = [np.dtype(np.float32) if dtype.name in ("float16", "bfloat16") else dtype for dtype in dtypes]
    wide = [np.finfo(dtype).dtype if dtype.kind == "c" else dtype for dtype in wide]
    return np.dtype(np.float64 if np.result_type(*wide).itemsize > 4 else np.float32)


def _prefixed(error: DimensionError, where: str, hint: str = "") -> DimensionError:
    message = str(error).split(" (got ")[0]
    return DimensionError(where + message + hint, **error.shapes)


def leading_axis(raw: Mapping[str, Array]) -> int:
    """Length of an axis in front of all arrays that make a layer without it, and none with it; else 0."""
    sizes = {array.shape[0] if array.ndim else 0 for array in raw.values()}
    if len(sizes) != 1 or 0 in sizes:
        return 0
    forms = [form for form in LAYER_FORMATS.values() if form.anchor in raw and raw.keys() >= {*form.keys}]
    if any(_decodes(form, raw) for form in forms):
        return 0
    first = {key: array[0] for key, array in raw.items()}
    return sizes.pop() if any(_decodes(form, first) for form in forms) else 0


def _decodes(form: LayerFormat, raw: Mapping[str, Array]) -> bool:
    try:
        form.decode({key: raw[key] for key in form.keys + form.optional if key in raw})
    except (InputError, KeyError, ValueError, IndexError):
        return False
    return True


def _stacked(raw: Mapping[str, Array]) -> str:
    """Say so when all arrays have one axis too many in front and would make a layer without it."""
    size = leading_axis(raw)
    return (
        f". All arrays have a leading axis of {size}: pass axis='device' to load where pmap replicated them (on the "
        "command line --axis device; of one layer, {key: array[0]}), or axis='layers' where nn.scan stacked layers "
        "(--axis layers; of one layer after the other, {key: array[i]})"
        if size
        else ""
    )


def read_layers(tree: Mapping[Any, Any], *, prefix: str | None = None, **options: Any) -> tuple[SSMLayer, ...]:
    """Read all layers of a parameter tree, in the order of the network; options as in :func:`layer_from_params`.

    `prefix` says which part of the tree is meant where it holds the network several times, "" for everything.

    Raises
    ------
    InputError
        The tree holds no S5 or S4D layer, or several copies of them.
    """
    found, flat = find_layers(tree, prefix), dict(leaves(tree))
    if not found:
        listing = ", ".join("/".join(path) for path in list(flat)[:6]) or "nothing"
        raise InputError(
            f"no S5 or S4D layer in this tree (it holds {listing}); {UNKNOWN}"
        )
    return tuple(
        layer_from_params({key: flat[path] for key, path in paths.items()}, name=name, **options)
        for name, paths in found.items()
    )


def as_layer_or_system(source: Any, **options: Any) -> SSMLayer | System:
    """Turn whatever a user holds into an :class:`SSMLayer` or one of our systems.

    Parameters
    ----------
    source : SSMLayer, StateSpace, DiagonalStateSpace, mapping, live layer, or a state space of another package
        A mapping is a layer's parameters, with `options` as in :func:`layer_from_params`. A live layer has
        ``ssm_params()`` and ``ssm_options()``. Anything with ``A, B, C, D, dt`` is a state space; python-control's
        ``dt=0`` is continuous time and its ``dt=True`` is a sample time of 1.

    Raises
    ------
    InputError, TimeBaseError
    """
    from theory.systems.given import as_system
    from theory.systems.system import DiagonalStateSpace

    if isinstance(source, (SSMLayer, StateSpace, DiagonalStateSpace)):
        if options:
            raise InputError(
                f"options ({', '.join(options)}) go with a mapping of parameters; a {type(source).__name__} has its own"
            )
        return source
    if isinstance(source, Mapping):
        return layer_from_params(source, **options)
    if callable(getattr(source, "ssm_params", None)) and callable(getattr(source, "ssm_options", None)):
        own = {key: value for key, value in dict(source.ssm_options()).items() if key in LAYER_OPTIONS}
        return layer_from_params(source.ssm_params(), **{**own, **options})
    if all(hasattr(source, key) for key in ("A", "B", "C", "D")):
        if options:
            raise InputError(f"options ({', '.join(options)}) go with a mapping of parameters, not with a state space")
        return as_system(source)
    if hasattr(source, "layers") and hasattr(source, "params"):
        raise InputError(
            f"this is a whole model: pass one of its {len(source.layers)} layers (model.layers[0]), or use reduce_model"
        )
    if isinstance(source, (str, bytes)) or hasattr(source, "__fspath__"):
        raise InputError("this is a path: load(path).layers[0] gives the first layer of a checkpoint")
    raise InputError(
        f"a {type(source).__name__} is neither a layer nor a system: pass an SSMLayer, a StateSpace, a "
        "DiagonalStateSpace, a python-control StateSpace, or the mapping of a layer's parameters"
    )
