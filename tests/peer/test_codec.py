from __future__ import annotations

import contextlib
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer import codec
from rtcmesh.peer.errors import NotDecodable, NotEncodable

JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


class Pose(msgspec.Struct):
    x: float
    y: float


@given(JSON_LIKE)
def test_values_come_back_as_they_were_sent(value: object) -> None:
    assert codec.decoder()(codec.encode(value)) == value


def test_bytes_and_text_keep_their_kind() -> None:
    decode = codec.decoder()
    assert decode(codec.encode(b"\x00\xff")) == b"\x00\xff"
    assert decode(codec.encode(bytearray(b"ab"))) == b"ab"
    assert decode(codec.encode(memoryview(b"abcd")[::2])) == b"ac"
    assert decode(codec.encode("grüß")) == "grüß"


def test_a_typed_channel_gives_the_type() -> None:
    assert codec.decoder(Pose)(codec.encode(Pose(1, 2))) == Pose(1, 2)
    assert codec.decoder(Pose)(codec.encode({"x": 1, "y": 2})) == Pose(1, 2)
    assert codec.decoder(str)(codec.encode("text")) == "text"
    assert codec.decoder(bytes)(codec.encode(b"data")) == b"data"


@pytest.mark.parametrize("value", [{"x": "no number", "y": 1}, "text", b"bytes", [1, 2], None])
def test_a_typed_channel_refuses_what_is_not_of_the_type(value: object) -> None:
    with pytest.raises(NotDecodable):
        codec.decoder(Pose)(codec.encode(value))


@pytest.mark.parametrize("value", [object(), math.cos, 2**64, "\ud800", {"deep": object()}])
def test_what_cannot_be_carried_is_named(value: object) -> None:
    with pytest.raises(NotEncodable):
        codec.encode(value)


@given(st.binary(max_size=100))
def test_any_payload_decodes_or_raises_the_typed_error(payload: bytes) -> None:
    for expected in (codec.decoder(), codec.decoder(Pose), codec.decoder(str), codec.decoder(dict)):
        with contextlib.suppress(NotDecodable):
            expected(payload)


def test_deep_nesting_is_refused_and_does_not_crash() -> None:
    for payload in (b"\x02" + b"\x91" * 60_000, b"\x02" + b"\x81\xa1a" * 20_000):
        with pytest.raises(NotDecodable):
            codec.decoder()(payload)
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(NotEncodable):
        codec.encode(nested)
