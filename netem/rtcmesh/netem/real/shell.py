"""A command on a host of its own, behind an uplink that is impaired, with something to talk to on the other side."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from rtcmesh.netem.link import LinkConfig, LinkCounters
from rtcmesh.netem.topology import INTERNET, GatewaySpec, HostSpec, NatConfig, Topology, Uplink

from .audit import Audit
from .errors import LinkProcessFailed
from .spawned import Spawned
from .topology import real_topology

HOST, SERVER, GATEWAY = "host", "server", "gateway"
ADDRESS_VARIABLE = "RTCMESH_SERVER"
"""The variable in which the command finds the address of the other side."""

GRACE = 3.0
"""Seconds that the command has to end when it is asked to."""


class ShellEnded(NamedTuple):
    """How it went."""

    code: int
    up: LinkCounters
    down: LinkCounters
    audit: Audit


async def run_in_shell(
    argv: Sequence[str],
    *,
    up: LinkConfig,
    down: LinkConfig,
    nat: NatConfig | None,
    seed: int,
    started: Callable[[str], None],
) -> ShellEnded:
    """Run a command to its end; `started` is told the address of the other side before. Ctrl-C is the command's own.

    What ends programs in an orderly way, SIGTERM and SIGHUP, is passed on to it.

    Raises `LaboratoryUnavailable`, and OSError where there is no such command.
    """
    uplink = Uplink(to=INTERNET if nat is None else GATEWAY, up=up, down=down)
    topology = Topology(
        hosts=(HostSpec(name=HOST, uplinks=(uplink,)), HostSpec(name=SERVER)),
        gateways=() if nat is None else (GatewaySpec(name=GATEWAY, nat=nat),),
    )
    async with real_topology(topology, seed=seed) as lab:
        server = lab.host(SERVER)
        other_side = await server.spawn(sys.executable, "-m", "rtcmesh.netem.real.other_side", stdout=PIPE)
        assert other_side.stdout is not None, "it was started with a pipe"
        if not await other_side.stdout.readline():
            raise LinkProcessFailed("the other side could not be started")
        started(server.address)
        await lab.report()  # the audit begins here
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        command = await lab.host(HOST).spawn(*argv, env={**os.environ, ADDRESS_VARIABLE: server.address})
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, _pass_on, command, number)
        code = await command.wait()
        links, audit = await lab.report()
        # As shells tell of a program that a signal ended.
        return ShellEnded(code if code >= 0 else 128 - code, *links[HOST], audit)


def _pass_on(command: Spawned, number: signal.Signals) -> None:
    """Pass a signal on to a command, and kill that if it does not end by it, as interactive shells do not."""
    with suppress(ProcessLookupError):
        command.send_signal(number)
    asyncio.get_running_loop().call_later(GRACE, command.abandon)
