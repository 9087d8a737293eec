"""The command line: a real server process, killed, restarted, and stopped."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from typer.testing import CliRunner

from rtcmesh.signaling.cli import app
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.config import ClientConfig
from rtcmesh.signaling.events import LinkEvent, LinkLost, LinkResumed
from support.members import Member

RUN = "from rtcmesh.signaling.cli import app; app()"


@asynccontextmanager
async def server_process(port: int) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str], None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, "serve", "--port", str(port), stdout=asyncio.subprocess.PIPE
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


def test_the_schema_is_printed_as_json() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    assert "Welcome" in json.loads(result.stdout)["$defs"]


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
