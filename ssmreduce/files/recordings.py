"""Recordings on disk: what a network did on its examples, written batch by batch and read memory-mapped.

One safetensors file, which any reader of that format opens: ``inputs.0``, ``inputs.1``, ... and ``gradients.0``, ... of
the layers, ``logits``, ``rows``, ``lengths`` of padded sequences. Its record names the layers by a digest, and holds
the SHA-256 of the whole file, its own digits counted as zeros.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssmreduce.files import digest
from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.tensors import Shape, TensorFile, TensorWriter
from ssmreduce.files.writing import write_files
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.network import Network, Pass
from ssmreduce.recorded.measures import MEASURES, measure_of
from theory.errors import InputError
from theory.systems.scan import channels_of, record

Array = NDArray[Any]

FORMAT, VERSION = "ssmreduce-recording", "1"
BATCH = 50
"""Examples that run, and lie in memory, at a time."""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SavedRecording:
    """A recording in a file; its arrays are read from there when they are looked at, and cannot be written.

    Attributes
    ----------
    path : Path
    inputs : tuple of ndarray, shape (S, L, m)
        What went into each layer, in the network's precision; S sequences (two for an example of a retrieval task).
    gradients : tuple of ndarray, shape (S, L, p), or None
        Of random combinations of the outputs, with respect to what each layer puts out.
    logits : ndarray, shape (N, K)
        The network's outputs; of another shape for signals.
    lengths : ndarray of int, shape (S,), or None
        Samples of each sequence that count.
    rows : ndarray of int, shape (N,)
        Positions of the examples in the network's.
    seed : int
        Of the random combinations.
    measure : str
        How the outputs are compared, :class:`ssmreduce.Network`.
    """

    path: Path
    inputs: tuple[Array, ...]
    gradients: tuple[Array, ...] | None
    logits: Array
    lengths: Array | None
    rows: Array
    seed: int
    measure: str

    def __repr__(self) -> str:
        shapes = ", ".join(str(u.shape) for u in self.inputs)
        more = "" if self.gradients is None else ", with gradients"
        return f"SavedRecording({self.path.name}: {len(self.rows)} examples, inputs {shapes}{more})"


def save_recording(
    network: Network,
    path: str | os.PathLike[str],
    *,
    rows: ArrayLike | None = None,
    gradients: bool = True,
    seed: int = 0,
    batch: int = BATCH,
) -> SavedRecording:
    """Run a network on its examples, write what its layers saw, and return that, memory-mapped.

    Parameters
    ----------
    network : Network
    path : path-like
        Written whole or not at all; whatever its name, it is a safetensors file.
    rows : array_like of int, optional, keyword only
        Examples; by default all of them.
    gradients : bool, keyword only
        Whether to record gradients, too, which the kinds of observability "output" and "mixture" need.
    seed : int, keyword only
        Of the random combinations of the outputs whose gradients they are.
    batch : int, keyword only
        Examples that run, and lie in memory, at a time; the outputs of all of them do.

    Returns
    -------
    SavedRecording

    Raises
    ------
    InputError
        No examples; or the network gives what it must not: wrong shapes, numbers that are not finite.
    CheckpointIOError
        The file cannot be written.
    """
    chosen = np.arange(network.count) if rows is None else np.asarray(rows)
    if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
        raise InputError("a recording needs at least one example: rows are whole numbers, their positions")
    if chosen.min() < 0 or chosen.max() >= network.count:
        raise InputError(f"rows lie between 0 and {network.count - 1}, got {chosen.min()} to {chosen.max()}")
    if batch < 1:
        raise InputError(f"batch is a number of examples, at least 1; got {batch}")
    taking = _Taking(network, Path(path), chosen.astype(np.int64), gradients, int(seed), int(batch))
    write_files({taking.path: taking.write})
    return load_recording(path, network.parts.layers)


def load_recording(
    path: str | os.PathLike[str], layers: Sequence[SSMLayer] | None = None, *, check: bool = True
) -> SavedRecording:
    """Open a recording; nothing of it is read into memory but what is looked at.

    Parameters
    ----------
    path : path-like
    layers : sequence of SSMLayer, optional
        Those that it must have been taken from: ``model.layers``.
    check : bool, keyword only
        Whether the digest is computed, which reads the file once.

    Raises
    ------
    CheckpointError
        Another kind of file, a damaged one, or a recording of other layers.
    CheckpointIOError
        The file cannot be read.
    """
    file = TensorFile(Path(path))
    told = file.record
    if told.get("format") != FORMAT:
        raise CheckpointError("no recording (ssmreduce.load reads models); save_recording writes one", file.path)
    if told.get("version") != VERSION:
        raise CheckpointError(f"a recording of version {told.get('version')!r}, version {VERSION} is read", file.path)
    if layers is not None and told.get("layers") != digest_of(layers):
        raise CheckpointError("recorded from other layers than these: record this model's network", file.path)
    if check:
        file.verify()
    try:
        found = _read(file, told)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"a damaged recording ({error}); record again", file.path) from None
    return found


def digest_of(layers: Sequence[SSMLayer]) -> str:
    """SHA-256 of the layers' stored parameters."""
    arrays = [(f"{i}/{key}", value) for i, one in enumerate(layers) for key, value in one.to_params().items()]
    return digest.of_arrays(dict(arrays))


def _read(file: TensorFile, told: dict[str, str]) -> SavedRecording:
    """The arrays by their meaning; KeyError and ValueError where they do not fit together."""
    count = sum(name.startswith("inputs.") for name in file.names)
    inputs = tuple(file[f"inputs.{i}"] for i in range(count))
    has_gradients = any(name.startswith("gradients.") for name in file.names)
    gradients = tuple(file[f"gradients.{i}"] for i in range(count)) if has_gradients else None
    rows, lengths = file["rows"], file["lengths"] if "lengths" in file.names else None
    sequences = {array.shape[0] for array in (*inputs, *(gradients or ()), *(() if lengths is None else (lengths,)))}
    if not count or len(sequences) != 1 or rows.ndim != 1 or sequences.pop() % max(1, len(rows)):
        raise ValueError("its arrays do not belong together")
    if any(array.ndim != 3 for array in (*inputs, *(gradients or ()))) or len(file["logits"]) != len(rows):
        raise ValueError("its arrays have other shapes than a recording's")
    if told["measure"] not in MEASURES:
        raise ValueError(f"measure {told['measure']!r}")
    return SavedRecording(
        path=file.path, inputs=inputs, gradients=gradients, logits=file["logits"], lengths=lengths, rows=rows,
        seed=int(told["seed"]), measure=told["measure"],
    )  # fmt: skip


class _Taking:
    """One recording while it is taken."""

    def __init__(self, network: Network, path: Path, rows: Array, gradients: bool, seed: int, batch: int) -> None:
        self.network, self.path, self.rows, self.seed = network, path, rows, seed
        self.wants_gradients = gradients
        self.parts = network.parts
        self.batches = [slice(start, start + batch) for start in range(0, len(rows), batch)]

    def write(self, file: Any) -> None:
        """Two rounds: passes, then gradients of combinations of all outputs."""
        first = self._run(self.batches[0])
        logits = np.zeros((len(self.rows), *first.logits.shape[1:]), dtype=first.logits.dtype)
        v, pulled = logits, tuple[Array, ...]()
        if self.wants_gradients:
            v = measure_of(self.network).directions(np.random.default_rng(self.seed), logits).astype(np.float32)
            pulled = self._pull(self.batches[0], v)
        writer = TensorWriter(file, self.path, self._shapes(first, pulled, logits), self._record())
        for part in self.batches:
            found = first if part is self.batches[0] else self._run(part)
            logits[part] = found.logits
            for i in range(len(self.parts.layers)):
                self._put(writer, f"inputs.{i}", part, found.inputs[i])
            if found.lengths is not None:
                self._put(writer, "lengths", part, found.lengths)
        for part in self.batches if self.wants_gradients else ():
            for i, gradient in enumerate(pulled if part is self.batches[0] else self._pull(part, v)):
                self._put(writer, f"gradients.{i}", part, gradient)
        writer.put("logits", 0, logits)
        writer.put("rows", 0, self.rows)
        writer.finish()

    def _run(self, part: slice) -> Pass:
        layers = self.parts.layers
        found = self.network.run(self.parts, self.rows[part], record=range(len(layers)))
        if not np.isfinite(found.logits).all():
            raise InputError("the network gives outputs that are not finite: look at it before it is recorded")
        for i, layer in enumerate(layers):
            channels = channels_of(layer.system, layer.system.m)
            record(found.inputs[i], found.lengths, channels, f"recorded inputs of layer {i}")
        return found

    def _pull(self, part: slice, v: Array) -> tuple[Array, ...]:
        found = self.network.gradients(self.parts, self.rows[part], v[part])
        for i, layer in enumerate(self.parts.layers):
            record(found[i], None, channels_of(layer.system, layer.system.p), f"gradients of layer {i}")
        return found

    def _shapes(self, first: Pass, pulled: Sequence[Array], logits: Array) -> dict[str, Shape]:
        """Type and full shape of every array."""
        share = len(self.rows[self.batches[0]])
        one = {f"inputs.{i}": first.inputs[i] for i in range(len(self.parts.layers))}
        one |= {f"gradients.{i}": array for i, array in enumerate(pulled)}
        if first.lengths is not None:
            one["lengths"] = np.asarray(first.lengths).astype(np.int64)
        for name, array in one.items():
            if array.ndim != (1 if name == "lengths" else 3) or array.shape[0] % share:
                raise InputError(f"{name} has shape {array.shape}: (S, L, channels) is needed of {share} examples")
        shapes: dict[str, Shape] = {"logits": (logits.dtype, logits.shape), "rows": (self.rows.dtype, self.rows.shape)}
        for name, array in one.items():
            shapes[name] = (array.dtype, (array.shape[0] // share * len(self.rows), *array.shape[1:]))
        return shapes

    def _put(self, writer: TensorWriter, name: str, part: slice, array: Array) -> None:
        """One batch; of pairs the first documents of all examples, then the second ones."""
        share = len(self.rows[part])
        for k, block in enumerate(np.split(np.asarray(array), len(array) // share)):
            writer.put(name, k * len(self.rows) + part.start, block)

    def _record(self) -> dict[str, str]:
        return {
            "format": FORMAT, "version": VERSION, "layers": digest_of(self.parts.layers),
            "measure": measure_of(self.network).name, "seed": str(self.seed),
        }  # fmt: skip
