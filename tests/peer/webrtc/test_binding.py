"""STUN bindings that are prepared: the same bytes as aioice's, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.webrtc.binding import Bindings, transaction_id_of

ANN, BOB = ("annu", "a" * 22), ("bobu", "b" * 22)
PRIORITY, TIE_BREAKER = 0x6EFF_FFFF, 2**63 + 5
ID = bytes(range(12))


def bindings(local: tuple[str, str] = ANN, remote: tuple[str, str] = BOB) -> Bindings:
    return Bindings(local=local, remote=remote, priority=PRIORITY, tie_breaker=TIE_BREAKER)


def theirs(
    attributes: Mapping[str, object],
    *,
    password: str = ANN[1],
    message_class: stun.Class = stun.Class.REQUEST,
    method: stun.Method = stun.Method.BINDING,
) -> bytes:
    """Return a message as aioice makes it."""
    message = stun.Message(method, message_class, transaction_id=ID)
    message.attributes = dict(attributes)
    message.add_message_integrity(password.encode())
    return bytes(message)


def asking(more: Mapping[str, object] | None = None, *, password: str = ANN[1]) -> bytes:
    """Return a request of Bob's."""
    usual = {"USERNAME": "annu:bobu", "PRIORITY": PRIORITY, "ICE-CONTROLLED": TIE_BREAKER}
    return theirs({**usual, **(more or {})}, password=password)


@pytest.mark.parametrize("is_controlling", [True, False])
def test_a_request_is_the_one_that_aioice_makes(is_controlling: bool) -> None:
    role = "ICE-CONTROLLING" if is_controlling else "ICE-CONTROLLED"
    expected = theirs({"USERNAME": "bobu:annu", "PRIORITY": PRIORITY, role: TIE_BREAKER}, password=BOB[1])
    request = bindings().request(ID, is_controlling=is_controlling)
    assert request == expected
    assert transaction_id_of(request) == ID
    assert bindings(BOB, ANN).is_request(request, is_controlling=not is_controlling)


@given(
    transaction_id=st.binary(min_size=12, max_size=12),
    host=st.ip_addresses().map(str),
    port=st.integers(1, 65_535),
)
def test_a_response_is_the_one_that_aioice_makes(transaction_id: bytes, host: str, port: int) -> None:
    message = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=transaction_id)
    message.attributes["XOR-MAPPED-ADDRESS"] = (host, port)
    message.add_message_integrity(ANN[1].encode())
    response = bindings().response(transaction_id, host, port)
    assert response == bytes(message)
    assert bindings(BOB, ANN).is_response(response)
    assert not bindings().is_response(response)


def test_a_request_that_wants_more_than_an_answer_is_none() -> None:
    ann = bindings()
    assert ann.is_request(asking(), is_controlling=True)
    assert not ann.is_request(asking(), is_controlling=False), "both would be in the same role"
    assert not ann.is_request(asking({"USE-CANDIDATE": None}), is_controlling=True)
    assert not ann.is_request(asking({"CHANGE-REQUEST": 1}), is_controlling=True), "not understood"
    assert ann.is_request(asking({"SOFTWARE": "aabbc"}), is_controlling=True), "may be ignored"


def test_who_is_not_the_other_end_is_not_answered() -> None:
    ann = bindings()
    assert not ann.is_request(asking(password="x" * 22), is_controlling=True)
    assert not ann.is_request(asking({"USERNAME": "annu:evil"}), is_controlling=True)
    assert not ann.is_request(asking({"USERNAME": "annu:bobu:"}), is_controlling=True)
    assert not ann.is_request(theirs({"PRIORITY": 1}), is_controlling=True)
    assert not ann.is_request(theirs({}, method=stun.Method.ALLOCATE), is_controlling=True)


@pytest.mark.parametrize("message_class", [stun.Class.ERROR, stun.Class.INDICATION, stun.Class.REQUEST])
def test_only_a_response_is_one(message_class: stun.Class) -> None:
    error = {"ERROR-CODE": (487, "Role Conflict")}
    assert not bindings().is_response(theirs(error, password=BOB[1], message_class=message_class))


def test_without_a_seal_or_with_another_one_it_is_none() -> None:
    plain = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=ID)
    plain.attributes["XOR-MAPPED-ADDRESS"] = ("10.0.0.1", 1)
    plain.add_fingerprint()
    assert not bindings().is_response(bytes(plain))


@given(st.data())
def test_a_changed_message_is_none(data: st.DataObject) -> None:
    ann, bob = bindings(), bindings(BOB, ANN)
    for message in (bob.request(ID, is_controlling=False), bob.response(ID, "10.0.0.1", 5000)):
        offset = data.draw(st.integers(0, len(message) - 1))
        changed = bytearray(message)
        changed[offset] ^= data.draw(st.integers(1, 255))
        length = data.draw(st.integers(0, len(message) - 1))
        for each in (bytes(changed), message[:length], message + b"\0" * 4):
            assert not ann.is_request(each, is_controlling=True)
            assert not ann.is_response(each)


@given(attributes=st.binary(max_size=100), is_controlling=st.booleans())
def test_the_other_end_may_say_what_it_likes(attributes: bytes, is_controlling: bool) -> None:
    """Whoever knows the password may put anything into a message."""

    class Raw(stun.Message):
        def __bytes__(self) -> bytes:
            whole = super().__bytes__()
            body = attributes + whole[20:]
            return whole[:2] + len(body).to_bytes(2, "big") + whole[4:20] + body

    message = Raw(stun.Method.BINDING, stun.Class.REQUEST, transaction_id=ID)
    message.add_message_integrity(ANN[1].encode())
    assert not bindings().is_request(bytes(message), is_controlling=is_controlling)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_binding(message: bytes) -> None:
    assert not bindings().is_request(message, is_controlling=True)
    assert not bindings().is_response(message)
