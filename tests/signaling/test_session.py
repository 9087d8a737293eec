"""The session: two of them and two lists for a network; any message in any state; silence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rtcmesh.signaling.codes import CloseCode, RefusalCode
from rtcmesh.signaling.errors import ProtocolError
from rtcmesh.signaling.messages import (
    Ack,
    Challenge,
    Draining,
    Join,
    Leave,
    Limits,
    PeerMessage,
    PeerSuspended,
    Ping,
    Pong,
    Refused,
    SendSignal,
    ServerMessage,
    SetPresence,
    Welcome,
    encode,
)
from rtcmesh.signaling.session import TRANSITIONS, Role, Session, State
from support.members import Member
from support.rooms import NAMES

JOIN_TIMEOUT, HEARTBEAT = 5.0, 10.0
ALICE = Member(number=1)
CHALLENGE = Challenge(
    nonce=b"n",
    server_time=0.0,
    limits=Limits(
        max_message_bytes=2000,
        max_signal_bytes=100,
        max_presence_bytes=100,
        max_unacknowledged_signals=2,
        join_timeout=JOIN_TIMEOUT,
    ),
)
JOIN = Join(room="r", peer_id=ALICE.peer_id, prekey=ALICE.prekey, proof=b"")
WELCOME = Welcome(epoch="e", offset=0, resumed=False, resume_token="t", heartbeat=HEARTBEAT)
SERVER_MESSAGES: list[ServerMessage] = [
    CHALLENGE,
    WELCOME,
    Ack(id=1),
    PeerSuspended(offset=1, peer_id=NAMES[0]),
    Draining(reconnect_in=1.0),
    Pong(),
    Refused(code=RefusalCode.REPLACED),
]
PEER_MESSAGES: list[PeerMessage] = [
    JOIN,
    SendSignal(to=NAMES[0], id=1, sealed=b""),
    SetPresence(presence={}),
    Ping(),
    Leave(),
]
ALL_MESSAGES: list[ServerMessage | PeerMessage] = [*SERVER_MESSAGES, *PEER_MESSAGES]
CONVERSATION: list[ServerMessage | PeerMessage] = [CHALLENGE, JOIN, WELCOME, Leave()]
OPEN_STATES = [State.CONNECTED, State.CHALLENGED, State.JOINING, State.JOINED, State.LEAVING]


def make(role: Role, now: float = 0.0) -> Session:
    return Session(role, now=now, join_timeout=JOIN_TIMEOUT, max_message_bytes=2000)


def say(session: Session, message: ServerMessage | PeerMessage, *, now: float = 0.0) -> None:
    """Let a message pass at this end of the wire, in the direction in which it travels."""
    spoken_by = Role.SERVER if isinstance(message, ServerMessage) else Role.PEER
    if session._role is spoken_by:
        session.send(message, now)
    else:
        session.receive_frame(encode(message), now)


def session_in(state: State, role: Role) -> Session:
    session = make(role)
    for message in CONVERSATION[: OPEN_STATES.index(state)]:
        say(session, message)
    session.frames_to_send()
    session.messages()
    assert session.state is state
    return session


@pytest.mark.parametrize("state", OPEN_STATES)
@pytest.mark.parametrize("message", ALL_MESSAGES, ids=lambda message: type(message).__name__)
def test_what_one_end_may_say_is_what_the_other_end_accepts(
    state: State, message: ServerMessage | PeerMessage
) -> None:
    spoken_by, heard_by = Role.SERVER, Role.PEER
    if not isinstance(message, ServerMessage):
        spoken_by, heard_by = heard_by, spoken_by
    speaker, listener = session_in(state, spoken_by), session_in(state, heard_by)
    listener.receive_frame(encode(message), 0.0)
    if (state, type(message)) in TRANSITIONS:
        speaker.send(message, 0.0)
        assert speaker.state is listener.state is TRANSITIONS[state, type(message)]
    else:
        with pytest.raises(ProtocolError):
            speaker.send(message, 0.0)
        assert listener.ending is not None
        assert listener.ending.code == RefusalCode.PROTOCOL_VIOLATION.close_code
        assert listener.messages() == []


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("state", OPEN_STATES)
def test_nobody_may_say_what_the_other_end_says(state: State, role: Role) -> None:
    for message in PEER_MESSAGES if role is Role.SERVER else SERVER_MESSAGES:
        with pytest.raises(ProtocolError):
            session_in(state, role).send(message, 0.0)


@given(st.sampled_from(OPEN_STATES), st.sampled_from(Role), st.text(st.characters(codec=None)))
def test_any_text_in_any_state_ends_the_session_and_raises_nothing(
    state: State, role: Role, text: str
) -> None:
    session, frame = session_in(state, role), text.encode(errors="surrogatepass")
    session.receive_frame(frame, 0.0)
    assert session.state is State.CLOSED
    assert session.messages() == []
    frames = session.frames_to_send()
    assert len(frames) == (1 if role is Role.SERVER else 0), "a server says why"
    session.receive_frame(frame, 0.0)
    session.send(Pong(), 0.0)
    assert session.frames_to_send() == []


def test_a_message_over_the_limit_is_refused_unread() -> None:
    session = session_in(State.JOINED, Role.SERVER)
    session.receive_frame("é".encode() * 1001, 0.0)
    assert session.ending is not None
    assert session.ending.reason == RefusalCode.MESSAGE_TOO_LARGE.value


def test_a_server_does_not_wait_for_a_join_for_ever() -> None:
    session = session_in(State.CHALLENGED, Role.SERVER)
    assert session.deadline() == JOIN_TIMEOUT
    session.handle_timeout(JOIN_TIMEOUT - 0.1)
    assert session.ending is None
    session.handle_timeout(JOIN_TIMEOUT)
    assert session.ending is not None
    assert session.ending.code == RefusalCode.JOIN_TIMEOUT.close_code
    assert session.deadline() is None


def test_a_server_that_decides_about_a_join_is_not_late_but_the_peer_gives_up() -> None:
    assert session_in(State.JOINING, Role.SERVER).deadline() is None
    peer = session_in(State.JOINING, Role.PEER)
    peer.handle_timeout(JOIN_TIMEOUT)
    assert peer.ending is not None


def test_a_peer_pings_when_idle_and_takes_a_silent_server_for_lost() -> None:
    peer = session_in(State.JOINED, Role.PEER)
    assert peer.deadline() == HEARTBEAT
    peer.handle_timeout(HEARTBEAT)
    assert peer.frames_to_send() == [encode(Ping())]
    assert peer.deadline() == 2 * HEARTBEAT
    peer.handle_timeout(2 * HEARTBEAT)
    assert peer.ending is not None
    assert peer.ending.code == RefusalCode.HEARTBEAT_TIMEOUT.close_code


def test_a_server_answers_pings_itself_and_takes_a_silent_peer_for_lost() -> None:
    server = session_in(State.JOINED, Role.SERVER)
    server.receive_frame(encode(Ping()), 15.0)
    assert server.frames_to_send() == [encode(Pong())]
    assert server.messages() == []
    assert server.deadline() == 15.0 + 2 * HEARTBEAT
    server.handle_timeout(15.0 + 2 * HEARTBEAT)
    assert server.ending is not None


def test_a_peer_that_does_not_listen_still_pings_but_does_not_judge() -> None:
    peer = session_in(State.JOINED, Role.PEER)
    peer.pause_receiving()
    for beat in range(1, 6):
        peer.handle_timeout(beat * HEARTBEAT)
    assert peer.ending is None
    assert len(peer.frames_to_send()) == 5
    peer.resume_receiving(60.0)
    assert peer.deadline() == 60.0
    peer.handle_timeout(60.0 + 2 * HEARTBEAT)
    assert peer.ending is not None


def test_the_first_ending_counts() -> None:
    session = session_in(State.JOINED, Role.SERVER)
    session.fail(RefusalCode.SLOW_CONSUMER, 0.0)
    session.receive_close(CloseCode.ABNORMAL, "")
    session.close()
    assert session.ending is not None
    assert (session.ending.code, session.ending.by_us) == (RefusalCode.SLOW_CONSUMER.close_code, True)


def test_a_peer_learns_what_the_server_refused() -> None:
    peer = session_in(State.JOINING, Role.PEER)
    refused = Refused(code=RefusalCode.ROOM_FULL, retry_after=3.0)
    peer.receive_frame(encode(refused), 0.0)
    assert peer.ending is not None
    assert peer.ending.refused == refused
    assert not peer.ending.by_us


class TwoSessions(RuleBasedStateMachine):
    """Both ends over a network that delays: neither ever violates the protocol, and a live pair stays alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.server, self.peer = make(Role.SERVER), make(Role.PEER)
        self.to_peer: list[bytes] = []
        self.to_server: list[bytes] = []
        self.left = False
        self.exchange(CHALLENGE, self.server)
        self.exchange(JOIN, self.peer)
        self.exchange(WELCOME, self.server)
        self.deliver_all()

    def exchange(self, message: ServerMessage | PeerMessage, speaker: Session) -> None:
        speaker.send(message, self.now)
        self.drain()
        self.deliver_all()

    def drain(self) -> None:
        self.to_peer.extend(self.server.frames_to_send())
        self.to_server.extend(self.peer.frames_to_send())

    def deliver_all(self) -> None:
        while self.to_peer or self.to_server:
            self.deliver_to_peer()
            self.deliver_to_server()

    @rule()
    def deliver_to_peer(self) -> None:
        if self.to_peer:
            self.peer.receive_frame(self.to_peer.pop(0), self.now)
            self.drain()

    @rule()
    def deliver_to_server(self) -> None:
        if self.to_server:
            self.server.receive_frame(self.to_server.pop(0), self.now)
            self.drain()

    @rule(message=st.sampled_from([m for m in PEER_MESSAGES if not isinstance(m, Join)]))
    def peer_says(self, message: PeerMessage) -> None:
        if (self.peer.state, type(message)) in TRANSITIONS:
            self.peer.send(message, self.now)
            self.left |= isinstance(message, Leave)
            self.drain()

    @rule(message=st.sampled_from([Ack(id=1), PeerSuspended(offset=1, peer_id=NAMES[0])]))
    def server_says(self, message: ServerMessage) -> None:
        if self.server.state is State.JOINED:
            self.server.send(message, self.now)
            self.drain()

    @rule(seconds=st.floats(0.0, HEARTBEAT))
    def time_passes_on_a_network_that_works(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            self.deliver_all()
            deadlines = [d for d in (self.peer.deadline(), self.server.deadline()) if d is not None]
            if not deadlines or min(deadlines) > until:
                break
            self.now = min(deadlines)
            self.peer.handle_timeout(self.now)
            self.server.handle_timeout(self.now)
            self.drain()
        self.now = until

    @invariant()
    def nobody_complains(self) -> None:
        for session in (self.peer, self.server):
            if session.ending is not None:
                assert self.left, "only a session that was left may fall silent"
                assert session.ending.reason == RefusalCode.HEARTBEAT_TIMEOUT.value


TestTwoSessions = TwoSessions.TestCase
TestTwoSessions.settings = settings(max_examples=60, stateful_step_count=40)
