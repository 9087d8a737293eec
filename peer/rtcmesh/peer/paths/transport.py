"""The seam to whatever carries packets between two peers.

A transport is one attempt: negotiated once, opened once, closed once, never used again. It has two lanes, both
there from the moment it opens: *packets* are reliable and ordered, *datagrams* are unordered and never retransmitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rtcmesh.peer.stats import TransportStats
from rtcmesh.signaling.messages import IceServer

HIGH_WATER_BYTES = 64 * 1024
"""Packets are handed to a transport while it has buffered less than this."""

LOW_WATER_BYTES = 16 * 1024
"""A transport that was above this calls `transport_writable` when it falls to it."""


class TransportSink(Protocol):
    """Where a transport reports. Installed before the transport exists, so nothing can come too early.

    Every method is called from the event loop's thread, in the order in which things happened, never from within a call
    of the transport, and does not raise.
    """

    def transport_opened(self) -> None:
        """Both lanes take packets: the remote end has answered. Called at most once, and before any packet.

        What is sent now arrives, or `transport_closed` follows; a transport whose handshake has room for it may send it
        before the remote end is open as well.
        """
        ...

    def candidate_gathered(self, candidate: str) -> None:
        """A local candidate was found after the description was made (RFC 8838); `candidate` is an SDP value.

        The empty string says that there are no more.
        """
        ...

    def packet_received(self, packet: bytes) -> None:
        """A packet of the reliable lane arrived."""
        ...

    def datagram_received(self, datagram: bytes) -> None:
        """A packet of the unreliable lane arrived."""
        ...

    def transport_writable(self) -> None:
        """`buffered_amount` fell to the low-water mark after it had been above it."""
        ...

    def transport_closed(self, reason: str) -> None:
        """The transport failed or the remote end closed it. Nothing follows; never called after `close`."""
        ...


class Transport(Protocol):
    """One attempt at a path, owned by one task that always ends it with `close`."""

    @property
    def buffered_amount(self) -> int:
        """Bytes of packets accepted by `send` and not yet handed to the network."""
        ...

    async def create_offer(self) -> str:
        """Return the local description with the candidates that are known at once. Raises `TransportFailed`."""
        ...

    async def create_answer(self, offer: str) -> str:
        """Apply a remote offer and return the local description. Raises `TransportFailed`."""
        ...

    async def accept_answer(self, answer: str) -> None:
        """Apply the remote answer to our offer. Raises `TransportFailed`."""
        ...

    async def add_candidate(self, candidate: str) -> None:
        """Add a remote candidate after the remote description; empty: no more follow. Raises `TransportFailed`."""
        ...

    def send(self, packet: bytes) -> None:
        """Queue a packet on the reliable lane. Never blocks; dropped when the transport is not open."""
        ...

    def send_datagram(self, datagram: bytes) -> None:
        """Send a packet on the unreliable lane. Dropped when the transport is not open."""
        ...

    async def close(self) -> None:
        """Deliver what was sent if the remote end still answers, and release everything. Idempotent, never raises."""
        ...

    def stats(self) -> TransportStats | None:
        """Return figures about the connection; None if there is nothing to tell."""
        ...


class TransportFactory(Protocol):
    """Makes the transport of one attempt."""

    def __call__(self, sink: TransportSink, ice_servers: Sequence[IceServer]) -> Transport:
        """Return a transport that reports to `sink`. Does no I/O yet."""
        ...
