r"""The S5 layer: one multi-input, multi-output diagonal state space system.

.. math::
    x_t = \bar\Lambda x_{t-1} + \bar B u_t, \qquad
    y_t = s\,\mathrm{Re}(\tilde C [x_t; x'_t]) + D \odot u_t

with s = 2 when only one pole of each conjugate pair is stored (``conj_sym``), else 1; x' is the state of the second,
reversed scan of a bidirectional layer. The output sees the *updated* state (no delay), in both directions.

Letters, shapes and initial values are those of Smith, Warrington, Linderman, "Simplified state space layers for
sequence modeling" (ICLR 2023) and of its reference code, so that parameter trees can be exchanged with it.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lra.models.scan import diagonal_scan, pack, unpack

Array = jax.Array

C_INITS: tuple[str, ...] = ("lecun_normal", "trunc_standard_normal", "complex_normal")
DISCRETIZATIONS: tuple[str, ...] = ("zoh", "bilinear")

CLIPPED_REAL_PART = -1e-4  # upper limit of Re(Lambda) under clip_eigs, in 1/s; the reference's value


@functools.lru_cache(maxsize=32)
def hippo_eigensystem(n: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Diagonalise the normal part of the HiPPO-LegS matrix of size `n`.

    Returns
    -------
    Lambda : ndarray (n,) complex128
        Eigenvalues by ascending imaginary part; every real part is -1/2.
    V : ndarray (n, n) complex128
        Unitary eigenvectors; the last entry of each is real and positive, so that the result does not depend
        on the phases that a LAPACK build returns.
    """
    root = np.sqrt(2.0 * np.arange(n) + 1.0)
    A = -np.tril(np.outer(root, root), -1) - np.diag(np.arange(n) + 1.0)
    rank_one = np.sqrt(np.arange(n) + 0.5)
    S = A + np.outer(rank_one, rank_one)
    imag, V = np.linalg.eigh(-1j * (S - np.diag(np.diag(S))))
    V = V * np.exp(-1j * np.angle(V[-1]))
    Lambda = np.mean(np.diag(S)) + 1j * imag
    for array in (Lambda, V):  # the cache hands out the same arrays again
        array.flags.writeable = False
    return Lambda, V


def blocked_hippo(P_full: int, blocks: int, conj_sym: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return `blocks` copies of the HiPPO eigensystem: Lambda (P,) and the block diagonal V (P_full, P).

    With `conj_sym` only the eigenvalues of negative imaginary part are kept, P = P_full / 2.

    Raises
    ------
    ValueError
        `P_full` is not divisible by `blocks`, or a block is odd although `conj_sym` halves it.
    """
    if blocks < 1 or P_full % blocks:
        raise ValueError(f"state size {P_full} does not split into {blocks} equal blocks")
    n = P_full // blocks
    if conj_sym and n % 2:
        raise ValueError(f"blocks of {n} states cannot be halved into conjugate pairs; use an even block size")
    Lambda, V = hippo_eigensystem(n)
    if conj_sym:
        Lambda, V = Lambda[: n // 2], V[:, : n // 2]
    return np.tile(Lambda, blocks), np.kron(np.eye(blocks), V)


def discretize(Lambda: Array, B_tilde: Array, Delta: Array, method: str) -> tuple[Array, Array]:
    r"""Return :math:`\bar\Lambda` (P,) and :math:`\bar B` (P, H) for the step sizes `Delta` (P,).

    ``zoh``: :math:`\bar\Lambda = e^{\Lambda\Delta}`, :math:`\bar B = \Lambda^{-1}(\bar\Lambda - 1)\tilde B`.
    ``bilinear``: :math:`\bar\Lambda = (1+\Lambda\Delta/2)/(1-\Lambda\Delta/2)`,
    :math:`\bar B = \Delta/(1-\Lambda\Delta/2)\,\tilde B`.
    """
    if method == "zoh":
        Lambda_bar = jnp.exp(Lambda * Delta)
        return Lambda_bar, ((Lambda_bar - 1) / Lambda)[:, None] * B_tilde
    if method == "bilinear":
        scale = 1 / (1 - Delta / 2 * Lambda)
        return scale * (1 + Delta / 2 * Lambda), (scale * Delta)[:, None] * B_tilde
    raise ValueError(f"discretization {method!r} is not one of {', '.join(DISCRETIZATIONS)}")


def matmul(x: Array, W: Array) -> Array:
    """Return `x @ W` through a two-axis product: XLA on a CPU is slow to differentiate products of more axes."""
    return (x.reshape(-1, x.shape[-1]) @ W).reshape(*x.shape[:-1], W.shape[-1])


class S5SSM(nn.Module):
    """The S5 state space system, for sequences with time first.

    Parameters (float32): ``Lambda_re, Lambda_im (P,)``, ``B (P, H, 2)``, ``C (H, P, 2)``, ``D (H,)``,
    ``log_step (P, 1)``; a bidirectional layer has ``C1, C2 (H, P, 2)`` instead of ``C``, or ``C (H, 2P, 2)`` when
    `C_init` is ``complex_normal`` (forward outputs first).

    Attributes
    ----------
    H : int
        Channels in and out.
    P : int
        Stored states.
    blocks : int
        Copies of the HiPPO matrix that the eigenvalues start from; only used for the initial values.
    C_init : {"lecun_normal", "trunc_standard_normal", "complex_normal"}
        Distribution of the initial output matrix.
    discretization : {"zoh", "bilinear"}
        How Lambda and B become discrete.
    dt_min, dt_max : float
        Range of the initial step sizes, drawn log-uniformly, one per state.
    conj_sym : bool
        One stored state stands for a conjugate pair.
    clip_eigs : bool
        Use ``min(Lambda_re, -1e-4)``, so that no pole leaves the unit disk.
    bidirectional : bool
        Add a second scan from the end of the sequence.
    step_rescale : float
        Multiplies every step size (2 for audio at half its rate).
    scan, scan_chunk : str, int
        Passed to `lra.models.scan.diagonal_scan`.
    """

    H: int
    P: int
    blocks: int = 1
    C_init: str = "lecun_normal"
    discretization: str = "zoh"
    dt_min: float = 0.001
    dt_max: float = 0.1
    conj_sym: bool = True
    clip_eigs: bool = False
    bidirectional: bool = False
    step_rescale: float = 1.0
    scan: str = "auto"
    scan_chunk: int = 64

    def setup(self) -> None:
        if self.C_init not in C_INITS:
            raise ValueError(f"C_init {self.C_init!r} is not one of {', '.join(C_INITS)}")
        P, H = self.P, self.H
        real = self.param("Lambda_re", lambda key: jnp.asarray(self._hippo()[0].real, jnp.float32))
        imag = self.param("Lambda_im", lambda key: jnp.asarray(self._hippo()[0].imag, jnp.float32))
        B = self.param("B", self._initial_B)
        if self.C_init == "complex_normal" or not self.bidirectional:
            width = 2 * P if self.bidirectional else P
            C = self.param("C", self._initial_C, width)
        else:
            C = jnp.concatenate([self.param("C1", self._initial_C, P), self.param("C2", self._initial_C, P)], axis=1)
        self.D = self.param("D", nn.initializers.normal(1.0), (H,))
        log_step = self.param("log_step", self._initial_log_step)

        if self.clip_eigs:
            real = jnp.minimum(real, CLIPPED_REAL_PART)
        Delta = self.step_rescale * jnp.exp(log_step[:, 0])
        Lambda_bar, B_bar = discretize(
            jax.lax.complex(real, imag), jax.lax.complex(B[..., 0], B[..., 1]), Delta, self.discretization
        )
        self.Lambda_bar = pack(Lambda_bar)  # (2P,)
        self.B_in = pack(B_bar.T)  # (H, 2P)
        gain = 2.0 if self.conj_sym else 1.0
        C_re, C_im = jnp.moveaxis(gain * C, 0, 1)[..., 0], jnp.moveaxis(gain * C, 0, 1)[..., 1]
        self.C_out = jnp.concatenate([C_re[:P], -C_im[:P]])  # (2P, H)
        if self.bidirectional:
            self.C_out_reverse = jnp.concatenate([C_re[P:], -C_im[P:]])

    def __call__(self, u: Array) -> Array:
        """Return the outputs (L, ..., H) of the inputs `u` (L, ..., H)."""
        drive = matmul(u, self.B_in)
        x = diagonal_scan(self.Lambda_bar, drive, implementation=self.scan, chunk=self.scan_chunk)
        y = matmul(x, self.C_out) + self.D * u
        if self.bidirectional:
            x = diagonal_scan(self.Lambda_bar, drive, reverse=True, implementation=self.scan, chunk=self.scan_chunk)
            y = y + matmul(x, self.C_out_reverse)
        return y

    def step(self, x: Array, u: Array) -> tuple[Array, Array]:
        """Advance one sample: from state `x` (..., P) complex and input `u` (..., H) to the new state and the output.

        Raises
        ------
        ValueError
            The layer is bidirectional: its output depends on inputs still to come.
        """
        if self.bidirectional:
            raise ValueError("a bidirectional layer cannot run one sample at a time")
        x = unpack(self.Lambda_bar) * x + unpack(u @ self.B_in)
        return x, pack(x) @ self.C_out + self.D * u

    def ssm_params(self) -> dict[str, np.ndarray]:
        """Return the arrays of a bound layer: with `ssm_options`, what ``ssmreduce.compare(layer)`` asks for."""
        return {name: np.asarray(value) for name, value in self.variables["params"].items()}

    def ssm_options(self) -> dict[str, bool | float | str]:
        """Return what the arrays cannot tell."""
        names = ("conj_sym", "clip_eigs", "discretization", "bidirectional", "step_rescale")
        return {name: getattr(self, name) for name in names}

    def _hippo(self) -> tuple[np.ndarray, np.ndarray]:
        return blocked_hippo((2 if self.conj_sym else 1) * self.P, self.blocks, self.conj_sym)

    def _initial_B(self, key: Array) -> Array:
        V = self._hippo()[1]
        B0 = nn.initializers.lecun_normal()(key, (V.shape[0], self.H))
        B = jnp.asarray(V.conj().T, jnp.complex64) @ B0
        return jnp.stack([B.real, B.imag], axis=-1)

    def _initial_C(self, key: Array, width: int) -> Array:
        if self.C_init == "complex_normal":
            return nn.initializers.normal(0.5**0.5)(key, (self.H, width, 2))
        V = self._hippo()[1]
        shape = (self.H, V.shape[0], 2)
        if self.C_init == "lecun_normal":  # fan-in H * P_full, as the reference's call on the three-axis shape
            C0 = nn.initializers.lecun_normal()(key, shape)
        else:  # row by row: fan-in P_full
            rows = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", 1, 2, batch_axis=0)
            C0 = rows(key, shape)
        C = jax.lax.complex(C0[..., 0], C0[..., 1]) @ jnp.asarray(V, jnp.complex64)
        return jnp.stack([C.real, C.imag], axis=-1)

    def _initial_log_step(self, key: Array) -> Array:
        low, high = np.log(self.dt_min), np.log(self.dt_max)
        return jax.random.uniform(key, (self.P, 1), minval=low, maxval=high)
