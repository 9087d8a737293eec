"""The session: which message may follow which, for both ends of the wire.

    connected ──challenge──▶ challenged ──join──▶ joining ──welcome──▶ joined ──leave──▶ leaving
        └───────────────┴──────────────────┴── refused, or the end of the connection ──┴──▶ closed

The same table rules what one end sends and what the other receives; the role only says which is which.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import get_args

from .codes import CloseCode, RefusalCode
from .errors import ProtocolError
from .messages import (
    Ack,
    Challenge,
    Draining,
    IceServersRenewed,
    Join,
    Leave,
    Message,
    Nack,
    PeerMessage,
    Ping,
    Pong,
    Refused,
    RelayTicketRenewed,
    RoomEvent,
    SendSignal,
    ServerMessage,
    SetPresence,
    SetRelay,
    Welcome,
    decode_peer,
    decode_server,
    encode,
)

HEARTBEATS_UNTIL_LOST = 2


class Role(Enum):
    """Which end of the wire a session is."""

    SERVER = auto()
    PEER = auto()


class State(Enum):
    """How far a session has come."""

    CONNECTED = auto()
    CHALLENGED = auto()
    JOINING = auto()
    JOINED = auto()
    LEAVING = auto()
    CLOSED = auto()


_OPEN = (State.CONNECTED, State.CHALLENGED, State.JOINING, State.JOINED, State.LEAVING)
_SERVER_IN_ROOM: tuple[type[Message], ...] = (
    *get_args(RoomEvent),
    Ack,
    Nack,
    Pong,
    IceServersRenewed,
    RelayTicketRenewed,
)
_PEER_IN_ROOM: tuple[type[Message], ...] = (SendSignal, SetPresence, SetRelay, Ping)

TRANSITIONS: dict[tuple[State, type[Message]], State] = {
    (State.CONNECTED, Challenge): State.CHALLENGED,
    (State.CHALLENGED, Join): State.JOINING,
    (State.JOINING, Welcome): State.JOINED,
    (State.JOINED, Leave): State.LEAVING,
    **{(State.JOINED, kind): State.JOINED for kind in (*_SERVER_IN_ROOM, *_PEER_IN_ROOM)},
    # What the server said before it heard the leave crosses it on the wire.
    **{(State.LEAVING, kind): State.LEAVING for kind in _SERVER_IN_ROOM},
    **{(state, Draining): state for state in _OPEN},
    **{(state, Refused): State.CLOSED for state in _OPEN},
}
"""What may be said in a state, and where it leads. A missing key is a protocol violation."""

_SPOKEN_BY: dict[Role, tuple[type[Message], ...]] = {
    Role.SERVER: get_args(ServerMessage),
    Role.PEER: get_args(PeerMessage),
}
_OTHER = {Role.SERVER: Role.PEER, Role.PEER: Role.SERVER}
_ALLOWED: dict[tuple[Role, State], dict[type[Message], State]] = {
    (role, state): {
        kind: after for (at, kind), after in TRANSITIONS.items() if at is state and kind in spoken
    }
    for role, spoken in _SPOKEN_BY.items()
    for state in State
}
"""The same by speaker and state, as each message is looked up."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ended."""

    code: int
    """The close code, sent or received."""
    reason: str
    by_us: bool
    """Whether this end decided it."""
    refused: Refused | None = None
    """What the server said last, if it was a refusal."""


class Session:
    """One connection's protocol: hands over only messages that are allowed, notices silence, ends exactly once."""

    def __init__(self, role: Role, *, now: float, join_timeout: float, max_message_bytes: int) -> None:
        self._role = role
        self._state = State.CONNECTED
        self._we_may = _ALLOWED[role, State.CONNECTED]
        self._they_may = _ALLOWED[_OTHER[role], State.CONNECTED]
        self._max_message_bytes = max_message_bytes
        self._join_deadline = now + join_timeout
        self._heartbeat: float | None = None
        self._last_received_at = now
        self._last_sent_at = now
        self._ping_unanswered = False
        self._check_deadline: float | None = None
        self._receiving = True
        self._ending: Ending | None = None
        self._frames: list[bytes] = []
        self._messages: list[ServerMessage | PeerMessage] = []

    @property
    def state(self) -> State:
        """How far the session has come."""
        return self._state

    @property
    def ending(self) -> Ending | None:
        """How it ended, or None while it has not."""
        return self._ending

    def send(self, message: ServerMessage | PeerMessage, now: float, frame: bytes | None = None) -> None:
        """Say something; `frame` is its encoding if that is known. After the end this does nothing.

        Raises `ProtocolError` for what this role must not say in this state.
        """
        if self._ending is not None:
            return
        self._enter(self._next_state(message, by_us=True))
        self._frames.append(encode(message) if frame is None else frame)
        self._last_sent_at = now
        if isinstance(message, Welcome):
            self._heartbeat = message.heartbeat
        if isinstance(message, Refused):
            self._end(message.code.close_code, message.code.value, by_us=True, refused=message)

    def receive_frame(self, frame: bytes, now: float) -> None:
        """Take a frame from the other side. Whatever it holds, this never raises: a violation ends the session."""
        if self._ending is not None:
            return
        self._last_received_at = now
        self._ping_unanswered = False
        self._check_deadline = None
        if len(frame) > self._max_message_bytes:
            self.fail(RefusalCode.MESSAGE_TOO_LARGE, now)
            return
        try:
            message = decode_peer(frame) if self._role is Role.SERVER else decode_server(frame)
            self._enter(self._next_state(message, by_us=False))
        except ProtocolError as error:
            self.fail(RefusalCode.PROTOCOL_VIOLATION, now, str(error))
        else:
            self._accept(message, now)

    def receive_close(self, code: int, reason: str) -> None:
        """Note that the connection has ended."""
        self._end(code, reason, by_us=False)

    def fail(
        self, code: RefusalCode, now: float, message: str = "", retry_after: float | None = None
    ) -> None:
        """End the session for this reason; a server says so first."""
        if self._role is Role.SERVER:
            self.send(Refused(code=code, message=message[:1024], retry_after=retry_after), now)
        else:
            self._end(code.close_code, code.value, by_us=True)

    def close(self, code: CloseCode = CloseCode.NORMAL) -> None:
        """End the session without a complaint."""
        self._end(code, "", by_us=True)

    def pause_receiving(self) -> None:
        """Stop judging the other side by its silence, because this side does not listen."""
        self._receiving = False

    def resume_receiving(self, now: float) -> None:
        """Listen again."""
        self._receiving = True
        self._last_received_at = now

    def check(self, now: float, within: float) -> None:
        """Ping now, and take the other side for lost unless something is heard within so many seconds."""
        if self._state is State.JOINED:
            self.send(Ping(), now)
            self._ping_unanswered = True
            self._check_deadline = now + within

    @property
    def is_receiving(self) -> bool:
        """Whether the other side is judged by its silence."""
        return self._receiving

    def handle_timeout(self, now: float) -> None:
        """Do what is due: give up waiting for a join, take the other side for lost, ping."""
        if self._is_due(self._handshake_deadline(), now):
            self.fail(RefusalCode.JOIN_TIMEOUT, now)
        elif self._is_due(self._lost_deadline(), now):
            self.fail(RefusalCode.HEARTBEAT_TIMEOUT, now)
        elif self._is_due(self._ping_deadline(), now):
            self.send(Ping(), now)
            self._ping_unanswered = True

    def deadline(self) -> float | None:
        """Return when `handle_timeout` has something to do."""
        deadlines = (self._handshake_deadline(), self._lost_deadline(), self._ping_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def frames_to_send(self) -> list[bytes]:
        """Hand over what is to be sent, in order, and forget it."""
        frames, self._frames = self._frames, []
        return frames

    def messages(self) -> list[ServerMessage | PeerMessage]:
        """Hand over what was received, in order, and forget it; pings, pongs and refusals are dealt with here."""
        messages, self._messages = self._messages, []
        return messages

    def _next_state(self, message: ServerMessage | PeerMessage, *, by_us: bool) -> State:
        state = (self._we_may if by_us else self._they_may).get(type(message))
        if state is None:
            raise ProtocolError(f"{type(message).__name__} is not allowed when {self._state.name.lower()}")
        return state

    def _enter(self, state: State) -> None:
        if state is not self._state:
            self._state = state
            self._we_may = _ALLOWED[self._role, state]
            self._they_may = _ALLOWED[_OTHER[self._role], state]

    def _accept(self, message: ServerMessage | PeerMessage, now: float) -> None:
        match message:
            case Ping():
                self.send(Pong(), now)
            case Pong():
                pass
            case Refused():
                self._end(message.code.close_code, message.code.value, by_us=False, refused=message)
            case _:
                if isinstance(message, Welcome):
                    self._heartbeat = message.heartbeat
                self._messages.append(message)

    def _end(self, code: int, reason: str, *, by_us: bool, refused: Refused | None = None) -> None:
        if self._ending is None:
            self._enter(State.CLOSED)
            self._ending = Ending(code, reason, by_us, refused)

    def _handshake_deadline(self) -> float | None:
        # While it decides about a join, only the server itself can be late.
        waiting = self._state in (State.CONNECTED, State.CHALLENGED)
        deciding = self._state is State.JOINING and self._role is Role.PEER
        return self._join_deadline if waiting or deciding else None

    def _lost_deadline(self) -> float | None:
        if self._heartbeat is None or self._ending is not None or not self._receiving:
            return None
        lost_at = self._last_received_at + HEARTBEATS_UNTIL_LOST * self._heartbeat
        return lost_at if self._check_deadline is None else min(lost_at, self._check_deadline)

    def _ping_deadline(self) -> float | None:
        # The peer pings when it has heard nothing for a heartbeat, to learn whether the server lives, and when it
        # has said nothing for one, so that the server learns that the peer does.
        if self._heartbeat is None or self._role is Role.SERVER or self._state is not State.JOINED:
            return None
        idle_since = self._last_sent_at
        if self._receiving and not self._ping_unanswered:
            idle_since = min(idle_since, self._last_received_at)
        return idle_since + self._heartbeat

    @staticmethod
    def _is_due(deadline: float | None, now: float) -> bool:
        return deadline is not None and deadline <= now
