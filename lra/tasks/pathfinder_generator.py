"""The Pathfinder data set, drawn anew by the rules of the Long Range Arena's.

Two snakes of `contour_length` paddles grow together from seeds that lie `seed_distance` apart; distractors a third as
long fill the room. One circle marks the tail of a random one of the two, another the head of the same one (label 1) or
of the other (label 0); the label is a fair coin, tossed first.

Each hundred images have their own random stream, spawned from the seed: the data do not depend on the number of
processes. Files are written into ``<level>.partial`` in blocks of 1000 and the folder is renamed at the end; an
interrupted run is continued by the same command.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np

from lra.errors import ConfigError
from lra.tasks.paddles import DEGREES, Paddles, draw_disk
from lra.tasks.parallel import ordered_map
from lra.tasks.pathfinder import pillow
from lra.tasks.snakes import FEW_FREE, Snakes, Windows

CONTOURS = range(2, 15)
"""Paddles of a snake; the release has 6, 9 and 14, shorter ones are for models that cannot begin with those."""
BLOCK = 1000  # images of one metadata file
CHUNK = 100  # images of one random stream; part of what a seed means
ATTEMPTS = 1 << 15  # pairs begun at a time, times the window's side; likewise


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathfinderLaw:
    """The distribution of images; see `LAWS` for the published ones.

    Attributes
    ----------
    window, padding, seed_distance : int
        Side of the image; frame that stays empty of paddles; distance of the two seeds.
    contour_length, distractor_length, n_distractors : int
        Paddles of the two snakes and of a distractor; distractors that are tried.
    margins : tuple of int
        One is drawn for each image.
    snake_contrast, paddle_contrast : float
        The two snakes are as bright as their product, distractors as the first; circles have brightness 1, and the
        brightest pixel becomes 255.
    distractor_tries, paddle_tries : int
        Attempts before a distractor, a paddle is given up.
    """

    window: int
    padding: int
    seed_distance: int
    marker_radius: float
    paddle_length: int
    paddle_thickness: float
    margins: tuple[int, ...]
    continuity: float
    n_distractors: int
    snake_contrast: float
    paddle_contrast: float = 1.0
    contour_length: int = 14
    distractor_length: int = 4
    antialias: int = 2
    distractor_tries: int = 5
    paddle_tries: int = 3

    def paddles(self, margin: int) -> Paddles:
        """Return how paddles look with one of the margins."""
        return Paddles(
            window=self.window,
            length=self.paddle_length,
            thickness=self.paddle_thickness,
            margin=margin,
            antialias=self.antialias,
            continuity=self.continuity,
            tries=self.paddle_tries,
        )

    def with_contour(self, length: int) -> PathfinderLaw:
        """Return the law of another difficulty: distractors a third as long, together about as many paddles."""
        total = self.n_distractors * self.distractor_length
        total = {32: 20, 64: 22, 128: 35, 256: 30}.get(self.window, total)
        third = max(length // 3, 1)
        return dataclasses.replace(self, contour_length=length, distractor_length=third, n_distractors=total // third)


LAWS = {
    32: PathfinderLaw(
        window=32, padding=1, seed_distance=7, marker_radius=1.5, paddle_length=2, paddle_thickness=0.5, margins=(1,),
        continuity=1.0, n_distractors=5, snake_contrast=2.0, paddle_contrast=0.75,
    ),
    64: PathfinderLaw(
        window=64, padding=1, seed_distance=12, marker_radius=2.5, paddle_length=5, paddle_thickness=1.0, margins=(1,),
        continuity=1.8, n_distractors=5, snake_contrast=0.8,
    ),
    128: PathfinderLaw(
        window=128, padding=1, seed_distance=20, marker_radius=3.0, paddle_length=5, paddle_thickness=1.5,
        margins=(2, 3), continuity=1.8, n_distractors=8, snake_contrast=0.9,
    ),
    256: PathfinderLaw(
        window=256, padding=22, seed_distance=27, marker_radius=5.0, paddle_length=5, paddle_thickness=2.0,
        margins=(3,), continuity=1.8, n_distractors=7, snake_contrast=1.0,
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Samples:
    """Images and how they came about.

    Attributes
    ----------
    images : ndarray (n, window, window) uint8
    labels : ndarray (n,)
        1: both circles lie on one snake.
    margins : ndarray (n,)
    ends : ndarray (n, 2, 2, 2)
        For either snake its tail and its head, row and column.
    circles : ndarray (n, 2, 2)
        At a tail and at a head.
    """

    images: np.ndarray
    labels: np.ndarray
    margins: np.ndarray
    ends: np.ndarray
    circles: np.ndarray


def sample_chunk(chunk: int, seed: int, law: PathfinderLaw) -> Samples:
    """Return images ``100 chunk, 100 chunk + 1, ...`` of the data set `seed`."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(chunk,))))
    labels = rng.integers(2, size=CHUNK)
    margins = np.array(law.margins)[rng.integers(len(law.margins), size=CHUNK)]
    marked = rng.integers(2, size=CHUNK)
    brightness = np.zeros((CHUNK, law.window, law.window), np.float32)
    ends = np.zeros((CHUNK, 2, 2, 2), int)
    for margin in law.margins:
        rows = np.flatnonzero(margins == margin)
        windows, images, ends[rows] = grow_pairs(rng, len(rows), law, law.paddles(margin))
        for _ in range(law.n_distractors):
            add_distractors(rng, windows, images, law)
        brightness[rows] = windows.cropped(images)
    everyone = np.arange(CHUNK)
    circles = np.stack(
        [ends[everyone, marked, 0], ends[everyone, np.where(labels == 1, marked, 1 - marked), 1]], axis=1
    )
    for image, pair in zip(brightness, circles):
        for centre in pair:
            disk = draw_disk(law.window, tuple(centre.tolist()), law.marker_radius, law.antialias)
            np.maximum(image, disk.astype(np.float32) / 255, out=image)
    images = np.floor(brightness * (255 / brightness.max(axis=(1, 2), keepdims=True)) + 0.5).astype(np.uint8)
    return Samples(images=images, labels=labels, margins=margins, ends=ends, circles=circles)


def grow_pairs(
    rng: np.random.Generator, n: int, law: PathfinderLaw, paddles: Paddles
) -> tuple[Windows, np.ndarray, np.ndarray]:
    """Return `n` windows with two snakes each, their images, tails and heads (n, 2, 2, 2); most attempts get stuck."""
    tries, attempts = law.paddle_tries, max(64, ATTEMPTS // law.window)
    result, ends, found = Windows(paddles, n, law.padding), np.zeros((n, 2, 2, 2), int), 0
    images = result.canvas()
    while found < n:
        windows = Windows(paddles, attempts, law.padding)
        first, second = Snakes.empty(attempts), Snakes.empty(attempts)
        pending, rows = windows.begin(rng, first, 2 * law.seed_distance, tries), np.empty(0, int)
        for _ in range(tries):
            direction = rng.integers(DEGREES, size=len(pending))
            angle = rng.integers(360, size=len(pending)) * np.pi / 180
            away = np.round(law.seed_distance * np.stack([np.sin(angle), np.cos(angle)], axis=1)).astype(int)
            placed = windows.place(second, pending, first.tail[pending] + away, direction)
            rows, pending = np.concatenate([rows, pending[placed]]), pending[~placed]
        rows = np.sort(rows)
        for _ in range(law.contour_length - 1):  # paddle by paddle in turn
            rows = windows.extend(rng, first, rows)
            rows = windows.extend(rng, second, rows)
        windows.occupy(second, rows)  # and not the first one's last paddle, as in the original
        rows = rows[: n - found]
        new = np.arange(found, found + len(rows))
        result.mask[new] = windows.mask[rows]
        for i, snakes in enumerate((first, second)):
            windows.draw(images, snakes, rows, new, law.snake_contrast * law.paddle_contrast)
            ends[new, i, 0], ends[new, i, 1] = snakes.tail[rows], snakes.head[rows]
        found += len(rows)
    return result, images, ends


def add_distractors(rng: np.random.Generator, windows: Windows, images: np.ndarray, law: PathfinderLaw) -> None:
    """Draw one more snake in every window; leave those alone where all tries fail."""
    pending = np.arange(len(windows.mask))
    for _ in range(law.distractor_tries):
        attempt, snakes = windows.take(pending), Snakes.empty(len(pending))
        rows = attempt.begin(rng, snakes, 1, law.paddle_tries, FEW_FREE)
        for _ in range(law.distractor_length - 1):
            rows = attempt.extend(rng, snakes, rows)
        attempt.occupy(snakes, rows)
        windows.mask[pending[rows]] = attempt.mask[rows]
        attempt.draw(images, snakes, rows, pending[rows], law.snake_contrast)
        pending = np.delete(pending, rows)
        if not len(pending):
            return


def level_name(contour_length: int) -> str:
    """Return the folder of a difficulty, named as in the release."""
    return "curv_baseline" if contour_length == 6 else f"curv_contour_length_{contour_length}"


def write_block(block: int, folder: Path, n: int, seed: int, law: PathfinderLaw) -> int:
    """Write images ``1000 block ...`` and then their metadata file, unless it is there; return how many were drawn."""
    metadata = folder / "metadata" / f"{block}.npy"
    if metadata.exists():
        return 0
    image_module = pillow()
    images = folder / "imgs" / str(block)
    images.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    wanted = min(BLOCK, n - BLOCK * block)
    for chunk in range(BLOCK // CHUNK * block, BLOCK // CHUNK * block - (-wanted // CHUNK)):
        samples = sample_chunk(chunk, seed, law)
        for image, label, margin in list(zip(samples.images, samples.labels, samples.margins))[: wanted - len(lines)]:
            j = len(lines)
            image_module.fromarray(image).save(images / f"sample_{j}.png")
            lines.append(
                f"imgs/{block} sample_{j}.png {j} {label} {law.continuity} {law.contour_length} "
                f"{law.distractor_length} {law.paddle_length} {law.paddle_thickness} {margin} 1\n"
            )
    partial = metadata.with_suffix(".partial")
    partial.write_text("".join(lines))
    os.replace(partial, metadata)
    return len(lines)


def generate_pathfinder(
    root: Path, resolution: int = 32, contour_length: int = 14, n: int = 200_000, seed: int = 0, workers: int = 1
) -> Path:
    """Write ``root/pathfinder<resolution>/<level>/{imgs,metadata}`` and return that folder.

    Raises
    ------
    ConfigError
        An unknown resolution or contour length, the folder is there already, or an interrupted run had other options.
    """
    if resolution not in LAWS or contour_length not in CONTOURS:
        raise ConfigError(
            f"resolution must be one of {tuple(LAWS)}, contour_length from {CONTOURS[0]} to {CONTOURS[-1]}"
        )
    law = LAWS[resolution].with_contour(contour_length)
    folder = root / f"pathfinder{resolution}" / level_name(contour_length)
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another place or delete it")
    partial = folder.with_name(folder.name + ".partial")
    about = json.dumps({"seed": seed, "images": n, "law": dataclasses.asdict(law)}, indent=1)
    described = partial / "generator.json"
    if partial.exists() and not described.exists():
        shutil.rmtree(partial)
    (partial / "metadata").mkdir(parents=True, exist_ok=True)
    if not described.exists():
        (partial / "generator.partial").write_text(about)
        os.replace(partial / "generator.partial", described)
    if described.read_text() != about:
        raise ConfigError(f"{partial} was begun with other options ({described}); delete it or repeat them")
    blocks = -(-n // BLOCK)
    write = functools.partial(write_block, folder=partial, n=n, seed=seed, law=law)
    for _ in ordered_map(write, workers, blocks):
        pass
    os.rename(partial, folder)
    return folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the generator's options to a command line."""
    parser.add_argument("folder", type=Path, help="pathfinder<resolution>/<level>/ is made in it")
    parser.add_argument("--resolution", type=int, default=32, choices=tuple(LAWS), help="128 is Path-X")
    parser.add_argument(
        "--contour-length", type=int, default=14, choices=CONTOURS, metavar="PADDLES",
        help="of the two curves: 6, 9 and 14 as in the release, from 2 (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--images", type=int, default=200_000, help="(default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")


def run(arguments: argparse.Namespace) -> None:
    """Generate as a parsed command line says."""
    start = time.perf_counter()
    folder = generate_pathfinder(
        arguments.folder,
        arguments.resolution,
        arguments.contour_length,
        arguments.images,
        arguments.seed,
        arguments.workers,
    )
    print(f"{folder}: {arguments.images} images in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw a Pathfinder data set.")
    add_arguments(parser)
    run(parser.parse_args())
