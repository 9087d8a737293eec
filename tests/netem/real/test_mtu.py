"""Links with a smaller MTU than their devices have."""

import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from rtcmesh.netem import LinkConfig
from rtcmesh.netem.real import JoinedHosts, joined_hosts

pytestmark = pytest.mark.namespaces

PROGRAM = Path(__file__).parent / "programs" / "too_long.py"


async def learn_mtu(lab: JoinedHosts, address: str, patience: float) -> str:
    """Return whether the sender was told that its packet was too long, and the MTU it knows then."""
    program = await lab.left.spawn(sys.executable, str(PROGRAM), address, str(patience), stdout=PIPE)
    output, _ = await program.communicate()
    return output.decode()


async def test_a_sender_is_told_of_the_mtu_on_both_ip_versions() -> None:
    async with joined_hosts(LinkConfig(mtu=1350, mtu_is_reported=True), LinkConfig()) as lab:
        for address in (lab.right.address, lab.right.address6):
            assert await learn_mtu(lab, address, 20.0) == "True 1350"
        assert (await lab.report()).rightward.oversized == 2


async def test_a_black_hole_tells_nobody() -> None:
    async with joined_hosts(LinkConfig(mtu=1350), LinkConfig()) as lab:
        assert await learn_mtu(lab, lab.right.address, 0.1) == "False 1500"
        assert (await lab.report()).rightward.oversized == 1
