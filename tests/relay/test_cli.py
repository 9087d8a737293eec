"""The command line: real server processes, killed, restarted, and stopped."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from typer.testing import CliRunner

from rtcmesh.relay.aiohttp_socket import dial_websocket
from rtcmesh.relay.cli import app
from rtcmesh.relay.codes import CloseCode
from rtcmesh.relay.errors import DialFailed
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.config import ClientConfig
from rtcmesh.signaling.events import LinkEvent, LinkLost, LinkResumed
from rtcmesh.signaling.ticket import TicketKey
from support.members import Member
from support.relays import RawClient, ticket_for

SECRET = "a secret that the tests have in common"
RUN = "from rtcmesh.relay.cli import app; app()"


@asynccontextmanager
async def server_process(
    port: int, *options: str, command: str = "serve", **environment: str
) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str], None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN, command, "--port", str(port), *options),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        yield process, line.split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def next_of(link: SignalingLink, kind: type[LinkEvent]) -> LinkEvent:
    while not isinstance(event := await anext(link), kind):
        pass
    return event


async def test_a_link_survives_a_server_that_is_killed_and_restarted_and_one_that_is_terminated() -> None:
    member = Member(number=1)
    async with server_process(0) as (first, url):
        opening = SignalingLink.open(
            url,
            room="lobby",
            identity=member.identity,
            prekey=member.prekey,
            config=ClientConfig(backoff_maximum=0.25),
        )
        async with opening as link:
            first.kill()
            await next_of(link, LinkLost)
            async with server_process(int(url.rsplit(":", 1)[1])) as (second, _):
                resumed = await next_of(link, LinkResumed)
                assert isinstance(resumed, LinkResumed)
                assert not resumed.resumed
                second.send_signal(signal.SIGTERM)
                lost = await next_of(link, LinkLost)
                assert lost == LinkLost("the server is stopping")
                assert await second.wait() == 0


def test_an_address_that_cannot_be_had_is_an_error_and_not_a_traceback() -> None:
    result = CliRunner().invoke(app, ["serve", "--host", "192.0.2.1", "--port", "1"])
    assert result.exit_code == 1
    assert "cannot serve" in result.stderr


async def test_a_missing_extra_is_named() -> None:
    code = f"import sys; sys.modules['prometheus_client'] = None; {RUN}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, "serve", "--port", "0", stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await process.communicate()
    assert process.returncode == 1
    assert b"rtcmesh[server]" in stderr


async def test_a_server_has_a_relay_unless_it_is_told_not_to() -> None:
    async with server_process(0, RTCMESH_TICKET_SECRET=SECRET) as (_, url), dial_websocket(url) as socket:
        await joins(RawClient(socket, 1))
    async with server_process(0, "--no-relay") as (_, url):
        with pytest.raises(DialFailed):
            async with dial_websocket(url):
                pass


async def test_a_relay_runs_alone_and_says_goodbye_when_it_is_terminated() -> None:
    running = server_process(0, command="relay", RTCMESH_TICKET_SECRET=SECRET)
    async with running as (relay, url), dial_websocket(url) as socket:
        alice = RawClient(socket, 1)
        await joins(alice)
        relay.send_signal(signal.SIGTERM)
        _, code = await alice.last_words()
        assert code == CloseCode.SHUTTING_DOWN
        assert await relay.wait() == 0


async def joins(client: RawClient) -> None:
    key = TicketKey.from_secret(SECRET.encode())
    await client.welcomed(ticket=ticket_for(1, key=key, expires_at=time.time() + 60))


@pytest.mark.parametrize(
    "arguments",
    [
        ["relay"],
        ["relay", "--ticket-secret", "short"],
        ["serve", "--relay", "https://relay.example"],
        ["serve", "--relay", "nonsense", "--ticket-secret", "x" * 32],
    ],
)
def test_what_cannot_work_is_a_usage_error(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments, env={"RTCMESH_TICKET_SECRET": None})
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


async def test_a_server_that_is_told_twice_to_stop_does_not_wait_for_its_peers() -> None:
    async with (
        server_process(0, "--drain-notice", "600") as (process, url),
        aiohttp.ClientSession() as session,
    ):
        process.send_signal(signal.SIGTERM)
        while True:
            async with session.get(f"{url}/readyz") as response:
                if response.status == 503:
                    assert await response.text() == "draining"
                    break
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 40) == 1
