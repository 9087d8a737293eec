"""The commands of the Dockerfile and of compose.yaml, run as plain processes."""

import json
import re
import signal
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.config import ClientConfig
from support.members import Member
from support.processes import RTCMESH, Program, running
from support.stores import BINARIES, free_port

ROOT = Path(__file__).parents[2]
SECRETS = {"RTCMESH_TICKET_SECRET": "t" * 32, "RTCMESH_RESUME_SECRET": "r" * 32}


def command_of(file: str, *beginning: str) -> list[str]:
    """Return the one command of a file that begins like this."""
    lines = re.findall(r"^(?:CMD|    command:) (\[.*\])$", (ROOT / file).read_text(), re.MULTILINE)
    commands: list[list[str]] = [json.loads(line) for line in lines]
    (command,) = [words for words in commands if words[: len(beginning)] == list(beginning)]
    return command


@asynccontextmanager
async def server(file: str, **words: str) -> AsyncGenerator[tuple[Program, str], None]:
    changed = {"0.0.0.0": "127.0.0.1", "8080": "0", **words}
    command = [changed.get(word, word) for word in command_of(file, "rtcmesh", "serve")]
    async with running(RTCMESH, *command[1:], **SECRETS) as program:
        line = await program.expect("rtcmesh signaling on")
        yield program, line.split()[-1]


async def status_of(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status


async def text_of(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


async def test_the_command_of_the_image_serves_and_logs_an_object_a_line() -> None:
    async with server("Dockerfile") as (program, url):
        assert await status_of(f"{url}/readyz") == 200
        member = Member(number=1)
        async with SignalingLink.open(url, room=member.room, identity=member.identity, prekey=member.prekey):
            pass
        while "rtcmesh_signaling_connections 0.0" not in await text_of(f"{url}/metrics"):
            pass  # its end is noticed, and logged, before the server is told to stop
        program.send_signal(signal.SIGTERM)
        ended = await program.ended()
        assert ended.code == 0
        events = [json.loads(line)["event"] for line in ended.errors.splitlines()]
        assert events[:2] == ["joined", "connection ended"]


async def test_the_commands_of_the_fleet_make_servers_that_share_their_rooms() -> None:
    port = str(free_port())
    _, *options = command_of("compose.yaml", "valkey-server")
    with tempfile.TemporaryDirectory() as folder:
        async with running(BINARIES["valkey"], *options, "--port", port, "--dir", folder) as store:
            await store.expect("Ready to accept connections")
            words = {"redis://store:6379": f"redis://127.0.0.1:{port}", "2": "0", "10": "1"}
            async with (
                server("compose.yaml", **words) as (first, one),
                server("compose.yaml", **words) as (_, two),
            ):
                assert await status_of(f"{one}/readyz?deep=1") == 200
                alice, bob = Member(number=1), Member(number=2)
                config = ClientConfig(backoff_base=0.05)
                async with (
                    SignalingLink.open(
                        [one, two],
                        room=alice.room,
                        identity=alice.identity,
                        prekey=alice.prekey,
                        config=config,
                    ) as there,
                    SignalingLink.open(
                        two, room=alice.room, identity=bob.identity, prekey=bob.prekey
                    ) as here,
                ):
                    first.send_signal(signal.SIGTERM)
                    assert (await first.ended()).code == 0
                    await there.signal(bob.peer_id, b"from wherever I am now")
                    assert here.welcome.members[0].peer_id == alice.peer_id


def test_the_probe_of_the_image_is_python_that_runs() -> None:
    (probe,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    interpreter, flag, program = json.loads(probe)
    assert (interpreter, flag) == ("python", "-c")
    compile(program, "HEALTHCHECK", "exec")
