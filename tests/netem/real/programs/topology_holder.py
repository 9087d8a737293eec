"""Hold a network until its process ends, and say which processes belong to it: a program's child among them."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from rtcmesh.netem.real import real_topology
from rtcmesh.netem.topology import GatewaySpec, HostSpec, Topology, Uplink

TOPOLOGY = Topology(
    hosts=(HostSpec(name="ann", uplinks=(Uplink(to="home"),)),), gateways=(GatewaySpec(name="home"),)
)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def hold() -> None:
    async with real_topology(TOPOLOGY) as lab:
        # A session of its own, and nobody's child once the shell is killed: only its namespace tells whose it is.
        shell = await lab.host("ann").spawn(
            "sh", "-c", "setsid sleep 1000 & echo $!; exec sleep 1000", stdout=PIPE
        )
        assert shell.stdout is not None
        grandchild = int(await shell.stdout.readline())
        link = lab._carrier.process.pid
        (undertaker,) = children_of(link)
        pids = {"owner": os.getpid(), "link": link, "undertaker": undertaker}
        pids |= {"child": shell.pid, "grandchild": grandchild}
        sys.stdout.write(json.dumps(pids) + "\n")
        sys.stdout.flush()
        await lab._carrier.process.wait()


asyncio.run(hold())
