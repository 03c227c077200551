r"""Penalties that make a layer compressible: the sum of its Hankel singular values, and the sum of its modal gains.

.. math::
    \mathrm{hankel\_sum} = \sum_i \sigma_i = \operatorname{tr}\,(PQ)^{1/2}, \qquad
    \mathrm{modal\_sum} = \sum_i \frac{s\,|c_i||b_i|}{1-|\bar\lambda_i|}

The first is the nuclear norm of the Hankel operator: half the error bound of balanced truncation to order 0, the
convex stand-in for the number of states, and smooth where single singular values cross. Schwerdtner, Berman,
Peherstorfer (NeurIPS 2025, arXiv 2510.22951) train with it, weights 1e-8 to 1e-3; Forgione, Mejari, Piga (CDC 2024,
arXiv 2403.14833) as well. The second sums the gain bounds of the conjugate pairs (s = 2; s = 1 without ``conj_sym``),
the bound of what removing states from the diagonal form can cost; its terms are, up to s, the roots of LAST's scores
(Gwak et al., NeurIPS 2024). Forgione et al. have another modal penalty, on the eigenvalues alone.

Of a bidirectional layer the outputs of both directions are stacked for the Hankel singular values (that is how it is
reduced), and the modal gains of both are added. S4D is one system a channel; sums run over the channels.

Poles lie within 1e-5 of the unit circle, Gramian entries grow like the inverse of that distance, and factoring a
Gramian halves the digits. So the Hankel sum *and its gradient* are computed in float64 from the float32 parameters,
whatever ``jax_enable_x64`` says, and rounded once at the end. Both stay finite for repeated poles, states without
input or output, and eigenvalues on the wrong side of the imaginary axis, see `STABLE`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lra.config import Config
from lra.models.s5 import CLIPPED_REAL_PART

Array = jax.Array

STABLE = CLIPPED_REAL_PART
"""Eigenvalues count with a real part of at most this, as under ``clip_eigs`` (-1e-4 per second): neither sum exists
for an unstable state. The gradient is that at the limit, so that a stray eigenvalue is drawn back."""

SMALLEST_SINGULAR_VALUE = 1e-6
"""Relative to the largest of the layer (S4D: channel): states below count in the sum, and their gradient is 0.

There the Hankel operator is numerically rank deficient and its nuclear norm has a kink: this is a subgradient. (A fresh
S4D layer has one such state a channel: the pair of nearly equal real poles that "lin" begins with.)
"""


class Conventions(NamedTuple):
    """What the arrays of a layer do not tell."""

    discretization: str = "zoh"
    conj_sym: bool = True
    step_rescale: float = 1.0
    dt_transform: str = "softplus"


DEFAULT = Conventions()


class Modes(NamedTuple):
    """Diagonal systems: exponents x = Lambda Delta (..., n), discrete inputs B (..., n, m), outputs (..., d, p, n)."""

    x: Array
    B: Array
    C: Array  # axis -3: the directions; scaled so that the output of the real system is 2 Re(C x)


def read_modes(seq: Mapping[str, Any], conventions: Conventions) -> Modes:
    """Return the systems of one layer's parameters, S5 or S4D, with real parts of at most `STABLE`."""
    if "kernel" in seq:
        kernel = seq["kernel"]
        copies, H = kernel["A_real"].shape[0], kernel["inv_dt"].shape[0]
        dt = (jax.nn.softplus if conventions.dt_transform == "softplus" else jnp.exp)(kernel["inv_dt"])
        real, imag, B = (
            jnp.tile(part, (H // copies,) + (1,) * (part.ndim - 1))
            for part in (-jnp.exp(kernel["A_real"]), -kernel["A_imag"], kernel["B"][0])
        )
        B = jax.lax.complex(B[..., 0], B[..., 1])[..., None]
        C = jnp.moveaxis(jax.lax.complex(kernel["C"][..., 0], kernel["C"][..., 1]), 0, 1)[:, :, None, :]
    else:
        real, imag, dt = seq["Lambda_re"], seq["Lambda_im"], jnp.exp(seq["log_step"][:, 0])
        B = jax.lax.complex(seq["B"][..., 0], seq["B"][..., 1])
        stored = jnp.concatenate([seq["C1"], seq["C2"]], axis=1) if "C1" in seq else seq["C"]
        C = jax.lax.complex(stored[..., 0], stored[..., 1])  # (H, P) or (H, 2P): forward outputs first
        C = jnp.moveaxis(C.reshape(C.shape[0], -1, len(real)), 1, 0)
        C = C if conventions.conj_sym else C / 2  # Re(C x) is the real system of pairs with half its C
    real = real + jax.lax.stop_gradient(jnp.minimum(real, STABLE) - real)
    Lambda, Delta = jax.lax.complex(real, imag), conventions.step_rescale * dt
    x = Lambda * Delta
    gain = jnp.expm1(x) / Lambda if conventions.discretization == "zoh" else Delta / (1 - x / 2)
    return Modes(x, gain[..., None] * B, C)


def _gap(x: Array, y: Array, discretization: str) -> Array:
    """Return 1 - l m of the discrete poles l, m of the exponents `x`, `y`, without cancellation."""
    if discretization == "zoh":
        return -jnp.expm1(x + y)
    return -(x + y) / ((1 - x / 2) * (1 - y / 2))


def margin(x: Array, discretization: str) -> Array:
    """Return 1 - |l| of the discrete poles of the exponents `x`, without cancellation."""
    if discretization == "zoh":
        return -jnp.expm1(x.real)
    square = -2 * x.real / jnp.abs(1 - x / 2) ** 2  # 1 - |l|^2
    return square / (1 + jnp.sqrt(1 - square))


def _length(z: Array, axis: int) -> Array:
    """Return the 2-norm along `axis`; where it is 0 so is its gradient."""
    square = (z.real**2 + z.imag**2).sum(axis)
    zero = square == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))


def modal_gains(seq: Mapping[str, Any], conventions: Conventions = DEFAULT) -> Array:
    r"""Return the bound :math:`s|c_i||b_i|/(1-|\bar\lambda_i|)` of each stored state's gain, both directions added.

    Returns
    -------
    Array (P,); S4D (H, N/2)
    """
    modes = read_modes(seq, conventions)
    c = _length(modes.C, -2).sum(-2)
    return 2 * c * _length(modes.B, -1) / margin(modes.x, conventions.discretization)


def gramians(seq: Mapping[str, Any], conventions: Conventions = DEFAULT) -> tuple[Array, Array]:
    r"""Return the Gramians P, Q (..., 2n, 2n) of the real system with the state [Re x; Im x].

    .. math:: P_{ij} \propto \frac{(BB^*)_{ij}}{1-\bar\lambda_i\bar\lambda_j^*}, \qquad
        Q_{ij} \propto \frac{(C^*C)_{ij}}{1-\bar\lambda_i^*\bar\lambda_j}

    joined with the terms of :math:`BB^T` and :math:`C^TC`. States are scaled to |b| = |c|, a similarity, which the
    sum of the Hankel singular values does not see; its derivative does not either, so the scale counts as constant.
    """
    x, B, C = read_modes(seq, conventions)
    C = C.reshape(*C.shape[:-3], -1, C.shape[-1])
    b, c = _length(B, -1), _length(C, -2)
    scale = jax.lax.stop_gradient(jnp.where((b > 0) & (c > 0), jnp.sqrt(c / jnp.where(b > 0, b, 1.0)), 1.0))
    B, C = scale[..., None] * B, C / scale[..., None, :]

    def real_form(G: Array, exponents: Array) -> Array:
        left, right = exponents[..., :, None], exponents[..., None, :]
        other = jnp.swapaxes(G, -1, -2)
        direct = G @ other.conj() / _gap(left, right.conj(), conventions.discretization)
        mixed = G @ other / _gap(left, right, conventions.discretization)
        top = jnp.concatenate([direct.real + mixed.real, mixed.imag - direct.imag], axis=-1)
        low = jnp.concatenate([direct.imag + mixed.imag, direct.real - mixed.real], axis=-1)
        return jnp.concatenate([top, low], axis=-2)

    return 0.5 * real_form(B, x), 2.0 * real_form(jnp.swapaxes(C, -1, -2).conj(), x.conj())


def _factor(P: Array) -> Array:
    """Return L with L L^T = P for a Gramian P; negative eigenvalues are rounding and count as 0."""
    diagonal = jnp.diagonal(P, axis1=-2, axis2=-1)
    d = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    e, W = jnp.linalg.eigh(P / (d[..., :, None] * d[..., None, :]))
    return d[..., :, None] * W * jnp.sqrt(jnp.maximum(e, 0.0))[..., None, :]


def _nuclear(P: Array, Q: Array) -> tuple[Array, Array, Array]:
    r"""Return :math:`\sum\sigma_i` over all systems and its gradients by P and Q.

    With :math:`P=L_cL_c^T,\ Q=L_oL_o^T` and the singular value decomposition :math:`L_o^TL_c=U\Sigma V^T` they are
    :math:`\tfrac12 (L_oU)\Sigma^{-1}(L_oU)^T` and :math:`\tfrac12 (L_cV)\Sigma^{-1}(L_cV)^T`: no difference of singular
    values is divided by, so repeated ones do no harm.

    On a CPU a batch goes one system at a time: jaxlib's LAPACK calls split a batch over XLA's thread pool and wait in a
    thread of the same pool, so that as many layers as there are threads wait for each other for ever.
    """
    if P.ndim > 2 and jax.default_backend() == "cpu":
        flat = P.reshape(-1, *P.shape[-2:]), Q.reshape(-1, *Q.shape[-2:])
        sums, by_P, by_Q = jax.lax.map(lambda pair: _nuclear(*pair), flat)
        return sums.sum(), by_P.reshape(P.shape), by_Q.reshape(Q.shape)
    Lc, Lo = _factor(P), _factor(Q)
    U, sigma, Vt = jnp.linalg.svd(jnp.swapaxes(Lo, -1, -2) @ Lc)
    kept = sigma > SMALLEST_SINGULAR_VALUE * sigma[..., :1]
    weight = jnp.where(kept, 0.5 / jnp.where(kept, sigma, 1.0), 0.0)[..., None, :]
    left, right = Lo @ U, Lc @ jnp.swapaxes(Vt, -1, -2)
    return sigma.sum(), (left * weight) @ jnp.swapaxes(left, -1, -2), (right * weight) @ jnp.swapaxes(right, -1, -2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def hankel_sum(seq: Mapping[str, Any], conventions: Conventions = DEFAULT) -> Array:
    """Return the sum of the Hankel singular values of one layer; differentiable once, in reverse mode.

    Parameters
    ----------
    seq : mapping
        The layer's parameters as `lra.models` names them, S5 or S4D.
    conventions : Conventions

    Returns
    -------
    Array ()
        Of the type of the parameters; computed in float64.

    Notes
    -----
    Two symmetric eigenvalue problems and one singular value decomposition of the size of the real system, 2P. With the
    gradient, on one core: 10 ms for P = 64, 50 ms for P = 128, 300 ms for S4D with 128 channels of 64 states. See
    `_nuclear` for the gradient.
    """
    return _value_and_gradient(seq, conventions)[0]


def _value_and_gradient(seq: Mapping[str, Any], conventions: Conventions) -> tuple[Array, Any]:
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), seq)
        (P, Q), pull_back = jax.vjp(lambda tree: gramians(tree, conventions), wide)
        value, by_P, by_Q = _nuclear(P, Q)
        (gradient,) = pull_back((by_P, by_Q))
        dtype = jax.tree.leaves(seq)[0].dtype
        return value.astype(dtype), jax.tree.map(lambda g, leaf: g.astype(leaf.dtype), gradient, seq)


def _backward(conventions: Conventions, gradient: Any, cotangent: Array) -> tuple[Any]:
    del conventions
    return (jax.tree.map(lambda g: cotangent * g, gradient),)


hankel_sum.defvjp(_value_and_gradient, _backward)


def conventions_of(config: Config) -> Conventions:
    """Return what the penalties must know of a config."""
    fields = config.flat()
    return Conventions(**{name: fields[name] for name in Conventions._fields})


def layer_sums(config: Config) -> Callable[[Any], dict[str, Array]]:
    """Return the function from a model's parameters to the sums over its layers that `config` gives a weight."""
    chosen: dict[str, Callable[[Any], Array]] = {}
    conventions = conventions_of(config)
    if config.hankel_penalty:
        chosen["hankel_sum"] = lambda seq: hankel_sum(seq, conventions)
    if config.modal_penalty:
        chosen["modal_sum"] = lambda seq: modal_gains(seq, conventions).sum()

    def of(params: Any) -> dict[str, Array]:
        layers = [layer["seq"] for layer in params["encoder"].values() if "seq" in layer]
        return {name: sum((measure(seq) for seq in layers), jnp.zeros(())) for name, measure in chosen.items()}

    return of


def penalty(config: Config) -> Callable[[Any, Array], Array] | None:
    """Return what a step adds to its loss, a function of parameters and step; ``None`` without penalties.

    Every ``penalty_every``-th step adds ``penalty_every`` times the weighted sums, the others nothing: the same mean
    gradient at a part of the cost. Adam sees a sparser and larger gradient, so the runs are not equal.
    """
    weights = {"hankel_sum": config.hankel_penalty, "modal_sum": config.modal_penalty}
    if not any(weights.values()):
        return None
    measure, every = layer_sums(config), config.penalty_every

    def weighted(params: Any) -> Array:
        return every * sum((weights[name] * value for name, value in measure(params).items()), jnp.zeros(()))

    def added(params: Any, step: Array) -> Array:
        if every == 1:
            return weighted(params)
        return jax.lax.cond(step % every == 0, weighted, lambda _: jnp.zeros(()), params)

    return added
