r"""The S4D layer: one single-input, single-output diagonal state space system per channel.

.. math::
    y_t = \sum_{s \le t} K^0_{t-s} u_s + \sum_{s > t} K^1_{s-t-1} u_s + D u_t, \qquad
    K_l = 2\,\mathrm{Re} \sum_n \bar w_n \bar A_n^l

The second sum is there when the layer is bidirectional. Its kernel starts at the *next* sample: the input at time t
is seen by the forward direction only (in S5 both directions see it).

Parameterisation, names and shapes are those of version 4 of the S4 code (Gu, Goel, Gupta, Ré, "On the parameterization
and initialization of diagonal state space models", NeurIPS 2022), so that its checkpoints can be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lra.models.dropout import Dropout
from lra.models.norm import norm
from lra.models.precision import wide
from lra.models.s5 import hippo_eigensystem

Array = jax.Array

INITS: tuple[str, ...] = ("lin", "inv", "legs")
DT_TRANSFORMS: tuple[str, ...] = ("softplus", "exp")
SMALLEST = 1e-4  # what the S4 code clamps to before it inverts a transform


def initial_A(N: int, init: str) -> np.ndarray:
    """Return the N/2 stored eigenvalues: real part -1/2, imaginary part by the formula of `init`, not negative."""
    n = np.arange(N // 2)
    if init == "lin":
        imag = np.pi * n
    elif init == "inv":
        imag = N / np.pi * (N / (2 * n + 1) - 1)
    elif init == "legs":
        imag = -hippo_eigensystem(N)[0].imag[: N // 2]
    else:
        raise ValueError(f"init {init!r} is not one of {', '.join(INITS)}")
    return -0.5 + 1j * imag


def initial_B(N: int, init: str) -> np.ndarray:
    """Return the N/2 stored entries of B: ones, or for ``legs`` the HiPPO input in the eigenbasis, clipped."""
    if init != "legs":
        return np.ones(N // 2, complex)
    B = hippo_eigensystem(N)[1].conj().T @ np.sqrt(2.0 * np.arange(N) + 1.0)
    return (B.real + 1j * np.clip(B.imag, -2.0, 2.0))[: N // 2]


class S4DKernel(nn.Module):
    """The convolution kernels of all channels.

    Parameters: ``inv_dt (H, 1)``, ``A_real, A_imag (n_ssm, N/2)``, ``B (1, n_ssm, N/2, 2)``,
    ``C (directions, H, N/2, 2)``. Channel h uses copy h mod n_ssm of A and B; the eigenvalue is
    ``-exp(A_real) - i A_imag``, the step size ``softplus(inv_dt)`` or ``exp(inv_dt)``.

    Attributes
    ----------
    H, N : int
        Channels; states of each, of which N/2 are stored.
    n_ssm : int, optional
        Copies of A and B, a divisor of H; default one per channel.
    A_init : {"lin", "inv", "legs"}
        Initial eigenvalues.
    discretization : {"zoh", "bilinear"}
        How A and B become discrete.
    dt_transform : {"softplus", "exp"}
        How the step size is stored.
    dt_min, dt_max : float
        Range of the initial step sizes, drawn log-uniformly, one per channel.
    bidirectional : bool
        Two output matrices instead of one.
    step_rescale : float
        Multiplies every step size.
    """

    H: int
    N: int = 64
    n_ssm: int | None = None
    A_init: str = "lin"
    discretization: str = "zoh"
    dt_transform: str = "softplus"
    dt_min: float = 0.001
    dt_max: float = 0.1
    bidirectional: bool = False
    step_rescale: float = 1.0

    def setup(self) -> None:
        copies = self.n_ssm or self.H
        if self.H % copies:
            raise ValueError(f"n_ssm {copies} does not divide the {self.H} channels")
        if self.dt_transform not in DT_TRANSFORMS:
            raise ValueError(f"dt_transform {self.dt_transform!r} is not one of {', '.join(DT_TRANSFORMS)}")
        half = self.N // 2
        inv_dt = self.param("inv_dt", self._initial_inv_dt)
        A_real = self.param("A_real", lambda key: self._tiled(np.log(-initial_A(self.N, self.A_init).real), copies))
        A_imag = self.param(
            "A_imag", lambda key: self._tiled(np.maximum(initial_A(self.N, self.A_init).imag, SMALLEST), copies)
        )
        B = self.param("B", lambda key: self._tiled(initial_B(self.N, self.A_init), copies)[None])
        shape = (2 if self.bidirectional else 1, self.H, half, 2)
        C = self.param("C", nn.initializers.normal(0.5**0.5), shape)

        dt = nn.softplus(inv_dt) if self.dt_transform == "softplus" else jnp.exp(inv_dt)
        dt = self.step_rescale * dt  # (H, 1)
        times = (self.H // copies, 1)
        A = jnp.tile(jax.lax.complex(-jnp.exp(A_real), -A_imag), times)  # (H, N/2)
        w = jnp.tile(jax.lax.complex(B[0, ..., 0], B[0, ..., 1]), times) * jax.lax.complex(C[..., 0], C[..., 1])
        if self.discretization == "zoh":
            self.A_log = A * dt
            self.w = w * (jnp.exp(self.A_log) - 1) / A
        elif self.discretization == "bilinear":
            self.A_log = jnp.log((1 + A * dt / 2) / (1 - A * dt / 2))
            self.w = w * dt / (1 - A * dt / 2)
        else:
            raise ValueError(f"discretization {self.discretization!r} is not one of zoh, bilinear")

    def __call__(self, L: int) -> Array:
        """Return the kernels (directions, H, L).

        The power of lag a m + b is a product of two powers, so that a kernel is the product of two small matrices:
        2 sqrt(L) exponentials a state instead of L, and no array of size (H, N/2, L).
        """
        m = math.isqrt(L - 1) + 1
        low = jnp.exp(self.A_log[..., None] * jnp.arange(m))  # (H, N/2, m)
        high = self.w[..., None] * jnp.exp(self.A_log[..., None] * (m * jnp.arange(-(-L // m))))

        def product(left: Array, right: Array) -> Array:
            return jnp.einsum("chna,hnb->chab", left, right)

        K = 2 * (product(high.real, low.real) - product(high.imag, low.imag))
        return K.reshape(*K.shape[:2], -1)[..., :L]

    def recurrence(self) -> tuple[Array, Array]:
        """Return the discrete eigenvalues (H, N/2) and the products of B and C (directions, H, N/2), complex."""
        return jnp.exp(self.A_log), self.w

    def _tiled(self, values: np.ndarray, copies: int) -> Array:
        if np.iscomplexobj(values):
            values = np.stack([values.real, values.imag], axis=-1)
        return jnp.asarray(np.broadcast_to(values, (copies, *values.shape)), jnp.float32)

    def _initial_inv_dt(self, key: Array) -> Array:
        log_dt = jax.random.uniform(key, (self.H, 1), minval=np.log(self.dt_min), maxval=np.log(self.dt_max))
        if self.dt_transform == "exp":
            return log_dt
        dt = jnp.maximum(jnp.exp(log_dt), SMALLEST)
        return dt + jnp.log(-jnp.expm1(-dt))


class S4DSSM(nn.Module):
    """The S4D system of all channels, for sequences with time first; parameters ``D (1, H)`` and ``kernel/...``.

    The attributes are those of `S4DKernel`.
    """

    H: int
    N: int = 64
    n_ssm: int | None = None
    A_init: str = "lin"
    discretization: str = "zoh"
    dt_transform: str = "softplus"
    dt_min: float = 0.001
    dt_max: float = 0.1
    bidirectional: bool = False
    step_rescale: float = 1.0

    def setup(self) -> None:
        self.kernel = S4DKernel(
            H=self.H,
            N=self.N,
            n_ssm=self.n_ssm,
            A_init=self.A_init,
            discretization=self.discretization,
            dt_transform=self.dt_transform,
            dt_min=self.dt_min,
            dt_max=self.dt_max,
            bidirectional=self.bidirectional,
            step_rescale=self.step_rescale,
        )
        self.D = self.param("D", nn.initializers.normal(1.0), (1, self.H))

    def __call__(self, u: Array) -> Array:
        """Return the outputs (L, batch, H) of the inputs `u` (L, batch, H), by FFT."""
        L = u.shape[0]
        K = self.kernel(L)
        forward = jnp.pad(K[0], ((0, 0), (0, L)))
        if self.bidirectional:  # the reverse kernel sits at the end of the circle: lags -1, -2, ...
            forward = forward + jnp.pad(K[1][:, ::-1], ((0, 0), (L, 0)))
        signal = jnp.moveaxis(u, 0, -1)  # (batch, H, L)
        spectrum = jnp.fft.rfft(signal, n=2 * L) * jnp.fft.rfft(forward, n=2 * L)
        y = jnp.fft.irfft(spectrum, n=2 * L)[..., :L]
        return jnp.moveaxis(y, -1, 0) + self.D * u

    def step(self, x: Array, u: Array) -> tuple[Array, Array]:
        """Advance one sample: from state `x` (..., H, N/2) complex and input `u` (..., H) to the new state and output.

        Raises
        ------
        ValueError
            The layer is bidirectional.
        """
        if self.bidirectional:
            raise ValueError("a bidirectional layer cannot run one sample at a time")
        A_bar, w = self.kernel.recurrence()
        x = A_bar * x + u[..., None]
        return x, 2 * (w[0] * x).sum(-1).real + self.D[0] * u


class S4Block(nn.Module):
    """The residual block of the S4 code: norm, S4D, dropout, GELU (exact), dropout, linear GLU, dropout, skip.

    Attributes
    ----------
    ssm : Callable
        Makes the S4D system; called with ``name="seq"``.
    H : int
        Channels.
    dropout : float
        Rate; the first of the three masks is drawn per sample, the others are shared along the sequence.
    prenorm, batchnorm : bool
        Where the norm is, and which one.
    bn_momentum : float
        Weight of the old running statistics.
    mask_norm : bool
        Keep padding out of the batch norms too; the S4 code does not.
    """

    ssm: Callable[..., nn.Module]
    H: int
    dropout: float = 0.0
    prenorm: bool = True
    batchnorm: bool = True
    bn_momentum: float = 0.9
    mask_norm: bool = False

    @nn.compact
    def __call__(self, x: Array, training: bool = False, mask: Array | None = None) -> Array:
        """Return the output for `x` (L, batch, H); where `mask` (L, batch) fails, `x` is padding and enters as 0."""
        skip = x
        normalize = s4_norm(self.batchnorm, self.bn_momentum, self.mask_norm)
        if self.prenorm:
            x = normalize(x, training, mask)
        if mask is not None:
            x = jnp.where(mask[..., None], x, 0)
        x = self.ssm(name="seq")(wide(x)).astype(x.dtype)
        x = nn.gelu(Dropout(self.dropout, tied=False)(x, training), approximate=False)
        tied = Dropout(self.dropout)
        shape = x.shape
        x = nn.Dense(2 * self.H, dtype=x.dtype, name="output_linear")(tied(x, training).reshape(-1, self.H))
        x = skip + tied((x[:, : self.H] * nn.sigmoid(x[:, self.H :])).reshape(shape), training)
        return x if self.prenorm else normalize(x, training, mask)


def s4_norm(batchnorm: bool, momentum: float, masked: bool = False) -> Callable[..., Array]:
    """Return the norm of an S4 block, and of the end of a prenorm stack, with PyTorch's conventions."""
    normalize = norm(batchnorm, momentum, unbiased=True, layer_epsilon=1e-5)
    return lambda x, training=False, mask=None: normalize(x, training, mask if masked else None)
