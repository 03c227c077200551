"""What each code base stores of one layer; one file a code base.

A new one is a file in this folder that holds ``FORMATS``, a tuple of :class:`LayerFormat`: it is then found, read,
written, listed on the command line and in the docs. Imports :mod:`theory` only.
"""

from __future__ import annotations

import importlib
import pkgutil

from ssmreduce.layers.formats.layer_format import Array, Arrays, LayerFormat


def _collected() -> dict[str, LayerFormat]:
    """Every format of every file in this folder, files by name, formats in their files' order."""
    found: dict[str, LayerFormat] = {}
    for entry in sorted(pkgutil.iter_modules(__path__), key=lambda entry: entry.name):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        found |= {form.name: form for form in getattr(module, "FORMATS", ())}
    return found


LAYER_FORMATS: dict[str, LayerFormat] = _collected()
"""Every storage of a layer that is read and written, by name."""

__all__ = ["LAYER_FORMATS", "Array", "Arrays", "LayerFormat"]
