"""Vocabularies of tokens and of characters, ordered as torchtext orders them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

SPECIALS = ("<pad>", "<unk>", "<eos>")
PAD, UNK, EOS = range(3)
CODE_POINTS = 0x110000


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids; ``<pad>``, ``<unk>`` and ``<eos>`` are 0, 1 and 2."""

    tokens: tuple[str, ...]

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], min_count: int = 1) -> Vocabulary:
        """Keep what occurs at least `min_count` times: most frequent first, equally frequent ones in string order."""
        kept = [token for token, n in counts.items() if n >= min_count]
        return cls((*SPECIALS, *sorted(kept, key=lambda token: (-counts[token], token))))

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that holds every id."""
        return np.dtype(np.min_scalar_type(len(self) - 1))

    @property
    def ids(self) -> dict[str, int]:
        """Token to id."""
        return {token: i for i, token in enumerate(self.tokens)}

    def character_table(self) -> np.ndarray:
        """Return the array (0x110000,) of the id of each code point; unknown ones map to ``<unk>``."""
        table = np.full(CODE_POINTS, UNK, self.dtype)
        for i, token in enumerate(self.tokens[len(SPECIALS) :], start=len(SPECIALS)):
            table[ord(token)] = i
        return table


def code_points(text: str) -> np.ndarray:
    """Return the Unicode code points (n,) uint32 of a string."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def character_counts(counts: np.ndarray) -> dict[str, int]:
    """Return a mapping of characters to counts from an array (0x110000,) of counts."""
    return {chr(point): int(counts[point]) for point in np.flatnonzero(counts)}
