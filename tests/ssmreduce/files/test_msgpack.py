"""Flax's bytes without Flax: read and written bit for bit, nothing else understood, no truncation survived."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_cases import GOLDEN

from ssmreduce.files.formats import flaxbytes as msgpack
from theory.errors import InputError

STATE = (GOLDEN / "s5_tiny_trainstate.msgpack").read_bytes()

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(max_size=300),
    st.complex_numbers(allow_nan=False),
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=40), inner, max_size=20)),
    max_leaves=20,
)


@given(trees)
def test_write_then_read(tree: Any) -> None:
    assert msgpack.read(msgpack.write(tree)) == tree


@given(
    st.sampled_from(["float32", "float64", "int8", "uint64", "bool", "complex64", "float16"]),
    st.lists(st.integers(0, 5), max_size=4),
)
def test_arrays_keep_shape_dtype_and_bits(dtype: str, shape: list[int]) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    again = msgpack.read(msgpack.write({"a": array, "s": np.float32(2.5)}))
    assert again["a"].dtype == array.dtype
    assert again["a"].shape == array.shape
    assert again["a"].tobytes() == array.tobytes()
    assert type(again["s"]) is np.float32


def test_a_train_state_comes_back_byte_for_byte() -> None:
    tree = msgpack.read(STATE)
    assert set(tree) == {"step", "params", "opt_state", "batch_stats"}
    assert tree["params"]["encoder"]["layers_0"]["seq"]["B"].shape == (2, 3, 2)
    assert msgpack.write(tree) == STATE


@pytest.mark.jax
def test_flax_agrees() -> None:
    serialization = pytest.importorskip("flax.serialization")
    tree = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": {"c": 1 + 2j, "d": [1, "x", None], "e": np.int64(3)},
    }
    assert serialization.msgpack_serialize(tree) == msgpack.write(tree)
    again = serialization.msgpack_restore(msgpack.write(tree))
    assert np.array_equal(again["a"], tree["a"])
    jnp = pytest.importorskip("jax.numpy")
    half = jnp.asarray([1.5, -2.25, 3e-20], dtype=jnp.bfloat16)
    assert np.array_equal(msgpack.read(serialization.msgpack_serialize({"h": half}))["h"], np.asarray(half, np.float32))


def test_chunked_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msgpack, "_CHUNK", 64)
    big = np.arange(100.0).reshape(10, 10)
    data = msgpack.write({"big": big, "small": big[0, :3]})
    assert b"__msgpack_chunked_array__" in data
    assert np.array_equal(msgpack.read(data)["big"], big)


def test_truncated_at_every_byte() -> None:
    tree = msgpack.read(STATE)
    data = msgpack.write({"step": tree["step"], "params": tree["params"]["encoder"]["layers_0"]["seq"], "none": {}})
    for end in range(len(data)):
        with pytest.raises(InputError):
            msgpack.read(data[:end])


def test_flipped_bytes_never_crash() -> None:
    """A damaged file is refused, or read as what it says now: written again it is the same bytes."""
    rng, accepted, refused = np.random.default_rng(0), 0, 0
    for _ in range(100):
        data = bytearray(STATE)
        for _ in range(3):
            data[rng.integers(len(data))] = rng.integers(256)
        try:
            tree = msgpack.read(bytes(data))
        except InputError:
            refused += 1
            continue
        accepted += 1
        assert msgpack.write(tree) == bytes(data)
    assert accepted
    assert refused


def ext(code: int, body: bytes) -> bytes:
    return b"\xc9" + struct.pack(">I", len(body)) + bytes([code]) + body


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "truncated"),
        (b"\xc1", "no msgpack"),
        (STATE + b"\x00", "bytes follow"),
        (b"\x81\x91\x01\x02", "key of type list"),
        (b"\x91" * 5000 + b"\x90", "nested"),
        (b"\xdd\xff\xff\xff\xff", "truncated"),
        (b"\xdb\x00\x00\x00\x02\xff\xfe", "UTF-8"),
        (ext(5, b"cos\nsystem\n(S'true'\ntR."), "type 5"),
        (ext(1, msgpack.write([[1], "object", b"\x80\x04."])), "objects never"),
        (ext(1, msgpack.write([[1], "float32,int8", b"\x00" * 5])), "dtype"),
        (ext(1, msgpack.write([[3], "float32", b"\x00" * 8])), "8 bytes"),
        (ext(1, msgpack.write([[-1], "float32", b"\x00" * 8])), "shape, dtype"),
        (ext(1, msgpack.write([[2**40, 2**40], "float32", b""])), "0 bytes"),
        (ext(2, msgpack.write(["1", 2])), "type 2"),
        (msgpack.write({"__msgpack_chunked_array__": True, "shape": {"0": 4}, "chunks": {}}), "chunked"),
    ],
)
def test_what_does_not_belong_is_refused(data: bytes, match: str) -> None:
    with pytest.raises(InputError, match=match):
        msgpack.read(data)


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**70, np.array([object()])])
def test_what_cannot_be_written(value: object) -> None:
    with pytest.raises(InputError):
        msgpack.write({"x": value})
