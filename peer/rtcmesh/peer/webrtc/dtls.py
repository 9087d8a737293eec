"""DTLS over datagrams (RFC 6347, 8261): OpenSSL does the protocol, this drives it. No I/O and no clock in here.

Every input is followed by `datagrams_to_send`; between inputs, `handle_timeout` is called at `deadline`.

    NEW ──start──▶ HANDSHAKING ──finished, fingerprint right──▶ CONNECTED ──close_notify from there──▶ CLOSED
                        │                                           │
                        └────── fatal alert, wrong fingerprint ─────┴───────────▶ FAILED (`reason` says why)

**Lost handshake datagrams.** OpenSSL repeats a flight after a second at the earliest, and its Python bindings offer no
way to change that. So the last flight is also repeated from here, byte for byte, after a tenth of a second and ever
more seldom: to the other end that is a datagram which the network duplicated, harmless if it has come before. What
that cannot mend is the loss of the server's last flight, which only fresh records of the client can ask for again; but
a server of this kind recognises the repeated datagram and answers it with its last flight. Towards other servers
OpenSSL's own timer remains.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from enum import Enum, auto

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from .certificate import Certificate, vouches_for
from .datagrams import MAX_RUN_BYTES, MAX_RUN_DATAGRAMS, Datagrams
from .description import Fingerprint
from .records import open_records, read_records, seal_records

logger = logging.getLogger(__name__)

REPEAT_AFTER = 0.1
MAX_REPEAT_AFTER = 1.0
MIN_OPENSSL_WAIT = 0.02
"""OpenSSL's clock and the caller's may differ a little; asking it again and again would not help."""

MAX_HEARD_DATAGRAMS = 64
MAX_ANSWERED_REPEATS = 16
"""How often a finished server repeats its last flight: a forged datagram must not make it send for ever."""

HANDSHAKE_DATAGRAM_BYTES = 1_200
RECORD_HEADER_BYTES = 13
MAX_WRITE_BYTES = 16_000
"""OpenSSL takes what it reads from a memory BIO for one datagram, and cuts off what does not fit its buffer."""

_APPLICATION_DATA = b"\x17\xfe\xfd"
_READ_BYTES = 1 << 20


class DtlsState(Enum):
    """Where the connection stands."""

    NEW = auto()
    HANDSHAKING = auto()
    CONNECTED = auto()
    CLOSED = auto()
    FAILED = auto()


class Dtls:
    """One end of a DTLS connection.

    Guarantees: nothing is handed over before the other end has shown the certificate that its description announces;
    whatever the bytes, nothing raises, and a datagram that is not authentic changes nothing once connected.
    """

    def __init__(
        self, certificate: Certificate, fingerprints: tuple[Fingerprint, ...], *, is_client: bool
    ) -> None:
        self.is_client = is_client
        self.state = DtlsState.NEW
        self.reason = ""
        """Why it failed."""
        self._fingerprints = fingerprints
        self._ssl = SSL.Connection(certificate.context)
        self._ssl.set_ciphertext_mtu(HANDSHAKE_DATAGRAM_BYTES)
        if is_client:
            self._ssl.set_connect_state()
        else:
            self._ssl.set_accept_state()
        self._outbox: list[bytes] = []
        self._flight: list[bytes] = []
        self._heard: set[bytes] = set()
        self._repeats = 0
        self._repeat_after = REPEAT_AFTER
        self._repeat_at: float | None = None
        self._openssl_at: float | None = None

    # Commands

    def start(self, now: float) -> None:
        """Begin the handshake: the client speaks first."""
        self.state = DtlsState.HANDSHAKING
        self._shake_hands(now)

    def seal(self, packets: Sequence[bytes]) -> list[Datagrams]:
        """Return packets as datagrams, each one record. Packets of equal size that follow one another share a run."""
        runs: list[Datagrams] = []
        start = 0
        while self.state is DtlsState.CONNECTED and start < len(packets):
            stop = _end_of_run(packets, start)
            try:
                data = seal_records(self._ssl, packets[start:stop])
            except SSL.Error as error:
                self._fail(f"DTLS cannot send: {_describe(error)}")
                break
            runs.append(Datagrams(data, RECORD_HEADER_BYTES + int.from_bytes(data[11:13], "big")))
            start = stop
        return runs

    def shutdown(self) -> None:
        """Tell the other end that nothing follows."""
        if self.state in (DtlsState.HANDSHAKING, DtlsState.CONNECTED):
            self.state = DtlsState.CLOSED
            try:
                self._ssl.shutdown()
            except SSL.Error as error:
                logger.debug("DTLS was not shut down in order: %s", _describe(error))
            self._take_output()

    # Inputs

    def receive(self, datagrams: Datagrams, now: float) -> list[bytes]:
        """Take datagrams in the order of their arrival; return the packets in those that are authentic."""
        packets: list[bytes] = []
        if self.state is DtlsState.CONNECTED and _is_run_of_records(datagrams):
            self._open_run(datagrams, packets)
        else:
            for datagram in datagrams.split():
                self._receive_one(datagram, packets, now)
        return packets

    def handle_timeout(self, now: float) -> None:
        """Repeat the last flight if its answer is overdue."""
        if self.state is not DtlsState.HANDSHAKING:
            return
        if self._openssl_at is not None and now >= self._openssl_at:
            try:
                self._ssl.DTLSv1_handle_timeout()
            except SSL.Error as error:
                self._fail(f"the DTLS handshake was given up: {_describe(error)}")
                return
            if self._take_output():
                self._repeat_at = now + self._repeat_after
            self._ask_openssl(now)
        if self._repeat_at is not None and now >= self._repeat_at:
            self._outbox += self._flight
            self._repeat_after = min(2 * self._repeat_after, MAX_REPEAT_AFTER)
            self._repeat_at = now + self._repeat_after

    # Outputs

    def deadline(self) -> float | None:
        """When `handle_timeout` is due."""
        if self.state is not DtlsState.HANDSHAKING:
            return None
        times = [at for at in (self._repeat_at, self._openssl_at) if at is not None]
        return min(times, default=None)

    def datagrams_to_send(self) -> list[bytes]:
        """Return what the handshake wants to send, once."""
        outbox, self._outbox = self._outbox, []
        return outbox

    # Rules

    def _receive_one(self, datagram: bytes, packets: list[bytes], now: float) -> None:
        if self.state is DtlsState.HANDSHAKING:
            if len(self._heard) < MAX_HEARD_DATAGRAMS:
                self._heard.add(datagram)
            if datagram:
                self._ssl.bio_write(datagram)
            self._shake_hands(now)
            if self._is_connected:
                self._open(packets)  # what came in the same datagram, or before its turn
        elif self.state is DtlsState.CONNECTED:
            if datagram in self._heard:
                self._answer_repeat()
                return
            self._open(packets, datagram)
            self._take_output()

    @property
    def _is_connected(self) -> bool:
        return self.state is DtlsState.CONNECTED

    def _answer_repeat(self) -> None:
        """Send the last flight again: the client did not get it, or its datagram was duplicated on the way."""
        if not self.is_client and self._repeats < MAX_ANSWERED_REPEATS:
            self._repeats += 1
            self._outbox += self._flight

    def _shake_hands(self, now: float) -> None:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self._take_output()
            self._fail(f"the DTLS handshake failed: {_describe(error)}")
            return
        else:
            self._finish()
        if self._take_output():
            self._repeat_after = REPEAT_AFTER
            self._repeat_at = now + REPEAT_AFTER
        self._ask_openssl(now)

    def _finish(self) -> None:
        certificate = self._ssl.get_peer_certificate(as_cryptography=True)
        if certificate is None or not vouches_for(self._fingerprints, certificate.public_bytes(Encoding.DER)):
            self._fail("the DTLS certificate is not the one that the description announces")
            return
        self.state = DtlsState.CONNECTED
        if self.is_client:
            self._forget_handshake()  # nothing of it is ever repeated

    def _ask_openssl(self, now: float) -> None:
        wait = self._ssl.DTLSv1_get_timeout()
        self._openssl_at = None if wait is None else now + max(wait, MIN_OPENSSL_WAIT)

    def _take_output(self) -> bool:
        """Take what OpenSSL wants to send, in datagrams; what it sends at once is a flight."""
        try:
            data = self._ssl.bio_read(_READ_BYTES)
        except SSL.Error:  # there is none
            return False
        flight = _pack_records(data)
        self._outbox += flight
        if self.state is not DtlsState.CLOSED and (self._heard or self.state is DtlsState.HANDSHAKING):
            self._flight = flight
        return True

    def _open_run(self, datagrams: Datagrams, packets: list[bytes]) -> None:
        size = datagrams.size_bytes
        step = size * max(1, MAX_WRITE_BYTES // size)
        for start in range(0, len(datagrams.data), step):
            self._open(packets, datagrams.data[start : start + step])
        if packets:
            self._forget_handshake()  # data can come only from a client that has our last flight

    def _forget_handshake(self) -> None:
        if self._heard:
            self._heard.clear()
            self._flight.clear()

    def _open(self, packets: list[bytes], data: bytes | memoryview = b"") -> None:
        """Decrypt these records, or what was written before. Records that are not authentic are dropped in here."""
        try:
            if data:
                open_records(self._ssl, data, packets)
            else:
                read_records(self._ssl, packets)
        except SSL.ZeroReturnError:
            self.state = DtlsState.CLOSED
        except SSL.Error as error:
            self._fail(f"DTLS broke off: {_describe(error)}")

    def _fail(self, reason: str) -> None:
        if self.state is not DtlsState.FAILED:
            self.state, self.reason = DtlsState.FAILED, reason


def _end_of_run(packets: Sequence[bytes], start: int) -> int:
    """Return where a run ends that begins at `start`: equal sizes, then at most one that is smaller."""
    size = len(packets[start])
    stop, limit = start + 1, start + max(1, min(MAX_RUN_DATAGRAMS, MAX_RUN_BYTES // (size + 64)))
    while stop < min(limit, len(packets)):
        following = len(packets[stop])
        if following > size:
            break
        stop += 1
        if following < size:
            break
    return stop


def _is_run_of_records(datagrams: Datagrams) -> bool:
    """Tell whether each datagram is exactly one record of application data, as its header has it.

    OpenSSL would take the rest of a buffer for rubbish after a record whose header is wrong.
    """
    data, size = datagrams.data, datagrams.size_bytes
    if len(data) <= size:
        return (
            size >= RECORD_HEADER_BYTES
            and bytes(data[:3]) == _APPLICATION_DATA
            and int.from_bytes(data[11:13], "big") == size - RECORD_HEADER_BYTES
        )
    count = datagrams.count
    last = len(data) - size * (count - 1)
    if last < RECORD_HEADER_BYTES or bytes(data[-last:][:3]) != _APPLICATION_DATA:
        return False
    if int.from_bytes(data[-last:][11:13], "big") != last - RECORD_HEADER_BYTES:
        return False
    length = size - RECORD_HEADER_BYTES
    return all(
        bytes(data[offset : len(data) - last : size]) == bytes([value]) * (count - 1)
        for offset, value in (
            (0, 0x17),
            (1, 0xFE),
            (2, 0xFD),
            (11, length >> 8 & 0xFF),
            (12, length & 0xFF),
        )
    )


def _pack_records(data: bytes) -> list[bytes]:
    """Cut a stream of records into datagrams at their borders."""
    datagrams: list[bytes] = []
    start = end = 0
    while end < len(data):
        following = end + RECORD_HEADER_BYTES + int.from_bytes(data[end + 11 : end + 13], "big")
        if following - start > HANDSHAKE_DATAGRAM_BYTES and end > start:
            datagrams.append(data[start:end])
            start = end
        end = following
    if data[start:]:
        datagrams.append(data[start:])
    return datagrams


def _describe(error: SSL.Error) -> str:
    """Return OpenSSL's own words: it hands over a list of triples, the last of which is the reason."""
    reasons: Iterable[object] = error.args[0] if error.args else ()
    words = [str(triple[-1]) for triple in reasons if isinstance(triple, tuple)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return "; ".join(words) or "without a reason"
