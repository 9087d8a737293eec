"""The relays of a mesh: the own home relay, and those where other members are at home."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random
from typing import Protocol
from urllib.parse import urlsplit

from rtcmesh.peer.tasks import owned_tasks
from rtcmesh.relay.binary_socket import Dial
from rtcmesh.relay.codes import GoneReason, NackReason
from rtcmesh.relay.config import RelayClientConfig
from rtcmesh.relay.link import RelayLink
from rtcmesh.signaling.identity import Identity, PeerId, short

logger = logging.getLogger(__name__)

DEFAULT_RELAY = "/v1/relay"
"""Where a server has its own relay. It is dialled before the server has said so: the first message must not wait."""


_AWAY = {reason.name.lower() for reason in (NackReason.RECEIVER_AWAY, *GoneReason)}


class RelayUser(Protocol):
    """A remote peer, reached through its home relay."""

    @property
    def peer_id(self) -> PeerId:
        """Who it is."""
        ...

    def relay_up(self, link: RelayLink) -> None:
        """Its home relay takes frames."""
        ...

    def relay_lost(self, link: RelayLink, reason: str) -> None:
        """Its home relay takes no frames any more."""
        ...

    def relay_received(self, payload: bytes) -> None:
        """A frame in its name came, over whichever relay."""
        ...

    def relay_gone(self, link: RelayLink) -> None:
        """It is not connected to its home relay."""
        ...

    def relay_refused(self, link: RelayLink, *, away: bool) -> None:
        """Frames to it were not forwarded: because it was away, or else because too much is waiting there."""
        ...

    def relay_writable(self) -> None:
        """Its home relay takes frames again."""
        ...


class Relays:
    """Keeps one link to each relay that is needed, and brings every frame to the peer that it names.

    It is the sink of all its links. The home relay is always connected, since others reach us there; another one
    while a member is at home there. Frames in the name of somebody unknown are dropped and counted: the session of
    their sender says everything again.
    """

    def __init__(
        self,
        url: str,
        *,
        identity: Identity,
        config: RelayClientConfig,
        dial: Dial | None,
        random: Random,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Prepare them; use `open` instead."""
        self._url = url
        self._identity = identity
        self._config = config
        self._dial = dial
        self._random = random
        self._group = tasks
        self._context = contextvars.copy_context()
        self._links: dict[str, RelayLink] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._users: dict[PeerId, RelayUser] = {}
        self._homes: dict[PeerId, str] = {}
        self._home: str | None = None
        self._ticket: str | None = None
        self.unknown_senders = 0
        """Frames in the name of peers that are not members, as far as is known here."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, identity: Identity, config: RelayClientConfig, dial: Dial | None, random: Random
    ) -> AsyncGenerator[Relays]:
        """Give the relays of a mesh that joins at this signaling server; their links are closed with the block."""
        async with owned_tasks() as tasks:
            relays = cls(url, identity=identity, config=config, dial=dial, random=random, tasks=tasks)
            try:
                yield relays
            finally:
                for task in relays._tasks.values():
                    task.cancel()

    # The local peer

    def settle(self, home: str | None) -> None:
        """Have this home relay from now on; None: none."""
        self._home = None if home is None else self._resolve(home)
        if self._home is not None:
            self._open(self._home)
        self._close_unused()

    def authorize(self, ticket: str) -> None:
        """Take the newest ticket."""
        self._ticket = ticket
        for link in self._links.values():
            link.authorize(ticket)

    def hurry(self) -> None:
        """Reconnect without waiting out the pauses of before."""
        for link in self._links.values():
            link.hurry()

    def check(self, within: float) -> None:
        """Drop and renew the connections on which nothing is heard within so many seconds."""
        for link in self._links.values():
            link.check(within)

    def doubt(self, within: float) -> None:
        """Check the connections that are up; those that are not take their time."""
        for link in self._links.values():
            if link.is_up:
                link.check(within)

    # Remote peers

    def attach(self, user: RelayUser, home: str | None) -> None:
        """Reach this peer through its home relay, in place of the one it had before."""
        peer_id = user.peer_id
        self._users[peer_id] = user
        relay = None if home is None else self._resolve(home)
        before = self._homes.get(peer_id)
        if relay == before:
            return
        if before is not None:
            del self._homes[peer_id]
            user.relay_lost(self._links[before], "the peer moved to another relay")
        if relay is not None:
            self._homes[peer_id] = relay
            link = self._open(relay)
            if link.is_up:
                user.relay_up(link)
        self._close_unused()

    def detach(self, user: RelayUser) -> None:
        """Forget a peer."""
        if self._users.get(user.peer_id) is user:
            del self._users[user.peer_id]
            self._homes.pop(user.peer_id, None)
            self._close_unused()

    # RelaySink

    def relay_up(self, link: RelayLink) -> None:
        """Tell the peers that are at home there."""
        for user in self._at_home(link):
            user.relay_up(link)

    def relay_lost(self, link: RelayLink, reason: str) -> None:
        """Tell the peers that are at home there."""
        logger.info("the relay %s is lost: %s", link.url, reason)
        for user in self._at_home(link):
            user.relay_lost(link, reason)

    def frame_received(self, link: RelayLink, sender: PeerId, payload: bytes) -> None:
        """Bring the frame to its sender's peer."""
        user = self._users.get(sender)
        if user is not None:
            user.relay_received(payload)
        else:
            self.unknown_senders += 1
            logger.debug("a frame of %s came from %s, who is not known", short(sender), link.url)

    def peer_gone(self, link: RelayLink, peer_id: PeerId, reason: str) -> None:
        """Tell the peer's side, if this is where it is at home."""
        del reason
        if user := self._user_at(link, peer_id):
            user.relay_gone(link)

    def frames_refused(self, link: RelayLink, peer_id: PeerId, count: int, reason: str) -> None:
        """Tell the peer's side, if this is where it is at home."""
        logger.debug("%s did not forward %d frames to %s: %s", link.url, count, short(peer_id), reason)
        if user := self._user_at(link, peer_id):
            user.relay_refused(link, away=reason in _AWAY)

    def relay_writable(self, link: RelayLink) -> None:
        """Let the peers that are at home there send on, each time another one first."""
        users = self._at_home(link)
        if users:
            start = self._random.randrange(len(users))
            for user in users[start:] + users[:start]:
                user.relay_writable()

    # Rules

    def _resolve(self, relay: str) -> str:
        """Return the relay's URL; a path means one of the signaling server's own."""
        return (
            "{0.scheme}://{0.netloc}".format(urlsplit(self._url)) + relay if relay.startswith("/") else relay
        )

    def _open(self, relay: str) -> RelayLink:
        link = self._links.get(relay)
        if link is None:
            link = self._links[relay] = RelayLink(
                relay,
                identity=self._identity,
                sink=self,
                config=self._config,
                dial=self._dial,
                random=self._random,
            )
            if self._ticket is not None:
                link.authorize(self._ticket)
            # Not in the context of whoever happens to cause it.
            self._tasks[relay] = self._group.create_task(
                link.run(), name=f"relay {relay}", context=self._context.copy()
            )
        return link

    def _close_unused(self) -> None:
        needed = {self._home, *self._homes.values()}
        for relay in [relay for relay in self._links if relay not in needed]:
            del self._links[relay]
            self._tasks.pop(relay).cancel()

    def _at_home(self, link: RelayLink) -> list[RelayUser]:
        return [
            user
            for peer_id, user in self._users.items()
            if self._links.get(self._homes.get(peer_id, "")) is link
        ]

    def _user_at(self, link: RelayLink, peer_id: PeerId) -> RelayUser | None:
        at_home = self._links.get(self._homes.get(peer_id, "")) is link
        return self._users.get(peer_id) if at_home else None
