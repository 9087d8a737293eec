"""Real programs in real namespaces. The delays asserted are lower bounds: a busy machine adds to them."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from rtcmesh.netem import LinkConfig
from rtcmesh.netem.real import JoinedHosts, LaboratoryUnavailable, LinkProcessFailed, RealHost, joined_hosts
from rtcmesh.netem.real.namespace import Namespace

pytestmark = pytest.mark.namespaces

PROGRAMS = Path(__file__).parent / "programs"
GONE_WITHIN = 30.0


async def start_echo(host: RealHost, address: str) -> None:
    echo = await host.spawn(sys.executable, str(PROGRAMS / "echo.py"), address, stdout=PIPE)
    assert echo.stdout is not None
    assert await echo.stdout.readline() == b"listening\n"


async def ping(host: RealHost, address: str, count: int, patience: float = 5.0) -> list[float]:
    """Return the round-trip times of the datagrams that came back."""
    argv = (str(PROGRAMS / "ping.py"), address, str(count), str(patience))
    program = await host.spawn(sys.executable, *argv, stdout=PIPE)
    output, _ = await program.communicate()
    times: list[float] = json.loads(output)
    return times


async def test_packets_take_as_long_as_the_link_says_on_both_ip_versions() -> None:
    async with joined_hosts(LinkConfig(delay=0.03), LinkConfig(delay=0.01)) as lab:
        for address in (lab.left.address, lab.left.address6):
            await start_echo(lab.left, address)
            times = await ping(lab.right, address, 20)
            assert len(times) == 20
            assert min(times) >= 0.04
        await lab.configure(LinkConfig())
        assert min(await ping(lab.right, lab.left.address, 20)) < 0.04


async def test_what_is_lost_is_what_the_link_counts() -> None:
    async with joined_hosts(LinkConfig(loss=0.3), LinkConfig(), seed=3) as lab:
        await start_echo(lab.right, lab.right.address)
        times = await ping(lab.left, lab.right.address, 200, patience=0.05)
        carried = await lab.report()
        lost = carried.rightward.lost
        assert len(times) <= 200 - lost + 10  # neighbour discovery and the like are lost as well
        assert abs(lost - 60) <= 3 * (200 * 0.3 * 0.7) ** 0.5 + 10
        assert carried.leftward.lost == 0
        assert carried.audit.packets >= len(times)


async def test_a_cut_lets_nothing_pass_that_way_until_it_is_healed() -> None:
    async with joined_hosts() as lab:
        await start_echo(lab.right, lab.right.address)
        await lab.cut(rightward=True, leftward=False)
        assert await ping(lab.left, lab.right.address, 3, patience=0.1) == []
        before = await lab.report()
        assert before.rightward.cut >= 3
        await lab.heal()
        assert len(await ping(lab.left, lab.right.address, 3)) == 3


async def test_orders_that_are_given_at_once_are_all_answered() -> None:
    async with joined_hosts() as lab:
        await asyncio.gather(lab.cut(), lab.report(), lab.configure(LinkConfig(delay=0.5)), lab.heal())
        assert (await lab.report()).rightward.lost == 0


async def test_a_dead_link_process_is_said_to_be_dead() -> None:
    async def ask() -> None:
        async with joined_hosts() as lab:
            lab._carrier.process.kill()
            await lab.report()

    with pytest.raises(LinkProcessFailed):
        await ask()


async def test_two_laboratories_do_not_meet() -> None:
    async with joined_hosts() as lab, joined_hosts() as other:
        await start_echo(lab.right, lab.right.address)
        assert await ping(other.left, lab.right.address, 3, patience=0.1) == []
        assert len(await ping(lab.left, lab.right.address, 3)) == 3


async def test_nothing_is_left_when_the_holder_is_killed() -> None:
    holder = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAMS / "holder.py"), stdout=PIPE)
    assert holder.stdout is not None
    pids: list[int] = json.loads(await holder.stdout.readline())
    descriptors = [os.pidfd_open(pid) for pid in pids]
    try:
        holder.send_signal(signal.SIGKILL)
        await holder.communicate()
        for descriptor in descriptors:
            ended, _, _ = await asyncio.to_thread(select.select, [descriptor], [], [], GONE_WITHIN)
            assert ended, "a process of the laboratory is still there"
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


async def test_nothing_is_left_after_the_block() -> None:
    async with joined_hosts() as lab:
        sleeper = await lab.left.spawn("sleep", "1000")
        processes = [sleeper, lab._carrier.process]
    assert all(process.returncode is not None for process in processes)
    assert open_descriptors_of(lab) == [-1, -1]


def open_descriptors_of(lab: JoinedHosts) -> list[int]:
    return [host.namespace.fd for host in (lab.left, lab.right)]


def test_who_may_not_is_told_what_is_needed() -> None:
    code = (
        "import os; from rtcmesh.netem.real.namespace import Namespace; os.setuid(65534); Namespace.create()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "LaboratoryUnavailable: making a network namespace needs root" in done.stderr


def test_what_iproute2_refuses_is_said() -> None:
    namespace = Namespace.create()
    try:
        with pytest.raises(LaboratoryUnavailable, match="Cannot find device"):
            namespace.configure(["link set dev does-not-exist up"])
    finally:
        namespace.close()
        namespace.close()
