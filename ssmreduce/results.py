"""What a comparison says, as frozen values: rows, second opinions, and the whole, with a JSON round trip.

Data only: nothing here draws, prints, or computes systems theory. Views read it; :mod:`ssmreduce.comparison` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from theory.errors import InputError
from theory.norms.bracket import Bracket

SCHEMA = {"format": "ssmreduce-comparison", "version": 1}
POLES_IN_JSON = 2000  # a batch of many channels has too many poles to be worth writing out row by row

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What of a distribution over channels is kept: least, quartiles, most."""

AGREES, WITNESS, DISAGREES = "agrees", "witness agrees", "disagrees"
BELOW, ABOVE, UNDECIDED = "below", "above", "undecided"
NOT_AVAILABLE, FAILED = "not available", "failed"


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """What one other program, or one other route, says about a norm.

    Attributes
    ----------
    source : str
        Whose opinion, for example ``"python-control linfnorm"``.
    verdict : str
        ``"agrees"``: the value lies inside the bracket. ``"below"``, ``"above"``: it lies outside by `gap`, which is
        less than the tolerance that the program was asked for. ``"witness agrees"``: only the gain at the witness
        frequency was recomputed. ``"disagrees"``: `wrong` says who, and the detail shows the proof. ``"undecided"``: it
        lies outside, and float64 cannot tell who is wrong. ``"not available"``; ``"failed"``.
    value : float or None
        The other value of the norm (or of the gain at the witness).
    gap : float
        How far the value lies outside the bracket, relative to the end that it passes: negative below, positive
        above, 0 inside.
    frequency : float or None
        Where the other program puts the peak, rad/sample (rad/s in continuous time).
    wrong : str
        Who is wrong in a disagreement: "theirs" or "ours"; empty otherwise.
    detail : str
        One sentence; for "not available", what to install.
    seconds : float
        What the opinion cost.
    evidence : dict
        More numbers, for example the certificate matrix of the linear matrix inequality.
    """

    source: str
    verdict: str
    value: float | None = None
    frequency: float | None = None
    gap: float = 0.0
    wrong: str = ""
    detail: str = ""
    seconds: float = 0.0
    evidence: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def in_conflict(self) -> bool:
        """Whether our bracket is contradicted; a value of theirs that a witness refutes is no conflict."""
        return self.wrong == "ours"

    def __str__(self) -> str:
        return f"{self.verdict}: {self.detail}" if self.detail else self.verdict

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, without the evidence."""
        return {
            "source": self.source,
            "verdict": self.verdict,
            "value": _plain(self.value),
            "frequency": _plain(self.frequency),
            "gap": _plain(self.gap),
            "wrong": self.wrong,
            "detail": self.detail,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Opinion:
        """Read what :meth:`to_dict` wrote."""
        numbers = {name: _number(data[name]) for name in ("value", "frequency", "gap") if name in data}
        return cls(**{**data, **numbers})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method at one order: ``floor <= error <= bound``.

    Attributes
    ----------
    method, title : str
        Stable name, with the parameters that differ from the registered ones, ``"balanced(condition_limit=1e12)"``; and
        its name for people.
    parameters : dict
        All parameters of the method, plain.
    order : int
        The order that was asked for, in stored states.
    attained : int or None
        Stored states of the reduced system; None where the method could not deliver.
    error, relative_error : Bracket or None
        The certified error of the system as written, and the same over the norm of the layer;
        None where the method could not deliver (then `status` says why).
    bound : float or None
        The a-priori bound of the method, with the rounding of the stored parameters added.
    floor : float
        No system of this order has a smaller error.
    rounding : float
        The part of `bound` that pays for storing the parameters in the precision of the layer; 0 for exact copies.
    last_quantity : float or None
        LAST's eq. (3) for the removed states: a score that people compare, not a bound.
    seconds : float
        Wall time of the reduction alone.
    crosscheck : Opinion or None
        What python-control says about the error.
    status : str
        "ok", or a sentence.
    family : str
        What kind of method it is, in the field's terms: "balancing", "descent", "selection", "recorded", "baseline".
    h2_error, relative_h2 : float or None
        H2 norm of the same error (white noise in, root mean square out; of a batch, of all channels together), and over
        the H2 norm of the layer; float64, not certified. None where it is infinite or cannot be computed.
    channels : dict of str to list of float
        Of a batch: how ``over_floor``, ``relative`` (H-infinity) and ``relative_h2`` are distributed over the channels,
        each by its own floor and norms: :data:`QUANTILES`.
    kept : ndarray of int or None
        Which stored states were kept, for methods that select; None for methods that make new ones.
    poles : ndarray of complex or None
        Poles of the reduced system.
    """

    method: str
    order: int
    floor: float
    error: Bracket | None = None
    relative_error: Bracket | None = None
    bound: float | None = None
    title: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    attained: int | None = None
    rounding: float = 0.0
    last_quantity: float | None = None
    seconds: float = 0.0
    crosscheck: Opinion | None = None
    status: str = "ok"
    family: str = ""
    h2_error: float | None = None
    relative_h2: float | None = None
    channels: dict[str, list[float]] = field(default_factory=dict, repr=False)
    kept: NDArray[Any] | None = field(default=None, repr=False, compare=False)
    poles: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    @property
    def looseness(self) -> float | None:
        """``bound / error``: how much the a-priori bound overstates; None where either is missing or zero."""
        if self.error is None or self.bound is None or not self.error.upper > 0:
            return None
        return float(self.bound / self.error.upper)

    @property
    def over_floor(self) -> float | None:
        """Upper end of the error as a multiple of the floor; None where either is missing or the floor is zero."""
        return float(self.error.upper) / self.floor if self.error is not None and self.floor > 0 else None

    @property
    def delivered(self) -> bool:
        """Whether the method delivered a system of the order that was asked for."""
        return self.error is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        poles = self.poles if self.poles is not None and self.poles.size <= POLES_IN_JSON else None
        return {
            "method": self.method,
            "title": self.title,
            "parameters": self.parameters,
            "order": self.order,
            "attained": self.attained,
            "error": None if self.error is None else bracket_to_dict(self.error),
            "relative_error": None if self.relative_error is None else bracket_to_dict(self.relative_error),
            "bound": _plain(self.bound),
            "looseness": _plain(self.looseness),
            "floor": _plain(self.floor),
            "rounding": _plain(self.rounding),
            "last_quantity": _plain(self.last_quantity),
            "seconds": self.seconds,
            "crosscheck": None if self.crosscheck is None else self.crosscheck.to_dict(),
            "status": self.status,
            "family": self.family,
            "h2_error": _plain(self.h2_error),
            "relative_h2": _plain(self.relative_h2),
            "channels": {name: [_plain(value) for value in values] for name, values in self.channels.items()},
            "kept": None if self.kept is None or poles is None else self.kept.tolist(),
            "poles": None if poles is None else _complex_to_list(poles),
        }

    def record(self) -> dict[str, Any]:
        """One flat dictionary: brackets as their two ends, an opinion as verdict and value; no poles."""

        def ends(name: str, bracket: Bracket | None) -> dict[str, Any]:
            low, high = (None, None) if bracket is None else (float(bracket.lower), float(bracket.upper))
            return {f"{name}_lower": low, f"{name}_upper": high}

        return {
            "method": self.method,
            "title": self.title,
            "family": self.family,
            "order": self.order,
            "attained": self.attained,
            **ends("error", self.error),
            "frequency": None if self.error is None else float(self.error.frequency),
            **ends("relative_error", self.relative_error),
            "over_floor": self.over_floor,
            "h2_error": self.h2_error,
            "relative_h2": self.relative_h2,
            "bound": self.bound,
            "floor": self.floor if self.delivered else None,
            "rounding": self.rounding if self.delivered else None,
            "last_quantity": self.last_quantity,
            "seconds": self.seconds if self.delivered else None,
            "crosscheck": None if self.crosscheck is None else self.crosscheck.verdict,
            "crosscheck_value": None if self.crosscheck is None else self.crosscheck.value,
            "status": self.status,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Row:
        """Read what :meth:`to_dict` wrote."""
        values = {key: value for key, value in data.items() if key != "looseness"}
        for name in ("bound", "floor", "rounding", "last_quantity", "h2_error", "relative_h2"):
            values[name] = _number(data.get(name))
        values["channels"] = {name: list(map(_number, part)) for name, part in data.get("channels", {}).items()}
        for name in ("error", "relative_error"):
            values[name] = None if data[name] is None else bracket_from_dict(data[name])
        values["crosscheck"] = None if data["crosscheck"] is None else Opinion.from_dict(data["crosscheck"])
        values["kept"] = None if data["kept"] is None else np.asarray(data["kept"], dtype=int)
        values["poles"] = None if data["poles"] is None else _complex_from_list(data["poles"])
        return cls(**values)


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
            "h2_norm": _plain(self.h2_norm),
            "rows": [row.to_dict() for row in self.rows],
            "hsv": [_plain(value) for value in self.hsv.ravel().tolist()],
            "hsv_channels": self.hsv_channels.tolist(),
            "poles": _complex_to_list(self.poles.ravel()) if small else [],
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
            h2_norm=_number(data.get("h2_norm")),
            rows=tuple(Row.from_dict(row) for row in data["rows"]),
            hsv=np.array([_number(value) for value in data["hsv"]], dtype=float),
            hsv_channels=np.array(data.get("hsv_channels", []), dtype=float).reshape(len(QUANTILES), -1),
            poles=_complex_from_list(data["poles"]),
            margin=np.array(data["margin"], dtype=float),
            violations=tuple(data["violations"]),
            provenance=dict(data["provenance"]),
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls.from_dict(json.loads(text))


def quantiles(values: Any) -> list[float]:
    """:data:`QUANTILES` of what is a number; empty if nothing is."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return np.quantile(finite, QUANTILES).tolist() if finite.size else []


def worst(bracket: Bracket) -> Bracket:
    """Bracket of a batch of independent systems as one system: the largest of their norms."""
    lower, upper = np.asarray(bracket.lower, dtype=float), np.asarray(bracket.upper, dtype=float)
    if lower.ndim == 0:
        frequency = float(np.asarray(bracket.frequency))
        return Bracket(float(lower), float(upper), frequency, bracket.status, bracket.diagnostics)
    if lower.size == 0:
        return Bracket(0.0, 0.0, 0.0, "closed")
    peak = int(lower.argmax())
    frequency = float(np.broadcast_to(np.asarray(bracket.frequency, dtype=float), lower.shape).ravel()[peak])
    return Bracket(
        float(lower.max()), float(upper.max()), frequency, bracket.status, {**bracket.diagnostics, "channel": peak}
    )


def relative(error: Bracket, norm: Bracket) -> Bracket:
    """Error over norm, as a bracket: the smallest quotient of their ends and the largest, rounded outwards."""
    if error.upper == 0:
        return Bracket(0.0, 0.0, error.frequency, "closed")
    lower = np.nextafter(error.lower / norm.upper, 0.0) if norm.upper > 0 else np.inf
    upper = np.nextafter(error.upper / norm.lower, np.inf) if norm.lower > 0 else np.inf
    closed = error.status == norm.status == "closed"
    return Bracket(float(lower), float(upper), error.frequency, "closed" if closed else "open")


def bracket_to_dict(bracket: Bracket) -> dict[str, Any]:
    """Plain numbers; infinities as strings."""
    return {name: _plain(value) if name != "status" else value for name, value in bracket.to_dict().items()}


def bracket_from_dict(data: Mapping[str, Any]) -> Bracket:
    """Read what :func:`bracket_to_dict` wrote."""
    lower, upper, frequency = (_number(data[name]) for name in ("lower", "upper", "frequency"))
    return Bracket(lower, upper, frequency, data["status"])


def _plain(value: Any) -> Any:
    """A JSON number; infinities and NaN, which JSON does not have, as strings."""
    if value is None:
        return None
    number = float(value)
    return number if np.isfinite(number) else str(number)


def _number(value: Any) -> Any:
    return None if value is None else float(value)


def _complex_to_list(values: NDArray[Any]) -> list[list[float]]:
    return [[float(value.real), float(value.imag)] for value in values.ravel()]


def _complex_from_list(values: Any) -> NDArray[Any]:
    pairs = np.asarray(values, dtype=float).reshape(-1, 2)
    return np.asarray(pairs[:, 0] + 1j * pairs[:, 1])
