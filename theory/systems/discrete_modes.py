r"""Poles and input rows from continuous to discrete time and back, each state with a step size of its own.

As an S5 layer has them. The margin :math:`1-|\bar\lambda|` is computed from the continuous pole; the discrete pole in
float64 has already lost it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.errors import DimensionError, InputError, require_finite
from theory.systems.margin import discrete_margin
from theory.systems.numeric import finite, real

Array = NDArray[Any]


class Discretized(NamedTuple):
    """Diagonal dynamics in discrete time; unpacks as ``poles, B, margin``."""

    poles: Array  #: (..., n) complex
    B: Array  #: (..., n, m) complex
    margin: Array  #: (..., n) ``1 - |poles|``, accurate to a few ulp


class Undiscretized(NamedTuple):
    """Diagonal dynamics in continuous time; unpacks as ``poles, B``."""

    poles: Array  #: (..., n) complex
    B: Array  #: (..., n, m) complex


def _diagonal_arguments(poles: ArrayLike, B: ArrayLike, step: ArrayLike) -> tuple[Array, Array, Array]:
    pole, gain = finite("poles", poles, force_complex=True), finite("B", B, force_complex=True)
    width = real("step", step)
    require_finite(step=width)
    try:
        width = np.broadcast_to(width, pole.shape)
    except ValueError:
        raise DimensionError(
            "step must have a shape that goes with poles", poles=pole.shape, step=width.shape
        ) from None
    if (width <= 0).any():
        raise InputError(f"step must be positive; the smallest is {width.min():g}")
    return pole, gain, width


def _phi1(z: Array) -> Array:
    """``(exp(z) - 1) / z``, entire: 1 at z = 0."""
    zero = z == 0
    return np.where(zero, 1.0, np.expm1(z) / np.where(zero, 1.0, z))


def zero_order_hold(poles: ArrayLike, B: ArrayLike, step: ArrayLike) -> Discretized:
    r"""Discretize :math:`\dot x=\Lambda x+Bu` for an input that is constant over each step.

    .. math:: \bar\lambda = e^{\lambda h},\qquad \bar b = h\,\varphi_1(\lambda h)\,b,\qquad \varphi_1(z)=(e^z-1)/z

    exact for such inputs, and continuous at :math:`\lambda=0`.

    Parameters
    ----------
    poles : array_like, shape (..., n), complex
        Continuous-time poles.
    B : array_like, shape (..., n, m), complex
    step : array_like, broadcastable to (..., n)
        Positive step sizes :math:`h` in seconds, one per state if need be.

    Returns
    -------
    Discretized
        ``poles, B, margin``; the margin is :math:`-\mathrm{expm1}(h\,\Re\lambda)`.

    Raises
    ------
    InputError
        A step is not positive, or an array holds NaN or infinity.
    """
    pole, gain, width = _diagonal_arguments(poles, B, step)
    z = pole * width
    return Discretized(np.exp(z), (width * _phi1(z))[..., None] * gain, -np.expm1(z.real))


def bilinear(poles: ArrayLike, B: ArrayLike, step: ArrayLike) -> Discretized:
    r"""Discretize by the trapezoidal rule, as S5 and S4 write it.

    .. math:: \bar\lambda=\frac{1+\lambda h/2}{1-\lambda h/2},\qquad \bar b=\frac{h}{1-\lambda h/2}\,b

    The stability region maps onto the unit disc. The output matrix stays as it is, which is the layers' convention;
    :func:`discretize` applies the full (Tustin) substitution that also maps ``C`` and ``D`` and keeps the norm.

    Parameters, returns, errors: as :func:`zero_order_hold`; :class:`InputError` also for a pole at :math:`2/h`.
    """
    pole, gain, width = _diagonal_arguments(poles, B, step)
    half = 0.5 * pole * width
    below = 1.0 - half
    if (below == 0).any():
        raise InputError(f"the bilinear rule has no image for a pole at 2/step: {pole[below == 0][0]:g}")
    mapped = (1.0 + half) / below
    # 1 - |mapped|^2 = -4 Re(half) / |1 - half|^2, free of cancellation
    margin = -4.0 * half.real / (np.abs(below) ** 2 * (1.0 + np.abs(mapped)))
    return Discretized(mapped, (width / below)[..., None] * gain, margin)


def inverse_zero_order_hold(
    poles: ArrayLike, B: ArrayLike, step: ArrayLike | None = None, *, margin: ArrayLike | None = None
) -> Undiscretized:
    r"""Return the continuous-time poles and ``B`` that :func:`zero_order_hold` turns into the given ones.

    .. math:: \lambda=\log(\bar\lambda)/h\ \text{(principal branch)},\qquad b=\bar b/(h\,\varphi_1(\lambda h))

    Parameters
    ----------
    poles : array_like, shape (..., n), complex
        Discrete-time poles, none of them 0. A pole on the negative real axis has imaginary part :math:`+\pi/h`: right
        for a stored pole of a complex or conjugate-paired system, while a real pole of a real system has no real image.
    B : array_like, shape (..., n, m), complex
    step : array_like, broadcastable to (..., n), optional
        Step sizes; 1 when left out.
    margin : array_like, shape (..., n), optional
        :math:`1-|\bar\lambda|` if known better than the poles tell; sets the real part.

    Raises
    ------
    InputError
        A pole is 0 (the image of no continuous-time pole), or the pole is at 1 + 2 pi j k with no input gain.
    """
    pole, gain, width = _diagonal_arguments(poles, B, 1.0 if step is None else step)
    if (pole == 0).any():
        raise InputError("a discrete-time pole is 0; no continuous-time pole maps onto it under zero-order hold")
    gap = discrete_margin(pole) if margin is None else np.asarray(margin, dtype=float)
    # log1p(-gap) is exact near the circle, where log|pole| is not; deep inside log|pole| is the better one
    near = gap < 0.5
    real = np.where(near, np.log1p(-np.where(near, gap, 0.0)), np.log(np.abs(pole)))
    z = real + 1j * np.angle(pole)
    return Undiscretized(z / width, gain / (width * _phi1(z))[..., None])


def inverse_bilinear(poles: ArrayLike, B: ArrayLike, step: ArrayLike | None = None) -> Undiscretized:
    r"""Return the continuous-time poles and ``B`` that :func:`bilinear` turns into the given ones.

    .. math:: \lambda=\frac2h\,\frac{\bar\lambda-1}{\bar\lambda+1},\qquad b=\frac{1-\lambda h/2}{h}\,\bar b

    Raises
    ------
    InputError
        A pole is -1, the image of infinity.
    """
    pole, gain, width = _diagonal_arguments(poles, B, 1.0 if step is None else step)
    above = 1.0 + pole
    if (above == 0).any():
        raise InputError("a discrete-time pole is -1; the bilinear rule maps no finite pole onto it")
    gap = discrete_margin(pole)
    # Re((l - 1)/(l + 1)) = (|l|^2 - 1)/|l + 1|^2
    half = (-gap * (2.0 - gap) + 2j * pole.imag) / (above.real**2 + above.imag**2)
    return Undiscretized(2.0 * half / width, ((1.0 - half) / width)[..., None] * gain)
