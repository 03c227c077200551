"""Growth of Pathfinder's dashed curves ("snakes" of paddles), in many windows at once.

The rules are those of the generator of Linsley et al. (2018) that the Long Range Arena used, roundings included. A mask
holds, for each pixel, how much of it is occupied (0 to 255): every paddle occupies its surroundings up to a margin.
Every window follows its own course; they only share the random stream and the arithmetic.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from lra.tasks.paddles import DEGREES, Paddles, pictures

FREE = math.floor(0.3 * 255)  # a pixel that is occupied at most this much may be the tail of a new snake
COLLISION = 459  # 1.8 of 255: a paddle may not add up to this with what is there
FEW_FREE = 0.01  # share of free pixels below which no new snake is begun
DRAWS = 48  # pixels tried at random before all are looked at


@dataclasses.dataclass
class Snakes:
    """The growing end of one curve a window.

    Attributes
    ----------
    tail, head, pivot : ndarray (n, 2) int
        Rows and columns: where it began; the last head; the point that the next paddle turns about.
    direction : ndarray (n,) int
        Number of the last paddle's direction (`lra.tasks.paddles`).
    trail : list of (windows, heads, directions)
        All paddles so far, to be drawn once it is known which snakes succeed.
    """

    tail: np.ndarray
    head: np.ndarray
    pivot: np.ndarray
    direction: np.ndarray
    trail: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = dataclasses.field(default_factory=list)

    @classmethod
    def empty(cls, n: int) -> Snakes:
        """Return `n` snakes that have not begun."""
        return cls(np.zeros((n, 2), int), np.zeros((n, 2), int), np.zeros((n, 2), int), np.zeros(n, int))

    def put(self, rows: np.ndarray, head: np.ndarray, pivot: np.ndarray, direction: np.ndarray) -> None:
        """Move the growing ends in some windows."""
        self.head[rows], self.pivot[rows], self.direction[rows] = head, pivot, direction
        self.trail.append((rows, head, direction))


class Windows:
    """Windows in which snakes grow.

    Attributes
    ----------
    mask : ndarray (n, window + 2 reach, window + 2 reach) uint8
        What is occupied; the surrounding frame of width `reach` stays 0.
    """

    def __init__(self, paddles: Paddles, n: int, padding: int) -> None:
        self.paddles, self.pictures, self.reach = paddles, pictures(paddles), paddles.reach
        side = paddles.window + 2 * self.reach
        self.mask = np.zeros((n, side, side), np.uint8)
        self.inside = self._frame(0)
        self.mask[:, self._frame(0) & ~self._frame(padding)] = 255

    def take(self, rows: np.ndarray) -> Windows:
        """Return copies of some windows."""
        made = object.__new__(Windows)
        made.__dict__.update(self.__dict__, mask=self.mask[rows])
        return made

    def canvas(self) -> np.ndarray:
        """Return black images (n, window + 2 reach, window + 2 reach) float32 for `draw`."""
        return np.zeros(self.mask.shape, np.float32)

    def draw(self, images: np.ndarray, snakes: Snakes, rows: np.ndarray, into: np.ndarray, contrast: float) -> None:
        """Draw the snakes of windows `rows` (m,) into ``images[into]`` (m,)."""
        place = np.full(len(self.mask), -1)
        place[rows] = into
        for windows, heads, directions in snakes.trail:
            kept = place[windows] >= 0
            ink = self.pictures.line[directions[kept]] * np.float32(contrast / 255)
            self._stamp(images, place[windows[kept]], heads[kept], ink)

    def cropped(self, images: np.ndarray) -> np.ndarray:
        """Return the images (n, window, window) without the surrounding frame."""
        return images[:, self.reach : -self.reach, self.reach : -self.reach]

    def begin(
        self,
        rng: np.random.Generator,
        snakes: Snakes,
        frame: int,
        tries: int,
        few: float | None = None,
    ) -> np.ndarray:
        """Place the first paddle of a snake in every window; return the windows (m,) where that worked.

        The direction is a whole number of degrees; the tail is uniform among the pixels at least `frame` from the
        border from which that paddle meets nothing.
        """
        pending, done = np.arange(len(self.mask)), []
        if few is not None:
            free = ((self.mask <= FREE) & self.inside).sum(axis=(1, 2))
            pending = pending[free >= few * self.paddles.window**2]
        for _ in range(tries):
            direction = rng.integers(DEGREES, size=len(pending))
            tail = self._free_tail(rng, pending, direction, frame)
            pending, direction, tail = (a[tail[:, 0] >= 0] for a in (pending, direction, tail))
            worked = self.place(snakes, pending, tail, direction)
            done.append(pending[worked])
            pending = pending[~worked]
        begun: np.ndarray = np.sort(np.concatenate(done))
        return begun

    def place(self, snakes: Snakes, rows: np.ndarray, tail: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Begin snakes at given tails (m, 2); return where (m,) the first paddle stays in the window."""
        head, pivot = tail + self.pictures.head[direction], tail + self.pictures.pivot[direction]
        fits = self._contains(head) & self._contains(pivot)
        snakes.tail[rows[fits]] = tail[fits]
        snakes.put(rows[fits], tail[fits], pivot[fits], direction[fits])
        return fits

    def extend(self, rng: np.random.Generator, snakes: Snakes, rows: np.ndarray) -> np.ndarray:
        """Add a paddle to the snakes of some windows; return the windows (m,) where there was room.

        The new head is drawn from the pixels of a circle about the pivot, with probability proportional to
        cos(min(continuity * angle, pi/2))^2 times the free share of the pixel's neighbourhood.
        """
        p, tables = self.paddles, self.pictures
        direction = snakes.direction[rows]
        pivot = snakes.pivot[rows] + tables.advance[direction]
        heads = pivot[:, None] + tables.circle
        weight = tables.turn[direction] * self._contains(heads)
        points = self._flat(rows[:, None], np.clip(heads, 0, p.window - 1))
        nearby = self.mask.ravel()[points[..., None] + self._flat_steps(tables.near)].max(axis=2)
        weight *= 1 - nearby / 255
        total = weight.sum(axis=1)
        cumulative = np.cumsum(weight, axis=1)
        draws = rng.random((len(rows), p.tries)) * total[:, None]
        pending, done = np.flatnonzero(total >= 1e-4), []
        for t in range(p.tries):
            chosen = (cumulative[pending] > draws[pending, t, None]).argmax(axis=1)
            at, picture = heads[pending, chosen], DEGREES + chosen
            sums = self._patches(self.mask)[rows[pending], at[:, 0], at[:, 1]].astype(np.int16)
            sums += tables.occupied[picture]
            fits = sums.max(axis=(1, 2)) < COLLISION
            mine, at, picture = pending[fits], at[fits], picture[fits]
            self.occupy(snakes, rows[mine])
            snakes.put(rows[mine], at, pivot[mine], picture)
            done.append(mine)
            pending = pending[~fits]
        grown: np.ndarray = rows[np.sort(np.concatenate(done))]
        return grown

    def occupy(self, snakes: Snakes, rows: np.ndarray) -> None:
        """Enter the last paddles of some snakes into the mask."""
        self._stamp(self.mask, rows, snakes.head[rows], self.pictures.occupied[snakes.direction[rows]])

    def _free_tail(self, rng: np.random.Generator, rows: np.ndarray, direction: np.ndarray, frame: int) -> np.ndarray:
        """Return a uniform free pixel (m, 2) for each row, or -1 where there is none."""
        side = self.paddles.window - 2 * frame
        tail = np.full((len(rows), 2), -1)
        if side < 1 or not len(rows):
            return tail
        framed = (self._frame(0) & ~self._frame(frame)).ravel()
        body = self._flat_steps(self.pictures.body)[direction]

        def free(which: np.ndarray, pixels: np.ndarray) -> np.ndarray:
            around = self._flat(0, pixels)[..., None] + body[which][:, None]
            blocked = framed[around] | (self.mask.ravel()[around + self._origin(rows[which])[:, None, None]] > FREE)
            clear: np.ndarray = ~blocked.any(axis=2)
            return clear

        missing = np.arange(len(rows))
        if side**2 > 4 * DRAWS:
            pixels = rng.integers(frame, frame + side, size=(len(rows), DRAWS, 2))
            clear = free(missing, pixels)
            found = clear.any(axis=1)
            tail[found] = pixels[found, clear[found].argmax(axis=1)]
            missing = missing[~found]
        every = np.stack(np.meshgrid(*[np.arange(frame, frame + side)] * 2, indexing="ij"), axis=-1).reshape(1, -1, 2)
        for part in np.array_split(missing, max(1, len(missing) * side**2 // 200_000)):
            clear = free(part, np.repeat(every, len(part), axis=0))
            key = rng.random(clear.shape) * clear
            found = clear.any(axis=1)
            tail[part[found]] = every[0, key[found].argmax(axis=1)]
        return tail

    def _frame(self, width: int) -> np.ndarray:
        inner = np.zeros(self.mask.shape[1:], bool)
        edge = self.reach + width
        inner[edge : len(inner) - edge, edge : len(inner) - edge] = True
        return inner

    def _contains(self, points: np.ndarray) -> np.ndarray:
        within: np.ndarray = ((points >= 0) & (points < self.paddles.window)).all(axis=-1)
        return within

    def _origin(self, rows: np.ndarray | int) -> np.ndarray:
        return np.asarray(rows) * self.mask[0].size

    def _flat(self, rows: np.ndarray | int, points: np.ndarray) -> np.ndarray:
        flat: np.ndarray = self._origin(rows) + self._flat_steps(points + self.reach)
        return flat

    def _flat_steps(self, points: np.ndarray) -> np.ndarray:
        flat: np.ndarray = points[..., 0] * self.mask.shape[1] + points[..., 1]
        return flat

    def _patches(self, array: np.ndarray) -> np.ndarray:
        """Return the view (n, window, window, side, side) of the surroundings of each pixel."""
        side, (n, height, width) = 2 * self.reach + 1, array.shape
        shape = (n, height - side + 1, width - side + 1, side, side)
        return np.lib.stride_tricks.as_strided(array, shape, (*array.strides, *array.strides[1:]))

    def _stamp(self, array: np.ndarray, rows: np.ndarray, centre: np.ndarray, picture: np.ndarray) -> None:
        y, x = centre.T
        edge = ((centre < self.reach) | (centre >= self.paddles.window - self.reach)).any(axis=1)
        picture[edge] *= self._patches(self.inside[None])[0, y[edge], x[edge]]
        patches = self._patches(array)
        patches[rows, y, x] = np.maximum(patches[rows, y, x], picture)
