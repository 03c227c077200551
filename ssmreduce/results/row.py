"""One method at one order, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.results.opinion import Opinion
from ssmreduce.results.plain import (
    bracket_from_dict,
    bracket_to_dict,
    complex_from_list,
    complex_to_list,
    number,
    plain,
)
from theory.norms.bracket import Bracket

POLES_IN_JSON = 2000  # a batch of many channels has too many poles to be worth writing out row by row


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
            "bound": plain(self.bound),
            "looseness": plain(self.looseness),
            "floor": plain(self.floor),
            "rounding": plain(self.rounding),
            "last_quantity": plain(self.last_quantity),
            "seconds": self.seconds,
            "crosscheck": None if self.crosscheck is None else self.crosscheck.to_dict(),
            "status": self.status,
            "family": self.family,
            "h2_error": plain(self.h2_error),
            "relative_h2": plain(self.relative_h2),
            "channels": {name: [plain(value) for value in values] for name, values in self.channels.items()},
            "kept": None if self.kept is None or poles is None else self.kept.tolist(),
            "poles": None if poles is None else complex_to_list(poles),
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
            values[name] = number(data.get(name))
        values["channels"] = {name: list(map(number, part)) for name, part in data.get("channels", {}).items()}
        for name in ("error", "relative_error"):
            values[name] = None if data[name] is None else bracket_from_dict(data[name])
        values["crosscheck"] = None if data["crosscheck"] is None else Opinion.from_dict(data["crosscheck"])
        values["kept"] = None if data["kept"] is None else np.asarray(data["kept"], dtype=int)
        values["poles"] = None if data["poles"] is None else complex_from_list(data["poles"])
        return cls(**values)
