"""The STUN codec: what it writes it reads, and any bytes either decode or are refused."""

from __future__ import annotations

import contextlib

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.stun import BadBinding, BindingRequest, BindingResponse, answer

addresses = st.ip_addresses().map(str)
endpoints = st.builds(Endpoint, addresses, st.integers(0, 65535))
transactions = st.binary(min_size=12, max_size=12)
requests = st.builds(
    BindingRequest, transaction=transactions, change_address=st.booleans(), change_port=st.booleans()
)
responses = st.builds(
    BindingResponse,
    transaction=transactions,
    mapped=endpoints,
    origin=st.none() | endpoints,
    other=st.none() | endpoints,
)

HERE = Endpoint("203.0.113.1", 3478)
OTHER = Endpoint("203.0.113.2", 3479)


@given(requests, responses)
def test_messages_come_back_as_they_were(request: BindingRequest, response: BindingResponse) -> None:
    assert BindingRequest.decode(request.encode()) == request
    assert BindingResponse.decode(response.encode()) == response


@given(responses)
def test_another_implementation_reads_the_same_address(response: BindingResponse) -> None:
    read = stun.parse_message(response.encode())
    assert read.message_class is stun.Class.RESPONSE
    assert read.transaction_id == response.transaction
    assert Endpoint(*read.attributes["XOR-MAPPED-ADDRESS"]) == response.mapped


def test_requests_of_another_implementation_are_answered() -> None:
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    answered = answer(bytes(request), OTHER, HERE, None)
    assert answered is not None
    assert answered[0] == HERE
    assert BindingResponse.decode(answered[1]).mapped == OTHER


@given(st.binary(max_size=80) | requests.map(BindingRequest.encode), st.data())
def test_any_bytes_decode_or_are_refused(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data)
    if damaged:
        damaged[draw.draw(st.integers(0, len(damaged) - 1))] ^= draw.draw(st.integers(0, 255))
    for decode in (BindingRequest.decode, BindingResponse.decode):
        with contextlib.suppress(BadBinding):
            decode(bytes(damaged))
    answer(bytes(damaged), OTHER, HERE, OTHER)


@pytest.mark.parametrize(
    ("change_address", "change_port", "sender"),
    [
        (False, False, HERE),
        (False, True, Endpoint(HERE.address, OTHER.port)),
        (True, False, Endpoint(OTHER.address, HERE.port)),
        (True, True, OTHER),
    ],
)
def test_the_answer_comes_from_where_it_was_asked_for(
    sender: Endpoint, *, change_address: bool, change_port: bool
) -> None:
    request = BindingRequest(transaction=bytes(12), change_address=change_address, change_port=change_port)
    answered = answer(request.encode(), Endpoint("198.18.0.2", 9), HERE, OTHER)
    assert answered is not None
    assert answered[0] == BindingResponse.decode(answered[1]).origin == sender
    alone = answer(request.encode(), Endpoint("198.18.0.2", 9), HERE, None)
    assert (alone is None) == (change_address or change_port)
