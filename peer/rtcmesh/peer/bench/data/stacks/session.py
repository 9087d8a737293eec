"""This library's session on its transport: what an application's messages go through, without a mesh around it."""

from __future__ import annotations

import asyncio
import secrets

from rtcmesh.peer.alarm import Alarm
from rtcmesh.peer.bench.data.stack import HIGH_WATER_BYTES, StackListener
from rtcmesh.peer.config import MeshConfig
from rtcmesh.peer.paths.transport import HIGH_WATER_BYTES as ROOM_BYTES
from rtcmesh.peer.session.session import Session
from rtcmesh.peer.session.session_events import CreditGrew, MessagesReceived

from .ours import make as make_ours

LABEL = "bench"
PATH = 1


class OverSession:
    """See `Stack`. What is sent within one turn of the loop shares packets, as the session has it."""

    def __init__(self, listener: StackListener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._session = Session(secrets.randbits(32) << 32 | 1, window=MeshConfig().channel_window_bytes)
        self._accept = self._session.channel(LABEL).accept
        beneath = StackListener()
        beneath.opened = self._open
        beneath.message = self._receive
        beneath.writable = self._drain
        self._transport = make_ours(beneath)
        self._scheduled = False
        self._alarm = Alarm(self._session.deadline, self._timeout)
        self._held: bytes | None = None
        """A message that waits for room in the window."""
        self.buffered_amount = 0
        """Nothing, or too much while a message waits."""

    async def offer(self) -> str:
        """See `Stack`."""
        return await self._transport.offer()

    async def answer(self, offer: str) -> str:
        """See `Stack`."""
        return await self._transport.answer(offer)

    async def accept(self, answer: str) -> None:
        """See `Stack`."""
        await self._transport.accept(answer)

    def send(self, data: bytes) -> None:
        """See `Stack`."""
        if not self._accept(data):
            self._held, self.buffered_amount = data, HIGH_WATER_BYTES
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._drain)

    async def close(self) -> None:
        """See `Stack`."""
        self._alarm.stop()
        await self._transport.close()

    def _open(self) -> None:
        self._session.path_opened(PATH, self._loop.time())
        self._listener.opened()

    def _receive(self, packet: bytes) -> None:
        now = self._loop.time()
        self._session.receive(packet, PATH, now)
        for event in self._session.events():
            if isinstance(event, MessagesReceived):
                deliver = self._listener.message
                for payload in event.payloads:
                    deliver(payload)
                self._session.taken(event, now)
            elif isinstance(event, CreditGrew) and self._held and self._accept(self._held):
                self._held, self.buffered_amount = None, 0
                self._listener.writable()
        self._drain()

    def _drain(self) -> None:
        self._scheduled = False
        now = self._loop.time()
        room = ROOM_BYTES - self._transport.buffered_amount
        for packet in self._session.packets_to_send(PATH, room, now) if room > 0 else ():
            self._transport.send(packet.data)
        self._alarm.set()

    def _timeout(self, now: float) -> None:
        self._session.handle_timeout(now)
        self._drain()


make = OverSession
