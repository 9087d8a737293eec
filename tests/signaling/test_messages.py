"""The codec: any bytes either decode or raise the protocol error, and what was encoded comes back."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.codes import CloseCode, LeaveReason, NackCode, RefusalCode
from rtcmesh.signaling.errors import InvalidPresence, ProtocolError
from rtcmesh.signaling.messages import (
    MAX_PRESENCE_DEPTH,
    Ack,
    Draining,
    IceServer,
    IceServersRenewed,
    Join,
    Leave,
    PeerJoined,
    PeerLeft,
    PeerMessage,
    Ping,
    Pong,
    Refused,
    Resume,
    SendSignal,
    ServerMessage,
    SetPresence,
    Signal,
    Welcome,
    decode_peer,
    decode_server,
    encode,
    is_room_name,
    json_schema,
    presence_bytes,
)
from rtcmesh.signaling.messages import Member as WireMember
from support.members import Member

ALICE = Member(number=1)
ONE_OF_EACH: list[ServerMessage | PeerMessage] = [
    Welcome(
        epoch="e",
        offset=3,
        resumed=False,
        members=(WireMember(peer_id=ALICE.peer_id, prekey=ALICE.prekey, presence={"a": [1, None]}),),
        ice_servers=(IceServer(urls=("turn:a",), username="u", credential="c"),),
        resume_token="t",
        heartbeat=10.0,
    ),
    Refused(code=RefusalCode.ROOM_FULL, message="no", retry_after=1.5),
    PeerJoined(offset=1, member=WireMember(peer_id=ALICE.peer_id, prekey=ALICE.prekey)),
    PeerLeft(offset=2, peer_id=ALICE.peer_id, reason=LeaveReason.EXPIRED),
    Signal(offset=4, sender=ALICE.peer_id, id=1, sealed=b"\x00\xff"),
    Ack(id=1),
    Pong(),
    IceServersRenewed(ice_servers=()),
    Draining(reconnect_in=0.5, alternatives=("http://other",)),
    Join(
        room="r",
        peer_id=ALICE.peer_id,
        prekey=ALICE.prekey,
        proof=b"p",
        token="t",
        presence={},
        resume=Resume(epoch="e", offset=3, token="t"),
    ),
    SendSignal(to=ALICE.peer_id, id=1, sealed=b""),
    SetPresence(presence={"name": "Алиса"}),
    Leave(),
    Ping(),
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_as_it_was(message: ServerMessage | PeerMessage) -> None:
    decode = decode_peer if isinstance(message, PeerMessage) else decode_server
    assert decode(encode(message)) == message
    assert b"\n" not in encode(message)


@given(st.binary())
def test_any_bytes_decode_or_raise_the_protocol_error(frame: bytes) -> None:
    for decode in (decode_server, decode_peer):
        with pytest.raises(ProtocolError):
            decode(frame)


@given(st.text(st.characters(codec=None)))
def test_any_text_decodes_or_raises_the_protocol_error(text: str) -> None:
    for decode in (decode_server, decode_peer):
        with pytest.raises(ProtocolError):
            decode(text.encode(errors="surrogatepass"))


@given(st.sampled_from(ONE_OF_EACH), st.data())
def test_a_message_with_any_field_changed_decodes_or_raises(
    message: ServerMessage | PeerMessage, data: st.DataObject
) -> None:
    fields = msgspec.json.decode(encode(message), type=dict[str, object])
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(JSON)
    frame = json.dumps(fields).encode()
    for decode in (decode_server, decode_peer):
        try:
            decoded = decode(frame)
        except ProtocolError:
            continue
        assert decode(encode(decoded)) == decoded, "what was accepted can be passed on"


@given(st.sampled_from(ONE_OF_EACH), st.dictionaries(st.text(), JSON, max_size=3))
def test_unknown_fields_are_ignored(message: ServerMessage | PeerMessage, extra: dict[str, object]) -> None:
    fields = msgspec.json.decode(encode(message), type=dict[str, object])
    unknown = {f"{key}?": value for key, value in extra.items()}
    decode = decode_peer if isinstance(message, PeerMessage) else decode_server
    assert decode(json.dumps({**unknown, **fields}).encode()) == message


def test_nesting_without_end_is_a_protocol_error() -> None:
    nested = "[" * 100_000
    for frame in (f'{{"type":"presence","presence":{{"a":{nested}', nested):
        with pytest.raises(ProtocolError):
            decode_peer(frame.encode())


def test_a_refusal_of_a_newer_server_is_understood_as_unknown() -> None:
    refused = decode_server(b'{"type":"refused","code":"banned","message":"go away"}')
    assert refused == Refused(code=RefusalCode.UNKNOWN, message="go away")
    assert not RefusalCode.UNKNOWN.final


def test_every_code_has_a_meaning_and_a_close_code_of_its_own() -> None:
    close_codes = [code.close_code for code in RefusalCode] + [code.value for code in CloseCode]
    assert len(set(close_codes)) == len(close_codes)
    assert all(4000 <= code.close_code < 5000 for code in RefusalCode)
    assert all(code.meaning for code in (*RefusalCode, *NackCode))
    for code in RefusalCode:
        assert RefusalCode.from_close_code(code.close_code) is code
    assert RefusalCode.from_close_code(1000) is None


def test_a_presence_is_bounded_in_depth() -> None:
    presence: dict[str, object] = {}
    for _ in range(MAX_PRESENCE_DEPTH - 1):
        presence = {"a": [presence]} if len(presence) > 1 else {"a": presence}
    assert presence_bytes(presence) > 0
    with pytest.raises(InvalidPresence, match="deeper"):
        presence_bytes({"a": presence})


@pytest.mark.parametrize("value", [object(), {1: {2: object()}}, lambda: None])
def test_a_presence_holds_json_only(value: object) -> None:
    with pytest.raises(InvalidPresence):
        presence_bytes({"a": value})


def test_room_names_are_short_and_plain() -> None:
    assert all(is_room_name(name) for name in ("a", "team:7", "x" * 128, "a.b_c~d@e-f"))
    assert not any(is_room_name(name) for name in ("", "x" * 129, "a b", "a/b", "é", "a\n", "{a}"))


def test_the_schema_names_every_message_and_is_json() -> None:
    schema = json.loads(json.dumps(json_schema()))
    for message in ONE_OF_EACH:
        assert type(message).__name__ in schema["$defs"]
    for union in ("ServerMessage", "PeerMessage"):
        assert schema["$defs"][union]["discriminator"]["propertyName"] == "type"
