"""ListOps: the value, 0 to 9, of a nested expression of MIN, MAX, MED and SM.

Reads ``basic_{train,val,test}.tsv`` (header ``Source<TAB>Target``) of the Long Range Arena release, or of
`lra.tasks.listops_generator`. As in the reference parentheses are dropped, ``]`` becomes ``X``, the first 2047 tokens
are kept and ``<eos>`` follows; the vocabulary is ordered by frequency in the training file. Every expression is
evaluated once, at conversion, and compared with its label.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lra.errors import DataError
from lra.tasks.conversion import convert_once
from lra.tasks.converted import Converted, open_converted
from lra.tasks.sources import find_source
from lra.tasks.task import Split, Task
from lra.tasks.vocabulary import EOS, Vocabulary
from lra.tasks.writer import Writer

FILES = {"train": "basic_train.tsv", "validation": "basic_val.tsv", "test": "basic_test.tsv"}
FOLDERS = ("listops-1000", "lra_release/lra_release/listops-1000", "lra_release/listops-1000", "listops")
HELP = (
    f"ListOps needs {', '.join(FILES.values())}: unpack the Long Range Arena release (lra_release.gz, Google "
    "Research), where they lie in lra_release/listops-1000/, or make them: python -m lra data listops FOLDER"
)
WIDTH = 20  # rows of the reference's embedding; 18 are used

# One byte a token: digits as they are, operators by a letter, X closes.
LETTERS = ((b"[MIN", b"n"), (b"[MAX", b"m"), (b"[MED", b"d"), (b"[SM", b"s"), (b"]", b"X"))
NAMES = {ord(code): name.decode() for name, code in LETTERS} | {ord("X"): "X"} | {ord(c): c for c in "0123456789"}
FIRST_OPERATOR, CLOSE = ord("9") + 1, ord("X")


def median(values: list[int]) -> int:
    """Return the median; of an even number of values the mean of the middle two, truncated."""
    ordered, n = sorted(values), len(values)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) // 2


OPERATORS: dict[int, Callable[[list[int]], int]] = {
    ord("n"): min,
    ord("m"): max,
    ord("d"): median,
    ord("s"): lambda values: sum(values) % 10,
}


def load_listops(path: str | None = None, L: int = 2048, folder: str | None = None) -> Task:
    """Return the task: ids (batch, L) and lengths, ten classes.

    Parameters
    ----------
    path : str, optional
        Folder that holds the files, or the release; default: the environment variable LRA_DATA.
    L : int
        Longest sequence, its end token included; longer ones lose their end, as in the reference.
    folder : str, optional
        Name of the folder with the files, below `path` (for a variant of other lengths).

    Raises
    ------
    DataError
        No data found, or a row is cut short, has an unknown token, does not parse, or has the wrong label.
    """
    places = ((folder,) if folder else FOLDERS) + ("",)
    layouts = [("folder", f"{place}/{FILES['train']}".lstrip("/")) for place in places]
    layout, place = find_source(path, layouts, HELP)
    if layout == "converted":
        return _task(open_converted(place, "listops"), L)
    sources = [place.parent / name for name in FILES.values()]
    for source in sources:
        if not source.is_file():
            raise DataError(f"{source} is missing. {HELP}")
    data = convert_once(
        "listops", sources, lambda writer: convert_listops(writer, place.parent, L), {"L": L}, root=place.parent
    )
    return _task(data, L)


def read_row(line: bytes) -> tuple[bytes, int]:
    """Return (one byte a token, label) of a row; `ValueError` says what is wrong with it."""
    source, tab, target = line.partition(b"\t")
    if not tab:
        raise ValueError("has no tab; it is cut short")
    if len(target) != 1 or not target.isdigit():
        raise ValueError(f"has the target {target[:20]!r}, not one digit")
    codes = source.translate(None, b"()")
    n_parentheses = len(source) - len(codes)
    for name, letter in LETTERS:
        codes = codes.replace(name, letter)
    codes = codes.translate(None, b" ")
    if codes.strip(bytes(NAMES)):
        raise ValueError(f"has an unknown token near {codes.strip(bytes(NAMES))[:8]!r}")
    if source.count(b" ") != len(codes) + n_parentheses - 1 or source.count(b"(") != source.count(b")"):
        raise ValueError("has unbalanced parentheses, or tokens that are not separated by one space")
    return codes, int(target)


def evaluate(codes: bytes) -> int:
    """Return the value of an expression of one-byte tokens; `ValueError` if it does not parse."""
    stack: list[tuple[int, list[int]]] = []
    operator, values = 0, []
    for code in codes:
        if code < FIRST_OPERATOR:
            values.append(code - 48)
        elif code == CLOSE:
            if not stack or not values:
                raise ValueError("closes an operator that was not opened or has no arguments")
            value = OPERATORS[operator](values)
            operator, values = stack.pop()
            values.append(value)
        else:
            stack.append((operator, values))
            operator, values = code, []
    if stack or len(values) != 1:
        raise ValueError(f"has {len(stack)} operators that are not closed, {len(values)} values at the top")
    return values[0]


def convert_listops(writer: Writer, folder: Path, L: int) -> dict[str, Any]:
    """Write ``flat, offsets, y`` of the three files and return their vocabulary and sizes."""
    flat = writer.stream("flat", np.uint8)
    lengths, labels, counts, cut = [0], [], np.zeros(256, np.int64), 0
    sizes: dict[str, int] = {}
    for part, name in FILES.items():
        rows = writer.lines(folder / name)
        if next(rows, (0, b""))[1] != b"Source\tTarget":
            raise DataError(f"{folder / name}: row 1 is not the header Source<TAB>Target; fetch it again")
        for row, line in rows:
            try:
                codes, label = read_row(line)
                value = evaluate(codes)
            except ValueError as error:
                raise DataError(f"{folder / name}: row {row} {error}; fetch it again") from error
            if value != label:
                raise DataError(f"{folder / name}: row {row} has the target {label}, but its expression is {value}")
            kept = np.frombuffer(codes, np.uint8)[: L - 1]
            cut += len(codes) > len(kept)
            if part == "train":
                counts += np.bincount(kept, minlength=256)
            flat.append(np.append(kept, np.uint8(0)))
            lengths.append(len(kept) + 1)
            labels.append(label)
        sizes[part] = len(labels) - sum(sizes.values())
        if not sizes[part]:
            raise DataError(f"{folder / name} has no rows; fetch it again")
    vocabulary = Vocabulary.from_counts({NAMES[code]: int(counts[code]) for code in NAMES})
    if len(vocabulary) > WIDTH:
        raise AssertionError("more tokens than the reference's embedding has rows")
    table = np.zeros(256, np.uint8)
    table[list(NAMES)] = [vocabulary.ids.get(name, 1) for name in NAMES.values()]
    table[0] = EOS
    flat.remap(table)
    writer.save("offsets", np.cumsum(lengths, dtype=np.int64))
    writer.save("y", np.array(labels, np.int32))
    return {"sizes": sizes, "vocabulary": list(vocabulary.tokens), "rows_cut": cut}


def _task(data: Converted, L: int) -> Task:
    vocabulary = data.words("vocabulary")
    rows, stops = data.rows(L, min(len(vocabulary), WIDTH)), data.stops(3)
    y = data.labels(len(rows), 10)

    def split(part: int) -> Split:
        return Split(x=rows, y=y, indices=np.arange(stops[part], stops[part + 1]), lengths=rows.lengths)

    return Task(
        name="listops",
        train=split(0),
        validation=split(1),
        test=split(2),
        d_input=WIDTH,
        n_classes=10,
        L=L,
        prepare=lambda ids: ids.astype(np.int32),
        tokens=True,
        padded=True,
        vocabulary=vocabulary,
    )
