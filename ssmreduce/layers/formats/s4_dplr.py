r"""S4 (diagonal plus low rank) of the S4 code, versions 2 to 4, in; S4D out, exactly.

Of each channel, on the doubled state :math:`[v;\bar v]`: :math:`A=\mathrm{diag}(\lambda)-pp^*`, the bilinear rule, and
the stored :math:`\tilde C` stands for :math:`C=\tilde C(I-\bar A^L)^{-1}`, :math:`L` the length that lies beside. The
doubled system is real, so :math:`A=V\Lambda V^{-1}` has conjugate pairs and real poles: one of each pair is kept, and
real ones at half weight. Since :math:`\bar A` is a function of :math:`A`, the diagonal layer has the eigenvalues of
:math:`A`, the same step and rule, and :math:`c_i=(\tilde CV)_i/(1-\bar\lambda_i^L)`: version 4's S4D computes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssmreduce.layers.formats.layer_format import Array, Arrays, expect, paired
from ssmreduce.layers.formats.s4d_torch import TRANSFORMS, TorchS4D, Version3, Version4, Version4Exp
from theory.errors import DimensionError, InputError

CONDITION_LIMIT = 1e8
"""Largest condition number of the eigenvectors of a channel that is taken: half of the digits of float64 are left, more
than float32 arrays have. Trained layers have about 1e3."""

PADDING = -0.5
"""Eigenvalue of the states that fill up channels with fewer real poles; their B and C are 0."""


class LowRank(TorchS4D):
    """Read once; what is written of a changed layer is the S4D of the same version: no low-rank term, no length."""

    fixed: Mapping[str, Any] = {**TorchS4D.fixed, "discretization": "bilinear"}
    length: str
    diagonal: type[TorchS4D]

    @property
    def written_as(self) -> str:
        """See :class:`LayerFormat`: the S4D of the same version."""
        return self.diagonal(self.real_transform).name

    def decode(self, raw: Mapping[str, Array]) -> dict[str, Any]:
        """See :class:`LayerFormat`; arrays without ``P`` are those of a layer that was changed already."""
        return self._diagonal(raw)[0] if f"{self.prefix}P" in raw else super().decode(raw)

    def select(self, raw: Arrays, index: Array) -> Arrays:
        """See :class:`LayerFormat`; of the diagonal layer, in whose coordinates states can be told apart."""
        return super().select(self.as_changed(raw, self._plain(raw)[f"{self.prefix}{self.real}"].dtype), index)

    def as_changed(self, raw: Arrays, dtype: np.dtype[Any]) -> Arrays:
        """See :class:`LayerFormat`; those of the diagonal layer, by the same names but with other numbers."""
        return self.encode(self.decode(raw), dtype) if f"{self.prefix}P" in raw else raw

    def remarks(self, raw: Mapping[str, Array]) -> dict[str, float]:
        """How well the layer could be diagonalised: the largest condition number of a channel's eigenvectors."""
        low_rank = f"{self.prefix}P" in raw
        return {"eigenvector_condition": float(self._diagonal(raw)[1].max(initial=1.0))} if low_rank else {}

    def _plain(self, raw: Mapping[str, Array]) -> Arrays:
        """The arrays of the diagonal part, by the names of S4D."""
        return {key: value for key, value in raw.items() if key not in (f"{self.prefix}P", self.length)}

    def _low_rank(self, raw: Mapping[str, Array], H: int, N: int) -> Array:
        """P of every channel, (rank, H, N)."""
        key = f"{self.prefix}P"
        stored = expect(key, raw[key], None, None, N, 2)
        if not stored.shape[1] or H % stored.shape[1]:
            raise DimensionError(f"the {stored.shape[1]} copies of P must divide the {H} channels", P=stored.shape)
        return np.tile(paired(stored), (1, H // stored.shape[1], 1))

    def _diagonal(self, raw: Mapping[str, Array]) -> tuple[dict[str, Any], Array]:
        """The fields of the diagonal layer, and the condition number of each channel's eigenvectors."""
        plain = super().decode(self._plain(raw))
        P = self._low_rank(raw, *plain["Lambda"].shape)
        length = int(expect(self.length, raw[self.length]))
        if length < 0:
            raise InputError(f"{self.length} must be a length, got {length}")
        A = _real_generator(plain["Lambda"], P)
        Lambda, V = np.linalg.eig(A)
        condition: Array = np.linalg.cond(V)
        if not (condition <= CONDITION_LIMIT).all():
            raise InputError(
                f"the eigenvectors of channel {int(np.argmax(condition))} have condition number {condition.max():.3g}, "
                f"past the limit {CONDITION_LIMIT:.3g}: a diagonal layer would not have the kernel of this S4 layer. "
                "S4 starts so (HiPPO): train A and P with the rest, or train S4D"
            )
        B = np.linalg.solve(V, np.concatenate([plain["B"].real, plain["B"].imag], axis=1)[..., None])[..., 0]
        half = 0.5 * np.exp(plain["log_step"]) * Lambda
        pole = (1 + half) / (1 - half)
        weight = 1 / (1 - pole**length) if length else np.ones(())  # length 0: the code had not transformed C yet
        C = [
            None
            if given is None
            else weight * np.einsum("hi,hij->hj", 2.0 * np.concatenate([given.real, -given.imag], axis=1), V)
            for given in (plain["C"], plain["C_reverse"])
        ]
        return plain | _one_of_each_pair(Lambda, B, C), condition


class DPLR(LowRank, Version4):
    """Version 4; what is written of a changed layer is its S4D."""

    name, title = "s4", "S4, diagonal plus low rank (PyTorch, version 4, dt_transform=softplus); written as S4D"
    anchor, length = "kernel.P", "kernel.l_kernel"
    beside: tuple[str, ...] = ("kernel.inv_dt",)
    keys = (*Version4.keys, "kernel.P", "kernel.l_kernel")
    diagonal = Version4


class DPLRExp(DPLR):
    """Step sizes through the exponential."""

    name, title = "s4-exp", "S4, diagonal plus low rank (PyTorch, version 4, dt_transform=exp); written as S4D"
    softplus, diagonal = False, Version4Exp
    stated: Mapping[str, Any] = {"dt_transform": "exp"}


class Earlier(LowRank, Version3):
    """Versions 2 and 3, under other names; what is written of a changed layer is version 3's S4D."""

    name, title = "s4-v3", "S4, diagonal plus low rank (PyTorch, versions 2 and 3); written as S4D of version 3"
    anchor, length, decay = "kernel.kernel.P", "kernel.kernel.L", "inv_w_real"
    beside: tuple[str, ...] = ("kernel.kernel.inv_w_real",)
    keys = (*(f"kernel.kernel.{key}" for key in ("P", "L", "C", "log_dt", "B", "inv_w_real", "w_imag")), "D")
    optional = ("kernel.kernel.Q",)
    diagonal = Version3

    def _plain(self, raw: Mapping[str, Array]) -> Arrays:
        key, names = self.prefix, {self.decay: self.real, "w_imag": self.imag}
        short = {entry.removeprefix(key): value for entry, value in raw.items()}
        kept = {name: value for name, value in short.items() if name not in ("P", "Q", "L")}
        return {"D": kept.pop("D")} | {f"{key}{names.get(name, name)}": value for name, value in kept.items()}

    def _low_rank(self, raw: Mapping[str, Array], H: int, N: int) -> Array:
        P, Q = super()._low_rank(raw, H, N), raw.get(f"{self.prefix}Q")
        if Q is not None:
            Q = super()._low_rank({f"{self.prefix}P": Q}, H, N)
            if not np.array_equal(Q, P.conj()):
                raise InputError(
                    "the low-rank term is P Q^T with a Q of its own, as version 1 trains it; versions from 2 on have "
                    "Q = conj(P), which is what is read"
                )
        return P


class EarlierLog(Earlier):
    """Another name for the decay, which is always a logarithm then."""

    name, decay = "s4-v2", "log_w_real"
    beside = ("kernel.kernel.log_w_real",)
    keys = (*(f"kernel.kernel.{key}" for key in ("P", "L", "C", "log_dt", "B", "log_w_real", "w_imag")), "D")


def _real_generator(Lambda: Array, P: Array) -> Array:
    r"""A of :math:`[\Re v;\Im v]`, (H, 2N, 2N): :math:`\dot v=(\Lambda-pp^*)v-pp^T\bar v`."""
    direct = -np.einsum("rhi,rhj->hij", P, P.conj())
    index = np.arange(Lambda.shape[1])
    direct[:, index, index] += Lambda
    crossed = -np.einsum("rhi,rhj->hij", P, P)
    top = np.concatenate([(direct + crossed).real, (crossed - direct).imag], axis=2)
    bottom = np.concatenate([(direct + crossed).imag, (direct - crossed).real], axis=2)
    return np.concatenate([top, bottom], axis=1)


def _one_of_each_pair(Lambda: Array, B: Array, C: list[Array | None]) -> dict[str, Any]:
    """The states with positive imaginary part and the real ones at half weight; channels with fewer are filled up.

    The output is twice the real part of what the states kept give.
    """
    Lambda, B = Lambda.astype(complex), B.astype(complex)
    kept = Lambda.imag >= 0
    size = int(kept.sum(axis=1).max(initial=0))
    order = np.argsort(~kept, axis=1, kind="stable")[:, :size]
    real = np.take_along_axis(kept, order, axis=1)
    share = np.where(real, np.where(np.take_along_axis(Lambda, order, axis=1).imag == 0, 0.5, 1.0), 0.0)
    chosen = [None if c is None else share * np.take_along_axis(c.astype(complex), order, axis=1) for c in C]
    return {
        "Lambda": np.where(real, np.take_along_axis(Lambda, order, axis=1), PADDING),
        "B": np.where(real, np.take_along_axis(B, order, axis=1), 0.0),
        "C": chosen[0],
        "C_reverse": chosen[1],
    }


FORMATS = (*(form(real) for real in TRANSFORMS for form in (DPLR, DPLRExp, Earlier)), EarlierLog())
