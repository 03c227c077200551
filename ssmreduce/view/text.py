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
    """A number in few characters; a dash for none."""
    if value is None:
        return DASH
    if math.isinf(value) or math.isnan(value):
        return str(value)
    return f"{value:.{digits - 1}e}" if value and not 1e-2 <= abs(value) < 1e4 else f"{value:#.{digits}g}".rstrip(".")


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
    value = 100.0 * float(bracket.upper)
    if not math.isfinite(value) or value >= 1e4 or 0 < value < 1e-3:
        return f"{outward(value, 1, 2)} %"
    return f"{math.ceil(value * 1000 - 1e-9) / 1000:.3f} %"


def duration(seconds: float) -> str:
    """Seconds with a fitting unit."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
