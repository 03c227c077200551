"""What is read and written, as tables for the documentation: made from the registries, so nothing can be left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ssmreduce.files.formats import known
from ssmreduce.layers.formats import LAYER_FORMATS


def containers() -> str:
    """Return the containers of arrays as a Markdown table."""
    rows = [(form.title, f"`{form.suffix}`", _summary(form)) for form in known().values()]
    return _table(("container", "suffix", "how it is read and written"), rows)


def layer_formats() -> str:
    """Return the storages of a layer as a Markdown table."""
    rows = [
        (
            form.title,
            form.kind.upper(),
            ", ".join(f"`{key}`" for key in form.keys),
            ", ".join(f"`{key}={value!r}`" for key, value in {**form.fixed, **form.stated}.items()),
        )
        for form in LAYER_FORMATS.values()
        if all(form.usual.get(key, value) == value for key, value in form.stated.items())
    ]
    return _table(("code base", "kind", "keys of one layer", "options that it fixes"), rows)


def _summary(form: object) -> str:
    """First line of the docstring of the module that defines a format."""
    import sys

    return (sys.modules[type(form).__module__].__doc__ or "").strip().partition("\n")[0]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
