"""Sphinx configuration. Built by `make docs` with warnings as errors; the examples run while it builds."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# The kernels that execute the examples import the same checkout.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

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
exclude_patterns = ["_build", "jupyter_execute"]
nitpicky = True

myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 240
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
html_static_path = ["_static"]


def _resolve_short_name(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Resolve ``Name`` and ``ssmreduce.Name`` to the one documented class or function that ends in that name."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or ("." in target and not target.startswith(("theory.", "ssmreduce."))):
        return None
    short = target.rsplit(".", 1)[-1]
    objects = env.get_domain("py").objects
    wanted = {"class", "exception", "function"}
    matches = sorted(name for name, entry in objects.items() if name.rsplit(".", 1)[-1] == short and entry.objtype in wanted)
    if not matches:
        return None
    entry = objects[matches[0]]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, matches[0])


def setup(app: Any) -> None:
    """Connect the resolver of short names."""
    app.connect("missing-reference", _resolve_short_name)
