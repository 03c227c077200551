"""Numbers in few characters, rounded to the safe side, and names that came out of a file, made harmless."""

from __future__ import annotations

import math
import unicodedata

from theory.norms.bracket import Bracket

DASH = "–"
"""What stands where there is no number."""

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that are written out: control (terminal escapes, line breaks), format (bidirectional overrides,
zero-width marks), surrogates, private use, unassigned, line and paragraph separators."""


def shown(value: object) -> str:
    r"""Text that cannot move a cursor, break a line or turn the reading direction: such characters as ``\x1b``."""
    return "".join(
        character.encode("unicode_escape").decode("ascii") if unicodedata.category(character) in UNSEEN else character
        for character in str(value)
    )


def number(value: float | None, digits: int = 4) -> str:
    """A number in few characters; a dash for none, and plain 0 for what is exactly that."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    if math.isinf(value) or math.isnan(value):
        return str(value)
    return f"{value:#.{digits}g}".rstrip(".") if 1e-2 <= abs(value) < 1e4 else f"{value:.{digits - 1}e}"


def ends(bracket: Bracket | None, digits: int = 5) -> tuple[str, str]:
    """The two ends, rounded outwards so that the printed bracket still holds the norm."""
    if bracket is None:
        return DASH, DASH
    return outward(float(bracket.lower), -1, digits), outward(float(bracket.upper), 1, digits)


def outward(value: float, direction: int, digits: int = 5) -> str:
    """Round to `digits` significant digits, down for direction -1 and up for +1."""
    if value == 0 or not math.isfinite(value):
        return number(value, digits)
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    steps = value / unit
    rounded = math.floor(steps) if direction < 0 else math.ceil(steps)
    shown_value = rounded * unit
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    if 1e-2 <= abs(value) < 1e4:
        return f"{shown_value:.{max(decimals, 0)}f}"
    return f"{shown_value:.{digits - 1}e}"


def percent(bracket: Bracket | None) -> str:
    """Upper end of a relative error, in percent, rounded up."""
    if bracket is None:
        return DASH
    return f"{outward(100.0 * float(bracket.upper), 1, 4)} %"


def duration(seconds: float) -> str:
    """Seconds with a fitting unit."""
    value, unit = (seconds * 1e3, "ms") if seconds < 1 else (seconds, "s")
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{number(value, 3) if value >= 1 else f'{value:.2f}'} {unit}"
