"""A deploy of three servers under load, one after the other: nothing is lost, and nobody comes back in a wave."""

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from datetime import datetime

import pytest

from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.config import ClientConfig
from rtcmesh.signaling.events import LinkResumed
from rtcmesh.signaling.messages import Signal
from support.members import Member
from support.processes import TIMEOUT, Program, rtcmesh
from support.stores import free_port, store_server

SERVERS = 3
MEMBERS = 40
WINDOW = 4.0
CONFIG = ClientConfig(connect_timeout=TIMEOUT, dial_timeout=TIMEOUT, backoff_base=0.05)

pytestmark = pytest.mark.timeout(240)


class Talker:
    """A member that sends numbers to the next one, and keeps what it hears and when it had to resume."""

    def __init__(self, number: int, link: SignalingLink, heard: asyncio.Event) -> None:
        self.link = link
        self.anybody_heard = heard
        self.heard: list[int] = []
        self.resumes = 0
        self.snapshots = 0
        self.sent = 0
        self._next = Member(number=(number + 1) % MEMBERS).peer_id

    async def listen(self) -> None:
        async for event in self.link:
            if isinstance(event, Signal):
                self.heard.append(int.from_bytes(event.sealed))
                self.anybody_heard.set()
            elif isinstance(event, LinkResumed):
                self.snapshots += not event.resumed
                self.resumes += 1

    async def talk(self, until: asyncio.Event) -> None:
        while not until.is_set():
            await self.link.signal(self._next, self.sent.to_bytes(4))
            self.sent += 1
            await asyncio.sleep(0.2)


async def start(port: int, store: str, stack: AsyncExitStack) -> Program:
    options = ["--no-relay", "--port", str(port), "--redis", store, "--drain-window", str(WINDOW)]
    options += ["--log-format", "json", "--log-level", "info"]
    server = await stack.enter_async_context(rtcmesh("serve", *options))
    await server.expect("rtcmesh signaling on")
    return server


def check_pace(log: str) -> None:
    """Assert that the server sent its peers away at an even pace, by its own clock."""
    lines = [line for line in map(json.loads, log.splitlines()) if line["event"] == "sent peers away"]
    batches = [(datetime.fromisoformat(line["timestamp"]).timestamp(), line["peers"]) for line in lines]
    moved = sum(peers for _, peers in batches)
    assert moved > 0
    peak = max(
        sum(peers for at, peers in batches if began_at <= at < began_at + 1) for began_at, _ in batches
    )
    assert peak <= 2 * moved / WINDOW + 3, f"{peak} of {moved} were sent away in one second"


async def test_a_rolling_deploy_under_load_loses_nothing_and_makes_no_wave() -> None:
    ports = [free_port() for _ in range(SERVERS)]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with store_server("valkey") as store:
        async with AsyncExitStack() as stack:
            servers = [await start(port, store.address, stack) for port in ports]
            talkers: list[Talker] = []
            heard = asyncio.Event()
            for number in range(MEMBERS):
                member = Member(number=number)
                opening = SignalingLink.open(
                    urls, room=member.room, identity=member.identity, prekey=member.prekey, config=CONFIG
                )
                talkers.append(Talker(number, await stack.enter_async_context(opening), heard))
            silence = asyncio.Event()
            listeners = [asyncio.create_task(talker.listen()) for talker in talkers]
            speakers = [asyncio.create_task(talker.talk(silence)) for talker in talkers]

            for index, port in enumerate(ports):
                servers[index].send_signal(signal.SIGTERM)
                ended = await servers[index].ended()
                assert ended.code == 0
                check_pace(ended.errors)
                servers[index] = await start(port, store.address, stack)

            silence.set()
            await asyncio.gather(*speakers)
            async with asyncio.timeout(TIMEOUT):
                while any(
                    len(talkers[(n + 1) % MEMBERS].heard) < talker.sent for n, talker in enumerate(talkers)
                ):
                    heard.clear()
                    await heard.wait()
            for task in listeners:
                task.cancel()
            await asyncio.wait(listeners)
    for number, talker in enumerate(talkers):
        assert talkers[(number + 1) % MEMBERS].heard == list(range(talker.sent))
    assert sum(talker.snapshots for talker in talkers) == 0
    assert sum(talker.resumes for talker in talkers) >= MEMBERS
