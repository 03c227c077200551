"""What a comparison says, as a frozen value with a JSON round trip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ssmreduce.results.plain import (
    QUANTILES,
    bracket_from_dict,
    bracket_to_dict,
    complex_from_list,
    complex_to_list,
    number,
    plain,
)
from ssmreduce.results.row import POLES_IN_JSON, Row
from theory.errors import InputError
from theory.norms.bracket import Bracket

SCHEMA = {"format": "ssmreduce-comparison", "version": 1}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Every method at every order, on one layer: the numbers, without a look.

    Attributes
    ----------
    subject : dict
        What was reduced: name, kind, sizes, smallest stability margin, precision of the parameters.
    norm : Bracket
        Norm of the layer itself, feedthrough included.
    h2_norm : float or None
        H2 norm of the layer itself, feedthrough included (of a batch, of all channels together).
    rows : tuple of Row
        By order, then by method.
    hsv : ndarray
        Hankel singular values, descending; of the real system for conjugate pairs (two a stored state).
    hsv_channels : ndarray, shape (5, N)
        Of a batch: how the values of one channel are distributed over the channels, :data:`QUANTILES`; else empty.
    poles, margin : ndarray
        Poles of the layer and their stability margins ``1 - |pole|`` (``-Re pole`` in continuous time).
    violations : tuple of str
        Laws that do not hold; empty unless something is broken.
    provenance : dict
        Date, command, seed, tolerance, versions, seconds.
    """

    subject: dict[str, Any]
    norm: Bracket
    rows: tuple[Row, ...]
    hsv: NDArray[Any] = field(repr=False)
    poles: NDArray[Any] = field(repr=False)
    margin: NDArray[Any] = field(repr=False)
    violations: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)
    h2_norm: float | None = None
    hsv_channels: NDArray[Any] = field(default_factory=lambda: np.zeros((len(QUANTILES), 0)), repr=False)

    def __post_init__(self) -> None:
        for name in ("hsv", "poles", "margin", "hsv_channels"):
            array = np.array(getattr(self, name))
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in the order of the rows."""
        return tuple(dict.fromkeys(row.method for row in self.rows))

    @property
    def orders(self) -> tuple[int, ...]:
        """Orders, ascending."""
        return tuple(sorted({row.order for row in self.rows}))

    def of(self, method: str) -> tuple[Row, ...]:
        """Rows of one method, by order."""
        return tuple(row for row in self.rows if row.method == method)

    @property
    def families(self) -> tuple[str, ...]:
        """Kinds of methods, in the order of the rows."""
        return tuple(dict.fromkeys(row.family for row in self.rows))

    def winner(self, order: int) -> Row | None:
        """Row with the smallest certified error at this order; None if no method delivered it."""
        rows = [row for row in self.rows if row.order == order and row.error is not None]
        return min(rows, key=lambda row: float(row.error.upper) if row.error else np.inf, default=None)

    def records(self) -> list[dict[str, Any]]:
        """The rows as flat dictionaries of numbers and strings, one key a column; None where there is no number."""
        return [row.record() for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, with the version of the schema."""
        small = self.poles.size <= POLES_IN_JSON
        return SCHEMA | {
            "subject": self.subject,
            "norm": bracket_to_dict(self.norm),
            "h2_norm": plain(self.h2_norm),
            "rows": [row.to_dict() for row in self.rows],
            "hsv": [plain(value) for value in self.hsv.ravel().tolist()],
            "hsv_channels": self.hsv_channels.tolist(),
            "poles": complex_to_list(self.poles.ravel()) if small else [],
            "margin": self.margin.ravel().tolist() if small else [],
            "violations": list(self.violations),
            "provenance": self.provenance,
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as strict JSON (infinities are the strings "inf" and "-inf")."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote.

        Raises
        ------
        InputError
            It is no comparison, or one of a newer schema.
        """
        if not isinstance(data, Mapping) or data.get("format") != SCHEMA["format"]:
            raise InputError("this is no ssmreduce comparison")
        if data.get("version") != SCHEMA["version"]:
            raise InputError(f"schema version {data.get('version')!r} is not {SCHEMA['version']}: update ssmreduce")
        return cls(
            subject=dict(data["subject"]),
            norm=bracket_from_dict(data["norm"]),
            h2_norm=number(data.get("h2_norm")),
            rows=tuple(Row.from_dict(row) for row in data["rows"]),
            hsv=np.array([number(value) for value in data["hsv"]], dtype=float),
            hsv_channels=np.array(data.get("hsv_channels", []), dtype=float).reshape(len(QUANTILES), -1),
            poles=complex_from_list(data["poles"]),
            margin=np.array(data["margin"], dtype=float),
            violations=tuple(data["violations"]),
            provenance=dict(data["provenance"]),
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls.from_dict(json.loads(text))
