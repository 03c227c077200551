"""What a sweep found: rows, as a table of numbers (CSV), with all layers (JSON), on a screen, as a figure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from lra.errors import DataError
from lra.sweep.grid import Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = {"format": "lra-sweep", "version": 2}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One reduced model.

    Attributes
    ----------
    method, allocation, ratio, seed
        What was asked for.
    accuracy : float or None
        Part of the examples that are classified correctly; None where the method refused.
    changed : float or None
        Part of the examples whose prediction is not the whole model's.
    divergence : float or None
        Mean KL divergence of the predicted probabilities from the whole model's.
    error_lower, error_upper : float or None
        Certified: the largest over the layers of ``||G - Gr|| / ||G||`` (H-infinity: worst case over all inputs) lies
        between them.
    recorded_error : float or None
        The largest over the layers of the relative root mean square error of the output, on recorded training inputs
        that nothing was fitted to.
    h2_error : float or None
        The largest over the layers of the H2 norm of the error over that of the layer: white noise at every input.
    states, budget : int
        Stored states of all layers (S4D: of one channel of each) that there are, and that were allowed. Fewer than
        allowed where a layer numerically has no more.
    orders : tuple of int
        States of each layer.
    parameters, bytes : int or None
        Of the whole reduced model, as it is stored.
    step_ms : float or None
        Milliseconds that one batch takes in the model at its own size, if that was asked for.
    rule : str
        The allocation that was used: another one than `allocation` where that is "own" or "whole model".
    split, examples
        What accuracy was measured on.
    seconds : float
        What the row cost, without the certified errors; work that it shares with earlier rows is counted there.
    status : str
        "ok", or why there is no accuracy.
    layers : tuple of dict
        For each layer: states, bracket of the certified error, absolute and relative, errors on recorded inputs
        and on white noise.
    """

    method: str
    allocation: str
    ratio: float
    seed: int
    accuracy: float | None = None
    changed: float | None = None
    divergence: float | None = None
    error_lower: float | None = None
    error_upper: float | None = None
    recorded_error: float | None = None
    h2_error: float | None = None
    states: int | None = None
    budget: int = 0
    orders: tuple[int, ...] = ()
    parameters: int | None = None
    bytes: int | None = None
    step_ms: float | None = None
    rule: str = ""
    split: str = ""
    examples: int = 0
    seconds: float = 0.0
    status: str = "ok"
    layers: tuple[dict[str, Any], ...] = ()

    @property
    def point(self) -> Point:
        """What was asked for."""
        return Point(self.method, self.allocation, self.ratio, self.seed)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Row:
        """Read what `to_dict` wrote."""
        return cls(**{**data, "orders": tuple(data["orders"]), "layers": tuple(data["layers"])})

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, texts, lists."""
        return asdict(self)


COLUMNS = tuple(field.name for field in fields(Row) if field.name != "layers")
"""Of ``sweep.csv``; `orders` as whole numbers with blanks between, what is unknown as nothing."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All rows of a sweep.

    Attributes
    ----------
    subject : dict
        What was swept: checkpoint and its digest, task, split, examples; rows of another subject do not belong here.
    whole : dict
        The model with all its states: architecture, accuracy, states, parameters, bytes, norms of the layers.
    rows : tuple of Row
    """

    subject: dict[str, Any]
    whole: dict[str, Any]
    rows: tuple[Row, ...]

    def to_csv(self) -> str:
        """One line a row; the columns are `COLUMNS`."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.rows:
            values = (getattr(row, name) for name in COLUMNS)
            writer.writerow(" ".join(map(str, value)) if isinstance(value, tuple) else value for value in values)
        return text.getvalue()

    def to_json(self) -> str:
        """Everything, with every layer; strict JSON."""
        rows = [row.to_dict() for row in self.rows]
        data = SCHEMA | {"subject": self.subject, "whole": self.whole, "rows": rows}
        return json.dumps(data, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Sweep:
        """Read what `to_json` wrote.

        Raises
        ------
        DataError
            It is something else, or damaged.
        """
        try:
            data = json.loads(text)
            if {key: data[key] for key in SCHEMA} != SCHEMA:
                raise ValueError(f"format {data['format']!r}, version {data['version']!r}")
            rows = tuple(Row.from_dict(row) for row in data["rows"])
            return cls(subject=dict(data["subject"]), whole=dict(data["whole"]), rows=rows)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"this is no sweep.json of this version: {error}") from None

    def plot(self) -> Figure:
        """Accuracy over the states removed, one line a method, certified errors below; see `lra.sweep.figure.draw`.

        Raises
        ------
        MissingDependencyError
            Matplotlib is not installed.
        """
        from lra.sweep.figure import draw

        return draw(self)

    def __str__(self) -> str:
        from lra.sweep.table import told

        return told(self)
