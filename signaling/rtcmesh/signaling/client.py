"""The client link: one membership in a room, kept through lost connections and restarted servers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Self

from .config import ClientConfig
from .events import LinkEvent
from .identity import Identity, PeerId
from .messages import Presence, Welcome
from .prekey import Prekey
from .text_socket import Dial


class SignalingLink:
    """A membership in a room; see `open`."""

    welcome: Welcome

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        room: str,
        identity: Identity,
        prekey: Prekey,
        presence: Presence | None = None,
        token: str | None = None,
        config: ClientConfig | None = None,
        dial: Dial | None = None,
        random: Random | None = None,
    ) -> AsyncIterator["SignalingLink"]:
        """Join the room and return after the first welcome; leave it at the end of the block."""
        raise NotImplementedError
        yield cls()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LinkEvent:
        """Return the next event."""
        raise NotImplementedError

    async def signal(self, to: PeerId, sealed: bytes) -> None:
        """Send a sealed signal and return when it is acknowledged."""
        raise NotImplementedError

    async def set_presence(self, presence: Presence) -> None:
        """Change what the others see of this member."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Leave the room."""
        raise NotImplementedError
