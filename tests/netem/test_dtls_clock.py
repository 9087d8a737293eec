"""Handshakes on virtual time know nothing of the real clock, however slow the machine is."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rtcmesh.netem import virtual_webrtc
from rtcmesh.netem.virtual.loop import running_virtual_loop
from rtcmesh.peer.webrtc.certificate import process_certificate
from rtcmesh.peer.webrtc.datagrams import Datagrams
from rtcmesh.peer.webrtc.dtls import Dtls, DtlsState
from support.virtual import on_virtual_time

LONGER_THAN_OPENSSL_WAITS = 1.1


@pytest.mark.parametrize("slow_step", range(4))
@on_virtual_time
async def test_openssl_repeats_nothing_because_real_seconds_passed(slow_step: int) -> None:
    certificate = process_certificate()
    flights: list[int] = []
    with virtual_webrtc():
        client, server = (
            Dtls(certificate, (certificate.fingerprint,), is_client=is_client) for is_client in (True, False)
        )
        for end in (client, server):
            end.start(0.0)
        sender, receiver = client, server
        for step in range(4):
            datagrams = sender.datagrams_to_send()
            flights.append(len(datagrams))
            if step == slow_step:
                stand_still = threading.Event().wait
                await running_virtual_loop().run_in_executor(None, stand_still, LONGER_THAN_OPENSSL_WAITS)
            for datagram in datagrams:
                receiver.receive(Datagrams(datagram, len(datagram)), asyncio.get_running_loop().time())
            sender, receiver = receiver, sender
    assert client.state is server.state is DtlsState.CONNECTED
    assert client.datagrams_to_send() == server.datagrams_to_send() == []
    assert flights == [1, 1, 1, 1]
