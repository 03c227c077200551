"""What lies in a PyTorch file beside tensors and numbers: foreign objects, read as inert placeholders and left out.

Training codes save their configuration (OmegaConf, argparse), paths and NumPy scalars beside the weights. torch's
restricted reader refuses a file that holds any of them, and takes it when every foreign name is given a class: here one
of this file, which keeps nothing and runs nothing. So no code of the file is imported or called, NumPy's numbers and
arrays become what they are, and what a placeholder was made for is left out, by name.
"""

from __future__ import annotations

import io
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBER = re.compile(r"[biufcUS][0-9]+")
"""Types of NumPy's numbers and texts, as its pickles spell them; no objects, no records."""

STATES = ("functools.partial",)
"""Classes of the standard library whose state is a tuple."""

KEEPS = ("collections.defaultdict",)
"""Mappings of the standard library, which are read as what they hold."""


def load(torch: Any, data: bytes) -> tuple[Any, dict[str, str]]:
    """Return the content of a PyTorch file, and what was left out of it: its place to the name of its class.

    Raises
    ------
    Exception
        What torch raises where it reads none of it: damaged, of the old format with foreign objects, or with names of
        modules that reach the system.
    """
    try:
        return _loaded(torch, data, []), {}
    except Exception:  # UnpicklingError, RuntimeError ...: no common base
        listed = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)
        if listed is None or not data.startswith(b"PK"):
            raise
        foreign = listed(io.BytesIO(data))
        if not foreign:
            raise
    made: list[tuple[Any, str]] = []
    try:
        classes = [(_stand_in(name, made), name) for name in foreign]
        content = _loaded(torch, data, classes)
    except (TypeError, ValueError, AttributeError):  # one whose state is no mapping: slots, a frozen dataclass
        classes = [(_stand_in(name, made, is_mapping=False), name) for name in foreign]
        content = _loaded(torch, data, classes)
    names = {id(thing): name for thing, name in [*made, *classes]}
    if id(content) in names:
        return content, {"": names[id(content)]}
    left_out: dict[str, str] = {}
    return _without(content, names, "", left_out), left_out


def _loaded(torch: Any, data: bytes, classes: list[tuple[Any, str]]) -> Any:
    """Have torch read the file with some classes for foreign names; its remarks on speed are not ours."""
    safe = torch.serialization.safe_globals(classes) if classes else nullcontext()
    with safe, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _stand_in(name: str, made: list[tuple[Any, str]], *, is_mapping: bool = True) -> Callable[..., Any]:
    """What a foreign name is read as; what is made of it is noted in `made`, unless it becomes a number."""
    if name.endswith(".multiarray.scalar"):
        return _scalar
    if name == "numpy.dtype":
        return _Type
    if name.endswith(".multiarray._reconstruct"):
        return lambda *_: _Array()
    if name == "numpy.ndarray":
        return _Array

    class Placeholder:
        """Makes an empty ordered mapping of whatever it is called with: torch fills one, and calls nothing on it."""

        def __new__(cls, *_: Any, **__: Any) -> Any:
            empty: OrderedDict[Any, Any] = OrderedDict()
            if name not in KEEPS:
                made.append((empty, name))
            return empty

    class Nothing:
        """Takes what it is called with and the state that it is given, and keeps neither."""

        def __new__(cls, *_: Any, **__: Any) -> Any:
            self = object.__new__(cls)
            made.append((self, name))
            return self

        def __setstate__(self, state: Any) -> None:
            del state

    return Placeholder if name in KEEPS or (is_mapping and name not in STATES) else Nothing


class _Type:
    """A type of NumPy's numbers, by its code and the order of its bytes."""

    def __init__(self, code: str, *_: Any) -> None:
        if not NUMBER.fullmatch(code):
            raise ValueError(f"an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array, whose content torch hands over afterwards."""

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        stored = np.frombuffer(content, kind.dtype).reshape(shape, order="F" if fortran else "C")
        self.array = stored.astype(kind.dtype.newbyteorder("="))


def _scalar(kind: _Type, content: bytes) -> Any:
    """A number of NumPy as one of Python."""
    return np.frombuffer(content, kind.dtype)[0].item()


def _without(value: Any, names: Mapping[int, str], place: str, left_out: dict[str, str]) -> Any:
    """Copy nested mappings without the entries that hold a placeholder, noting each."""
    if isinstance(value, _Array):
        return value.array
    if type(value) in (list, tuple):
        return type(value)(_without(each, names, place, left_out) for each in value)
    if not isinstance(value, Mapping):
        return value
    kept: dict[Any, Any] = {}
    for key, item in value.items():
        where = f"{place}/{key}" if place else str(key)
        found = _foreign(item, names)
        if found is not None:
            left_out[where] = found
        else:
            kept[key] = _without(item, names, where, left_out)
    if not isinstance(value, OrderedDict):
        return kept
    ordered = OrderedDict(kept)
    ordered.__dict__.update(value.__dict__)
    return ordered


def _foreign(item: Any, names: Mapping[int, str], *, inside: bool = False) -> str | None:
    """The class of a placeholder that is this entry, or lies in its lists, and in mappings inside of these."""
    if id(item) in names:
        return names[id(item)]
    if isinstance(item, Mapping) and inside:
        item = list(item.values())
    if not isinstance(item, (list, tuple, set)):
        return None
    return next(filter(None, (_foreign(each, names, inside=True) for each in item)), None)
