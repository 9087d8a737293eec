"""All that is said with one remote peer: one conversation after the other, as processes come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rtcmesh.peer.conversation import Conversation
from rtcmesh.peer.errors import PeerGone, PeerUnreachable, RemoteRestarted
from rtcmesh.peer.paths.path_table import PathTable
from rtcmesh.peer.session.session import Session
from rtcmesh.signaling.identity import PeerId

from .succession import Succession
from .surroundings import Surroundings


class Dialogue:
    """Has exactly one conversation at any time, over all the paths there are, and knows whether there will be more."""

    def __init__(
        self, peer_id: PeerId, mesh: Surroundings, paths: PathTable, changed: Callable[[], None]
    ) -> None:
        self._peer_id = peer_id
        self._mesh = mesh
        self._paths = paths
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._succession = Succession()
        self.remote_ended = False
        """Whether the remote peer has said that it will say nothing more."""
        self.is_closing = False
        """Whether we have."""
        self.conversation = self._begin()

    @property
    def session(self) -> Session:
        """The session of the present conversation."""
        return self.conversation.session

    @property
    def membership(self) -> int:
        """The newest membership of the peer, counted from 0."""
        return self._succession.membership

    @property
    def has_more_to_say(self) -> bool:
        """Whether a path would be of use to us."""
        return not self.is_closing or bool(self.session.undelivered())

    def is_finished(self, *, reachable: bool) -> bool:
        """Whether nothing is left to be said on either side; while it is out of reach, on ours."""
        if reachable:
            return self.remote_ended and self.session.ended
        return (self.is_closing or self.remote_ended) and not self.session.undelivered()

    def renewed(self) -> None:
        """Note that the peer has another membership, and greet whoever that is."""
        self._succession.renewed()
        self.session.hello()

    def heard(self, membership: int) -> None:
        """Note that the present conversation was had under this membership."""
        self._succession.heard(membership)

    def close(self) -> None:
        """End the conversation in order, and every one that follows it at once."""
        self.is_closing = True
        self._end()

    def remote_closed(self) -> None:
        """Take the word of the remote peer that it will say nothing more."""
        self.remote_ended = True
        self._end()

    def restart(self, restarted: RemoteRestarted, membership: int) -> Conversation | None:
        """Begin another conversation and return the one that ended; None if it is too early for that.

        Raises `ProtocolViolation` when the one who speaks under this membership is not entitled to it.
        """
        another = restarted.another_process
        if not self._succession.restart(membership, self._loop.time(), another_process=another):
            return None
        return self._replace(PeerGone([self._peer_id]), forget=another)

    def expire(self) -> Conversation | None:
        """Give back what waits for a peer that is out of reach: return the conversation that ended, if anything did."""
        if self.is_closing or not self.conversation.is_waiting:
            return None
        return self._replace(PeerUnreachable([self._peer_id]), forget=False)

    def _replace(self, error: PeerGone | PeerUnreachable, *, forget: bool) -> Conversation:
        """Begin another conversation; `forget` whom the one before was with, since it is with another process."""
        ended, session = self.conversation, self.session
        self.conversation = self._begin(0 if forget else session.remote_number or session.remote_after)
        self.remote_ended = False
        ended.abandon(error)
        if self.is_closing:
            self._end()
        return ended

    def _end(self) -> None:
        """Take no more messages, and let go of those that wait for credit; what was taken is still delivered."""
        self.conversation.end()
        self.session.end()

    def _begin(self, remote_after: int = 0) -> Conversation:
        session = Session(
            self._mesh.next_session_number(),
            window=self._mesh.config.channel_window_bytes,
            remote_after=remote_after,
        )
        for path in self._paths:
            session.path_opened(path.number, self._loop.time())
        session.hello()
        return Conversation(self._peer_id, session, self._changed)
