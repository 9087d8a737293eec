"""Faults done to real networks. The delays asserted are lower bounds: a busy machine adds to them."""

import asyncio
import json
import os
import select
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rtcmesh.netem import LinkConfig
from rtcmesh.netem.faults import (
    ChangeAddress,
    Cut,
    Direction,
    Heal,
    Impair,
    Partition,
    Rebind,
    Reboot,
    Signal,
    SwitchUplink,
)
from rtcmesh.netem.real import LinkProcessFailed, RealTopology, real_topology
from rtcmesh.netem.topology import NATS, GatewaySpec, HostSpec, Topology, Uplink

pytestmark = pytest.mark.namespaces

PROGRAMS = Path(__file__).parent / "programs"
GONE_WITHIN = 30.0

FAMILY = Topology(
    hosts=(
        HostSpec(name="server"),
        HostSpec(name="open"),
        HostSpec(name="ann", uplinks=(Uplink(to="home"), Uplink(to="mobile"))),
        HostSpec(name="bob", uplinks=(Uplink(to="flat"),)),
    ),
    gateways=(
        GatewaySpec(name="home"),
        GatewaySpec(name="mobile", nat=NATS["symmetric"]),
        GatewaySpec(name="carrier", nat=NATS["full-cone"]),
        GatewaySpec(name="flat", nat=NATS["address-restricted"], uplink=Uplink(to="carrier")),
    ),
)


@asynccontextmanager
async def family() -> AsyncGenerator[RealTopology]:
    async with real_topology(FAMILY) as lab:
        for address in (lab.host("server").address, lab.host("server").address6):
            echo = await lab.host("server").spawn(
                sys.executable, str(PROGRAMS / "echo.py"), address, stdout=PIPE, name=f"echo {address}"
            )
            assert echo.stdout is not None
            assert await echo.stdout.readline() == b"listening\n"
        yield lab


async def ping(lab: RealTopology, host: str, count: int = 3, patience: float = 5.0) -> list[float]:
    """Return the round-trip times from a host to the server of the datagrams that came back."""
    argv = (str(PROGRAMS / "ping.py"), lab.host("server").address, str(count), str(patience))
    program = await lab.host(host).spawn(sys.executable, *argv, stdout=PIPE)
    output, _ = await program.communicate()
    times: list[float] = json.loads(output)
    return times


async def is_heard(lab: RealTopology, host: str) -> bool:
    return len(await ping(lab, host, 1, patience=20.0)) == 1


async def is_silent(lab: RealTopology, host: str) -> bool:
    return await ping(lab, host, 2, patience=0.2) == []


async def test_hosts_are_reached_over_both_ip_versions_and_through_gateways() -> None:
    async with family() as lab:
        for host in ("open", "ann", "bob"):
            assert await is_heard(lab, host)
        argv = (str(PROGRAMS / "ping.py"), lab.host("server").address6, "1", "20")
        program = await lab.host("open").spawn(sys.executable, *argv, stdout=PIPE)
        assert len(json.loads((await program.communicate())[0])) == 1


async def test_an_uplink_is_impaired_each_way_by_itself() -> None:
    async with family() as lab:
        await lab.apply(Impair(node="carrier", up=LinkConfig(delay=0.05)))
        await lab.apply(Impair(node="flat", down=LinkConfig(delay=0.03)))
        assert min(await ping(lab, "bob")) >= 0.08
        assert min(await ping(lab, "ann")) < 0.08


@pytest.mark.parametrize("direction", Direction)
async def test_a_cut_holds_until_it_is_healed(direction: Direction) -> None:
    async with family() as lab:
        await lab.apply(Cut(node="carrier", direction=direction))
        assert await is_silent(lab, "bob")
        links, _ = await lab.report()
        up, down = links["carrier"]
        assert (down if direction is Direction.DOWN else up).cut > 0
        assert direction is Direction.BOTH or (up if direction is Direction.DOWN else down).cut == 0
        assert await is_heard(lab, "ann")
        await lab.apply(Heal(node="carrier"))
        assert await is_heard(lab, "bob")


@pytest.mark.parametrize("nodes", [("open", "server"), ("server", "open")])
async def test_a_partition_one_way_is_silence_and_the_rest_goes_on(nodes: tuple[str, str]) -> None:
    async with family() as lab:
        await lab.apply(Partition(nodes=nodes, one_way=True))
        assert await is_silent(lab, "open")
        assert await is_heard(lab, "ann")
        links, _ = await lab.report()
        assert links[nodes[0]][0].cut > 0
        await lab.apply(Heal(node=nodes[1]))
        assert await is_heard(lab, "open")


async def test_a_partition_follows_a_host_to_its_next_address() -> None:
    async with family() as lab:
        await lab.apply(Partition(nodes=("server", "open"), one_way=True))
        await lab.apply(ChangeAddress(node="open"))
        assert await is_silent(lab, "open")
        await lab.apply(Heal(node="open"))
        assert await is_heard(lab, "open")


async def test_who_is_behind_gateways_is_parted_by_their_addresses() -> None:
    async with family() as lab:
        await lab.apply(Partition(nodes=("server", "bob")))
        assert await is_silent(lab, "bob")
        assert await is_heard(lab, "ann")


@pytest.mark.parametrize("host", ["open", "ann"])
async def test_a_host_changes_its_address(host: str) -> None:
    async with family() as lab:
        before = lab.host(host).address, lab.host(host).address6
        await lab.apply(ChangeAddress(node=host))
        after = lab.host(host).address, lab.host(host).address6
        assert before[0] != after[0]
        assert (before[1] != after[1]) == (host == "open")
        shown = lab.host(host).namespace.run(["ip", "-brief", "address"])
        assert after[0] in shown
        assert f"{before[0]}/" not in shown
        assert await is_heard(lab, host)


async def test_a_host_takes_its_other_uplink_and_the_first_one_again() -> None:
    async with family() as lab:
        at_home = lab.host("ann").address
        await lab.apply(SwitchUplink(node="ann", to="mobile"))
        assert lab.host("ann").address != at_home
        assert at_home not in lab.host("ann").namespace.run(["ip", "address"])
        await lab.apply(Cut(node="home"))
        assert await is_heard(lab, "ann")
        await lab.apply(Heal(node="home"))
        await lab.apply(SwitchUplink(node="ann", to="home"))
        assert lab.host("ann").address == at_home
        assert await is_heard(lab, "ann")


async def test_a_gateway_that_starts_carries_nothing_and_then_everything() -> None:
    async with family() as lab:
        await lab.apply(Reboot(node="carrier", seconds=1.5))
        assert await is_silent(lab, "bob")
        assert await ping(lab, "bob", 40, patience=0.5) != []


async def test_a_laboratory_may_end_while_a_gateway_starts() -> None:
    async with family() as lab:
        await lab.apply(Reboot(node="carrier", seconds=1000))


async def test_a_program_is_paused_resumed_and_killed_by_its_name() -> None:
    async with family() as lab:
        name = f"echo {lab.host('server').address}"
        await lab.apply(Signal(process=name, signal="pause"))
        assert await is_silent(lab, "open")
        await lab.apply(Signal(process=name, signal="resume"))
        assert await is_heard(lab, "open")
        with pytest.raises(ValueError, match="is running on 'server' already"):
            await lab.host("server").spawn("true", name=name)
        await lab.apply(Signal(process=name, signal="kill"))
        assert await is_silent(lab, "open")


async def test_a_fault_to_what_is_not_there_is_refused() -> None:
    async with family() as lab:
        for fault in (
            Impair(node="nobody"),
            Cut(node="internet"),
            Heal(node="nobody"),
            Partition(nodes=("ann", "nobody")),
            ChangeAddress(node="home"),
            SwitchUplink(node="ann", to="flat"),
            Rebind(node="ann"),
            Reboot(node="nobody", seconds=1),
            Signal(process="nobody", signal="kill"),
        ):
            with pytest.raises(ValueError, match=r"there is no|has no|no program"):
                await lab.apply(fault)
        assert await is_heard(lab, "bob")


async def test_faults_that_come_at_once_are_done_one_after_another() -> None:
    async with family() as lab:
        await asyncio.gather(
            *(lab.apply(ChangeAddress(node="ann")) for _ in range(3)),
            lab.apply(Rebind(node="home")),
            lab.apply(SwitchUplink(node="ann", to="mobile")),
            lab.apply(SwitchUplink(node="ann", to="home")),
        )
        assert await is_heard(lab, "ann")


async def test_a_dead_link_process_ends_the_block_with_its_name() -> None:
    async def fail() -> None:
        async with family() as lab:
            lab._carrier.process.kill()
            await lab._carrier.process.wait()
            raise RuntimeError("what came of it")

    with pytest.raises(LinkProcessFailed, match="status -9"):
        await fail()


@pytest.mark.parametrize(
    "victims",
    [
        *(("owner",), ("link",), ("undertaker",), ("child",)),
        *(("owner", "link"), ("owner", "undertaker"), ("link", "undertaker"), ("owner", "link", "child")),
    ],
    ids="-".join,
)
async def test_nothing_is_left_when_processes_of_it_are_killed(victims: tuple[str, ...]) -> None:
    """Two at the same instant, before any of the others can run: those are stopped until it is done."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAMS / "topology_holder.py"), stdout=PIPE, stderr=PIPE
    )
    assert holder.stdout is not None
    pids: dict[str, int] = json.loads(await holder.stdout.readline())
    descriptors = {name: os.pidfd_open(pid) for name, pid in pids.items()}
    try:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for victim in victims:
                os.kill(pids[victim], number)
        if victims == ("child",):  # which ends no laboratory
            os.kill(pids["owner"], signal.SIGINT)
        for name, descriptor in descriptors.items():
            ended, _, _ = await asyncio.to_thread(select.select, [descriptor], [], [], GONE_WITHIN)
            assert ended, f"{name} is still there"
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
        await holder.communicate()


async def test_programs_that_hold_on_to_their_output_do_not_hold_up_the_end() -> None:
    """One hides in a namespace where nobody looks."""
    async with family() as lab:
        script = "unshare --net setsid sleep 1000 & echo $!; setsid sleep 1000 & echo $!; exec sleep 1000"
        shell = await lab.host("ann").spawn("sh", "-c", script, stdout=PIPE, stderr=PIPE)
        assert shell.stdout is not None
        hidden, left = [os.pidfd_open(int(await shell.stdout.readline())) for _ in range(2)]
    try:
        ended, _, _ = await asyncio.to_thread(select.select, [left], [], [], GONE_WITHIN)
        assert ended
        assert shell.returncode == -signal.SIGKILL
    finally:
        signal.pidfd_send_signal(hidden, signal.SIGKILL)
        for descriptor in (hidden, left):
            os.close(descriptor)
