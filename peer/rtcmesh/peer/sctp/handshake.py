"""The handshake (RFC 9260 section 5): four packets, of which the answering end keeps nothing until the third.

    CLOSED ── connect ──▶ INIT                          COOKIE_WAIT
                              ◀── INIT ACK (cookie)                         the answering end is still CLOSED
                          COOKIE ECHO, DATA ──▶         COOKIE_ECHOED
                              ◀── COOKIE ACK            ESTABLISHED         ESTABLISHED

Both ends may begin at once (section 5.2.1); one that lost its state may begin again in the middle of an association
(section 5.2.2). What a COOKIE ECHO means then is the table of section 5.2.4:

    local tag   remote tag   tie-tags   it is
    ─────────   ──────────   ────────   ─────────────────────────────────────────────────────────────
    same        same         any        D: the same association; the COOKIE ACK was lost
    same        other        any        B: both began at once, and ours was slower
    other       other        ours       A: the remote end has restarted
    other       same         any        C: late, of a handshake that was given up
    other       other        other      replayed, or of an association that is long over
"""

from __future__ import annotations

from enum import Enum
from math import inf
from random import Random
from struct import Struct

from . import cookie as cookies
from . import extensions, parameters
from .chunks import (
    ChunkType,
    Init,
    decode_init,
    encode_causes,
    encode_chunk,
    encode_init,
)
from .config import SctpConfig
from .cookie import Cookie
from .first_data import FirstData
from .packet import Envelope
from .parameters import Cause, Parameter, ParameterType

FIRST_TIMEOUT = 0.3
"""T1 begins below the 1 s of RFC 9260: a second INIT does no harm, and a lost one is what users wait for."""

LAST_TIMEOUT = 5.0

MAX_ECHOES_WITH_DATA = 2
"""A COOKIE ECHO that was lost so often goes alone: not everybody may stand its company."""

_STALENESS = Struct("!L")


class HandshakeState(Enum):
    """How far it is."""

    CLOSED = "closed"
    COOKIE_WAIT = "cookie_wait"
    COOKIE_ECHOED = "cookie_echoed"
    ESTABLISHED = "established"


class Verdict(Enum):
    """What a COOKIE ECHO has led to."""

    IGNORED = "ignored"
    REPEATED = "repeated"
    ESTABLISHED = "established"
    RESTARTED = "restarted"


class Handshake:
    """Gets two ends to agree on tags, first numbers and extensions. `agreement` holds them once it has."""

    def __init__(self, config: SctpConfig, first_data: FirstData, random: Random) -> None:
        self.state = HandshakeState.CLOSED
        self.agreement: Cookie | None = None
        self.round_trip: float | None = None
        """How long the remote end took to answer, if it was asked once."""
        self.failed = False
        """Whether it never did."""
        self._config = config
        self._first_data = first_data
        self._random = random
        self._key = random.randbytes(32)
        self._local_tag = self._new_tag()
        self._local_initial_tsn = random.getrandbits(32)
        self._remote_tag = 0
        self._packets: list[bytes] = []
        self._init_packet = b""
        self._echo = b""
        """The chunk that sends the cookie back."""
        self._must_echo = False
        self._due_at = inf
        self._timeout = FIRST_TIMEOUT
        self._retransmissions = 0
        self._asked_at = 0.0

    @property
    def local_tag(self) -> int:
        """The tag of packets for this end."""
        return self._local_tag

    # Commands and time

    def connect(self, now: float) -> None:
        """Begin."""
        self.state = HandshakeState.COOKIE_WAIT
        self._retransmissions = 0
        init = self._init(self._local_tag, self._local_initial_tsn, [])
        self._init_packet = self._seal(encode_init(ChunkType.INIT, init), 0)
        self._ask(self._init_packet, now)

    def deadline(self) -> float:
        """When `handle_timeout` is due."""
        return self._due_at

    def handle_timeout(self, now: float) -> None:
        """Ask again, or give up (section 5.1.6)."""
        if now < self._due_at:
            return
        self._retransmissions += 1
        if self._retransmissions > self._config.max_handshake_retransmissions:
            self.failed, self._due_at = True, inf
            return
        self._timeout = min(LAST_TIMEOUT, 2 * self._timeout)
        self._due_at = now + self._timeout
        echoes = self.state is HandshakeState.COOKIE_ECHOED
        self._packets.append(self._cookie_echo(now) if echoes else self._init_packet)

    def stop(self) -> None:
        """Ask no more."""
        self._due_at = inf
        self._must_echo = False
        self._packets = []

    def packets_to_send(self, now: float) -> list[bytes]:
        """Return what is to be sent, once. What waits by now leaves with the cookie."""
        if self._must_echo:
            self._must_echo = False
            self._ask(self._cookie_echo(now), now)
        packets, self._packets = self._packets, []
        return packets

    # Chunks

    def receive_init(self, value: bytes, now: float) -> None:
        """Answer an INIT, and remember nothing of it. Raises `ProtocolError`."""
        init = decode_init(value)
        known, unrecognized = extensions.read(init.parameters)
        agreement = self.agreement
        if self.state is HandshakeState.ESTABLISHED:
            # Section 5.2.2: perhaps a restart. The association goes on until a cookie proves it.
            local_tag, initial_tsn = self._new_tag(), self._random.getrandbits(32)
        else:
            # Section 5.2.1: the same tag as in an INIT of our own.
            local_tag, initial_tsn = self._local_tag, self._local_initial_tsn
        cookie = Cookie(
            now,
            local_tag,
            init.initiate_tag,
            agreement.local_tag if agreement else 0,
            agreement.remote_tag if agreement else 0,
            initial_tsn,
            init.initial_tsn,
            init.receive_window,
            init.outbound_streams,
            init.inbound_streams,
            known,
        ).encode(self._key)
        more = [Parameter(ParameterType.STATE_COOKIE, cookie)]
        if unrecognized:
            more.append(Parameter(ParameterType.UNRECOGNIZED, parameters.encode(unrecognized)[:256]))
        answer = encode_init(ChunkType.INIT_ACK, self._init(local_tag, initial_tsn, more))
        self._packets.append(self._seal(answer, init.initiate_tag))

    def receive_init_ack(self, value: bytes, now: float) -> bool:
        """Return whether the cookie is to be sent back, and with it what waits by then. Raises `ProtocolError`."""
        if self.state is not HandshakeState.COOKIE_WAIT:
            return False  # section 5.2.3
        init = decode_init(value)
        cookie = extensions.cookie_of(init.parameters)
        known, _ = extensions.read(init.parameters)
        if not self._retransmissions:
            self.round_trip = now - self._asked_at
        self._remote_tag = init.initiate_tag
        self.agreement = Cookie(
            now,
            self._local_tag,
            init.initiate_tag,
            0,
            0,
            self._local_initial_tsn,
            init.initial_tsn,
            init.receive_window,
            init.outbound_streams,
            init.inbound_streams,
            known,
        )
        self.state = HandshakeState.COOKIE_ECHOED
        self._retransmissions = 0
        self._echo = encode_chunk(ChunkType.COOKIE_ECHO, cookie)
        self._must_echo, self._due_at = True, inf
        return True

    def receive_cookie_echo(self, value: bytes, tag: int, now: float) -> Verdict:
        """Decide what a COOKIE ECHO in a packet with this tag means: the table above."""
        cookie = cookies.decode(value, self._key)
        if cookie is None or cookie.local_tag != tag:
            return Verdict.IGNORED
        current = self.agreement
        same_local = cookie.local_tag == self._local_tag
        same_remote = current is not None and cookie.remote_tag == current.remote_tag
        if current is not None and same_local and same_remote:
            if self.state is HandshakeState.ESTABLISHED:
                return Verdict.REPEATED
        elif now - cookie.created_at > self._config.cookie_lifetime:
            self._refuse_stale(cookie, now)
            return Verdict.IGNORED
        elif self.state is HandshakeState.ESTABLISHED:
            ties = current is not None and (cookie.local_tie_tag, cookie.remote_tie_tag) == (
                current.local_tag,
                current.remote_tag,
            )
            if same_local or same_remote or not ties:
                return Verdict.IGNORED
            self._establish(cookie)
            return Verdict.RESTARTED
        elif not same_local:
            return Verdict.IGNORED
        self._establish(cookie)
        return Verdict.ESTABLISHED

    def receive_cookie_ack(self) -> bool:
        """Return whether this is what established the association."""
        if self.state is not HandshakeState.COOKIE_ECHOED or self._must_echo or self.agreement is None:
            return False
        self._establish(self.agreement)
        return True

    def receive_error(self, causes: list[Parameter], now: float) -> None:
        """Begin again when the cookie was too old (section 5.2.6)."""
        is_echoed = self.state is HandshakeState.COOKIE_ECHOED and not self._must_echo
        if is_echoed and any(cause.kind == Cause.STALE_COOKIE for cause in causes):
            self.agreement = None
            self.connect(now)

    # Rules

    def _establish(self, agreement: Cookie) -> None:
        self.agreement = agreement
        self.state = HandshakeState.ESTABLISHED
        self._local_tag, self._remote_tag = agreement.local_tag, agreement.remote_tag
        self._due_at, self._must_echo = inf, False
        self._init_packet = self._echo = b""

    def _cookie_echo(self, now: float) -> bytes:
        """Return the packet with the COOKIE ECHO, and what travels with it."""
        assert self.agreement is not None
        chunks = self._echo
        if self._retransmissions < MAX_ECHOES_WITH_DATA:
            chunks += self._first_data.beside(self._echo, self.agreement, now)
        return self._seal(chunks, self._remote_tag)

    def _ask(self, packet: bytes, now: float) -> None:
        self._timeout = FIRST_TIMEOUT
        self._asked_at, self._due_at = now, now + FIRST_TIMEOUT
        self._packets.append(packet)

    def _refuse_stale(self, cookie: Cookie, now: float) -> None:
        late = min(0xFFFF_FFFF, int((now - cookie.created_at - self._config.cookie_lifetime) * 1e6))
        error = encode_causes(ChunkType.ERROR, [Parameter(Cause.STALE_COOKIE, _STALENESS.pack(late))])
        self._packets.append(self._seal(error, cookie.remote_tag))

    def _init(self, tag: int, initial_tsn: int, more: list[Parameter]) -> Init:
        config = self._config
        offered = extensions.offer(interleaving=config.interleaving, zero_checksum=config.zero_checksum)
        return Init(
            tag,
            config.receive_window_bytes,
            config.max_streams,
            config.max_streams,
            initial_tsn,
            [*offered, *more],
        )

    def _seal(self, chunk: bytes, tag: int) -> bytes:
        return Envelope(self._config.local_port, self._config.remote_port, tag).seal(chunk)

    def _new_tag(self) -> int:
        return self._random.randrange(1, 1 << 32)
