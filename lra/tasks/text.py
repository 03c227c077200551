"""Text: the sentiment of an IMDB film review, character by character.

Reads the ``aclImdb`` release (``{train,test}/{neg,pos}/<id>_<stars>.txt``) or ``imdb_bytes.npz``. Characters are
Unicode code points of the raw review (case and ``<br />`` kept); the first 4095, then ``<eos>``. The vocabulary holds
what occurs at least 15 times in the 25,000 training reviews so cut. The reference counts 135 entries, our copy of the
data 134 (two characters occur 14 times); the input width is 135 either way and the last row may stay unused.

The reference has no validation split and chooses its epoch on the test set. Here 2,500 training reviews are set apart:
those whose text has the smallest SHA-256, so that every copy of the data, in whatever order, gives the same split and
identical reviews stay together. The official 25,000 test reviews are the test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lra.errors import DataError
from lra.tasks.conversion import convert_once
from lra.tasks.converted import ADVICE, Converted, open_converted
from lra.tasks.reading import check_labels, read_npz
from lra.tasks.sources import find_source
from lra.tasks.task import Split, Task
from lra.tasks.vocabulary import CODE_POINTS, EOS, Vocabulary, character_counts, code_points
from lra.tasks.writer import Writer

FOLDER, NPZ = "aclImdb", "imdb_bytes.npz"
HELP = (
    f"Text needs the Large Movie Review Dataset v1.0 (aclImdb_v1.tar.gz, Maas et al. 2011, Stanford): unpack it, "
    f"which makes {FOLDER}/ with train/neg, train/pos, test/neg and test/pos"
)
MIN_COUNT = 15
WIDTH = 135  # rows of the reference's embedding
LARGEST_REVIEW = 1 << 20  # bytes; the longest of the release has 14,000
BLOCK = 1000  # reviews counted or written at a time


def load_text(path: str | None = None, L: int = 4096, n_validation: int = 2500) -> Task:
    """Return the task: ids (batch, L) and lengths, classes 0 negative and 1 positive.

    Parameters
    ----------
    path : str, optional
        Folder that holds ``aclImdb`` or the npz; default: the environment variable LRA_DATA.
    L : int
        Longest sequence, its end token included. The vocabulary is always counted at 4096.
    n_validation : int
        Training reviews set apart to choose the epoch.

    Raises
    ------
    DataError
        No data found, or a review is not UTF-8, or a file is cut short.
    """
    layout, place = find_source(path, [("folder", FOLDER), ("npz", NPZ)], HELP)
    if layout == "converted":
        return _task(open_converted(place, "text"), L, n_validation)
    sources = [place]
    if layout == "folder":
        sources = [place / part / name for part in ("train", "test") for name in ("neg", "pos")]
        for source in sources:
            if not source.is_dir():
                raise DataError(f"{source} is missing. {HELP}")
        sources += sorted(place.glob("*/urls_*.txt"))
    return _task(convert_once("text", sources, lambda writer: convert_text(writer, place), root=place), L, n_validation)


def convert_text(writer: Writer, place: Path, L: int = 4096, min_count: int = MIN_COUNT) -> dict[str, Any]:
    """Write ``flat, offsets, y, digest`` of all reviews, those for training first, and return their vocabulary."""
    reviews = list(_read_npz(writer, place) if place.is_file() else _read_folder(writer, place))
    n_train = sum(part == "train" for part, *_ in reviews)
    texts = [_decode(raw, origin)[: L - 1] for _, raw, _, origin in reviews]
    counts = np.zeros(CODE_POINTS, np.int64)
    for start in range(0, n_train, BLOCK):
        counts += np.bincount(code_points("".join(texts[start : min(start + BLOCK, n_train)])), minlength=CODE_POINTS)
    vocabulary = Vocabulary.from_counts(character_counts(counts), min_count)
    table = vocabulary.character_table()
    flat = writer.stream("flat", vocabulary.dtype)
    for text in texts:
        flat.append(np.append(table[code_points(text)], table.dtype.type(EOS)))
    writer.save("offsets", np.cumsum([0, *(len(text) + 1 for text in texts)], dtype=np.int64))
    writer.save("y", np.array([label for _, _, label, _ in reviews], np.int32))
    digests = [int.from_bytes(hashlib.sha256(raw).digest()[:8], "big") for _, raw, _, _ in reviews]
    writer.save("digest", np.array(digests, np.uint64))
    return {"train": n_train, "test": len(reviews) - n_train, "vocabulary": list(vocabulary.tokens)}


def _read_folder(writer: Writer, folder: Path) -> Iterator[tuple[str, bytes, int, str]]:
    for part in ("train", "test"):
        for label, name in enumerate(("neg", "pos")):
            files = sorted((folder / part / name).glob("*.txt"), key=lambda file: _review_number(file))
            if not files:
                raise DataError(f"{folder / part / name} holds no reviews. {HELP}")
            listed = folder / part / f"urls_{name}.txt"  # the release lists one address a review
            n = sum(1 for _ in writer.lines(listed)) if listed.is_file() else len(files)
            if n != len(files):
                raise DataError(
                    f"{folder / part / name} holds {len(files)} reviews, {listed} lists {n}; unpack it again"
                )
            for file in files:
                yield part, writer.read(file, LARGEST_REVIEW), label, str(file)


def _review_number(file: Path) -> tuple[int, str]:
    number = file.name.partition("_")[0]
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise DataError(f"{file} is not named <id>_<stars>.txt. {HELP}")
    return int(number), file.name


def _read_npz(writer: Writer, path: Path) -> Iterator[tuple[str, bytes, int, str]]:
    writer.read(path)
    names = {f"{part}_{name}": 1 for part in ("train", "test") for name in ("bytes", "offsets", "y")}
    arrays = read_npz(path, names)
    for part in ("train", "test"):
        raw, offsets = arrays[f"{part}_bytes"], arrays[f"{part}_offsets"]
        if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != len(raw) or (np.diff(offsets) < 0).any():
            raise DataError(f"{path}: {part}_offsets do not divide the {len(raw)} bytes of {part}_bytes; copy it again")
        labels = check_labels(path, arrays[f"{part}_y"], len(offsets) - 1, 2)
        for i, label in enumerate(labels):
            yield part, raw[offsets[i] : offsets[i + 1]].tobytes(), int(label), f"{path}: {part} review {i}"


def _decode(raw: bytes, origin: str) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{origin} is not UTF-8 at offset {error.start}; copy it again") from error
    if not text:
        raise DataError(f"{origin} is empty; copy it again")
    return text


def _task(data: Converted, L: int, n_validation: int) -> Task:
    n, total, vocabulary = data.size("train"), data.size("train") + data.size("test"), data.words("vocabulary")
    if not 0 < n_validation < n:
        raise DataError(f"{n_validation} of {n} training reviews cannot be set apart for validation")
    rows, y = data.rows(L, len(vocabulary)), data.labels(total, 2)
    if len(rows) != total or data["digest"].shape != (total,):
        raise DataError(f"{data.folder} holds {len(rows)} reviews, its manifest says {total}; {ADVICE}")
    by_digest = np.argsort(data["digest"][:n], kind="stable")

    def split(indices: np.ndarray) -> Split:
        return Split(x=rows, y=y, indices=indices, lengths=rows.lengths)

    return Task(
        name="text",
        train=split(by_digest[n_validation:]),
        validation=split(by_digest[:n_validation]),
        test=split(np.arange(n, total)),
        d_input=max(WIDTH, len(vocabulary)),
        n_classes=2,
        L=L,
        prepare=lambda ids: ids.astype(np.int32),
        tokens=True,
        padded=True,
        vocabulary=vocabulary,
    )
