"""The batched socket, over the loopback interface: with segmentation offload, and where the kernel refuses it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable

import pytest

from rtcmesh.netem import VirtualEventLoop
from rtcmesh.peer.webrtc.datagram_socket import (
    MAX_QUEUED_BYTES,
    DatagramSocket,
    DatagramsProtocol,
    supports_batches,
)
from rtcmesh.peer.webrtc.datagrams import Datagrams


class Receiver(DatagramsProtocol):
    """Writes down every datagram, and how many came with each call."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self.runs: list[int] = []
        self.errors: list[Exception] = []
        self.changed = asyncio.Event()
        self.lost = asyncio.Event()

    def datagrams_received(self, datagrams: Datagrams, addr: tuple[str, int]) -> None:
        assert addr[1]
        self.datagrams += datagrams.split()
        self.runs.append(datagrams.count)
        self.changed.set()

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        assert exc is None
        self.lost.set()

    async def wait_for(self, count: int) -> None:
        while len(self.datagrams) < count:
            self.changed.clear()
            await self.changed.wait()


Control = list[tuple[int, int, bytes]]


class Refusing(socket.socket):
    """A socket on a route that does not segment."""

    refusals = 0
    error = errno.EIO

    def sendmsg(  # type: ignore[override]
        self, buffers: list[bytes], control: Control, flags: int, addr: tuple[str, int]
    ) -> int:
        self.refusals += 1
        raise OSError(self.error, os.strerror(self.error))


class Stuck(socket.socket):
    """A socket whose buffer is full until it is let go."""

    full = True

    def sendto(self, data: bytes, addr: tuple[str, int]) -> int:  # type: ignore[override]
        if self.full:
            raise BlockingIOError
        return super().sendto(data, addr)


def pair(
    kind: Callable[..., socket.socket] = socket.socket, address: str = "127.0.0.1"
) -> tuple[DatagramSocket, DatagramSocket, Receiver]:
    loop = asyncio.get_running_loop()
    receiver = Receiver()
    receiving = DatagramSocket.bind(loop, address, receiver)
    sock = kind(receiving.get_extra_info("socket").family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((address, 0))
    return DatagramSocket(loop, sock, Receiver()), receiving, receiver


async def close(*sockets: DatagramSocket) -> None:
    for each in sockets:
        each.close()
        each.close()
        protocol = each.get_protocol()
        assert isinstance(protocol, Receiver)
        await protocol.lost.wait()


RUNS = [
    Datagrams(b"".join(bytes([number]) * 1_200 for number in range(50)), 1_200),
    Datagrams(b"a" * 300 + b"b" * 300 + b"c" * 7, 300),
    Datagrams(b"alone", 5),
    Datagrams(b"x" * 15_000 + b"y" * 15_000, 15_000),
]


def split(runs: list[Datagrams]) -> list[bytes]:
    return [datagram for run in runs for datagram in run.split()]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_runs_arrive_as_the_datagrams_that_they_are(address: str) -> None:
    sending, receiving, receiver = pair(address=address)
    for run in RUNS:
        sending.send(run, receiving.get_extra_info("sockname")[:2])
    await receiver.wait_for(len(split(RUNS)))
    assert receiver.datagrams == split(RUNS)
    if sys.platform == "linux":
        assert max(receiver.runs) > 1, "the kernel joins what arrives together"
    await close(sending, receiving)


@pytest.mark.parametrize("error", [errno.EIO, errno.EINVAL])
async def test_where_the_kernel_does_not_segment_datagrams_go_one_by_one(error: int) -> None:
    sending, receiving, receiver = pair(Refusing)
    sock = sending.get_extra_info("socket")
    sock.error = error
    for run in RUNS:
        sending.send(run, receiving.get_extra_info("sockname"))
    await receiver.wait_for(len(split(RUNS)))
    assert receiver.datagrams == split(RUNS)
    assert sock.refusals == (sys.platform == "linux"), "it is not asked again"
    await close(sending, receiving)


async def test_what_the_kernel_does_not_take_waits_in_order_and_within_bounds() -> None:
    sending, receiving, receiver = pair(Stuck)
    addr = receiving.get_extra_info("sockname")
    run = Datagrams(bytes(1_000), 1_000)
    fits = MAX_QUEUED_BYTES // 1_000
    for number in range(fits + 10):
        sending.send(Datagrams(number.to_bytes(4, "big") * 250, 1_000), addr)
    assert sending.dropped == 10
    await asyncio.sleep(0)
    sending.get_extra_info("socket").full = False
    await receiver.wait_for(fits)
    assert [int.from_bytes(datagram[:4], "big") for datagram in receiver.datagrams] == list(range(fits))
    sending.send(run, addr)
    await receiver.wait_for(fits + 1)
    await close(sending, receiving)


async def test_a_datagram_that_is_too_large_is_lost_and_nothing_else_happens() -> None:
    sending, receiving, receiver = pair()
    addr = receiving.get_extra_info("sockname")
    sending.send(Datagrams(bytes(70_000), 70_000), addr)
    sending.sendto(b"small", addr)
    await receiver.wait_for(1)
    assert receiver.datagrams == [b"small"]
    await close(sending, receiving)


async def test_an_empty_datagram_is_nobodys() -> None:
    sending, receiving, receiver = pair()
    addr = receiving.get_extra_info("sockname")
    sending.sendto(b"", addr)
    sending.sendto(b"full", addr)
    await receiver.wait_for(1)
    assert receiver.datagrams == [b"full"]
    await close(sending, receiving)


async def test_after_closing_nothing_is_sent() -> None:
    sending, receiving, receiver = pair()
    addr = receiving.get_extra_info("sockname")
    await close(sending)
    assert sending.is_closing()
    sending.send(RUNS[0], addr)
    sending.sendto(b"too late", addr)
    await close(receiving)
    assert receiver.datagrams == []


async def test_an_address_of_somebody_else_cannot_be_bound() -> None:
    with pytest.raises(OSError):  # noqa: PT011
        DatagramSocket.bind(asyncio.get_running_loop(), "198.51.100.1", Receiver())


async def test_real_loops_have_real_sockets_and_virtual_ones_do_not() -> None:
    virtual = VirtualEventLoop()
    try:
        assert supports_batches(asyncio.get_running_loop())
        assert not supports_batches(virtual)
    finally:
        virtual.close()
