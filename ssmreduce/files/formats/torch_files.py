"""PyTorch's ``.pth``, ``.pt``, ``.ckpt``: read and written by torch itself, weights only; never a pickle of our own.

``torch.load(weights_only=True)`` builds tensors, numbers, texts and plain containers; objects of foreign code are left
out (:mod:`ssmreduce.files.formats.torch_objects`), and named. The state dict lies where its code put it: at the top, or
under ``model``, ``state_dict``, ``module``; what lies beside it (epoch, accuracy, random states) comes back as it was.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (NumPy learns bfloat16 and float8 from it)
import numpy as np
from numpy.typing import NDArray

from ssmreduce.files import recipes
from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.formats import torch_objects
from ssmreduce.files.formats.file_format import CONVERT_TORCH, LEFT_OUT, Held
from ssmreduce.files.trees import like
from theory.errors import InputError, MissingDependencyError, optional_package

Array = NDArray[Any]

EXTRA = "torch"
"""The extra that brings PyTorch."""

MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19."
"""The number with which PyTorch's old format begins, as protocol 2 spells it."""

BITS = {"bfloat16": "int16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}
"""Types that torch does not hand over to NumPy, to integers of their size, whose bits it does."""

NAME_AT = 30
"""Bytes of a zip archive before the name of its first member."""


class TorchFile:
    """See :class:`FileFormat`; the container has no room for a record: the digest is in the JSON half."""

    name, suffix, title, aliases = "torch", ".pth", "PyTorch", (".pt", ".ckpt", ".tar", ".bin")

    def recognizes(self, head: bytes) -> bool:
        """A zip archive that begins with ``NAME/data.pkl``, or the magic number of the old format."""
        if head[:4] == b"PK\x03\x04":
            length = int.from_bytes(head[26:28], "little")
            return head[NAME_AT : NAME_AT + length].endswith(b"data.pkl")
        return head[:1] == b"\x80" and MAGIC in head[:32]

    def read(self, data: bytes, path: Path) -> Held:
        """See :class:`FileFormat`."""
        try:
            torch = optional_package("torch", EXTRA)
        except MissingDependencyError as error:
            raise CheckpointError(
                f"this is a PyTorch checkpoint, which is a pickle, and {error}. {CONVERT_TORCH}", path
            ) from None
        try:
            content, left_out = torch_objects.load(torch, data)
        except Exception as error:  # UnpicklingError, RuntimeError, EOFError, KeyError ...: no common base
            reason = _reason(error)
            raise CheckpointError(
                f"torch.load(weights_only=True) refuses this pickle ({type(error).__name__}: {reason}); it is damaged, "
                "or holds more than tensors, numbers and plain objects. Where the code that wrote it is installed, and "
                f"you trust the file, take the weights out: {recipes.TRUSTED}",
                path,
            ) from None
        if "" in left_out:
            raise CheckpointError(
                f"a PyTorch file that holds an object of the class {left_out['']}, a whole module by all appearances, "
                "not its state dict. Where its code is installed, and you trust the file, take the weights out: "
                f"{recipes.TRUSTED_MODULE}",
                path,
            )
        if not isinstance(content, Mapping):
            raise CheckpointError(
                f"a PyTorch file that holds a {type(content).__name__}, not a state dict: save model.state_dict()", path
            )
        record = {LEFT_OUT: ", ".join(f"{place} ({name})" for place, name in left_out.items())} if left_out else {}
        return Held(_mapped(content, lambda leaf: _array(leaf, torch)), record)

    def write(self, tree: Mapping[str, Any], record: Mapping[str, str]) -> bytes:
        """See :class:`FileFormat`; arrays become tensors on the CPU."""
        torch = optional_package("torch", EXTRA)
        buffer = io.BytesIO()
        torch.save(_mapped(tree, lambda leaf: _tensor(leaf, torch)), buffer)
        return buffer.getvalue()


def _reason(error: Exception) -> str:
    """What torch met; the rest of its message is about trusting the file."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    _, met, what = text.rpartition("WeightsUnpickler error:")
    parts = [what] if met else [part for part in text.split("\n\n") if "weights_only" not in part] or [text]
    return parts[0].strip().partition("\n")[0].partition(" Please use")[0][:200]


def _mapped(tree: Mapping[Any, Any], change: Callable[[Any], Any]) -> dict[Any, Any]:
    """Copy a tree with its leaves changed."""
    below = {key: _mapped(leaf, change) if isinstance(leaf, Mapping) else change(leaf) for key, leaf in tree.items()}
    return like(tree, below)


def _array(leaf: Any, torch: Any) -> Any:
    """A dense tensor as an array on the same bits; anything else as it is."""
    if not isinstance(leaf, torch.Tensor) or leaf.layout != torch.strided or leaf.is_quantized:
        return leaf
    name = str(leaf.dtype).removeprefix("torch.")
    plain = leaf.detach().resolve_conj().resolve_neg()
    if name in BITS:
        bits: Array = plain.view(getattr(torch, BITS[name])).numpy()
        return bits.view(name)
    try:
        array: Array = plain.numpy()
    except TypeError:  # a type that NumPy has not
        return leaf
    return array


def _tensor(leaf: Any, torch: Any) -> Any:
    """An array as a tensor of the same bits; anything else as it is."""
    if not isinstance(leaf, (np.ndarray, np.generic)) or leaf.dtype.kind in "US":  # texts stay NumPy's
        return leaf
    array = np.array(leaf, order="K")  # torch wants memory that may be written to
    if array.dtype.name in BITS:
        return torch.from_numpy(array.view(BITS[array.dtype.name])).view(getattr(torch, array.dtype.name))
    try:
        return torch.from_numpy(array)
    except TypeError:
        raise InputError(f"PyTorch has no tensors of type {array.dtype}; save as .npz or .safetensors") from None


FORMATS = (TorchFile(),)
