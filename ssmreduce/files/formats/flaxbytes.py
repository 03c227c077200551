"""Flax's ``to_bytes`` format, read and written without Flax: msgpack with one extension for arrays.

The reader understands numbers, strings, byte strings, lists, maps and Flax's array extension, and nothing else; it
never calls into pickle and builds no object other than these. Extension 1 is ``(shape, dtype name, bytes)``, 2 a
complex number, 3 a NumPy scalar; arrays above 1 GiB come in chunks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import ml_dtypes  # noqa: F401  (NumPy learns bfloat16 from it)
import numpy as np
from numpy.typing import NDArray

from theory.errors import InputError

Array = NDArray[Any]

_DTYPES = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_DTYPES |= {"float16", "bfloat16", "float32", "float64", "complex64", "complex128", "bool"}
_CHUNK = 2**30

DEPTH = 64
"""Deepest nesting that is read."""

AXES = 64
"""Most axes that a NumPy array has."""

VALUES = 2**18
"""Most values (leaves, lists, maps and keys) that are read: a training state has thousands."""


class _Reader:
    """A cursor over the bytes of one message."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.values = data, 0, 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise InputError(
                f"truncated: {count} bytes are announced at byte {self.at}, {len(self.data) - self.at} are there"
            )
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def number(self, layout: str) -> Any:
        return struct.unpack(">" + layout, self.take(struct.calcsize(layout)))[0]

    def value(self, depth: int = 0) -> Any:
        self.values += 1
        if depth > DEPTH:
            raise InputError(f"nested more than {DEPTH} deep at byte {self.at}")
        if self.values > VALUES:
            raise InputError(f"more than {VALUES} values up to byte {self.at}; that is no checkpoint")
        start = self.at
        tag = self.take(1)[0]
        if tag <= 0x7F:
            return tag
        if tag >= 0xE0:
            return tag - 0x100
        if tag <= 0x8F:
            return self.map(tag & 0x0F, depth)
        if tag <= 0x9F:
            return self.list(tag & 0x0F, depth)
        if tag <= 0xBF:
            return self.text(tag & 0x1F)
        if tag in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[tag]
        if 0xC4 <= tag <= 0xC6:
            return self.take(self.number("BHI"[tag - 0xC4]))
        if 0xC7 <= tag <= 0xC9:
            return self.extension(self.number("BHI"[tag - 0xC7]))
        if tag in (0xCA, 0xCB):
            return self.number("f" if tag == 0xCA else "d")
        if 0xCC <= tag <= 0xD3:
            return self.number("BHIQbhiq"[tag - 0xCC])
        if 0xD4 <= tag <= 0xD8:
            return self.extension(1 << (tag - 0xD4))
        if 0xD9 <= tag <= 0xDB:
            return self.text(self.number("BHI"[tag - 0xD9]))
        if tag in (0xDC, 0xDD):
            return self.list(self.number("H" if tag == 0xDC else "I"), depth)
        if tag in (0xDE, 0xDF):
            return self.map(self.number("H" if tag == 0xDE else "I"), depth)
        raise InputError(f"byte {start} is 0x{tag:02x}, which is no msgpack")

    def text(self, count: int) -> str:
        try:
            return self.take(count).decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"the text before byte {self.at} is not UTF-8") from None

    def list(self, count: int, depth: int) -> list[Any]:
        return [self.value(depth + 1) for _ in range(count)]

    def map(self, count: int, depth: int) -> Any:
        result: dict[str, Any] = {}
        for _ in range(count):
            key = self.value(depth + 1)
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise InputError(f"a key of type {type(key).__name__} before byte {self.at}")
            if str(key) in result:
                raise InputError(f"the key {str(key)[:80]!r} is there twice in one map, before byte {self.at}")
            result[str(key)] = self.value(depth + 1)
        return _joined(result) if "__msgpack_chunked_array__" in result else result

    def extension(self, count: int) -> Any:
        code = self.number("b")
        body = self.take(count)
        if code in (1, 3):
            array = _array(body)
            if code == 1:
                return array
            if array.ndim == 0:
                return array[()]
            raise InputError(f"a scalar of shape {array.shape} before byte {self.at}")
        if code == 2:
            pair = _Plain(body).whole()
            if isinstance(pair, list) and len(pair) == 2 and all(type(part) in (int, float) for part in pair):
                return complex(*pair)
        raise InputError(
            f"an extension of type {code} before byte {self.at}; only Flax's arrays and complex numbers are read"
        )


class _Plain(_Reader):
    """The inside of an extension, where no other extension and no map belongs."""

    def whole(self) -> Any:
        value = self.value()
        if self.at != len(self.data):
            raise InputError(f"{len(self.data) - self.at} bytes too many in an extension")
        return value

    def map(self, count: int, depth: int) -> Any:
        raise InputError("a map inside an array or a number")

    def extension(self, count: int) -> Any:
        raise InputError("an extension inside an array or a number")

    def list(self, count: int, depth: int) -> list[Any]:
        if count > AXES or depth > 1:
            raise InputError(f"a list of {count} inside an array or a number: an array has at most {AXES} axes")
        return super().list(count, depth)


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _array(body: bytes) -> Array:
    parts = _Plain(body).whole()
    if not (isinstance(parts, list) and len(parts) == 3 and isinstance(parts[0], list)):
        raise InputError("an array that is not (shape, dtype, bytes)")
    shape, name, buffer = parts
    name = name.decode("latin-1") if isinstance(name, bytes) else name
    if isinstance(buffer, str) and buffer.isascii():
        buffer = buffer.encode()
    if not (isinstance(buffer, bytes) and isinstance(name, str) and all(map(_is_size, shape))):
        raise InputError("an array that is not (shape, dtype, bytes)")
    if name not in _DTYPES:
        raise InputError(f"an array of dtype {name[:80]!r}; numbers are read, objects never")
    dtype = np.dtype(name)
    if math.prod(shape) * dtype.itemsize != len(buffer):
        raise InputError(f"an array of shape {tuple(shape)} and dtype {name} with {len(buffer)} bytes")
    try:
        return np.frombuffer(buffer, dtype).reshape(shape)
    except (ValueError, OverflowError):  # (0, 2^62): no bytes, and no array of NumPy's either
        raise InputError(f"an array of shape {tuple(shape)}, which no array has") from None


def _joined(parts: Mapping[str, Any]) -> Array:
    """Put a chunked array together."""
    shape, chunks = parts.get("shape"), parts.get("chunks")
    if not (isinstance(shape, dict) and isinstance(chunks, dict) and len(shape) <= AXES):
        raise InputError("a chunked array whose parts do not fit")
    try:
        sizes = [shape[str(i)] for i in range(len(shape))]
        pieces = [chunks[str(i)] for i in range(len(chunks))]
        if not all(map(_is_size, sizes)) or not all(isinstance(piece, np.ndarray) for piece in pieces):
            raise TypeError
        if len({piece.dtype for piece in pieces}) != 1 or math.prod(sizes) != sum(piece.size for piece in pieces):
            raise ValueError
        return np.concatenate([piece.reshape(-1) for piece in pieces]).reshape(sizes)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError("a chunked array whose parts do not fit") from None


def read(data: bytes) -> Any:
    """Read one message; :class:`~theory.errors.InputError` says where it breaks off or what does not belong."""
    reader = _Reader(data)
    value = reader.value()
    if reader.at != len(data):
        raise InputError(f"{len(data) - reader.at} bytes follow the end of the message at byte {reader.at}")
    return value


def _sized(count: int, tags: tuple[tuple[int, str], ...]) -> bytes:
    """The shortest of several headers that holds `count`."""
    for tag, layout in tags:
        if count < 1 << (8 * struct.calcsize(layout)):
            return bytes([tag]) + struct.pack(">" + layout, count)
    raise InputError(f"{count} entries or bytes are too many for one msgpack object")


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack("b", value) if value < 0 else bytes([value])
    for tag, layout in (
        ((0xCC, "B"), (0xCD, "H"), (0xCE, "I"), (0xCF, "Q"))
        if value >= 0
        else ((0xD0, "b"), (0xD1, "h"), (0xD2, "i"), (0xD3, "q"))
    ):
        try:
            return bytes([tag]) + struct.pack(">" + layout, value)
        except struct.error:
            continue
    raise InputError(f"{value} does not fit into 64 bits")


def write(value: Any) -> bytes:
    """Write a tree of mappings, lists, arrays, numbers and strings as Flax's ``msgpack_serialize`` does."""
    if value is None or (isinstance(value, (bool, np.bool_)) and not isinstance(value, np.generic)):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, np.ndarray):
        if value.nbytes > _CHUNK:
            return write(_chunked(value))
        return _extension(1, value)
    if isinstance(value, np.generic):
        return _extension(3, np.asarray(value))
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, complex):
        return _tagged(2, write([value.real, value.imag]))
    if isinstance(value, str):
        try:
            text = value.encode()
        except UnicodeEncodeError:
            raise InputError(f"the text {value[:40]!r} is not Unicode") from None
        header = (
            bytes([0xA0 | len(text)]) if len(text) < 32 else _sized(len(text), ((0xD9, "B"), (0xDA, "H"), (0xDB, "I")))
        )
        return header + text
    if isinstance(value, (bytes, bytearray)):
        return _sized(len(value), ((0xC4, "B"), (0xC5, "H"), (0xC6, "I"))) + bytes(value)
    if isinstance(value, (list, tuple)):
        header = bytes([0x90 | len(value)]) if len(value) < 16 else _sized(len(value), ((0xDC, "H"), (0xDD, "I")))
        return header + b"".join(write(item) for item in value)
    if isinstance(value, Mapping):
        header = bytes([0x80 | len(value)]) if len(value) < 16 else _sized(len(value), ((0xDE, "H"), (0xDF, "I")))
        return header + b"".join(write(str(key)) + write(item) for key, item in value.items())
    if hasattr(value, "__array__"):
        return write(np.asarray(value))
    raise InputError(f"a {type(value).__name__} cannot be written; arrays, numbers, strings, lists and mappings can")


def _tagged(code: int, body: bytes) -> bytes:
    if (size := len(body)) in (1, 2, 4, 8, 16):
        return bytes([0xD4 + size.bit_length() - 1, code]) + body
    return _sized(size, ((0xC7, "B"), (0xC8, "H"), (0xC9, "I"))) + bytes([code]) + body


def _extension(code: int, array: np.ndarray[Any, Any]) -> bytes:
    if array.dtype.name not in _DTYPES:
        raise InputError(f"an array of dtype {array.dtype} cannot be written; numbers can")
    native = array if array.dtype.kind == "V" else array.astype(array.dtype.newbyteorder("="), copy=False)
    return _tagged(code, write([list(native.shape), native.dtype.name, native.tobytes()]))


def _chunked(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    flat, count = array.reshape(-1), max(1, _CHUNK // array.dtype.itemsize)
    chunks = [flat[start : start + count] for start in range(0, flat.size, count)]
    return {
        "__msgpack_chunked_array__": True,
        "shape": {str(i): size for i, size in enumerate(array.shape)},
        "chunks": {str(i): chunk for i, chunk in enumerate(chunks)},
    }
