r"""Which stored states a record needs: backward elimination by what leaving a state out costs, C refitted each time.

With the second moments P of the states along a record, leaving state j out and letting the others stand for it changes
the output by :math:`\mathrm{tr}(C_jS_jC_j^*)` on average, :math:`S_j=([P^{-1}]_{jj})^{-1}` (the part of :math:`x_j`
that the others do not predict; 2 x 2 for a conjugate pair), and the best C is
:math:`C\leftarrow C-C_jS_j[P^{-1}]_{j,:}`: least squares, one state at a time. Poles and B stay bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.errors import DimensionError
from theory.reduction.experiment import sizes
from theory.systems.scan import real_output, require_real_output, with_real_output
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]


def recorded_selection(
    system: DiagonalStateSpace, order: int, moments: Array, *, regularization: float = 1e-9, real_outputs: bool = False
) -> tuple[DiagonalStateSpace, Array]:
    r"""Drop states until `order` are left, each time the one that costs least; C is the least squares one.

    Parameters
    ----------
    system : DiagonalStateSpace
        Stable, one system (take the channels of a batch one by one).
    order : int
        Stored states to keep, 0 ... n.
    moments : ndarray, shape (K, K)
        :math:`\mathrm{E}\,zz^*` of what the outputs see, in the coordinates of
        :func:`theory.systems.scan.aligned_states`: both directions side by side for a bidirectional system.
    regularization : float, keyword only
        Relative to the mean of the diagonal after scaling it to one.
    real_outputs : bool, keyword only
        Whether C, which is real, stays so: it sees the real parts of the states, and these alone stand for each other.

    Returns
    -------
    reduced : DiagonalStateSpace
        Poles and B of the kept states as they were.
    kept : ndarray of int
        Ascending.
    """
    require_stable(system)
    blocks = (2 if system.conjugate_pairs else 1) * (2 if system.is_bidirectional else 1)
    n, D = system.n, system.D
    if moments.shape != (blocks * n, blocks * n):
        raise DimensionError(f"moments must have shape {(blocks * n, blocks * n)}", moments=moments.shape)
    output = real_output(system)
    if real_outputs:
        require_real_output(system)
        blocks, moments, output = 1, moments[:n, :n], output[:, :n]
    size = sizes(np.diagonal(moments).real, n if system.conjugate_pairs and not real_outputs else 0)
    scaled = moments / size[:, None] / size[None, :] + regularization * np.eye(blocks * n)
    inverse, output = np.linalg.inv(scaled), output * size
    alive = np.arange(n)
    while alive.size > order:
        places = np.arange(blocks)[:, None] * alive.size + np.arange(alive.size)  # (blocks, states)
        S = np.linalg.inv(inverse[places.T[:, :, None], places.T[:, None, :]])  # (states, blocks, blocks)
        C = output[:, places.T]  # (p, states, blocks)
        cost = np.einsum("pja,jab,pjb->j", C, S, C.conj()).real
        j = int(np.argmin(cost))
        gone, rest = places[:, j], np.delete(np.arange(output.shape[1]), places[:, j])
        output = output[:, rest] - output[:, gone] @ S[j] @ inverse[np.ix_(gone, rest)]
        inverse = inverse[np.ix_(rest, rest)] - inverse[np.ix_(rest, gone)] @ S[j] @ inverse[np.ix_(gone, rest)]
        alive, size = np.delete(alive, j), size[rest]
    output = output / size
    if real_outputs:
        output = np.concatenate([output, np.zeros_like(output)], axis=1)
    return with_real_output(system.keep(alive), output, D), alive
