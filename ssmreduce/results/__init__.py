"""What a comparison says, as frozen values: rows, second opinions, and the whole, with a JSON round trip.

Data only: nothing here draws, prints, or computes systems theory. Views read it; :mod:`ssmreduce.comparison` makes it.
Imports theory's brackets and errors, nothing else of ours.
"""

from ssmreduce.results.brackets import relative, worst
from ssmreduce.results.findings import Findings
from ssmreduce.results.opinion import (
    ABOVE,
    AGREES,
    BELOW,
    DISAGREES,
    FAILED,
    NOT_AVAILABLE,
    UNDECIDED,
    WITNESS,
    Opinion,
)
from ssmreduce.results.plain import QUANTILES, bracket_from_dict, bracket_to_dict, quantiles
from ssmreduce.results.row import Row

__all__ = [
    "ABOVE",
    "AGREES",
    "BELOW",
    "DISAGREES",
    "FAILED",
    "NOT_AVAILABLE",
    "QUANTILES",
    "UNDECIDED",
    "WITNESS",
    "Findings",
    "Opinion",
    "Row",
    "bracket_from_dict",
    "bracket_to_dict",
    "quantiles",
    "relative",
    "worst",
]
