"""Damaged checkpoints, drawn from a seed: bytes, and the structure that a container's own writer would never give."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ssmreduce.files.formats import flaxbytes


class Bomb:
    """What runs when somebody unpickles it: it touches a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def bytes_of(data: bytes, draw: random.Random, bomb: bytes) -> bytes:
    """One to four cuts, flips, insertions, repetitions or exchanges anywhere."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        if not changed:
            break
        at, length = draw.randrange(len(changed)), draw.choice((1, 2, 4, 8, 64, 4096))
        kind = draw.randrange(9)
        if kind == 0:
            changed[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[at : at + length] = draw.randbytes(length)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = draw.randbytes(length)
        elif kind == 4:
            changed[at:at] = changed[at : at + length] * draw.randint(1, 3)
        elif kind == 5:
            del changed[at:]
        elif kind == 6:
            changed[at : at + 8] = draw.choice(
                (b"\xff" * 8, b"\0" * 8, struct.pack("<Q", 2**62), struct.pack(">Q", 2**31))
            )
        elif kind == 7:
            other = draw.randrange(len(changed))
            changed[at : at + length], changed[other : other + length] = (
                changed[other : other + length],
                changed[at : at + length],
            )
        else:
            changed[at:at] = bomb
    return bytes(changed)


STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63 - 1, 10**400, 1e308, float("nan"), float("inf"), "", "\0", "\x1b[2J", "[/b]", "\ud800"),
    *([], {}, [[]] * 3, [1] * 70, {"": {}}, "x" * 5000, 0.5, "s5", "zoh", 3),
)


def strange(draw: random.Random) -> Any:
    """A value that does not belong, sometimes nested deep."""
    value = draw.choice(STRANGE)
    for _ in range(draw.choice((0, 0, 0, 1, 70, 2000))):
        value = draw.choice(([value], {"value": value}))
    return value


def json_of(value: Any, draw: random.Random) -> str:
    """A JSON text with one to three values, or names, replaced."""
    copy = json.loads(json.dumps(value))
    for _ in range(draw.randint(1, 3)):
        node: Any = copy
        while isinstance(node, (dict, list)) and node:
            keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = draw.choice(keys)
            if not isinstance(node[key], (dict, list)) or not node[key] or draw.random() < 0.2:
                if isinstance(node, dict) and draw.random() < 0.2:
                    node[draw.choice(("", "P", "kernel.P", "Lambda_re", "__metadata__"))] = node.pop(key)
                else:
                    node[key] = strange(draw)
                break
            node = node[key]
    try:
        text = json.dumps(copy)
    except (RecursionError, ValueError):
        return "[" * 100_000
    return (
        text.replace(": ", f": 1, {json.dumps(draw.choice(list(copy) or ['']))}: ", 1) if draw.random() < 0.1 else text
    )


def safetensors_of(data: bytes, draw: random.Random, bomb: bytes) -> bytes:
    """Another header before the same bits."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json_of(json.loads(data[8 : 8 + length]), draw).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


SHAPES: tuple[Any, ...] = (
    (2**40,),
    (2**62, 2**62),
    (-1,),
    (1,) * 70,
    (0, 2**62),
    "all",
    (0.5,),
    [3],
    ["3"],
    4,
    None,
    [True],
)
TYPES: tuple[Any, ...] = (
    "<f8",
    "|O",
    "<U9",
    "|V0",
    "|V2",
    "|V7",
    "f4,i1",
    "nothing",
    [("a", "<f4")],
    "<M8[s]",
    "float32",
    [1],
)


def _header(array: Any, draw: random.Random) -> bytes:
    """A .npy whose header may lie."""
    array = np.asarray(array)
    shape = draw.choice((array.shape, *SHAPES))
    descr = draw.choice((array.dtype.str, *TYPES))
    text = repr({"descr": descr, "fortran_order": draw.random() < 0.3, "shape": shape})
    text = draw.choice((text, text, "{" * 500, "__import__('os').getpid()", text * 3)) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + array.tobytes()


def npz_of(data: bytes, draw: random.Random, bomb: bytes) -> bytes:
    """The archive packed again, with members doubled, renamed, or with headers that lie."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w", draw.choice((0, 8, 12, 14))) as new:
        new.comment = draw.choice((old.comment, b"", b"{", b'{"sha256": "0"}', b'{"sha256": 1}', b"[]"))
        for name in old.namelist():
            body = old.read(name)
            kind = draw.randrange(40)
            if kind == 0:
                body = _header(np.load(io.BytesIO(body)), draw)
            elif kind == 1:
                body = bomb
            elif kind == 2:
                name = draw.choice(
                    ("../../x.npy", "/x.npy", "\x1b[2J.npy", name[:-4], f"{name}.pkl", "params.npy", ".npy")
                )
            elif kind == 3:
                new.writestr(f"{name[:-4]}/deeper.npy", body)
            new.writestr(name, body)
    return result.getvalue()


def _extension(code: int, body: bytes) -> bytes:
    return b"\xc9" + struct.pack(">Ib", len(body), code) + body


def _packed(value: Any, draw: random.Random, bomb: bytes, depth: int = 0) -> bytes:
    """A tree as Flax packs it, with something strange in a few places."""
    if draw.random() < 0.02:
        odd = draw.randrange(8)
        if odd == 0:
            inner = b"\x01"
            for _ in range(draw.choice((1, 3, 100, 3000))):
                inner = _extension(draw.choice((1, 2, 3)), b"\x91" + inner)
            return inner
        if odd == 1:
            return draw.choice((b"\xdd", b"\xdf", b"\xc6", b"\xdb")) + struct.pack(">I", draw.choice((2**32 - 1, 1)))
        if odd == 2:
            return _extension(draw.choice((1, 3, 5, -1)), bomb)
        if odd == 3:
            parts = (draw.choice(SHAPES), draw.choice(TYPES), draw.choice((b"\0" * 12, "ab", 1)))
            return _extension(draw.choice((1, 3)), b"\x93" + b"".join(map(flaxbytes.write, parts)))
        if odd == 4:
            shape = draw.choice(({"0": 4}, {}, [4], {"0": -1}))
            chunks = draw.choice(({"0": np.zeros(4)}, {"0": 1}, {}))
            return flaxbytes.write({"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks})
        if odd == 5:
            return b"\x91" * draw.choice((10, 1000, 50_000)) + b"\x01"
        if odd == 6:
            return b"\x82\xa1a\x01\xa1a\x02"
        return draw.choice((b"\xc0", b"\xc1", b"\xc3", b"\xcb\x7f\xf8" + b"\0" * 6, b"\xa3\xff\xff\xff"))
    if isinstance(value, dict):
        items = b"".join(flaxbytes.write(key) + _packed(item, draw, bomb, depth + 1) for key, item in value.items())
        return b"\xdf" + struct.pack(">I", len(value)) + items
    return flaxbytes.write(value)


def msgpack_of(data: bytes, draw: random.Random, bomb: bytes) -> bytes:
    """The tree packed again by a writer that errs."""
    return _packed(flaxbytes.read(data), draw, bomb)


STRUCTURE: dict[str, Callable[[bytes, random.Random, bytes], bytes]] = {
    ".safetensors": safetensors_of,
    ".npz": npz_of,
    ".msgpack": msgpack_of,
}


def bombs(target: Path) -> list[bytes]:
    """Pickles of every protocol that touch a file."""
    return [pickle.dumps(Bomb(target), protocol=protocol) for protocol in range(6)]


def values_of(arrays: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A tree that any container holds, with arrays of odd shapes, types, values and names."""
    changed = dict(arrays)
    for _ in range(draw.randint(1, 3)):
        key = draw.choice(list(changed))
        array = changed[key]
        kind = draw.randrange(8)
        if kind == 0:
            axis = draw.randrange(max(array.ndim, 1))
            changed[key] = array.take([], axis) if array.ndim else array
        elif kind == 1:
            forms = (array.T, array[None], array.reshape(-1), array.sum(), array[..., :1], array[:1])
            changed[key] = draw.choice(forms)
        elif kind == 2:
            with np.errstate(all="ignore"):
                kinds = ("float16", "bfloat16", "float64", "int8", "uint64", "bool", "complex64")
                changed[key] = array.astype(draw.choice(kinds))
        elif kind == 3:
            odd = np.array(array, np.float64)
            odd.reshape(-1)[: draw.choice((1, odd.size))] = draw.choice(VALUES)
            changed[key] = odd if draw.random() < 0.5 else odd.astype(np.float32)
        elif kind == 4:
            changed[key] = np.asarray(array, np.float64) * draw.choice((1e300, 1e150, 1e-300, 0.0, -1.0))
        elif kind == 5:
            place, _, name = key.rpartition("/")
            others = (*ODD_NAMES, f"{name}/value", f"{name}/x")
            changed[f"{place}/{draw.choice(others)}"] = changed.pop(key) if draw.random() < 0.5 else array
        elif kind == 6:
            prefix = draw.choice(("ema", "opt_state/0/mu", "params", "params/ema", "x.y", "['a']", "0"))
            changed |= {f"{prefix}/{name}": value for name, value in changed.items() if draw.random() < 0.97}
        else:
            del changed[key]
        if not changed:
            return dict(arrays)
    return changed


ODD_NAMES = ("P", "C1", "C2", "kernel/P", "nu_log", "A_re", "kernel.inv_dt", "", "B")
VALUES = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, -1e308, 5e-324, 1e-40, 700.0, -800.0, 1e30)
