"""All outboxes of a mesh, and the receipts that go to others for what they had stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

from rtcmesh.peer.config import MeshConfig
from rtcmesh.peer.conversation import Conversation, Outgoing
from rtcmesh.peer.delivery import Delivery, Priority
from rtcmesh.peer.errors import Closed, PeerGone
from rtcmesh.peer.events import OutboxExpired
from rtcmesh.peer.session.session_events import MessagesReceived
from rtcmesh.signaling.identity import InvalidPeerId, PeerId, parse_peer_id, short

from .dispatch import Dispatch
from .receipts import Receipts
from .stamps import RECEIPTS_LABEL, Receipt, decode_receipts, encode_receipts, split

logger = logging.getLogger(__name__)

EXPIRY_INTERVAL = 60.0
"""How often is looked for messages that are too old, in seconds."""


MAX_UNNOTED = 32
"""How many messages the application may take within one turn of the event loop before the file notes that it has."""


class Outboxes:
    """Opens the files, knows the conversations, and drains once per turn of the event loop: files first, then receipts.

    Guarantees: the application is given each stored message once, as long as its receipt is remembered: for the life of
    the mesh, and beyond it on channels that have an outbox here too. A receipt is in the file before it leaves.
    """

    def __init__(
        self, peer_id: PeerId, config: MeshConfig, happened: Callable[[OutboxExpired], None], *, lasting: bool
    ) -> None:
        """`lasting`: whether the identity was given, so that the next mesh may have it again."""
        self._peer_id = peer_id
        self._config = config
        self._happened = happened
        self._lasting = lasting
        self._loop = asyncio.get_running_loop()
        # The age of a message grows with the loop's time, whatever is done to the machine's clock meanwhile.
        self._epoch = time.time() - self._loop.time()
        self._by_path: dict[Path, Dispatch] = {}
        self._by_label: dict[str, Dispatch] = {}
        self._conversations: dict[PeerId, Conversation] = {}
        self._receipts = Receipts()
        self._owed: set[PeerId] = set()
        self._scheduled = False
        self._unnoted = 0
        self._leaving = False
        self._handing_over = True
        self._timer: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()

    # Opening and closing

    def open(self, path: Path, label: str, priority: Priority) -> None:
        """Have a channel's messages kept in a file, which several channels may share; begin to send what waits there.

        Raises `ValueError` for an identity that does not last, `Closed`, `OutboxInUse`, `OutboxMismatch` or
        `OutboxFailed`.
        """
        self._check_open()
        if not self._lasting:
            raise ValueError("an outbox needs an identity that lasts: Mesh.join(..., identity=...)")
        dispatch = self._by_path.get(path)
        if dispatch is None:
            dispatch = Dispatch(path, self._peer_id, self, max_bytes=self._config.outbox_max_bytes)
            self._by_path[path] = dispatch
            self._expire()
        for sender, receipt in dispatch.open_channel(label, priority):
            self._receipts.restore(sender, receipt)
            self._owe(sender)
        self._by_label[label] = dispatch
        self._forget()

    async def leave(self) -> None:
        """Take nothing more, and let those who are in the mesh say what they have; half the time to close is for that.

        Afterwards the application here is given nothing stored any more: no receipt would reach the sender. It comes
        again when we are back.
        """
        self._leaving = True
        try:
            async with asyncio.timeout(self._config.close_timeout / 2):
                while not all(d.is_empty_for(self._conversations) for d in self._by_path.values()):
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            logger.info("an outbox is not empty at the end")
        finally:
            self._handing_over = False

    def close(self) -> None:
        """Write what is not written, and release all files."""
        self._leaving, self._handing_over = True, False
        if self._timer is not None:
            self._timer.cancel()
        for dispatch in self._by_path.values():
            dispatch.close()
        self._by_path.clear()

    # Sending

    def receivers(self, to: Iterable[PeerId] | None) -> list[PeerId]:
        """Return everybody in the mesh, or the addressed, who need not be there.

        Raises `PeerGone` for what is no other peer's id, and `Closed`.
        """
        self._check_open()
        if to is None:
            return list(self._conversations)
        addressed = list(dict.fromkeys(to))
        if wrong := [peer_id for peer_id in addressed if not self._is_another(peer_id)]:
            raise PeerGone(wrong)
        return addressed

    async def send(self, message: Outgoing, to: Iterable[PeerId] | None, *, confirm: bool) -> None:
        """Store a message for everybody in the mesh, or for these peers. See `Channel.send`."""
        if not (receivers := self.receivers(to)):
            return
        dispatch = self._by_label[message.label]
        number = await dispatch.send(message.label, message.payload, receivers)
        if confirm:
            await asyncio.gather(*(dispatch.confirmed(message.label, peer, number) for peer in receivers))

    def send_nowait(self, message: Outgoing, to: Iterable[PeerId] | None) -> None:
        """Store a message at once, or raise. See `Channel.send_nowait`."""
        if receivers := self.receivers(to):
            self._by_label[message.label].send_nowait(message.label, message.payload, receivers)

    async def flush(self, label: str, to: Iterable[PeerId] | None) -> None:
        """Wait until nothing that is stored waits for these peers, or for all in the mesh. See `Channel.flush`."""
        dispatch = self._by_label[label]
        await asyncio.gather(*(dispatch.confirmed(label, peer) for peer in self.receivers(to)))

    def waiting(self, label: str) -> dict[PeerId, int]:
        """Return how many messages of a channel wait for whom; of one without an outbox, none do."""
        dispatch = self._by_label.get(label)
        return dispatch.waiting(label) if dispatch else {}

    def discard(self, label: str, to: PeerId) -> int:
        """Forget what waits for a peer. Returns how many messages that were."""
        self._check_open()
        dispatch = self._by_label.get(label)
        return dispatch.discard(label, to) if dispatch else 0

    # Members

    def conversation_began(self, conversation: Conversation) -> None:
        """Send what waits for a peer, and tell it what the application has of it already."""
        self._conversations[conversation.peer_id] = conversation
        self._owe(conversation.peer_id)
        for dispatch in self._by_path.values():
            dispatch.began(conversation.peer_id)

    def conversation_ended(self, conversation: Conversation) -> None:
        """Keep what waits for a peer until it is back."""
        if self._conversations.get(conversation.peer_id) is conversation:
            del self._conversations[conversation.peer_id]
        for dispatch in self._by_path.values():
            dispatch.receivers_changed()
        self._drained.set()

    def receipts_received(self, conversation: Conversation, messages: MessagesReceived) -> None:
        """Forget what a peer's application has. Raises `NotDecodable`."""
        conversation.taken(messages, self._loop.time())
        dispatches = {dispatch.outbox: dispatch for dispatch in self._by_path.values()}
        for receipt in chain.from_iterable(map(decode_receipts, messages.payloads)):
            if dispatch := dispatches.get(receipt.outbox):
                dispatch.receipt(conversation.peer_id, receipt)
        self._drained.set()

    # What the application takes

    def take(self, sender: PeerId, label: str, stamped: bytes) -> bytes | None:
        """Return the payload of a stored message for the application; None if it is not to have it, or had it.

        Raises `NotDecodable` for one without a stamp.
        """
        stamp, payload = split(stamped)
        if not self._handing_over or not self._receipts.take(sender, label, stamp):
            return None
        if dispatch := self._by_label.get(label):
            if self._unnoted >= MAX_UNNOTED:
                # A reader that never has to wait ends no turn of the loop.
                self._commit()
            self._unnoted += 1
            dispatch.taken(sender, Receipt(label, stamp.outbox, stamp.number))
        self._forget()
        self._owe(sender)
        return payload

    # DispatchOwner

    def conversation(self, peer_id: PeerId) -> Conversation | None:
        """Return the conversation with a peer that is in the mesh."""
        return self._conversations.get(peer_id)

    def schedule(self) -> None:
        """Drain in the next turn of the event loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def wall_clock(self) -> float:
        """Return the seconds since 1970."""
        return self._epoch + self._loop.time()

    # The one drain

    def _drain(self) -> None:
        self._scheduled = False
        self._commit()
        for peer_id in self._owed:
            self._send_receipts(peer_id)
        self._owed.clear()

    def _commit(self) -> None:
        self._unnoted = 0
        for dispatch in self._by_path.values():
            dispatch.commit()

    def _send_receipts(self, peer_id: PeerId) -> None:
        conversation = self._conversations.get(peer_id)
        if conversation is None or conversation.ended:
            return  # the next one begins with them
        if receipts := list(self._receipts.of(peer_id)):
            conversation.send(Outgoing(RECEIPTS_LABEL, encode_receipts(receipts), Delivery.LATEST))

    def _owe(self, peer_id: PeerId) -> None:
        self._owed.add(peer_id)
        self.schedule()

    def _forget(self) -> None:
        """Let the files forget what gave way to newer receipts."""
        for key in self._receipts.forgotten():
            if dispatch := self._by_label.get(key[1]):
                dispatch.forget_taken(key)

    def _expire(self) -> None:
        for dispatch in self._by_path.values():
            for settled in dispatch.expire(self._config.outbox_max_age):
                logger.warning(
                    "%s: %d messages to %s on %r were too old and are not sent",
                    dispatch.path,
                    settled.total,
                    short(settled.line.receiver),
                    settled.line.label,
                )
                self._happened(OutboxExpired(settled.line.receiver, settled.line.label, settled.total))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(EXPIRY_INTERVAL, self._expire)

    def _check_open(self) -> None:
        if self._leaving:
            raise Closed

    def _is_another(self, peer_id: PeerId) -> bool:
        try:
            return parse_peer_id(peer_id) != self._peer_id
        except InvalidPeerId:
            return False
