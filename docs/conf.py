"""Sphinx configuration. Built by `make docs` with warnings as errors; the examples run while it builds."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "docs"))

# The kernels that execute the examples import the same checkout.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
# The matrices here are small: one thread is as fast, and kernels do not fight for the cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

project = "ssmreduce"
author = "The ssmreduce authors"
copyright = "2026, the ssmreduce authors"
release = version = "0.1.0"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build", "_generated", "jupyter_execute"]
nitpicky = True
nitpick_ignore = [  # the standard library, whose inventory is elsewhere
    ("py:class", "abc.ABC"),
    ("py:class", "contextlib.ContextDecorator"),
    ("py:class", "enum.Enum"),
]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_render_markdown_format = "myst"  # CommonMark, the default, has no tables
nb_execution_raise_on_error = True
nb_execution_timeout = 900  # seconds a cell; a loaded machine is slow, not broken
nb_execution_show_tb = True
nb_merge_streams = True

math_number_all = False
math_eqref_format = "({number})"
numfig = True

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

autodoc_typehints = "none"  # numpydoc states types and shapes
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = "ssmreduce"
html_static_path = ["_static", "_generated/static"]
html_css_files = ["wide.css"]

# Formulas are set without a network: one file of MathJax, fonts and extensions inside, comes with the site. The package
# is a carrier of that file (MathJax 3.2.2, Apache-2.0); used as an extension it would copy 24 MB.
GENERATED = Path(__file__).resolve().parent / "_generated"
MATHJAX = "mathjax/tex-svg-full.js"
mathjax_path = MATHJAX
mathjax3_config = {
    "tex": {"processEscapes": True},
    "options": {"enableMenu": False, "processHtmlClass": "tex2jax_process|mathjax_process|math|output_area"},
}


def _ship_mathjax() -> None:
    """Copy the one file and its licence beside the static files."""
    target = GENERATED / "static" / MATHJAX
    target.parent.mkdir(parents=True, exist_ok=True)
    carrier = "sphinx-mathjax-offline"
    found = [p for p in metadata.files(carrier) or () if p.as_posix().endswith(f"static/{MATHJAX}")]
    shutil.copyfile(str(found[0].locate()), target)


def _write_columns() -> None:
    """The columns of a comparison, from where the table and the report have them."""
    from ssmreduce.view.columns import glossary_in_markdown

    (GENERATED / "columns.md").write_text(glossary_in_markdown(), encoding="utf-8")


_ship_mathjax()
_write_columns()


def _exists(target: str) -> bool:
    """Whether a dotted name of our packages can be imported and looked up."""
    parts = target.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            fields = getattr(value, "__dataclass_fields__", {})
            if not hasattr(value, part) and part not in fields:
                return False
            value = getattr(value, part, None)
        return True
    return False


def _resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Link a short name to the one class or function of that name; leave names of inner modules as plain text.

    A name that does not exist stays unresolved, and fails the build.
    """
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    ours = target.startswith(("theory", "ssmreduce"))
    if ours or "." not in target:
        short = target.rsplit(".", 1)[-1]
        objects = env.get_domain("py").objects
        wanted = {"class", "exception", "function"}
        matches = sorted(n for n, entry in objects.items() if n.rsplit(".", 1)[-1] == short and entry.objtype in wanted)
        if matches and (not ours or _exists(target)):
            entry = objects[matches[0]]
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, matches[0])
    here = [node.get("py:module"), node.get("py:class")]
    if (ours and _exists(target)) or any(_exists(".".join([*filter(None, here[:k]), target])) for k in (1, 2)):
        return contnode
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(("theory.", "ssmreduce."))]
    if "." not in target and any(hasattr(module, target) for module in modules):
        return contnode  # a constant beside the function that names it
    return None


def _fill(app: Any, docname: str, source: list[str]) -> None:
    """Put the tables that come from the registries into a page."""
    import experiment
    import record_reduced
    import registry_tables

    source[0] = record_reduced.filled(experiment.filled(registry_tables.filled(source[0])))


def setup(app: Any) -> None:
    """Connect the resolver of names, and the tables."""
    app.connect("source-read", _fill)
    app.connect("missing-reference", _resolve)
