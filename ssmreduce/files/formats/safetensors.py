"""safetensors: a JSON header of names, types, shapes and offsets, then the bits."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (NumPy learns bfloat16 and float8 from it)
import numpy as np
from numpy.typing import NDArray

from ssmreduce.files import digest
from ssmreduce.files.description import strict_json
from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.formats.file_format import Held
from ssmreduce.files.trees import flat
from theory.errors import InputError

Array = NDArray[Any]

TYPES = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    "BOOL": "?",
    "C64": "<c8",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
"""Element types of the container to those of NumPy (and ml_dtypes)."""

HEADER_LIMIT = 2**24
"""Longest header that is read, 16 MiB: a hundred thousand arrays."""

AXES = 64
"""Most axes that a NumPy array has."""


class Safetensors:
    """See :class:`FileFormat`."""

    name, suffix, title, aliases = "safetensors", ".safetensors", "safetensors", ()

    def recognizes(self, head: bytes) -> bool:
        """A 64-bit length below 2^40, then a JSON object."""
        return len(head) > 8 and head[8:9] == b"{" and head[5:8] == b"\0\0\0"

    def read(self, data: bytes, path: Path) -> Held:
        """See :class:`FileFormat`."""
        import safetensors

        record = _record(data, path)
        arrays: dict[str, Array] = {}
        try:
            entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]  # checks ranges and leftovers
            for name, entry in entries:
                if entry["dtype"] not in TYPES:
                    raise CheckpointError(
                        f"{name!r} has the element type {entry['dtype']}; these are read: {', '.join(TYPES)}", path
                    )
                if len(entry["shape"]) > AXES:
                    raise CheckpointError(f"{name!r} has {len(entry['shape'])} axes; arrays have at most {AXES}", path)
                arrays[name] = np.frombuffer(bytes(entry["data"]), TYPES[entry["dtype"]]).reshape(entry["shape"])
        except CheckpointError:
            raise
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise CheckpointError(
                f"a damaged safetensors file ({error}); it may be truncated: copy or save it again", path
            ) from None
        return Held(dict(sorted(arrays.items())), record)

    def write(self, tree: Mapping[str, Any], record: Mapping[str, str]) -> bytes:
        """See :class:`FileFormat`; names are sorted, and the record is put into the header in order."""
        import safetensors
        import safetensors.numpy

        arrays = flat(tree)
        try:
            plain = safetensors.numpy.save({key: np.asarray(arrays[key], order="C") for key in sorted(arrays)})
        except (safetensors.SafetensorError, UnicodeEncodeError) as error:
            raise InputError(f"safetensors cannot hold this ({error}); save as .npz or .msgpack") from None
        length = struct.unpack("<Q", plain[:8])[0]
        texts = json.dumps({**dict(sorted(record.items())), digest.KEY: digest.of_arrays(arrays)})
        rest = plain[9 : 8 + length].rstrip(b" ")
        header = b'{"__metadata__":' + texts.encode() + (b"," if rest != b"}" else b"") + rest
        header += b" " * (-len(header) % 8)  # the bits stay aligned
        return struct.pack("<Q", len(header)) + header + plain[8 + length :]


def _record(data: bytes, path: Path) -> dict[str, str]:
    """The texts in the header, of which every name must be there once."""
    length = struct.unpack("<Q", data[:8])[0]
    if length > len(data) - 8:
        raise CheckpointError(
            f"truncated: the header alone has {length} bytes, the file {len(data)}; copy or save it again", path
        )
    if length > HEADER_LIMIT:
        raise CheckpointError(f"a header of {length} bytes; {HEADER_LIMIT} are read", path)
    header = strict_json(data[8 : 8 + length], path)
    texts = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise CheckpointError("a damaged safetensors file: its header is not a table of arrays", path)
    return texts


FORMATS = (Safetensors(),)
