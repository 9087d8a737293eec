"""Sending to several peers at once, and saying whom it did not reach."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping

from rtcmesh.signaling.identity import PeerId

from .conversation import Conversation, Outgoing
from .errors import Closed, PeerGone, PeerUnreachable, WouldBlock
from .members.remote_peer import RemotePeer


class FanOut:
    """The `ChannelSender` that puts messages into the conversations with those who are in the room."""

    def __init__(self, remotes: Mapping[PeerId, RemotePeer]) -> None:
        self._remotes = remotes
        self._closing = False

    def close(self) -> None:
        """Take nothing more: from now on everything raises `Closed`, also what waits for peers that leave us."""
        self._closing = True

    def send(
        self, message: Outgoing, to: Iterable[PeerId] | None, *, confirm: bool
    ) -> Awaitable[None] | None:
        """Send to these peers, or to all, and return what is still to be waited for. See `Channel.send`."""
        conversations, gone = self._addressed(to)
        waiting: list[Awaitable[object]] = []
        for conversation in conversations:
            result = conversation.send(message)
            if confirm:
                waiting.append(_confirm(conversation, message.label, result))
            elif not isinstance(result, int):
                waiting.append(result)
        return self._settle(waiting, gone, to) if waiting or gone else None

    def send_nowait(self, message: Outgoing, to: Iterable[PeerId] | None) -> None:
        """Send to these peers, or to all, or to none of them. See `Channel.send_nowait`."""
        present, gone = self._addressed(to)
        conversations = [conversation for conversation in present if not conversation.ended]
        gone += [conversation.peer_id for conversation in present if conversation.ended]
        if gone and to is not None:
            raise PeerGone(gone)
        if full := [
            conversation.peer_id for conversation in conversations if not conversation.takes(message)
        ]:
            raise WouldBlock(full)
        for conversation in conversations:
            conversation.send(message)

    async def flush(self, label: str, to: Iterable[PeerId] | None) -> None:
        """Wait until these peers, or all, have what was sent. See `Channel.flush`."""
        conversations, gone = self._addressed(to)
        await self._settle([conversation.confirmed(label) for conversation in conversations], gone, to)

    def _addressed(self, to: Iterable[PeerId] | None) -> tuple[list[Conversation], list[PeerId]]:
        """Return the conversations with these peers, or with all, and the peers that are not there."""
        if self._closing:
            raise Closed
        remotes = self._remotes
        if to is None:
            return [remote.conversation for remote in remotes.values()], []
        addressed = dict.fromkeys(to)
        present = [remotes[peer_id].conversation for peer_id in addressed if peer_id in remotes]
        return present, [peer_id for peer_id in addressed if peer_id not in remotes]

    async def _settle(
        self, waiting: Iterable[Awaitable[object]], gone: list[PeerId], to: Iterable[PeerId] | None
    ) -> None:
        """Wait for all, and raise for those addressed by name that are gone or out of reach."""
        unreachable: list[PeerId] = []
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            match outcome:
                case PeerGone():
                    gone += outcome.peer_ids
                case PeerUnreachable():
                    unreachable += outcome.peer_ids
                case BaseException():
                    raise outcome
                case _:
                    pass
        if self._closing and gone:
            raise Closed
        if gone and to is not None:
            raise PeerGone(gone)
        if unreachable:
            raise PeerUnreachable(unreachable)


async def _confirm(conversation: Conversation, label: str, result: int | asyncio.Future[int]) -> None:
    """Wait until a message was taken, and then until it has arrived."""
    number = result if isinstance(result, int) else await result
    await conversation.confirmed(label, number)
