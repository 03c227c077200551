"""Pictures of the paddles of Pathfinder's dashed curves, one for each direction that can occur.

A paddle is drawn at `antialias` times the size and reduced with a Lanczos filter. The first paddle of a curve points in
a whole number of degrees; a later one from a pixel of a circle to its centre. So the directions are few and numbered:
0 to 359 are -180 to 179 degrees, the others the pixels of the circle.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from lra.tasks.pathfinder import pillow

DEGREES = 360


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paddles:
    """How paddles look and how they follow each other; lengths in pixels.

    Attributes
    ----------
    window : int
        Side of the image.
    length, thickness, margin : int, float, int
        Of a paddle; the gap between two is twice the margin.
    antialias : int
        Scale of drawing.
    continuity : float
        Two paddles in a row meet at an angle of at most pi / (2 continuity).
    tries : int
        Directions drawn before an extension fails.
    """

    window: int
    length: int
    thickness: float
    margin: int
    antialias: int
    continuity: float
    tries: int

    @property
    def reach(self) -> int:
        """Half the side of a paddle's picture."""
        return self.length + math.ceil(self.thickness) + self.margin


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """Tables over the directions d (numbers as above).

    Attributes
    ----------
    line, occupied : ndarray (d, side, side) uint8
        A paddle whose tail (d < 360) or head (others) lies in the middle; what it occupies, its margin included.
    circle : ndarray (c, 2) int
        Pixels around a pivot where a head may lie; pixel j is direction 360 + j.
    turn : ndarray (d, c)
        cos(min(continuity * angle, pi/2))^2 of the angle between a direction and each pixel's.
    advance : ndarray (d, 2) int
        From one pivot to the next.
    head, pivot : ndarray (360, 2) int
        From the tail of a first paddle.
    body : ndarray (360, k, 2) int
        Pixels, from the tail, that a first paddle fully occupies; the last one is repeated.
    near : ndarray (m, 2) int
        The pixels within a margin of 0.
    """

    line: np.ndarray
    occupied: np.ndarray
    circle: np.ndarray
    turn: np.ndarray
    advance: np.ndarray
    head: np.ndarray
    pivot: np.ndarray
    body: np.ndarray
    near: np.ndarray


@functools.cache
def pictures(p: Paddles) -> Pictures:
    """Return all tables of some paddles."""
    circle, around = circle_pixels(p.length + p.margin)
    degrees = np.arange(-180, 180) * np.pi / 180
    drawn = [draw_paddle(p, direction) for direction in (*degrees, *map(turned, around))]
    line, occupied = (np.stack([pair[i] for pair in drawn]) for i in range(2))
    directions = np.concatenate([degrees, around])
    angle = np.abs(directions[:, None] - around[None])
    angle = np.minimum(np.minimum(angle, 2 * np.pi - angle) * p.continuity, np.pi / 2)
    head = steps(degrees, p.length)
    bodies = [full_pixels(occupied[d], p.length + p.margin) for d in range(DEGREES)]
    longest = max(map(len, bodies))
    return Pictures(
        line=line,
        occupied=occupied,
        circle=circle,
        turn=np.maximum(np.cos(angle), 0) ** 2,
        advance=steps(directions, p.length + 2 * p.margin),
        head=head,
        pivot=head + steps(np.array([turned(d) for d in degrees]), p.length + p.margin),
        body=np.stack([np.pad(body, ((0, longest - len(body)), (0, 0)), mode="edge") for body in bodies]),
        near=disk_pixels(p.margin),
    )


def steps(directions: np.ndarray, distance: float) -> np.ndarray:
    """Return the displacements (n, 2) in rows and columns, rounded up (1e-9 is taken for rounding error)."""
    exact = distance * np.stack([np.sin(directions), np.cos(directions)], axis=1)
    return np.ceil(exact - 1e-9).astype(int)


def turned(direction: float) -> float:
    """Return the opposite direction."""
    return direction + math.pi if direction < 0 else direction - math.pi


def circle_pixels(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels (n, 2) of a circle around 0, sampled a pixel apart and rounded down, and their directions."""
    angles = np.arange(0, 360, 360 / (2 * radius * np.pi)) * np.pi / 180
    points = np.floor(radius * np.stack([np.sin(angles), np.cos(angles)], axis=1)).astype(int)
    points = np.unique(points, axis=0)
    return points, np.arctan2(points[:, 0], points[:, 1])


def disk_pixels(radius: int) -> np.ndarray:
    """Return the pixels (n, 2) within a radius of 0."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = x**2 + y**2 <= radius**2
    return np.stack([y[inside], x[inside]], axis=1)


def draw_paddle(p: Paddles, direction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 pictures, tail in the middle, of a paddle and of what it occupies."""
    from PIL import ImageDraw

    size, centre = 2 * p.reach * p.antialias + 1, p.reach * p.antialias
    row, column = (centre + steps(np.array([direction]), p.length * p.antialias)[0]).tolist()
    large = pillow().new("L", (size, size), 0)
    width = round(p.thickness * p.antialias)
    ImageDraw.Draw(large).line([(centre, centre), (column, row)], fill=255, width=width)
    line = np.asarray(large)
    grown = np.zeros_like(line)
    margin = p.margin * p.antialias
    for dy, dx in disk_pixels(margin).tolist():
        shifted = line[max(0, dy) : size + min(0, dy), max(0, dx) : size + min(0, dx)]
        target = grown[max(0, -dy) : size + min(0, -dy), max(0, -dx) : size + min(0, -dx)]
        np.maximum(target, shifted, out=target)
    return reduced(line, 2 * p.reach + 1), reduced(grown, 2 * p.reach + 1)


def full_pixels(occupied: np.ndarray, half: int) -> np.ndarray:
    """Return the pixels (n, 2) within `half` that are fully occupied; shifted by one, as in the original."""
    middle = len(occupied) // 2
    pixels = np.argwhere(occupied == 255) - middle + 1
    inside: np.ndarray = pixels[(np.abs(pixels) <= half).all(axis=1)]
    return inside


def reduced(picture: np.ndarray, side: int) -> np.ndarray:
    """Return a uint8 picture at another size, Lanczos-filtered."""
    image_module: Any = pillow()
    return np.asarray(image_module.fromarray(picture).resize((side, side), image_module.Resampling.LANCZOS))


def draw_disk(window: int, centre: tuple[int, int], radius: float, antialias: int) -> np.ndarray:
    """Return a uint8 picture (window, window) of a filled circle."""
    y, x = np.ogrid[: window * antialias, : window * antialias]
    inside = (y - centre[0] * antialias) ** 2 + (x - centre[1] * antialias) ** 2 <= (radius * antialias) ** 2
    return reduced((inside * 255).astype(np.uint8), window)
