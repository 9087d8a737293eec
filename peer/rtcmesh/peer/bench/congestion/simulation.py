"""Bulk flows of two associations each, over one bottleneck, on virtual time: no event loop, no sockets, no DTLS."""

from __future__ import annotations

from math import inf
from random import Random
from typing import NamedTuple, Self

import msgspec

from rtcmesh.netem import Link, LinkConfig
from rtcmesh.peer.sctp import Association, CongestionControl, MessagesReceived, Role, SctpConfig

OVERHEAD_BYTES = 57
"""DTLS 1.2 with AES-GCM, UDP and IPv4 around a packet."""

MESSAGE_BYTES = 16 * 1024
LOW_WATER_BYTES = 128 * 1024
HIGH_WATER_BYTES = 256 * 1024

SAMPLE_SECONDS = 0.01
"""How often the queue is looked at."""


class Datagram(NamedTuple):
    """A packet of one flow on its way."""

    flow: Flow
    to: Association
    payload: bytes

    @property
    def size(self) -> int:
        """Its length with everything around it."""
        return len(self.payload) + OVERHEAD_BYTES

    def contents(self) -> None:
        """See `Carriable`: it has no headers."""

    def damaged(self, random: Random) -> Self:
        """See `Carriable`; no link here damages anything."""
        del random
        return self


class Flow:
    """A client that sends as much as it may, and a server that takes it."""

    def __init__(self, control: CongestionControl, random: Random) -> None:
        self.control = control
        self.client, self.server = (
            Association(SctpConfig(role=role, congestion_control=control), Random(random.getrandbits(64)))
            for role in Role
        )
        self.received_bytes = 0
        """What the server has received in whole messages."""
        self.longest_gap = 0.0
        """The longest time without a message since `forget_gaps`."""
        self._heard_at = inf
        for end in (self.client, self.server):
            end.open_channel(0.0, negotiated_id=0)
        self.client.set_water_marks(0, low_bytes=LOW_WATER_BYTES, high_bytes=HIGH_WATER_BYTES)

    def deadline(self) -> float:
        """When one of both ends is due."""
        due = (self.client.deadline(), self.server.deadline())
        return min(inf if at is None else at for at in due)

    def fill(self, now: float) -> None:
        """Give the client as much as it takes."""
        while self.client.send(0, bytes(MESSAGE_BYTES), now):
            pass

    def take_events(self, now: float) -> None:
        """Note what arrived, and send what there is room for again."""
        if self.client.events():
            self.fill(now)
        for event in self.server.events():
            if isinstance(event, MessagesReceived):
                size = sum(map(len, event.messages))
                self.server.consumed(size, len(event.messages))
                self.received_bytes += size
                self.longest_gap = max(self.longest_gap, now - self._heard_at)
                self._heard_at = now

    def forget_gaps(self, now: float) -> None:
        """Look for the longest gap from now on."""
        self.longest_gap, self._heard_at = 0.0, now


class Simulation:
    """One bottleneck from clients to servers, a way back that only delays and loses, and the flows over both."""

    def __init__(
        self, *, bits_per_second: float, round_trip: float, buffer_round_trips: float, loss: float, seed: int
    ) -> None:
        self.now = 0.0
        self.flows: list[Flow] = []
        """Take one out, and it is gone from now on."""
        self.queue_seconds: list[float] = []
        """How long a new packet would have waited, every `SAMPLE_SECONDS`."""
        self._random = Random(seed)
        self._bytes_per_second = bits_per_second / 8
        delay = round_trip / 2
        self._forward: Link[Datagram] = Link(
            LinkConfig(
                delay=delay,
                loss=loss,
                rate_bytes_per_second=self._bytes_per_second,
                max_queue_bytes=int(self._bytes_per_second * round_trip * buffer_round_trips),
            ),
            Random(self._random.getrandbits(64)),
        )
        self._back: Link[Datagram] = Link(
            LinkConfig(delay=delay, loss=loss), Random(self._random.getrandbits(64))
        )
        self._next_sample_at = 0.0

    @property
    def overflowed(self) -> int:
        """How many packets the bottleneck had no room for."""
        return self._forward.counters.dropped

    def lose(self, loss: float) -> None:
        """Lose this share of the packets from now on, in both directions."""
        for link in (self._forward, self._back):
            link.config = msgspec.structs.replace(link.config, loss=loss)

    def add(self, control: CongestionControl) -> Flow:
        """Let a flow begin now."""
        flow = Flow(control, self._random)
        self.flows.append(flow)
        flow.client.connect(self.now)
        flow.fill(self.now)
        self._drain(flow)
        return flow

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while True:
            at = min(
                self._next_sample_at,
                *(inf if due is None else due for due in (self._forward.deadline(), self._back.deadline())),
                *(flow.deadline() for flow in self.flows),
            )
            if at > until:
                self.now = until
                return
            self.now = max(self.now, at)
            self._step()

    def _step(self) -> None:
        now = self.now
        if now >= self._next_sample_at:
            self._next_sample_at += SAMPLE_SECONDS
            self.queue_seconds.append(self._forward.queued_bytes(now) / self._bytes_per_second)
        for link in (self._forward, self._back):
            for _, datagram in link.arrivals(now):
                if datagram.flow in self.flows:
                    datagram.to.receive_packets([datagram.payload], now)
                    self._drain(datagram.flow)
        for flow in self.flows:
            if flow.deadline() <= now:
                flow.client.handle_timeout(now)
                flow.server.handle_timeout(now)
                self._drain(flow)

    def _drain(self, flow: Flow) -> None:
        now = self.now
        flow.take_events(now)
        for packet in flow.client.packets_to_send(now):
            self._forward.send(Datagram(flow, flow.server, packet), now)
        for packet in flow.server.packets_to_send(now):
            self._back.send(Datagram(flow, flow.client, packet), now)
        flow.take_events(now)
