"""The ListOps generator against its specification, written down a second time as plain recursion."""

from __future__ import annotations

import itertools
import json
import random
import statistics
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lra.errors import ConfigError
from lra.tasks.listops import evaluate, load_listops, read_row
from lra.tasks.listops_generator import (
    CANDIDATES,
    DIGITS,
    TreeLaw,
    evaluate_trees,
    generate_listops,
    grow,
    sample_chunk,
    sample_trees,
    token_text,
    write_trees,
)

SMALL = TreeLaw(min_length=20, max_length=80)
P_MIN = 1e-4  # seeds are fixed: a law that holds passes for good


def grow_recursively(draw: random.Random, depth: int = 1) -> tuple[object, int]:
    """The specification, word by word: (tree, length)."""
    r = draw.random() if depth < 10 else 1
    if r > 0.25:
        return draw.randint(0, 9), 1
    children, length = [], 2
    for _ in range(draw.randint(2, 10)):
        child, size = grow_recursively(draw, depth + 1)
        children.append(child)
        length += size
    return (draw.choice(("MIN", "MAX", "MED", "SM")), children), length


def value_of(tree: object) -> int:
    if isinstance(tree, int):
        return tree
    operator, children = tree  # type: ignore[misc]
    values = [value_of(child) for child in children]
    return {
        "MIN": min(values),
        "MAX": max(values),
        "MED": int(statistics.median(values)),
        "SM": sum(values) % 10,
    }[operator]


def text_of(tree: object) -> str:
    """The left-nested binary tree of the reference: ((((OP a) b) c) ])."""
    if isinstance(tree, int):
        return str(tree)
    operator, children = tree  # type: ignore[misc]
    text = f"[{operator}"
    for child in (*map(text_of, children), "]"):
        text = f"( {text} {child} )"
    return text


def parse(text: str) -> object:
    """Read an expression back by its parentheses; the only code here that looks at them."""
    tokens = iter(text.split())

    def node(token: str) -> object:
        if token != "(":
            return token if token.startswith("[") else int(token) if token.isdigit() else token
        left, right = node(next(tokens)), node(next(tokens))
        assert next(tokens) == ")"
        if right == "]":
            return left
        if isinstance(left, str):
            return (left[1:], [right])
        return (left[0], [*left[1], right])  # type: ignore[index]

    tree = node(next(tokens))
    assert next(tokens, None) is None
    return tree


def uniform(counts: np.ndarray) -> float:
    return float(stats.chisquare(counts).pvalue)


@pytest.fixture(scope="module")
def candidates():
    law = TreeLaw(max_length=10**9)  # nothing is dropped
    rng = np.random.default_rng(20240501)
    return grow(rng, 20_000, law)


def test_operators_appear_with_probability_one_quarter_above_depth_ten(candidates):
    generations, _ = candidates
    assert len(generations) == 10
    for generation in generations[:9]:
        operators = int((generation.symbol >= DIGITS).sum())
        assert stats.binomtest(operators, len(generation.symbol), 0.25).pvalue > P_MIN
    assert (generations[9].symbol < DIGITS).all()


def test_digits_operators_and_numbers_of_arguments_are_uniform(candidates):
    generations, _ = candidates
    symbol = np.concatenate([g.symbol for g in generations])
    n_args = np.concatenate([g.n_args for g in generations])
    assert uniform(np.bincount(symbol[symbol < DIGITS], minlength=10)) > P_MIN
    assert uniform(np.bincount(symbol[symbol >= DIGITS] - DIGITS, minlength=4)) > P_MIN
    operators = symbol >= DIGITS
    assert (n_args[~operators] == 0).all()
    assert set(n_args[operators]) == set(range(2, 11))
    assert uniform(np.bincount(n_args[operators])[2:]) > P_MIN
    table = np.histogram2d(symbol[operators], n_args[operators], bins=(4, 9))[0]
    assert stats.chi2_contingency(table).pvalue > P_MIN  # independent of each other


def test_lengths_of_candidates_and_the_share_that_is_kept(candidates):
    _, length = candidates
    draw = random.Random(7)
    recursive = np.array([grow_recursively(draw)[1] for _ in range(20_000)])
    edges = [0, 1.5, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 1e9]
    table = np.stack([np.histogram(x, edges)[0] for x in (length, recursive)])
    assert stats.chi2_contingency(table).pvalue > P_MIN
    kept = int(((length > 500) & (length < 2000)).sum())
    assert stats.binomtest(kept, len(length), 0.083).pvalue > P_MIN


def test_kept_trees_have_the_lengths_values_and_depths_of_the_recursion():
    draw = random.Random(11)
    kept = []
    while len(kept) < 500:
        tree, length = grow_recursively(draw)
        if 500 < length < 2000:
            kept.append((tree, length))
    ours = [(parse(text.decode()), value) for text, value in sample_trees(500, seed=3)]

    def measures(trees: list[object]) -> list[np.ndarray]:
        def depth(tree: object) -> int:
            return 1 if isinstance(tree, int) else 1 + max(map(depth, tree[1]))  # type: ignore[index]

        texts = [text_of(tree) for tree in trees]
        lengths = np.array([len(t.replace("(", "").replace(")", "").split()) for t in texts])
        assert ((lengths > 500) & (lengths < 2000)).all()
        heads = np.array([["MIN", "MAX", "MED", "SM"].index(tree[0]) for tree in trees])  # type: ignore[index]
        return [
            np.histogram(lengths, [500, 650, 800, 1000, 1250, 1500, 2000])[0],
            np.bincount([value_of(tree) for tree in trees], minlength=10),
            np.bincount(heads, minlength=4),
            np.bincount([min(max(depth(tree), 7), 10) for tree in trees], minlength=11)[7:],
        ]

    for one, two in zip(measures([tree for tree, _ in ours]), measures([tree for tree, _ in kept])):
        table = np.stack([one, two])
        assert stats.chi2_contingency(table[:, table.sum(0) > 0]).pvalue > P_MIN


def test_text_value_and_reader_agree_with_an_independent_evaluation():
    for text, value in sample_trees(60, seed=5):
        tree = parse(text.decode())
        assert value_of(tree) == value
        assert text_of(tree) == text.decode()
        codes, _ = read_row(text + b"\t0")
        assert evaluate(codes) == value


def test_trees_of_every_shape_down_to_one_digit():
    law = TreeLaw(min_length=0, max_length=10**6, max_depth=4)
    generations, length = grow(np.random.default_rng(2), 500, law)
    values = evaluate_trees(generations)
    tokens, offsets = write_trees(generations)
    for i in range(500):
        text = token_text(tokens[offsets[i] : offsets[i + 1]]).decode()
        tree = parse(text)
        assert text_of(tree) == text
        assert value_of(tree) == values[i]
        assert len(text.replace("(", "").replace(")", "").split()) == length[i]


def test_dropping_long_trees_early_keeps_the_others_whole():
    law = TreeLaw(min_length=10, max_length=60)
    generations, length = grow(np.random.default_rng(4), 3000, law)
    kept = np.flatnonzero(length < 60)
    assert 0 < len(kept) < 3000
    for generation in generations:
        assert (length[generation.tree] < 60).all()
        assert (np.diff(generation.tree) >= 0).all()
    for above, below in itertools.pairwise(generations):
        np.testing.assert_array_equal(np.repeat(above.tree, above.n_args), below.tree)
    own = sum(np.bincount(g.tree, weights=1 + (g.symbol >= DIGITS), minlength=3000) for g in generations)
    np.testing.assert_array_equal(own[kept], length[kept])


def test_same_trees_for_any_number_of_workers():
    one = list(sample_trees(3 * CANDIDATES // 10, seed=9, law=SMALL))
    two = list(sample_trees(3 * CANDIDATES // 10, seed=9, law=SMALL, workers=2))
    assert one == two
    assert len({text for text, _ in one}) == len(one)
    assert list(sample_trees(20, seed=9, law=SMALL)) == one[:20]
    assert list(sample_trees(20, seed=10, law=SMALL)) != one[:20]


def test_chunks_are_different_streams():
    first, second = (sample_chunk(i, 0, SMALL) for i in range(2))
    assert not {text for text, _ in first} & {text for text, _ in second}


def test_files_are_complete_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "listops-short"
    generate_listops(folder, 200, 30, 40, seed=1, law=SMALL)
    about = json.loads((folder / "generator.json").read_text())
    assert about["seed"] == 1
    assert about["law"]["max_length"] == 80
    task = load_listops(str(tmp_path), L=80, folder="listops-short")
    assert [len(s) for s in (task.train, task.validation, task.test)] == [200, 30, 40]
    assert task.train.lengths is not None
    assert (task.train.lengths > 21).all()  # the end token counts
    assert (task.train.lengths <= 80).all()
    with pytest.raises(ConfigError, match="there already"):
        generate_listops(folder, 1, 1, 1)


def test_impossible_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lra.tasks.listops_generator.BARREN_CHUNKS", 5)
    with pytest.raises(ConfigError, match="no length"):
        TreeLaw(min_length=10, max_length=11)
    with pytest.raises(ConfigError, match="max_depth"):
        TreeLaw(max_depth=0)
    with pytest.raises(ConfigError, match="only 10 distinct trees"):
        generate_listops(tmp_path / "few", 30, 1, 1, law=TreeLaw(min_length=0, max_length=2))
    assert not list(tmp_path.iterdir())
