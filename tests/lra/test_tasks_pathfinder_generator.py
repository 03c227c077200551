"""The Pathfinder generator against its rules."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("PIL.Image")

from lra.errors import ConfigError
from lra.tasks.paddles import DEGREES, Paddles, circle_pixels, disk_pixels, draw_disk, pictures, steps, turned
from lra.tasks.pathfinder import load_pathfinder, read_metadata
from lra.tasks.pathfinder_generator import (
    CHUNK,
    LAWS,
    PathfinderLaw,
    Samples,
    add_distractors,
    generate_pathfinder,
    grow_pairs,
    sample_chunk,
    write_block,
)
from lra.tasks.snakes import FREE, Snakes, Windows

P_MIN = 1e-4  # seeds are fixed: a law that holds passes for good
EASY = LAWS[32].with_contour(6)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return sample_chunk(0, 5, EASY)


def straight(window: int = 64, continuity: float = 1.0) -> Paddles:
    return Paddles(window=window, length=5, thickness=1.0, margin=1, antialias=2, continuity=continuity, tries=3)


def test_published_laws():
    assert (LAWS[32].contour_length, LAWS[32].distractor_length, LAWS[32].n_distractors) == (14, 4, 5)
    assert [LAWS[r].n_distractors for r in (64, 128, 256)] == [5, 8, 7]
    for resolution, law in LAWS.items():
        assert law.window == resolution
        assert law.with_contour(14) == law
    assert (EASY.contour_length, EASY.distractor_length, EASY.n_distractors) == (6, 2, 10)


def test_paddle_pictures():
    p = straight()
    tables = pictures(p)
    side = 2 * p.reach + 1
    assert tables.line.shape == tables.occupied.shape == (DEGREES + len(tables.circle), side, side)
    ink = tables.line.sum(axis=(1, 2)) / 255
    assert (ink > 3).all()
    assert (ink < 9).all()
    assert (tables.occupied + 40.0 >= tables.line).all()  # but for the filter's ringing
    east = tables.line[180]  # 0 degrees: columns grow
    assert east[p.reach, p.reach + 2] > 200
    assert east[p.reach, p.reach - 3] == 0
    south = tables.line[270]
    assert south[p.reach + 2, p.reach] > 200


def test_circle_and_disk_pixels():
    points, directions = circle_pixels(6)
    assert len(np.unique(points, axis=0)) == len(points)
    radius = np.hypot(*points.T)
    assert (radius > 6 - np.sqrt(2)).all()
    assert (radius < 6 + np.sqrt(2)).all()
    np.testing.assert_allclose(np.arctan2(points[:, 0], points[:, 1]), directions)
    assert len(disk_pixels(1)) == 5
    assert len(disk_pixels(3)) == 29
    np.testing.assert_array_equal(steps(np.array([0.0, np.pi / 2, np.pi]), 5), [[0, 5], [5, 0], [0, -5]])
    assert turned(0.5) == 0.5 - np.pi


@pytest.mark.parametrize("continuity", [1.0, 1.8])
def test_a_free_extension_follows_the_cosine_law(continuity: float):
    p, n = straight(continuity=continuity), 4000
    windows, snakes = Windows(p, n, padding=0), Snakes.empty(n)
    everyone = np.arange(n)
    start = np.full(n, 180 + 30)
    assert windows.place(snakes, everyone, np.full((n, 2), 30), start).all()
    pivot = snakes.pivot[0] + np.ceil(7 * np.array([np.sin(np.pi / 6), np.cos(np.pi / 6)]) - 1e-9).astype(int)
    assert len(windows.extend(np.random.default_rng(1), snakes, everyone)) == n
    points, directions = circle_pixels(6)
    angle = np.minimum(np.abs(directions - np.pi / 6), 2 * np.pi - np.abs(directions - np.pi / 6))
    weight = np.where(continuity * angle < np.pi / 2, np.cos(continuity * angle) ** 2, 0)
    chosen = (snakes.head[:, None] == pivot + points).all(axis=2)
    assert (chosen.sum(axis=1) == 1).all()
    counts, expected = chosen.sum(axis=0), n * weight / weight.sum()
    assert not counts[weight == 0].any()
    likely = expected > 5
    rare = [counts[~likely].sum()], [expected[~likely].sum()]
    observed = np.concatenate([counts[likely], rare[0]])
    assert stats.chisquare(observed + 1e-9, np.concatenate([expected[likely], rare[1]]) + 1e-9).pvalue > P_MIN


def test_occupied_neighbourhoods_are_avoided():
    p, n = straight(), 500
    windows, snakes = Windows(p, n, padding=0), Snakes.empty(n)
    everyone, rng = np.arange(n), np.random.default_rng(2)
    windows.place(snakes, everyone, np.full((n, 2), 30), np.full(n, 180))
    windows.mask[:, p.reach + 31 :] = 255  # all rows below 30
    grown = windows.extend(rng, snakes, everyone)
    assert len(grown) > 0
    assert (snakes.head[grown, 0] <= 29).all()  # a margin of one pixel stays free
    windows.mask[:] = 255
    assert len(windows.extend(rng, snakes, grown)) == 0


def test_tails_are_uniform_among_the_pixels_with_room():
    p, n = straight(window=40), 8000
    rng = np.random.default_rng(3)
    one = Windows(p, 1, padding=2)
    one.mask[0, p.reach + 10 : p.reach + 25, p.reach + 5 : p.reach + 30] = 255
    windows = one.take(np.zeros(n, int))
    direction = 77
    tails = windows._free_tail(rng, np.arange(n), np.full(n, direction), 6)
    blocked = windows.mask[0, p.reach : -p.reach, p.reach : -p.reach] > FREE
    blocked[:6], blocked[-6:], blocked[:, :6], blocked[:, -6:] = True, True, True, True
    free = [
        (y, x)
        for y in range(6, 34)
        for x in range(6, 34)
        if not any(
            0 <= y + dy < 40 and 0 <= x + dx < 40 and blocked[y + dy, x + dx]
            for dy, dx in pictures(p).body[direction].tolist()
        )
    ]
    counts = {tuple(t): 0 for t in free}
    for tail in map(tuple, tails.tolist()):
        counts[tail] += 1
    assert stats.chisquare(list(counts.values())).pvalue > P_MIN
    windows.mask[:] = 255
    assert (windows._free_tail(rng, np.arange(5), np.full(5, direction), 6) == -1).all()


def test_pairs_begin_at_the_seed_distance_and_stay_inside():
    law = EASY
    windows, images, ends = grow_pairs(np.random.default_rng(4), 60, law, law.paddles(1))
    first, second = ends[:, 0, 0], ends[:, 1, 0]
    assert (np.abs(np.hypot(*(first - second).T) - law.seed_distance) <= np.sqrt(0.5)).all()
    edge = 2 * law.seed_distance
    assert (first >= edge).all()
    assert (first < law.window - edge).all()
    assert (ends >= 0).all()
    assert (ends < law.window).all()
    assert images[:, : windows.reach].max() == 0
    assert (windows.cropped(images).max(axis=(1, 2)) > 0.5).all()
    assert windows.mask[:, : windows.reach].max() == 0
    advance = law.contour_length * (law.paddle_length + 2 * 1) + 2 * np.sqrt(2) * law.contour_length
    assert (np.hypot(*(ends[:, :, 0] - ends[:, :, 1]).reshape(-1, 2).T) <= advance).all()


def test_distractors_are_added_whole_or_not_at_all():
    law = EASY
    rng = np.random.default_rng(6)
    windows, images, _ = grow_pairs(rng, 20, law, law.paddles(1))
    windows.mask[:10] = 255  # no room
    before, before_images = windows.take(np.arange(20)), images.copy()
    add_distractors(rng, windows, images, law)
    np.testing.assert_array_equal(images[:10], before_images[:10])
    np.testing.assert_array_equal(windows.mask[:10], before.mask[:10])
    assert (images >= before_images).all()
    changed = (images[10:] != before_images[10:]).any(axis=(1, 2))
    np.testing.assert_array_equal(changed, (windows.mask[10:] != before.mask[10:]).any(axis=(1, 2)))
    assert changed.mean() > 0.5


def test_samples(samples: Samples):
    assert samples.images.shape == (CHUNK, 32, 32)
    assert samples.images.dtype == np.uint8
    assert (samples.images.max(axis=(1, 2)) == 255).all()
    assert stats.binomtest(int(samples.labels.sum()), CHUNK, 0.5).pvalue > P_MIN
    assert 5 < samples.images.mean() < 60
    for i in range(CHUNK):
        tail, head = samples.circles[i]
        tails, heads = samples.ends[i, :, 0], samples.ends[i, :, 1]
        mine = int((tails == tail).all(axis=1).argmax())
        np.testing.assert_array_equal(tails[mine], tail)
        np.testing.assert_array_equal(heads[mine if samples.labels[i] else 1 - mine], head)
        image = samples.images[i].astype(int)
        assert image[tuple(tail)] >= 100
        assert image[tuple(head)] >= 100


def test_circle_is_round_and_clipped_at_the_border():
    disk = draw_disk(32, (10, 20), 3.0, 2)
    assert disk[10, 20] >= 250
    assert abs(disk.sum() / 255 - np.pi * 9) < 3
    assert draw_disk(32, (0, 0), 3.0, 2)[0, 0] >= 250


def test_chunks_repeat_and_differ(samples: Samples):
    again = sample_chunk(0, 5, EASY)
    for field in dataclasses.fields(Samples):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(samples, field.name))
    assert (sample_chunk(1, 5, EASY).images != samples.images).any()
    assert (sample_chunk(0, 6, EASY).images != samples.images).any()


def test_margins_are_drawn_for_each_image():
    law = dataclasses.replace(EASY, margins=(1, 2), window=48)
    samples = sample_chunk(0, 0, law)
    assert stats.binomtest(int((samples.margins == 2).sum()), CHUNK, 0.5).pvalue > P_MIN


def test_files_are_read_back_and_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("lra.tasks.pathfinder_generator.BLOCK", 100)
    folder = generate_pathfinder(tmp_path / "whole", 32, 6, n=130, seed=3)
    assert folder == tmp_path / "whole/pathfinder32/curv_baseline"
    rows = read_metadata(folder / "metadata/1.npy", (folder / "metadata/1.npy").read_bytes())
    assert len(rows) == 30
    task = load_pathfinder(str(tmp_path / "whole"), level="curv_baseline")
    assert [len(s) for s in (task.train, task.validation, task.test)] == [104, 13, 13]
    first = sample_chunk(0, 3, EASY)
    np.testing.assert_array_equal(task.train.x[:100], first.images.reshape(100, -1))
    np.testing.assert_array_equal(task.train.y[:100], first.labels)

    def stops(block: int, **options: object) -> int:
        if block == 1:
            raise KeyboardInterrupt
        return write_block(block, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("lra.tasks.pathfinder_generator.write_block", stops)
    with pytest.raises(KeyboardInterrupt):
        generate_pathfinder(tmp_path / "halves", 32, 6, n=130, seed=3)
    monkeypatch.setattr("lra.tasks.pathfinder_generator.write_block", write_block)
    assert not (tmp_path / "halves/pathfinder32/curv_baseline").exists()
    with pytest.raises(ConfigError, match="other options"):
        generate_pathfinder(tmp_path / "halves", 32, 6, n=130, seed=4)
    written = (tmp_path / "halves/pathfinder32/curv_baseline.partial/metadata/0.npy").stat().st_mtime_ns
    again = generate_pathfinder(tmp_path / "halves", 32, 6, n=130, seed=3)
    assert (again / "metadata/0.npy").stat().st_mtime_ns == written
    for file in sorted(folder.rglob("*.*")):
        assert (again / file.relative_to(folder)).read_bytes() == file.read_bytes()
    assert json.loads((again / "generator.json").read_text())["seed"] == 3


def test_refusals(tmp_path: Path):
    with pytest.raises(ConfigError, match="resolution"):
        generate_pathfinder(tmp_path, 48)
    for length in (1, 15):
        with pytest.raises(ConfigError, match="contour_length from 2 to 14"):
            generate_pathfinder(tmp_path, 32, length)
    (tmp_path / "pathfinder32/curv_baseline").mkdir(parents=True)
    with pytest.raises(ConfigError, match="there already"):
        generate_pathfinder(tmp_path, 32, 6)


def test_law_is_a_value():
    assert isinstance(EASY, PathfinderLaw)
    assert EASY.paddles(1) == EASY.paddles(1)
