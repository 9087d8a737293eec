"""What one client can do to a server and to the others: nothing that lasts."""

import asyncio
import sys
from dataclasses import replace

import aiohttp
import msgspec
import pytest
import yarl

from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.codes import CloseCode, RefusalCode
from rtcmesh.signaling.config import ServerConfig, ServiceConfig
from rtcmesh.signaling.connection import BURST, Connection
from rtcmesh.signaling.errors import JoinRefused
from rtcmesh.signaling.memory_registry import MemoryRegistry
from rtcmesh.signaling.messages import (
    SUBPROTOCOL,
    Challenge,
    Join,
    Limits,
    Pong,
    SetPresence,
    Welcome,
    encode,
)
from rtcmesh.signaling.room import RoomLimits
from rtcmesh.signaling.server import is_origin_allowed, serve
from rtcmesh.signaling.service import SignalingService
from rtcmesh.signaling.session import Ending, Role, Session
from rtcmesh.signaling.stats import ServiceStats
from rtcmesh.signaling.text_socket import SocketClosed
from support.links import Lab
from support.members import Member
from support.virtual import on_virtual_time
from support.wire import proved_join

MEMBER = Member(number=1)
LIMITS = Limits(
    max_message_bytes=10_000,
    max_signal_bytes=1000,
    max_presence_bytes=1000,
    max_unacknowledged_signals=4,
    join_timeout=1,
)


class BufferedSocket:
    """A socket whose peer has sent everything already, and whose close is answered when `answer_close` says so."""

    def __init__(self, frames: list[bytes], *, answers_close: bool = True) -> None:
        self._frames = frames[::-1]
        self._aborted = asyncio.Event()
        self._answers_close = answers_close

    async def receive(self) -> bytes:
        if self._frames:
            return self._frames.pop()
        await self._aborted.wait()
        raise SocketClosed(CloseCode.ABNORMAL)

    async def send(self, *frames: bytes) -> None: ...

    async def close(self, code: int, reason: str) -> None:
        if not self._answers_close:
            await self._aborted.wait()

    def abort(self) -> None:
        self._aborted.set()


@on_virtual_time
async def test_a_burst_of_one_connection_leaves_the_loop_to_the_others() -> None:
    session = Session(Role.SERVER, now=0, join_timeout=10, max_message_bytes=10_000)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with Connection(
        BufferedSocket([]), session, max_queue_bytes=10_000_000, close_timeout=1
    ) as connection:
        running = asyncio.create_task(others())
        connection._inbox.extend([SetPresence(presence={})] * 500)
        for _ in range(500):
            await anext(connection)
        running.cancel()
        connection.abort()
    assert turns >= 500 // BURST


@on_virtual_time
async def test_clients_that_keep_coming_do_not_keep_a_server_from_stopping() -> None:
    config = ServiceConfig(close_timeout=0.5, drain_spread=0)
    service = SignalingService(MemoryRegistry(), config)
    visits: set[asyncio.Task[None]] = set()

    def come() -> None:
        visits.add(asyncio.create_task(service.serve(BufferedSocket([], answers_close=False))))

    async def keep_coming() -> None:
        while True:
            come()
            await asyncio.sleep(0.2)

    attacker = asyncio.create_task(keep_coming())
    await asyncio.sleep(1)
    started = asyncio.get_running_loop().time()
    await asyncio.wait_for(service.drain(), 60)
    assert asyncio.get_running_loop().time() - started <= 0.6
    attacker.cancel()
    await asyncio.gather(*visits, attacker, return_exceptions=True)


@pytest.mark.parametrize(
    "origin", ["http://[::1", "http://[x]", "http://127.0.0.1℀", "ftp://host", "//host", ""]
)
def test_an_origin_that_is_none_of_a_web_page_may_not_connect(origin: str) -> None:
    assert not is_origin_allowed(origin, "host", ())


async def test_a_malformed_origin_is_turned_away_and_counted() -> None:
    async with serve(ServerConfig(port=0)) as server, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(
                yarl.URL(server.url) / "v1/signaling", protocols=(SUBPROTOCOL,), origin="http://[::1"
            )
        assert refused.value.status == 403
        assert server.service.stats.rejections["origin"] == 1


def test_a_refusal_is_counted_only_when_it_was_ours() -> None:
    stats = ServiceStats()
    stats.count_ending(Ending(RefusalCode.BAD_PROOF.close_code, "", by_us=False))
    stats.count_ending(Ending(RefusalCode.BAD_PROOF.close_code, "", by_us=True))
    assert (stats.endings["bad_proof"], stats.endings["other"]) == (1, 1)


def joined_session() -> Session:
    session = Session(Role.SERVER, now=0, join_timeout=10, max_message_bytes=10_000)
    session.send(Challenge(nonce=b"", server_time=0, limits=LIMITS), 0)
    join = Join(room="r", peer_id=MEMBER.peer_id, prekey=MEMBER.prekey, proof=b"")
    session.receive_frame(encode(join), 0)
    session.messages()
    session.send(Welcome(epoch="e", offset=0, resumed=False, resume_token="t", heartbeat=1), 0)
    return session


@on_virtual_time
async def test_peers_are_not_thrown_out_because_the_server_itself_stood_still() -> None:
    loop = asyncio.get_running_loop()
    session = joined_session()
    async with Connection(BufferedSocket([]), session, max_queue_bytes=10_000, close_timeout=1) as connection:
        timer = connection._timer
        assert timer is not None
        timer.cancel()  # what would run it stands still for a minute
        await asyncio.sleep(timer.when() + 60)
        connection._expire()
        assert connection.ending is None
        await asyncio.sleep(2.1)
        assert connection.ending is not None, "silence that this process could hear"
        assert connection.ending.code == RefusalCode.HEARTBEAT_TIMEOUT.close_code
        assert loop.time() > 60


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 86_401.0, 0.0])
@pytest.mark.parametrize("name", ["heartbeat", "join_timeout"])
def test_a_configuration_that_no_client_could_join_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        replace(ServiceConfig(), **{name: value})  # type: ignore[arg-type]


def test_a_window_that_no_client_could_take_is_refused() -> None:
    with pytest.raises(ValueError, match="max_unacknowledged_signals"):
        RoomLimits(max_unacknowledged_signals=65_537)


@pytest.mark.parametrize("room", ["", "x" * 5000, "no spaces"])
async def test_a_room_that_cannot_be_is_refused_at_once(room: str) -> None:
    with pytest.raises(JoinRefused) as refused:
        async with SignalingLink.open(
            "http://127.0.0.1:9", room=room, identity=MEMBER.identity, prekey=MEMBER.prekey
        ):
            raise AssertionError("joined")
    assert refused.value.code is RefusalCode.BAD_ROOM


async def test_a_token_that_no_server_takes_is_refused_at_once() -> None:
    with pytest.raises(JoinRefused) as refused:
        async with SignalingLink.open(
            "http://127.0.0.1:9", room="r", identity=MEMBER.identity, prekey=MEMBER.prekey, token="é" * 8193
        ):
            raise AssertionError("joined")
    assert refused.value.code is RefusalCode.MESSAGE_TOO_LARGE


@on_virtual_time
async def test_a_token_that_is_too_long_is_refused_for_good() -> None:
    lab = Lab()
    async with lab.server(), lab.raw_peer(1) as peer:
        challenge = await peer.receive()
        assert isinstance(challenge, Challenge)
        join = msgspec.structs.replace(proved_join(peer.member, challenge.nonce), token="x" * 16_385)
        await peer.send(join)
        refused, _ = await peer.last_words()
        assert refused is not None
        assert refused.code is RefusalCode.MESSAGE_TOO_LARGE
        assert refused.code.final


class ClosedSocket(BufferedSocket):
    """A socket whose peer reads nothing."""

    def __init__(self) -> None:
        super().__init__([], answers_close=False)

    async def send(self, *frames: bytes) -> None:
        await self._aborted.wait()
        raise SocketClosed(CloseCode.ABNORMAL)


@on_virtual_time
async def test_the_queue_of_a_connection_is_bounded_in_memory_and_not_in_json() -> None:
    session = joined_session()
    limit = 100_000
    async with Connection(ClosedSocket(), session, max_queue_bytes=limit, close_timeout=1) as connection:
        await asyncio.sleep(0)
        most = 0
        while connection.ending is None:
            most = max(most, sum(map(sys.getsizeof, connection._queue)) + sys.getsizeof(connection._queue))
            connection.send(Pong())
        assert limit * 0.5 < most <= limit
        assert connection.ending.code == RefusalCode.SLOW_CONSUMER.close_code


@pytest.mark.parametrize("url", ["http://[", "http://h:99999", "not a url", "ftp://host"])
async def test_a_url_that_cannot_be_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="not a signaling URL"):
        async with SignalingLink.open(url, room="r", identity=MEMBER.identity, prekey=MEMBER.prekey):
            raise AssertionError("joined")
