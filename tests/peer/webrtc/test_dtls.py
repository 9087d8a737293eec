"""DTLS over a network that loses, repeats, reorders and forges datagrams."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.peer.webrtc import records
from rtcmesh.peer.webrtc.certificate import Certificate
from rtcmesh.peer.webrtc.datagrams import MAX_RUN_DATAGRAMS, Datagrams
from rtcmesh.peer.webrtc.description import Fingerprint
from rtcmesh.peer.webrtc.dtls import Dtls, DtlsState

CERTIFICATES = Certificate.create(), Certificate.create()


def one(datagram: bytes) -> Datagrams:
    return Datagrams(datagram, len(datagram) or 1)


class Ends:
    """A client and a server, and the datagrams between them."""

    def __init__(self) -> None:
        ours, theirs = CERTIFICATES
        self.client = Dtls(ours, (theirs.fingerprint,), is_client=True)
        self.server = Dtls(theirs, (ours.fingerprint,), is_client=False)
        self.wire: list[tuple[Dtls, bytes]] = []
        self.now = 0.0

    def start(self) -> None:
        self.server.start(self.now)
        self.client.start(self.now)
        self.collect()

    def other(self, end: Dtls) -> Dtls:
        return self.server if end is self.client else self.client

    def collect(self) -> None:
        for end in (self.client, self.server):
            self.wire += [(self.other(end), datagram) for datagram in end.datagrams_to_send()]

    def deliver(self, index: int = 0, *, keep: bool = False) -> list[bytes]:
        end, datagram = self.wire[index] if keep else self.wire.pop(index)
        packets = end.receive(one(datagram), self.now)
        self.collect()
        return packets

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for end in (self.client, self.server):
            end.handle_timeout(self.now)
        self.collect()

    def connect(self) -> None:
        """Let a perfect network finish the handshake, with our own timers alone."""
        for _ in range(100):
            while self.wire:
                self.deliver()
            if self.client.state is self.server.state is DtlsState.CONNECTED:
                return
            deadlines = [at for end in (self.client, self.server) if (at := end.deadline()) is not None]
            assert deadlines, "nobody would ever do anything again"
            self.pass_time(max(0.0, min(deadlines) - self.now))
        pytest.fail("the handshake does not end")


def connected() -> Ends:
    ends = Ends()
    ends.start()
    ends.connect()
    return ends


def cross(sender: Dtls, receiver: Dtls, packets: list[bytes]) -> list[bytes]:
    return [packet for run in sender.seal(packets) for packet in receiver.receive(run, 0.0)]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["deliver", "drop", "repeat", "wait"]), st.integers(0, 50)), max_size=40
    )
)
def test_a_handshake_survives_whatever_a_network_does(steps: list[tuple[str, int]]) -> None:
    ends = Ends()
    ends.start()
    for step, number in steps:
        if step == "wait":
            ends.pass_time(number / 100)
        elif ends.wire:
            index = number % len(ends.wire)
            if step == "drop":
                ends.wire.pop(index)
            else:
                ends.deliver(index, keep=step == "repeat")
    ends.connect()
    assert cross(ends.client, ends.server, [b"there"]) == [b"there"]
    assert cross(ends.server, ends.client, [b"back"]) == [b"back"]


def test_a_lost_flight_costs_a_tenth_of_a_second() -> None:
    for lost in range(4):
        ends = Ends()
        ends.start()
        for number in range(20):
            if not ends.wire:
                break
            if number == lost:
                ends.wire.clear()
            else:
                ends.deliver()
        ends.connect()
        assert ends.now <= 0.11, f"flight {lost}"


@given(st.lists(st.integers(1, 2_000), min_size=1, max_size=200))
def test_packets_of_any_size_cross_in_order(sizes: list[int]) -> None:
    ends = connected()
    packets = [Random(size).randbytes(size) for size in sizes]
    runs = ends.client.seal(packets)
    assert [packet for run in runs for packet in ends.server.receive(run, 0.0)] == packets
    for run in runs:
        assert run.count <= MAX_RUN_DATAGRAMS
        assert len(run.data) <= 65_507


@settings(max_examples=60)
@given(st.data())
def test_what_is_not_authentic_changes_nothing(data: st.DataObject) -> None:
    ends = connected()
    (run,) = ends.client.seal([b"a" * 50, b"b" * 50, b"c" * 50])
    genuine = list(run.split())
    forged = bytearray(genuine[1])
    for _ in range(data.draw(st.integers(1, 4))):
        forged[data.draw(st.integers(0, len(forged) - 1))] ^= data.draw(st.integers(1, 255))
    batch = b"".join([genuine[0], bytes(forged), genuine[2]])
    received = ends.server.receive(Datagrams(batch, run.size_bytes), 0.0)
    assert received in ([b"a" * 50, b"c" * 50], [b"a" * 50, b"b" * 50, b"c" * 50])
    assert received[1] != b"b" * 50 or bytes(forged) == genuine[1]
    assert cross(ends.client, ends.server, [b"still here"]) == [b"still here"]


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_any_bytes_are_harmless_once_connected(datagrams: list[bytes]) -> None:
    ends = connected()
    for datagram in datagrams:
        assert ends.server.receive(one(datagram), 0.0) == []
    assert ends.server.state is DtlsState.CONNECTED
    assert cross(ends.client, ends.server, [b"still here"]) == [b"still here"]


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_any_bytes_in_the_handshake_end_in_a_state_that_says_so(datagrams: list[bytes]) -> None:
    ends = Ends()
    ends.start()
    for datagram in datagrams:
        for end in (ends.client, ends.server):
            assert end.receive(one(datagram), 0.0) == []
    for end in (ends.client, ends.server):
        assert end.state in (DtlsState.HANDSHAKING, DtlsState.FAILED)
        assert (end.state is DtlsState.FAILED) == bool(end.reason)


def test_records_are_not_opened_twice() -> None:
    ends = connected()
    (run,) = ends.client.seal([b"once"])
    assert ends.server.receive(run, 0.0) == [b"once"]
    assert ends.server.receive(run, 0.0) == []


def test_another_certificate_than_announced_is_refused() -> None:
    ours, theirs = CERTIFICATES
    ends = Ends()
    ends.client = Dtls(ours, (ours.fingerprint,), is_client=True)
    ends.start()
    while ends.wire:
        ends.deliver()
    assert ends.client.state is DtlsState.FAILED
    assert "certificate" in ends.client.reason
    assert ends.client.seal([b"secret"]) == []
    assert theirs.fingerprint != ours.fingerprint


def test_a_fingerprint_nobody_can_check_vouches_for_nothing() -> None:
    ours, theirs = CERTIFICATES
    ends = Ends()
    ends.client = Dtls(ours, (Fingerprint("md5", b"1" * 16),), is_client=True)
    ends.start()
    while ends.wire:
        ends.deliver()
    assert ends.client.state is DtlsState.FAILED
    assert theirs.fingerprint.algorithm == "sha-256"


def test_the_other_end_learns_of_the_end() -> None:
    ends = connected()
    ends.server.shutdown()
    ends.collect()
    assert ends.deliver() == []
    assert ends.client.state is DtlsState.CLOSED
    assert ends.client.seal([b"too late"]) == []


def test_a_finished_server_does_not_repeat_itself_for_ever() -> None:
    ends = Ends()
    ends.start()
    ends.deliver()
    while ends.wire and ends.wire[0][0] is ends.client:
        ends.deliver()
    finished = ends.wire[0][1]
    while ends.wire:
        ends.deliver()
    sent = 0
    for _ in range(100):
        ends.server.receive(one(finished), 0.0)
        sent += len(ends.server.datagrams_to_send())
    assert 0 < sent < 50
    cross(ends.client, ends.server, [b"data: the client is done"] * 2)
    ends.server.receive(one(finished), 0.0)
    assert ends.server.datagrams_to_send() == []


def test_without_the_private_names_of_pyopenssl_it_only_takes_longer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    records.is_fast.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(records, "_lib", None)
        assert not records.is_fast()
        assert "pyOpenSSL" in caplog.text
        ends = connected()
        packets = [bytes([number]) * 1_000 for number in range(100)]
        assert cross(ends.client, ends.server, packets) == packets
        ends.server.shutdown()
        ends.collect()
        ends.deliver()
        assert ends.client.state is DtlsState.CLOSED
    records.is_fast.cache_clear()
    assert records.is_fast()


def test_seals_runs_that_the_kernel_can_cut() -> None:
    ends = connected()
    runs = ends.client.seal([bytes(1_188)] * 100 + [bytes(30), bytes(1_188)])
    assert [run.count for run in runs] == [51, 50, 1]
    assert len(runs[0].data) == 51 * runs[0].size_bytes
