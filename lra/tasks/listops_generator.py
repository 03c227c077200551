"""The ListOps data set, drawn anew from the distribution of the Long Range Arena.

A node at depth d < 10 is an operator with probability 1/4, otherwise a digit, uniform in 0..9; at depth 10 it is a
digit. An operator is uniform among MIN, MAX, MED, SM and has 2 to 10 arguments, uniform. A tree counts one for each
digit and two for each operator; it is kept if that lies strictly between 500 and 2000 (about one tree in twelve), and
once.

Whole generations of trees grow together in NumPy. Chunk i of the candidates has its own random stream, spawned from the
seed, and chunks are used in order: the data depend on the seed alone, not on the number of processes.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lra.errors import ConfigError
from lra.tasks.parallel import ordered_map

OPERATORS = ("MIN", "MAX", "MED", "SM")
TOKENS = (*"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]", "(", ")")
DIGITS, CLOSE, OPEN_PAREN, CLOSE_PAREN = 10, 14, 15, 16
CANDIDATES = 4096  # trees of one chunk; part of what a seed means
BARREN_CHUNKS = 500  # chunks in a row without a new tree before giving up


@dataclasses.dataclass(frozen=True, kw_only=True)
class TreeLaw:
    """The distribution; the defaults are the Long Range Arena's.

    Attributes
    ----------
    min_length, max_length : int
        A tree is kept if its length lies strictly between them.
    max_depth, max_args : int
        Depth from which on every node is a digit; most arguments of an operator.
    p_operator : float
        Probability of an operator above that depth.
    """

    min_length: int = 500
    max_length: int = 2000
    max_depth: int = 10
    max_args: int = 10
    p_operator: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.min_length < self.max_length - 1:
            raise ConfigError(f"no length lies strictly between {self.min_length} and {self.max_length}")
        if self.max_depth < 1 or self.max_args < 2 or not 0 <= self.p_operator <= 1:
            raise ConfigError(f"max_depth >= 1, max_args >= 2 and p_operator in [0, 1] are needed, not {self}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generation:
    """All nodes of one depth; the children of a node lie together in the next generation, in order.

    Attributes
    ----------
    tree : ndarray (n,)
        The tree of each node, ascending.
    symbol : ndarray (n,)
        0..9 for a digit, 10..13 for an operator (`TOKENS`).
    n_args : ndarray (n,)
        Number of children.
    """

    tree: np.ndarray
    symbol: np.ndarray
    n_args: np.ndarray

    def take(self, kept: np.ndarray) -> Generation:
        """Return the nodes where `kept` (n,) is true."""
        return Generation(tree=self.tree[kept], symbol=self.symbol[kept], n_args=self.n_args[kept])


def grow(rng: np.random.Generator, n_trees: int, law: TreeLaw) -> tuple[list[Generation], np.ndarray]:
    """Return the generations of `n_trees` candidates and their lengths (n_trees,).

    A tree that has reached ``max_length`` is dropped at once: its length is then a lower bound and it has no nodes.
    """
    generations: list[Generation] = []
    tree, length = np.arange(n_trees), np.ones(n_trees, np.int64)
    for depth in range(1, law.max_depth + 1):
        p = law.p_operator if depth < law.max_depth else 0.0
        operator = rng.random(len(tree)) < p
        symbol = np.where(operator, DIGITS + rng.integers(4, size=len(tree)), rng.integers(10, size=len(tree)))
        n_args = np.where(operator, rng.integers(2, law.max_args + 1, size=len(tree)), 0)
        generations.append(Generation(tree=tree, symbol=symbol.astype(np.int8), n_args=n_args))
        # an operator counts two; each of its children, still unborn, at least one
        length += np.bincount(tree, weights=n_args + operator, minlength=n_trees).astype(np.int64)
        tree = np.repeat(tree, n_args)
        if (length[tree] >= law.max_length).any():
            generations = [g.take(length[g.tree] < law.max_length) for g in generations]
            tree = tree[length[tree] < law.max_length]
        if not len(tree):
            break
    return generations, length


def evaluate_trees(generations: list[Generation]) -> np.ndarray:
    """Return the value of each root: minimum, maximum, median (mean of the middle two, truncated), sum modulo 10."""
    values = np.empty(0, np.int64)
    for generation in reversed(generations):
        mine = generation.symbol.astype(np.int64)
        operators = np.flatnonzero(mine >= DIGITS)
        if len(operators):
            k = generation.n_args[operators]
            first = np.cumsum(k) - k
            ordered = np.sort(np.repeat(np.arange(len(k)) * 16, k) + values) % 16
            results = np.stack(
                [
                    ordered[first],
                    ordered[first + k - 1],
                    (ordered[first + (k - 1) // 2] + ordered[first + k // 2]) // 2,
                    np.add.reduceat(values, first) % 10,
                ]
            )
            mine[operators] = results[mine[operators] - DIGITS, np.arange(len(k))]
        values = mine
    return values


def write_trees(generations: list[Generation]) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens (positions in `TOKENS`) of all trees, one after the other, and each tree's offset (n + 1,).

    An operator with arguments a b is written ``( ( ( [OP a ) b ) ] )``: one parenthesis more than it has arguments.
    """
    sizes: list[np.ndarray] = [np.empty(0, np.int64)]
    for generation in reversed(generations):  # tokens below each node, bottom up
        size = np.ones(len(generation.symbol), np.int64)
        operators = np.flatnonzero(generation.n_args)
        if len(operators):
            k = generation.n_args[operators]
            size[operators] = 2 * k + 4 + np.add.reduceat(sizes[-1], np.cumsum(k) - k)
        sizes.append(size)
    sizes = sizes[:0:-1]
    offsets = np.concatenate([[0], np.cumsum(sizes[0])])
    tokens = np.full(offsets[-1], OPEN_PAREN, np.uint8)
    start = offsets[:-1]
    for depth, generation in enumerate(generations):  # places, top down
        k, size = generation.n_args, sizes[depth]
        operator = k > 0
        tokens[np.where(operator, start + k + 1, start)] = generation.symbol
        end = (start + size)[operator]
        tokens[end - 2], tokens[end - 1] = CLOSE, CLOSE_PAREN
        if depth + 1 == len(generations):
            break
        taken = sizes[depth + 1] + 1  # an argument and the parenthesis behind it
        before = np.cumsum(taken) - taken
        k = k[operator]
        first = np.repeat(before[np.cumsum(k) - k], k)
        start = np.repeat((start + generation.n_args + 2)[operator], k) + before - first
        tokens[start + sizes[depth + 1]] = CLOSE_PAREN
    return tokens, offsets


def sample_chunk(index: int, seed: int, law: TreeLaw) -> list[tuple[bytes, int]]:
    """Return (source text, value) of the trees that are kept among the candidates of chunk `index`."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(index,))))
    generations, length = grow(rng, CANDIDATES, law)
    kept = (law.min_length < length) & (length < law.max_length)
    generations = [g.take(kept[g.tree]) for g in generations]
    while generations and not len(generations[-1].tree):
        generations.pop()
    if not generations:
        return []
    values = evaluate_trees(generations)
    tokens, offsets = write_trees(generations)
    return [(token_text(tokens[a:b]), int(v)) for a, b, v in zip(offsets[:-1], offsets[1:], values)]


def token_text(tokens: np.ndarray) -> bytes:
    """Return the tokens' names with single spaces between them."""
    spelled = _SPELLINGS[tokens].ravel()
    text: bytes = spelled[spelled != 0][:-1].tobytes()
    return text


_SPELLINGS = np.array([list((token + " ").encode().ljust(5, b"\0")) for token in TOKENS], np.uint8)


def sample_trees(n: int, seed: int, law: TreeLaw | None = None, workers: int = 1) -> Iterator[tuple[bytes, int]]:
    """Yield `n` distinct (source text, value), the same ones for any number of `workers`.

    Raises
    ------
    ConfigError
        The law has too few distinct trees.
    """
    seen: set[bytes] = set()
    barren = 0
    chunk = functools.partial(sample_chunk, seed=seed, law=law or TreeLaw())
    for rows in ordered_map(chunk, workers):
        before = len(seen)
        for text, value in rows:
            key = hashlib.blake2b(text, digest_size=16).digest()
            if key not in seen:
                seen.add(key)
                yield text, value
                if len(seen) == n:
                    return
        barren = 0 if len(seen) > before else barren + 1
        if barren == BARREN_CHUNKS:
            raise ConfigError(f"only {len(seen)} distinct trees of the {n} wanted were found under {law}; widen it")


def generate_listops(
    folder: Path,
    n_train: int = 96_000,
    n_validation: int = 2_000,
    n_test: int = 2_000,
    seed: int = 0,
    law: TreeLaw | None = None,
    workers: int = 1,
) -> None:
    """Write ``basic_{train,val,test}.tsv`` and ``generator.json`` into a new `folder`, all at once or not at all.

    Raises
    ------
    ConfigError
        The folder is there already, or the law has too few distinct trees.
    """
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another folder or delete it")
    law = law or TreeLaw()
    counts = {"train": n_train, "val": n_validation, "test": n_test}
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        rows = sample_trees(sum(counts.values()), seed, law, workers)
        for part, count in counts.items():
            with (partial / f"basic_{part}.tsv").open("wb") as file:
                file.write(b"Source\tTarget\n")
                for _ in range(count):
                    text, value = next(rows)
                    file.write(b"%b\t%d\n" % (text, value))
        rows.close()  # type: ignore[attr-defined]
        about = {"seed": seed, "law": dataclasses.asdict(law), "rows": counts}
        (partial / "generator.json").write_text(json.dumps(about, indent=1))
        os.rename(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the generator's options to a command line."""
    law = TreeLaw()
    parser.add_argument("folder", type=Path, help="new folder for basic_{train,val,test}.tsv")
    parser.add_argument("--train", type=int, default=96_000, help="trees to train on (default %(default)s)")
    parser.add_argument("--validation", type=int, default=2_000, help="trees to validate on (default %(default)s)")
    parser.add_argument("--test", type=int, default=2_000, help="trees to test on (default %(default)s)")
    parser.add_argument("--min-length", type=int, default=law.min_length, help="exclusive (default %(default)s)")
    parser.add_argument("--max-length", type=int, default=law.max_length, help="exclusive (default %(default)s)")
    parser.add_argument("--max-depth", type=int, default=law.max_depth, help="(default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")


def run(arguments: argparse.Namespace) -> None:
    """Generate as a parsed command line says."""
    law = TreeLaw(min_length=arguments.min_length, max_length=arguments.max_length, max_depth=arguments.max_depth)
    start = time.perf_counter()
    generate_listops(
        arguments.folder, arguments.train, arguments.validation, arguments.test, arguments.seed, law, arguments.workers
    )
    n = arguments.train + arguments.validation + arguments.test
    print(f"{arguments.folder}: {n} trees in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw a ListOps data set.")
    add_arguments(parser)
    run(parser.parse_args())
