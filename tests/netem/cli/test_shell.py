"""A command behind an impaired uplink."""

import signal
import subprocess
import sys

import pytest

from support.processes import RTCMESH, rtcmesh

pytestmark = pytest.mark.namespaces

TALK = """
import os, socket, sys, time, urllib.request
server = os.environ["RTCMESH_SERVER"]
page = urllib.request.urlopen(f"http://{server}/100000").read()
with socket.create_connection((server, 7)) as echo:
    echo.sendall(b"moon")
    assert echo.recv(4) == b"moon"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
    echo.settimeout(10)
    sent_at = time.monotonic()
    echo.sendto(b"moon", (server, 7))
    assert echo.recv(10) == b"moon"
    print(len(page), time.monotonic() - sent_at >= float(sys.argv[1]))
sys.exit(3)
"""


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(RTCMESH), "netem", "shell", *arguments], capture_output=True, text=True, check=False, timeout=50
    )


@pytest.mark.parametrize("options", [(), ("--nat", "symmetric")])
def test_a_command_talks_to_the_other_side_over_an_uplink_like_that(options: tuple[str, ...]) -> None:
    done = shell("--profile", "lte", *options, "--", sys.executable, "-c", TALK, "0.06")
    assert done.stdout == "100000 True\n"
    assert done.returncode == 3
    assert "the other side is 198.18.0." in done.stderr
    assert "up: " in done.stderr


def test_what_ends_by_a_signal_is_told_as_shells_do() -> None:
    assert shell("--", "sh", "-c", "kill -TERM $$").returncode == 128 + 15


@pytest.mark.parametrize(
    ("number", "script", "code"),
    [
        (signal.SIGTERM, "echo ready; exec sleep 1000", 128 + 15),
        (signal.SIGHUP, "trap 'exit 7' HUP; echo ready; while :; do sleep 0.1; done", 7),
        (signal.SIGTERM, "trap '' TERM; echo ready; while :; do sleep 0.1; done", 128 + 9),
    ],
)
async def test_what_should_end_it_ends_the_command(number: signal.Signals, script: str, code: int) -> None:
    async with rtcmesh("netem", "shell", "--", "sh", "-c", script) as program:
        await program.expect("ready")
        program.send_signal(number)
        ended = await program.ended()
    assert ended.code == code
    assert "Traceback" not in ended.errors


def test_a_profile_or_a_gateway_that_is_not_there_is_named() -> None:
    for arguments, what in ((("--profile", "dream"), "dream"), (("--nat", "dream"), "dream")):
        done = shell(*arguments, "--", "true")
        assert done.returncode == 1
        assert what in done.stderr
