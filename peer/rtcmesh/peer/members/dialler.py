"""Gets direct transports to one remote peer opened, one after the other: the shell around negotiation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, assert_never

from rtcmesh.peer.paths.attempt import Attempt
from rtcmesh.peer.paths.negotiation import (
    AcceptAnswer,
    Action,
    AddCandidate,
    Discard,
    MakeAnswer,
    MakeOffer,
    Negotiation,
    SendSignal,
    State,
)
from rtcmesh.peer.paths.signal_line import SignalLine
from rtcmesh.signaling.identity import PeerId, short
from rtcmesh.signaling.messages import Member
from rtcmesh.signaling.sealing import PairSeal

if TYPE_CHECKING:
    from .surroundings import Surroundings


class DiallerOwner(Protocol):
    """Who uses the transports. It calls `drain` after it has dealt with what it is told."""

    def direct_opened(self, attempt: Attempt) -> None:
        """A transport is open; it belongs to the owner, which hands it back with `lost`."""
        ...

    def direct_closed(self, attempt: Attempt, reason: str) -> None:
        """An open transport is no more."""
        ...

    def direct_received(self, attempt: Attempt, packet: bytes) -> None:
        """A packet came on an open transport."""
        ...

    def drain(self) -> None:
        """Carry out what the machines want."""
        ...


class Dialler:
    """Negotiates over the sealed line to the remote peer; one attempt at a time.

    Guarantees: while `dial` is in force and signals get through now and then, transports are tried without end, ever
    more seldom; each is closed by its own task.
    """

    def __init__(self, member: Member, seal: PairSeal, mesh: Surroundings, owner: DiallerOwner) -> None:
        self._peer_id: PeerId = member.peer_id
        self._member = member
        self._mesh = mesh
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._line, self._line_task = self._new_line(seal)
        self._negotiation = self._new_negotiation()
        self._attempt: Attempt | None = None
        """The one that is under way."""
        self._opened: Attempt | None = None
        """The last one that opened, while it lasts."""
        self._over = False

    @property
    def attempts(self) -> int:
        """How many attempts there were in the present pair of memberships."""
        return self._negotiation.attempt

    @property
    def rejected_signals(self) -> int:
        """How many signals were forged, replayed or malformed in the present pair of memberships."""
        return self._line.rejected

    # Commands

    def dial(self) -> None:
        """Want a transport: start at once."""
        self._negotiation.dial(self._loop.time())

    def hurry(self) -> None:
        """Dial without waiting out the pauses of before: signaling is back, or the network is another one."""
        self._negotiation.hurry(self._loop.time())

    def lost(self, attempt: Attempt, *, redial: bool) -> None:
        """Close a transport that had opened, and get another one if it is wanted and this was the last."""
        attempt.discard()
        if attempt is not self._opened:
            return
        self._opened = None
        if not redial:
            self._negotiation.hang_up()
        elif self._negotiation.state is State.OPEN:
            self._negotiation.failed(attempt.number, self._loop.time())
        else:
            self._negotiation.dial(self._loop.time())

    def rekey(self, member: Member, seal: PairSeal) -> None:
        """Take a new membership of the same peer. Negotiation starts over; an open transport goes on."""
        self._member = member
        self._replace_line(seal)
        self._restart_negotiation()

    def receive_signal(self, sealed: bytes) -> None:
        """Take a sealed signal. What cannot be opened or read is counted, and changes nothing."""
        signal = self._line.open(sealed)
        if self._line.exhausted and (seal := self._mesh.derive_seal(self._member)):
            self._replace_line(seal)
            signal = self._line.open(sealed)
        if signal is None:
            return
        if self._line.remote_began_anew:
            self._restart_negotiation()  # the remote end counts its attempts from 1 again
        self._negotiation.receive(signal, self._loop.time())

    def abandon(self) -> None:
        """Let go of everything at once; nothing is begun any more."""
        self._over = True
        self._negotiation.hang_up()
        for attempt in (self._attempt, self._opened):
            if attempt is not None:
                attempt.discard()
        self._attempt = self._opened = None
        self._line_task.cancel()

    # Time and output

    def deadline(self) -> float | None:
        """When `handle_timeout` is due."""
        return self._negotiation.deadline()

    def handle_timeout(self, now: float) -> None:
        """Let the negotiation act."""
        self._negotiation.handle_timeout(now)

    def carry_out(self) -> None:
        """Carry out what the negotiation wants, until it wants nothing."""
        while not self._over and (actions := self._negotiation.actions()):
            for action in actions:
                self._act(action)

    # AttemptOwner: reports of the transports

    def described(self, attempt: Attempt, sdp: str) -> None:
        """Pass the description on to the remote peer."""
        now = self._loop.time()
        if self.offers:
            self._negotiation.offer_made(attempt.number, sdp, now)
        else:
            self._negotiation.answer_made(attempt.number, sdp, now)
        self._owner.drain()

    def candidate_gathered(self, attempt: Attempt, candidate: str) -> None:
        """Pass the candidate on to the remote peer."""
        self._negotiation.candidate_gathered(attempt.number, candidate)
        self._owner.drain()

    def opened(self, attempt: Attempt) -> None:
        """Hand the transport to the owner."""
        self._negotiation.opened(attempt.number, self._loop.time())
        self._opened, self._attempt = attempt, None
        self._owner.direct_opened(attempt)
        self._owner.drain()

    def closed(self, attempt: Attempt, reason: str) -> None:
        """Try again, or tell the owner what it has lost."""
        if attempt is self._attempt:
            self._negotiation.failed(attempt.number, self._loop.time())
        else:
            self._owner.direct_closed(attempt, reason)
        self._owner.drain()

    def packet_received(self, attempt: Attempt, packet: bytes) -> None:
        """Pass it on."""
        self._owner.direct_received(attempt, packet)

    def writable(self, attempt: Attempt) -> None:
        """Send on."""
        del attempt
        self._owner.drain()

    # Rules

    def _act(self, action: Action) -> None:
        match action:
            case MakeOffer() | MakeAnswer():
                self._begin(action)
            case AcceptAnswer() | AddCandidate():
                for attempt in (self._attempt, self._opened):
                    if attempt is not None and attempt.number == action.attempt:
                        attempt.proceed(action)
            case Discard():
                self._discard(action.attempt)
            case SendSignal():
                self._line.post(action.signal)
            case _:
                assert_never(action)

    def _begin(self, action: MakeOffer | MakeAnswer) -> None:
        mesh = self._mesh
        attempt = self._attempt = Attempt(action.attempt, self)
        run = attempt.run(
            action, mesh.transports, mesh.ice_servers, mesh.dial_slot, mesh.config.connect_timeout
        )
        attempt.start(mesh.spawn(run, f"transport {action.attempt} to {short(self._peer_id)}"))

    def _discard(self, number: int) -> None:
        if self._attempt is not None and self._attempt.number == number:
            self._attempt.discard()
            self._attempt = None
        elif self._opened is not None and self._opened.number == number:
            opened, self._opened = self._opened, None
            opened.discard()
            self._owner.direct_closed(opened, "replaced")

    @property
    def offers(self) -> bool:
        """The peer with the smaller id makes the offers, always."""
        return self._mesh.peer_id < self._peer_id

    def _new_negotiation(self) -> Negotiation:
        config = self._mesh.config
        return Negotiation(
            offers=self.offers,
            random=self._mesh.random,
            connect_timeout=config.connect_timeout,
            pause=config.redial_delay,
            max_pause=config.max_redial_delay,
        )

    def _restart_negotiation(self) -> None:
        """Count attempts from 1 again. An open transport is not touched."""
        if self._attempt is not None:
            self._attempt.discard()
            self._attempt = None
        if self._opened is not None:
            self._opened.number = 0  # its number belongs to the negotiation that ends here
        self._line.drop_queued()
        self._negotiation = self._new_negotiation()
        if self._opened is None:
            self._negotiation.dial(self._loop.time())

    def _replace_line(self, seal: PairSeal) -> None:
        self._line_task.cancel()
        self._line, self._line_task = self._new_line(seal)

    def _new_line(self, seal: PairSeal) -> tuple[SignalLine, asyncio.Task[None]]:
        line = SignalLine(self._peer_id, seal, self._mesh.send_signal)
        return line, self._mesh.spawn(line.run(), f"signals to {short(self._peer_id)}")
