"""Retrieval: does one paper of the ACL Anthology Network cite the other? Two documents, character by character.

Reads ``new_aan_pairs.{train,eval,test}.tsv`` of the Long Range Arena release: no header, five columns (label 0.0 or
1.0, two paper ids, two texts), fields taken as they are, no quoting. As in the reference the first 3999 characters of a
text are kept, ``<eos>`` follows, and the vocabulary holds all characters of the training texts. A paper occurs in many
pairs; each distinct text is stored once.
"""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from lra.errors import DataError
from lra.tasks.conversion import convert_once
from lra.tasks.converted import ADVICE, Converted, open_converted
from lra.tasks.ragged import Pairs
from lra.tasks.sources import find_source
from lra.tasks.task import Split, Task
from lra.tasks.vocabulary import CODE_POINTS, EOS, Vocabulary, character_counts
from lra.tasks.writer import Writer

FILES = {part: f"new_aan_pairs.{part}.tsv" for part in ("train", "eval", "test")}
FOLDERS = ("lra_release/lra_release/tsv_data", "tsv_data", "")
HELP = (
    f"Retrieval needs {', '.join(FILES.values())}: unpack the Long Range Arena release (lra_release.gz, Google "
    "Research), where they lie in lra_release/lra_release/tsv_data/"
)
BLOCK = 1 << 20  # characters counted or translated at a time


def load_retrieval(path: str | None = None, L: int = 4000) -> Task:
    """Return the task: a batch holds all first documents, then all second ones: ids (2 batch, L), lengths (2 batch,).

    Parameters
    ----------
    path : str, optional
        Folder that holds the files, or the release; default: the environment variable LRA_DATA.
    L : int
        Longest document, its end token included.

    Raises
    ------
    DataError
        No data found, or a row does not have five columns, has another label, or is not UTF-8.
    """
    layouts = [("folder", f"{place}/{FILES['train']}".lstrip("/")) for place in FOLDERS]
    layout, place = find_source(path, layouts, HELP)
    if layout == "converted":
        return _task(open_converted(place, "retrieval"), L)
    sources = [place.parent / name for name in FILES.values()]
    for source in sources:
        if not source.is_file():
            raise DataError(f"{source} is missing. {HELP}")
    data = convert_once(
        "retrieval", sources, lambda writer: convert_retrieval(writer, place.parent, L), {"L": L}, root=place.parent
    )
    return _task(data, L)


def read_row(line: bytes) -> tuple[int, str, str]:
    """Return (label, text 1, text 2) of a row; `ValueError` says what is wrong with it."""
    fields = line.split(b"\t")
    if len(fields) != 5:
        raise ValueError(f"has {len(fields)} columns, not 5")
    if fields[0] not in (b"0", b"1", b"0.0", b"1.0"):
        raise ValueError(f"has the label {fields[0][:20]!r}, not 0.0 or 1.0")
    try:
        first, second = fields[3].decode("utf-8"), fields[4].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start} of a text") from error
    if not first or not second:
        raise ValueError("has an empty text")
    return int(float(fields[0])), first, second


def convert_retrieval(writer: Writer, folder: Path, L: int) -> dict[str, Any]:
    """Write ``flat, offsets`` of the distinct documents, ``pairs (N, 2), y``, and return vocabulary and sizes."""
    scratch = writer.folder / "code_points.scratch"
    known: dict[bytes, int] = {}
    lengths, pairs, labels = [0], [], []
    sizes: dict[str, int] = {}
    occurrences: list[int] = []
    with scratch.open("wb") as file:
        for part, name in FILES.items():
            for row, line in writer.lines(folder / name, ended=True):
                try:
                    label, *texts = read_row(line)
                except ValueError as error:
                    raise DataError(f"{folder / name}: row {row} {error}; fetch it again") from error
                pair = []
                for text in texts:
                    raw = text[: L - 1].encode("utf-32-le")
                    document = known.setdefault(hashlib.blake2b(raw, digest_size=16).digest(), len(known))
                    if document == len(occurrences):
                        file.write(raw)
                        lengths.append(len(raw) // 4 + 1)
                        occurrences.append(0)
                    occurrences[document] += part == "train"
                    pair.append(document)
                pairs.append(pair)
                labels.append(label)
            sizes[part] = len(labels) - sum(sizes.values())
            if not sizes[part]:
                raise DataError(f"{folder / name} has no rows; fetch it again")
    points = (
        np.fromfile(scratch, np.uint32) if scratch.stat().st_size < 4 * BLOCK else np.memmap(scratch, np.uint32, "r")
    )
    starts = np.cumsum(lengths) - np.arange(len(lengths))  # without the end tokens
    counts = np.zeros(CODE_POINTS)
    for first, last in _blocks(starts):
        weights = np.repeat(occurrences[first:last], np.diff(starts[first : last + 1]))
        counts += np.bincount(points[starts[first] : starts[last]], weights, minlength=CODE_POINTS)
    vocabulary = Vocabulary.from_counts(character_counts(counts))
    table = vocabulary.character_table()
    flat = writer.stream("flat", vocabulary.dtype)
    for first, last in _blocks(starts):
        ids = table[points[starts[first] : starts[last]]]
        flat.append(np.insert(ids, starts[first + 1 : last + 1] - starts[first], table.dtype.type(EOS)))
    del points
    scratch.unlink()
    writer.save("offsets", np.cumsum(lengths, dtype=np.int64))
    writer.save("pairs", np.array(pairs, np.int32))
    writer.save("y", np.array(labels, np.int32))
    return {"sizes": sizes, "documents": len(known), "vocabulary": list(vocabulary.tokens)}


def _blocks(starts: np.ndarray) -> list[tuple[int, int]]:
    """Return ranges of documents of about BLOCK characters each."""
    cuts = np.unique(np.searchsorted(starts, np.arange(BLOCK, starts[-1], BLOCK)))
    edges = [0, *cuts[(cuts > 0) & (cuts < len(starts) - 1)].tolist(), len(starts) - 1]
    return list(itertools.pairwise(edges))


def _task(data: Converted, L: int) -> Task:
    vocabulary, pairs, stops = data.words("vocabulary"), data["pairs"], data.stops(3)
    documents = data.rows(L, len(vocabulary))
    if (
        pairs.shape != (stops[-1], 2)
        or pairs.dtype.kind not in "iu"
        or pairs.min() < 0
        or pairs.max() >= len(documents)
    ):
        raise DataError(f"{data.folder}: pairs are not {stops[-1]} pairs of {len(documents)} documents; {ADVICE}")
    rows, y = Pairs(documents, pairs), data.labels(len(pairs), 2)

    def split(part: int) -> Split:
        return Split(x=rows, y=y, indices=np.arange(stops[part], stops[part + 1]), lengths=rows.lengths)

    return Task(
        name="retrieval",
        train=split(0),
        validation=split(1),
        test=split(2),
        d_input=len(vocabulary),
        n_classes=2,
        L=L,
        prepare=lambda ids: np.concatenate([ids[:, 0], ids[:, 1]]).astype(np.int32),
        tokens=True,
        padded=True,
        retrieval=True,
        vocabulary=vocabulary,
    )
