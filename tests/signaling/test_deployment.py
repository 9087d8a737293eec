"""What operators copy, run as it is written: nginx in front of a fleet, the image's commands, the composed fleet's."""

import asyncio
import json
import re
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import aiohttp
import pytest

from rtcmesh.signaling.aiohttp_socket import dial_websocket
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.config import ClientConfig
from rtcmesh.signaling.http_dial import dial_http
from rtcmesh.signaling.messages import Draining, PeerJoined, Signal
from rtcmesh.signaling.text_socket import Dial
from support.fleet import talking
from support.members import Member
from support.processes import RTCMESH, TIMEOUT, Program, running
from support.repository import ROOT
from support.stores import free_port, store_server
from support.wire import RawPeer

pytestmark = pytest.mark.timeout(240)

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/bin") or "nginx"
SECRETS = {"RTCMESH_TICKET_SECRET": "11" * 32, "RTCMESH_RESUME_SECRET": "22" * 32}
README = (ROOT / "signaling" / "README.md").read_text()
COMPOSE = (ROOT / "compose.yaml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def readme_nginx() -> str:
    (block,) = re.findall(r"```nginx\n(.*?)```", README, re.DOTALL)
    return str(block)


def composed_nginx() -> str:
    """Return what compose gives to nginx; there a dollar is written twice."""
    _, _, block = COMPOSE.partition("    content: |\n")
    lines = block.split("\n\nvolumes:")[0].splitlines()
    return "\n".join(line.removeprefix("      ") for line in lines).replace("$$", "$")


def commands(text: str, word: str) -> list[list[str]]:
    """Return the commands that are written as JSON lists behind a word."""
    return [json.loads(found) for found in re.findall(rf"{word} (\[.*\])$", text, re.MULTILINE)]


def as_plain_process(command: list[str], port: int, **replaced: str) -> list[str]:
    """Return a command of a container as this machine can run it: at other addresses, otherwise word for word."""
    replaced |= {"rtcmesh": str(RTCMESH), "python": sys.executable, "0.0.0.0": "127.0.0.1", "8080": str(port)}
    return [replaced.get(word, word).replace("127.0.0.1:8080", f"127.0.0.1:{port}") for word in command]


def server_command() -> list[str]:
    (command,) = [command for command in commands(COMPOSE, "command:") if command[0] == "rtcmesh"]
    return command


@asynccontextmanager
async def balancer(config: str, ports: Sequence[int], folder: Path) -> AsyncGenerator[str]:
    """Run nginx with a configuration of ours in front of servers on these ports, and give its URL."""
    port = free_port()
    servers = "\n".join(f"server 127.0.0.1:{port};" for port in ports)
    config = re.sub(r"(\s*server [\w.]+:8080[^;]*;)+", f"\n{servers}", config, count=1)
    config = config.replace("listen 8080", f"listen 127.0.0.1:{port}")
    # Only where names have to be resolved, which the addresses here have not.
    config = re.sub(r"resolver .*\n", "", config)
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\nuser root;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{config}\n}}\n"
    )
    async with running(NGINX, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"):
        url = f"http://127.0.0.1:{port}"
        await until_answer(url, "/readyz", 200)
        yield url


async def until_answer(url: str, path: str, status: int) -> None:
    async with asyncio.timeout(TIMEOUT), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url + path) as response:
                    if response.status == status:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


@asynccontextmanager
async def servers_behind_nginx(
    count: int, folder: Path, *options: str
) -> AsyncGenerator[tuple[list[Program], list[int], str]]:
    """Run servers by the command of compose.yaml on a store, and nginx as the README has it in front of them."""
    async with AsyncExitStack() as stack:
        store = stack.enter_context(store_server("valkey"))
        ports = [free_port() for _ in range(count)]
        programs: list[Program] = []
        for port in ports:
            command = as_plain_process(
                server_command(), port, **{"redis://store:6379": store.address, "172.16.0.0/12": "127.0.0.1"}
            )
            programs.append(await stack.enter_async_context(running(*command, *options, **SECRETS)))
        for program in programs:
            await program.expect("rtcmesh signaling on")
        yield programs, ports, await stack.enter_async_context(balancer(readme_nginx(), ports, folder))


def link(url: str, number: int, dial: Dial) -> AbstractAsyncContextManager[SignalingLink]:
    member = Member(number=number)
    config = ClientConfig(connect_timeout=TIMEOUT, backoff_base=0.05)
    return SignalingLink.open(
        url, room="lobby", identity=member.identity, prekey=member.prekey, config=config, dial=dial
    )


async def next_signal(link: SignalingLink) -> bytes:
    async with asyncio.timeout(TIMEOUT):
        async for event in link:
            if isinstance(event, Signal):
                return event.sealed
    raise AssertionError


@pytest.mark.parametrize("dial", [dial_websocket, dial_http], ids=["websocket", "events and posts"])
async def test_both_transports_pass_nginx_without_a_sticky_session_and_without_a_delay(
    dial: Dial, tmp_path: Path
) -> None:
    async with (
        servers_behind_nginx(2, tmp_path) as (_, _, url),
        link(url, 1, dial) as alice,
        link(url, 2, dial) as bob,
    ):
        async with asyncio.timeout(TIMEOUT):
            assert isinstance(await anext(alice), PeerJoined)
        # Buffered events would come when many more have followed, or when the stream ends.
        for number in range(10):
            await bob.signal(Member(number=1).peer_id, bytes([number]))
            assert await next_signal(alice) == bytes([number])


async def test_a_server_drained_behind_nginx_moves_its_peers_and_nothing_is_lost(tmp_path: Path) -> None:
    async with servers_behind_nginx(2, tmp_path, "--drain-notice", "0.5", "--drain-window", "2") as (
        programs,
        ports,
        url,
    ):
        async with talking([url], rooms=2, members=4, random=Random(1)) as talk:
            await talk.goes_on()
            programs[0].send_signal(signal.SIGTERM)
            await until_answer(f"http://127.0.0.1:{ports[0]}", "/readyz", 503)
            ended = await programs[0].ended()
            assert ended.code == 0
            await talk.goes_on()
        assert talk.faults() == []
        assert (talk.snapshots, talk.refused) == (0, 0)
        assert talk.losses > 0
        await until_answer(url, "/readyz", 200)


async def test_a_peer_behind_nginx_is_told_the_alternatives(tmp_path: Path) -> None:
    other = "https://elsewhere.example"
    options = ("--alternative", other, "--drain-notice", "0")
    async with (
        servers_behind_nginx(1, tmp_path, *options) as (programs, _, url),
        dial_websocket(url) as socket,
    ):
        peer = RawPeer(socket, Member(number=1))
        await peer.join()
        programs[0].send_signal(signal.SIGTERM)
        async with asyncio.timeout(TIMEOUT):
            while not isinstance(message := await peer.receive(), Draining):
                pass
        assert message.alternatives == (other,)
        assert (await programs[0].ended()).code == 0


def test_the_composed_nginx_is_that_of_the_readme_except_for_how_servers_are_found() -> None:
    def directives(config: str) -> list[str]:
        return [
            line.strip()
            for line in config.splitlines()
            if not re.match(r"\s*(server .*:8080|resolver |$)", line)
        ]

    assert directives(composed_nginx()) == directives(readme_nginx())


async def test_the_image_runs_and_is_healthy_and_stops_when_it_is_told_to() -> None:
    *_, health, command = commands(DOCKERFILE, "CMD")
    (number,) = re.findall(r"^STOPSIGNAL (\w+)$", DOCKERFILE, re.MULTILINE)
    port = free_port()
    check = [word.replace("127.0.0.1:8080", f"127.0.0.1:{port}") for word in as_plain_process(health, port)]
    async with running(*as_plain_process(command, port)) as server:
        await server.expect("rtcmesh signaling on")
        async with running(*check) as healthy:
            assert (await healthy.ended()).code == 0
        server.send_signal(signal.Signals[number])
        assert (await server.ended()).code == 0
    async with running(*check) as unhealthy:
        assert (await unhealthy.ended()).code != 0


def test_the_image_is_built_of_what_there_is() -> None:
    for source in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE):
        for path in source.split():
            assert (ROOT / path).exists(), path
    (extra,) = re.findall(r'pip install --no-cache-dir "\.\[(\w+)\]"', DOCKERFILE)
    assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert re.search(r"^EXPOSE 8080$", DOCKERFILE, re.MULTILINE)


async def test_the_composed_store_keeps_what_it_has_and_evicts_nothing(tmp_path: Path) -> None:
    (command,) = [command for command in commands(COMPOSE, "command:") if command[0] == "valkey-server"]
    options = [
        f"{name.removeprefix('--')} {value}" for name, value in zip(command[1::2], command[2::2], strict=True)
    ]
    with store_server("valkey", *options) as store:
        assert "noeviction" in store.tell("CONFIG", "GET", "maxmemory-policy")
        assert "yes" in store.tell("CONFIG", "GET", "appendonly")


def test_compose_waits_for_a_drain_before_it_kills() -> None:
    command = server_command()
    (grace,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)
    notice, window = (
        float(command[command.index(option) + 1]) for option in ("--drain-notice", "--drain-window")
    )
    assert float(grace) >= notice + window + 5
    for name in SECRETS:
        assert f"{name}: ${{{name}:?" in COMPOSE
