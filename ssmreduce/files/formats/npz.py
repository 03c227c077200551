"""npz: NumPy's zip archive with one .npy a member; its comment holds the record."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssmreduce.files import digest
from ssmreduce.files.description import strict_json
from ssmreduce.files.errors import CheckpointError
from ssmreduce.files.formats import npy
from ssmreduce.files.formats.file_format import CONVERT, CONVERT_TORCH, Held
from ssmreduce.files.trees import flat

GROWTH, FREE = 100, 2**28
"""An archive may expand to 100 times its size and 256 MiB: trained weights shrink by a few per cent, zeros a lot."""

MEMBERS = 2**17
"""Most members that are read: a network has hundreds of arrays, its training state thousands."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # one time stamp, so that the same arrays give the same bytes


class Npz:
    """See :class:`FileFormat`."""

    name, suffix, title, aliases = "npz", ".npz", "npz", ()

    def recognizes(self, head: bytes) -> bool:
        """Any zip archive but PyTorch's, which begins with its pickle."""
        begin, length = head[:4], int.from_bytes(head[26:28], "little")
        return begin == b"PK\x05\x06" or (begin == b"PK\x03\x04" and not head[30 : 30 + length].endswith(b"data.pkl"))

    def read(self, data: bytes, path: Path) -> Held:
        """See :class:`FileFormat`."""
        _check_end(data, path)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = archive.infolist()
                _check(members, len(data), path)
                record = _record(archive.comment, path)
                return Held({entry.filename[:-4]: _array(archive.read(entry), path) for entry in members}, record)
        except CheckpointError:
            raise
        except (zipfile.BadZipFile, zipfile.LargeZipFile) as error:
            raise CheckpointError(
                f"a truncated or damaged zip archive ({error}); copy or save it again", path
            ) from None
        except Exception as error:  # zlib.error, struct.error, SyntaxError ... of archives and headers: no common base
            raise CheckpointError(
                f"a damaged npz file ({type(error).__name__}: {error}); copy or save it again", path
            ) from None

    def write(self, tree: Mapping[str, Any], record: Mapping[str, str]) -> bytes:
        """See :class:`FileFormat`."""
        arrays, buffer = flat(tree), io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for key, value in arrays.items():
                member = io.BytesIO()
                npy.write(member, value)
                archive.writestr(zipfile.ZipInfo(f"{key}.npy", _EPOCH), member.getvalue(), zipfile.ZIP_DEFLATED)
            texts = {**dict(sorted(record.items())), digest.KEY: digest.of_arrays(arrays)}
            archive.comment = json.dumps(texts).encode()
        return buffer.getvalue()


def _check(members: list[zipfile.ZipInfo], size: int, path: Path) -> None:
    """Look at the directory before anything is unpacked."""
    names = [entry.filename for entry in members]
    if any(name.endswith(".pkl") for name in names):
        raise CheckpointError(f"this is a PyTorch checkpoint, a pickle inside a zip. {CONVERT_TORCH}", path)
    if not names or not all(name.endswith(".npy") for name in names):
        listing = ", ".join(map(repr, names[:3])) or "nothing"
        raise CheckpointError(f"a zip archive that is no npz file (it holds {listing})", path)
    if len(names) > MEMBERS:
        raise CheckpointError(f"{len(names)} members; at most {MEMBERS} are read", path)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CheckpointError(f"the archive holds {twice!r} twice", path)
    total = sum(entry.file_size for entry in members)
    if total > GROWTH * size + FREE:
        raise CheckpointError(f"{size} bytes that expand to {total}; that is no checkpoint of trained weights", path)


def _check_end(data: bytes, path: Path) -> None:
    """The end of the directory says how long the comment is; zipfile reads one cut short as if it were whole."""
    at = data.rfind(b"PK\x05\x06")
    if at < 0 or len(data) < at + 22 or len(data) != at + 22 + int.from_bytes(data[at + 20 : at + 22], "little"):
        raise CheckpointError("a truncated or damaged zip archive; copy or save it again", path)


def _record(comment: bytes, path: Path) -> dict[str, str]:
    """The texts in the comment of the archive, if they are ours."""
    texts = strict_json(comment, path) if comment.startswith(b"{") else {}
    return {key: text for key, text in texts.items() if isinstance(text, str)}


def _array(member: bytes, path: Path) -> npy.Array:
    """Read one .npy: its header says type and shape, its length must agree, and objects are refused."""
    try:
        array, end = npy.read(member)
    except npy.ObjectsError:
        raise CheckpointError(f"this npz file holds Python objects, that is a pickle. {CONVERT}", path) from None
    if end != len(member):
        raise ValueError(f"{len(member) - end} bytes behind an array of shape {array.shape} and type {array.dtype}")
    return array


FORMATS = (Npz(),)
