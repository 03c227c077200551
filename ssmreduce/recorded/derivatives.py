r"""How the outputs of a network change with C and D of its layers: sums over time of gradients times states and inputs.

With g the gradient of v . z at a layer's output, the derivative of v . z along C is :math:`\sum_tg_tx_t^*`, and that
along the diagonal of D :math:`\sum_tg_tu_t`: nothing but :meth:`ssmreduce.Network.gradients` is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.scan import Record, aligned_states, real_output, with_real_output
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

NEGLIGIBLE = 1e-9
"""Of the largest energy of a direction of the states, below which it cannot be told from rounding."""


@dataclass(kw_only=True)
class Columns:
    """What C and D of one layer do to the outputs, collected batch by batch.

    Attributes
    ----------
    along_c, along_d : list of ndarray, shapes (N, R, ports, K) and (N, R, ports)
        Derivatives of R combinations of the outputs of each example.
    gram, energy : ndarray
        Of the states, (K, K) or one a channel, and of the inputs, (ports,), summed over time and sequences.
    real : bool
        Whether C stays real: it sees the real parts of the states alone.
    """

    along_c: list[Array] = field(default_factory=list)
    along_d: list[Array] = field(default_factory=list)
    gram: Any = 0.0
    energy: Any = 0.0
    real: bool = False

    def add(self, system: DiagonalStateSpace, given: Record, felt: Sequence[Array], examples: int) -> None:
        """Add a batch of `examples`: a layer's inputs, and a gradient for each combination.

        An example of several sequences has its sum over them: all first ones come first, then all second ones.
        """
        found = Columns()
        for some, states in aligned_states(system, given):
            if self.real:
                states[..., system.n :] = 0.0
            found._add([gradients[some] for gradients in felt], states, given.values[some], bool(system.batch_shape))
        self.gram, self.energy = self.gram + found.gram, self.energy + found.energy
        for mine, pieces in ((self.along_c, found.along_c), (self.along_d, found.along_d)):
            if pieces:
                each = np.concatenate(pieces)
                mine.append(each.reshape(-1, examples, *each.shape[1:]).sum(axis=0))

    def _add(self, felt: Sequence[Array], states: Array, u: Array, batch: bool) -> None:
        x = states.astype(np.float32)
        if batch:  # every channel sees its own states
            g = np.stack([np.swapaxes(each, 1, 2) for each in felt], axis=2)  # (s, H, R, L)
            along = np.swapaxes(g @ np.moveaxis(x, 2, 1), 1, 2)
            self.gram = self.gram + np.einsum("slhi,slhj->hij", states, states, optimize=True)
        else:
            along = np.stack([np.swapaxes(each, 1, 2) @ x for each in felt], axis=1)
            flat = states.reshape(-1, states.shape[-1])
            self.gram = self.gram + flat.T @ flat
        self.along_c.append(along)  # (s, R, ports, K)
        if u.shape[-1] == felt[0].shape[-1]:
            self.along_d.append(np.stack([np.einsum("slp,slp->sp", each, u) for each in felt], axis=1))
            self.energy = self.energy + np.square(u, dtype=float).sum(axis=(0, 1))


Writes = Callable[[DiagonalStateSpace, Array], DiagonalStateSpace]


def scaled(columns: Columns, with_D: bool) -> tuple[Array, Writes]:
    """The derivatives along changes of output energy one, and what writes such changes into a system.

    Directions without energy are left alone.

    Returns
    -------
    blocks : ndarray, shape (N, R, parameters)
    written : callable
        ``written(system, change)`` of a change of these parameters.
    """
    values, vectors = np.linalg.eigh(columns.gram)
    roots = vectors * _inverse_roots(values, values[..., -1:])[..., None, :]
    C = np.concatenate(columns.along_c)  # (N, R, p, K)
    ports, K = C.shape[2:]
    if roots.ndim == 3:
        C = (C[..., None, :] @ roots.astype(np.float32))[..., 0, :]
    else:
        C = C @ roots.astype(np.float32)
    blocks = [C.reshape(*C.shape[:2], ports * K)]
    scale = np.zeros(ports)
    if with_D:
        energy = np.asarray(columns.energy)
        scale = _inverse_roots(energy, energy.max(initial=0.0))
        blocks.append(np.concatenate(columns.along_d) * scale.astype(np.float32))

    def written(system: DiagonalStateSpace, step: Array) -> DiagonalStateSpace:
        step = step.astype(float)
        change = step[: ports * K].reshape(ports, 1, K) if roots.ndim == 3 else step[: ports * K].reshape(ports, K)
        change, D = change @ np.swapaxes(roots, -1, -2), system.D
        if with_D:
            moved = step[ports * K :] * scale
            D = D + (moved[:, None, None] if roots.ndim == 3 else np.diag(moved))
        return with_real_output(system, real_output(system) + change, D)

    return np.concatenate(blocks, axis=2).astype(np.float32), written


def _inverse_roots(energy: Array, largest: Any) -> Array:
    """One over the square root; zero where the energy is negligible."""
    return np.asarray(np.where(energy > NEGLIGIBLE * largest, 1.0 / np.sqrt(np.maximum(energy, 1e-300)), 0.0))
