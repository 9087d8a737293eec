"""Datagrams without ICE, DTLS or SCTP, on the same socket: the limit that any protocol above them has."""

from __future__ import annotations

import asyncio

from rtcmesh.peer.bench.data.stack import StackListener
from rtcmesh.peer.webrtc.datagram_socket import Address, DatagramSocket, DatagramsProtocol
from rtcmesh.peer.webrtc.datagrams import Datagrams

DATAGRAM_BYTES = 1_200

ADDRESS = "127.0.0.1"


class PlainUdp(DatagramsProtocol):
    """See `Stack`; what one has to say for a description is a port. What the kernel drops is lost."""

    def __init__(self, listener: StackListener, *, segments: bool) -> None:
        self._listener = listener
        self._step = DATAGRAM_BYTES if not segments else None
        self._loop = asyncio.get_running_loop()
        self._socket = DatagramSocket.bind(self._loop, ADDRESS, self)
        self._remote: Address | None = None

    @property
    def buffered_amount(self) -> int:
        """The kernel takes what it can, and drops the rest."""
        return 0

    async def offer(self) -> str:
        """See `Stack`."""
        return str(self._socket.get_extra_info("sockname")[1])

    async def answer(self, offer: str) -> str:
        """See `Stack`."""
        await self.accept(offer)
        return await self.offer()

    async def accept(self, answer: str) -> None:
        """See `Stack`."""
        self._remote = ADDRESS, int(answer)
        self._loop.call_soon(self._listener.opened)  # after the description was said

    def send(self, data: bytes) -> None:
        """Send a message as a run of datagrams, at once or one by one."""
        assert self._remote is not None, "it is open"
        for start in range(0, len(data), self._step or len(data)):
            piece = data[start : start + self._step] if self._step else data
            self._socket.send(Datagrams(piece, DATAGRAM_BYTES), self._remote)

    async def close(self) -> None:
        """See `Stack`."""
        self._socket.close()

    def datagrams_received(self, datagrams: Datagrams, addr: Address) -> None:
        """Count a run of datagrams as one message."""
        del addr
        self._listener.message(bytes(datagrams.data))


def make(listener: StackListener) -> PlainUdp:
    """One datagram for each system call."""
    return PlainUdp(listener, segments=False)


def make_segmented(listener: StackListener) -> PlainUdp:
    """As many as the kernel cuts from one buffer."""
    return PlainUdp(listener, segments=True)
