r"""Error-free transformations: a sum, or a product, as a floating-point number and its exact rounding error.

One copy for every place that must not lose what float64 cuts off: margins :math:`1-|\lambda|`, points of the unit
circle, pairs of values and corrections.
"""

from __future__ import annotations

from typing import Any

SPLITTER = 2.0**27 + 1.0
"""Veltkamp's constant of float64: half of its 53 bits, rounded up, go into the lower part."""


def two_sum(x: Any, y: Any) -> tuple[Any, Any]:
    r"""Return ``head, tail`` with :math:`\text{head}+\text{tail}=x+y` exactly and head the rounded sum; elementwise.

    Theorem (Knuth, *The Art of Computer Programming* 2, 4.2.2, thm B; Muller et al., *Handbook of Floating-Point
    Arithmetic*, 2nd ed., thm 4.3): holds for any x and y in one binary format of any precision, in any order of size,
    subnormal ones among them, unless head overflows. Parts of complex numbers are added on their own.

    Parameters
    ----------
    x, y : float, complex or ndarray
        Broadcastable; of the same precision, extended precision included.

    Returns
    -------
    head, tail : as ``x + y``
    """
    head = x + y
    shadow = head - x
    return head, (x - (head - shadow)) + (y - shadow)


def split(x: Any) -> tuple[Any, Any]:
    r"""Return ``high, low`` with :math:`\text{high}+\text{low}=x` exactly, each of at most 26 bits and a sign.

    Theorem (Veltkamp 1968; Dekker, Numer. Math. 18, 1971, section 5): float64, :math:`|x|<2^{996}`, so that
    ``SPLITTER * x`` does not overflow.
    """
    big = x * SPLITTER
    high = big - (big - x)
    return high, x - high


def two_product(x: Any, y: Any) -> tuple[Any, Any]:
    r"""Return ``head, tail`` with :math:`\text{head}+\text{tail}=xy` exactly and head the rounded product; elementwise.

    Theorem (Dekker 1971, section 5; Muller et al., thm 4.5): float64, no overflow (:math:`|x|,|y|<2^{996}`,
    :math:`|xy|<2^{1021}`), and :math:`\mathrm{ulp}(x)\,\mathrm{ulp}(y)\ge2^{-1074}`, for which
    :math:`|xy|\ge2^{-969}` is enough. Below that tail is off by at most a few times :math:`2^{-1074}`.

    Parameters
    ----------
    x, y : float or ndarray
        Real, broadcastable.

    Returns
    -------
    head, tail : as ``x * y``
    """
    (x_high, x_low), (y_high, y_low) = split(x), split(y)
    head = x * y
    return head, (((x_high * y_high - head) + x_high * y_low) + x_low * y_high) + x_low * y_low


def two_square(x: Any) -> tuple[Any, Any]:
    """Return :func:`two_product` of `x` and itself, with one splitting instead of two."""
    high, low = split(x)
    head = x * x
    return head, ((high * high - head) + 2.0 * high * low) + low * low
