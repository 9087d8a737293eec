"""The command line as its users run it: real processes, real sockets, Ctrl-C and kill -9 included."""

import hashlib
import json
import signal
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtcmesh.peer.cli import app
from rtcmesh.signaling.config import ServerConfig
from rtcmesh.signaling.server import serve
from support.processes import TIMEOUT, Program, port_of, rtcmesh, run_rtcmesh, serving

DEMO_TIMEOUT = 180
"""The demo waits out what it breaks, and a loaded machine takes its time."""


@pytest.fixture
async def url() -> AsyncGenerator[str]:
    async with serve(ServerConfig(port=0)) as server:
        yield server.url


def test_help_names_every_command() -> None:
    help_ = CliRunner().invoke(app, ["--help"])
    assert help_.exit_code == 0
    for command in ("serve", "schema", "chat", "demo", "bench", "send", "receive"):
        assert command in help_.output.split()


def test_the_schema_is_json() -> None:
    schema = CliRunner().invoke(app, ["schema"])
    assert schema.exit_code == 0
    assert isinstance(json.loads(schema.output), dict)


@pytest.mark.parametrize(
    "url", ["lobby", "ftp://127.0.0.1", "http://", "http://127.0.0.1:0", "http://127.0.0.1:99999"]
)
def test_what_is_no_address_of_a_server_is_refused_at_once(url: str) -> None:
    chat = CliRunner().invoke(app, ["chat", url, "lobby"])
    assert chat.exit_code == 2
    assert "is not the address of a server" in " ".join(chat.output.replace("│", "").split())


# The demo


@pytest.mark.timeout(DEMO_TIMEOUT)
async def test_the_demo_proves_every_message_and_a_file_and_says_so_in_json(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    file.write_bytes(bytes(range(256)) * 2_000)
    options = ("--messages", "50", "--file", str(file), "--timeout", str(DEMO_TIMEOUT), "--json")
    demo = await run_rtcmesh("demo", "--peers", "3", *options, timeout=DEMO_TIMEOUT)
    assert (demo.code, demo.errors) == (0, "")
    result = json.loads(demo.output)
    assert result.pop("seconds") > 0
    assert [step["name"] for step in result.pop("steps")][1] == "the cut pairs go over the relay"
    ways = result.pop("ways")
    assert [(way["peer"], way["to"]) for way in ways if way["cut"]] == [(1, 3), (3, 1)]
    for way in ways:
        assert way["path"] == way["history"][-1] == "direct"
        assert not way["cut"] or {"direct", "relayed", "none"} == set(way["history"])
    assert result == {
        "ok": True,
        "problems": [],
        "peers": 3,
        "direct_connections": 3,
        "cut_pairs": [[1, 3]],
        "messages_sent": 3 * 2 * 50,
        "messages_received": 3 * 2 * 50,
        "file": "numbers",
        "file_bytes": 512_000,
        "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


async def test_a_demo_that_cannot_work_says_why_and_leaves_no_process() -> None:
    demo = await run_rtcmesh("demo", "--timeout", "0.1", "--json")
    assert (demo.code, demo.output) == (1, "")
    assert demo.errors == "the demo failed: not done after 0.1 s: starting the server\n"


def endless_demo() -> AbstractAsyncContextManager[Program]:
    """Run a demo that a test ends, with the live table that a terminal shows."""
    return rtcmesh("demo", "--peers", "2", "--messages", "1000000000", FORCE_COLOR="1")


async def test_ctrl_c_ends_a_demo_in_silence_and_leaves_no_process() -> None:
    async with endless_demo() as demo:
        await demo.expect(" ms")
        demo.interrupt()
        ended = await demo.ended()
        assert (ended.code, ended.errors) == (130, "")


async def test_the_workers_of_a_killed_demo_end_by_themselves() -> None:
    async with endless_demo() as demo:
        await demo.expect(" ms")
        demo.send_signal(signal.SIGKILL)
        ended = await demo.ended()
        assert (ended.code, ended.errors) == (-signal.SIGKILL, "")


# The chat


async def test_chat_carries_lines_under_names_until_ctrl_d(url: str) -> None:
    async with chatting(url, "Ann") as ann, chatting(url, "Bob") as bob:
        for program in (ann, bob):
            await program.expect(": direct (")
        ann.say("hello Bob")
        assert (await bob.expect("hello Bob")).startswith("Ann (")
        bob.say("x" * 60_000)
        await ann.expect("x" * 60_000)
        bob.say("last words")
        bob.end_input()
        assert (await ann.expect("last words")).startswith("Bob (")
        line = await ann.expect("is gone")
        assert line.startswith("Bob (")
        assert line.endswith("is gone (left)")
        ann.interrupt()
        for program, code in ((ann, 130), (bob, 0)):
            ended = await program.ended()
            assert (ended.code, ended.errors) == (code, "")


async def test_a_chat_without_a_server_fails_with_one_line_that_says_why() -> None:
    chat = await run_rtcmesh("chat", "http://127.0.0.1:1", "lobby", "--timeout", "0.5")
    assert (chat.code, chat.output, chat.errors.count("\n")) == (1, "", 1)
    assert "no signaling server welcomed us at http://127.0.0.1:1 within 0.5 s" in chat.errors
    assert "Connect call failed" in chat.errors


async def test_a_chat_survives_its_server_grows_when_that_is_back_and_survives_a_peer() -> None:
    async with serving() as (server, url), chatting(url, "Ann") as ann, chatting(url, "Bob") as bob:
        for program in (ann, bob):
            await program.expect(": direct (")
        server.send_signal(signal.SIGKILL)
        await server.ended()
        for program in (ann, bob):
            await program.expect("the server is out of reach")
        ann.say("still there?")
        await bob.expect("still there?")
        async with serving(port_of(url)), chatting(url, "Cat") as cat:
            for program in (ann, bob):
                await program.expect("path to Cat")
                await cat.expect(": direct (")
            cat.say("hello both")
            for program in (ann, bob):
                await program.expect("hello both")
            bob.send_signal(signal.SIGKILL)
            assert (await ann.expect(": none (")).startswith("path to Bob (")
            ann.say("where is Bob?")
            await cat.expect("where is Bob?")


@asynccontextmanager
async def chatting(url: str, name: str) -> AsyncGenerator[Program]:
    """Run a chat that has joined the room."""
    async with rtcmesh("chat", url, "lobby", "--name", name, "--timeout", str(TIMEOUT)) as chat:
        await chat.expect("you are")
        yield chat
