"""Findings that were made up, for what only shows them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssmreduce import Comparison
from ssmreduce.results import Row
from theory.norms.bracket import Bracket


def made(rows: dict[str, list[float]], **changed: Any) -> Comparison:
    """A comparison with these errors at orders 1, 2, ... over a floor of 1."""
    listed = tuple(
        Row(
            method=name, order=order, floor=1.0, attained=order, error=Bracket(value, value, 0.1),
            relative_error=Bracket(value / 20, value / 20, 0.1), h2_error=value, relative_h2=value / 30,
            bound=2 * value,
        )
        for name, values in rows.items()
        for order, value in enumerate(values, 1)
    )  # fmt: skip
    subject = {"kind": "S5", "states": 4, "real_states": 4, "dt": 1.0, "real": True, "precision": "float32"}
    subject |= {"channels": 1, "inputs": 1, "outputs": 1}
    empty = np.zeros(0)
    whole = {"subject": subject, "norm": Bracket(20.0, 20.0, 0.0), "rows": listed, "hsv": np.ones(4)}
    return Comparison(**(whole | {"poles": empty, "margin": empty} | changed))
