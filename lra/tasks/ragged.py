"""Sequences of different lengths in one flat array, padded only when a batch is asked for."""

from __future__ import annotations

import numpy as np


class Ragged:
    """Rows ``flat[offsets[i] : offsets[i + 1]]``, indexed like an array of shape ``(N, L)`` that is padded with zeros.

    Parameters
    ----------
    flat : ndarray
        All rows, one after the other; may be a memory map.
    offsets : ndarray (N + 1,) int64
        Where each row begins.
    L : int
        Width of the padded rows; a longer row keeps its first ``L - 1`` values and its last (the end token).
    """

    def __init__(self, flat: np.ndarray, offsets: np.ndarray, L: int) -> None:
        self.flat, self.offsets, self.L = flat, np.asarray(offsets), L
        self.lengths = np.minimum(np.diff(self.offsets), L).astype(np.int32)
        self.shape = (len(self.lengths), L)
        self.dtype = flat.dtype

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the padded rows, ``rows.shape + (L,)``."""
        rows = np.asarray(rows)
        out = np.zeros((rows.size, self.L), self.dtype)
        for i, row in enumerate(rows.ravel()):
            start, stop, n = self.offsets[row], self.offsets[row + 1], self.lengths[row]
            out[i, :n] = self.flat[start : start + n]
            if stop - start > n:
                out[i, n - 1] = self.flat[stop - 1]
        return out.reshape(*rows.shape, self.L)


class Pairs:
    """Pairs of rows of a `Ragged`, indexed like an array of shape ``(N, 2, L)``."""

    def __init__(self, documents: Ragged, pairs: np.ndarray) -> None:
        self.documents, self.pairs = documents, pairs
        self.lengths = documents.lengths[np.asarray(pairs)]
        self.shape = (*pairs.shape, documents.L)
        self.dtype = documents.dtype

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the padded documents, ``rows.shape + (2, L)``."""
        return self.documents[self.pairs[rows]]
