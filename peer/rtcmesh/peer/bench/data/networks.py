"""Where a contest takes place. Nothing here leaves the machine."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from rtcmesh.netem import LinkConfig
from rtcmesh.netem.real import JoinedHosts, LaboratoryUnavailable, Namespace, joined_hosts

LINE_BYTES = 16 * 1024 * 1024

LOSSY_DELAY = 0.025
LOSSY_RATE = 200e6 / 8
LOSSY_QUEUE = 1_250_000
"""One round trip at that rate."""


class Place(Protocol):
    """Where one end runs."""

    async def spawn(self, argv: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        """Start a program with pipes."""
        ...


class Field(Protocol):
    """Two places, and what is between them."""

    places: tuple[Place, Place]

    async def become(self, network: Network) -> None:
        """Be this network from now on, which is of the same kind."""
        ...


@dataclass(frozen=True)
class Network:
    """A network to compete on."""

    name: str
    loss: float = 0.0
    impaired: bool = False
    """Whether it is a link with a delay and a rate, which needs namespaces, or the loopback interface."""

    def open(self) -> AbstractAsyncContextManager[Field]:
        """Give the places of both ends. Raises `LaboratoryUnavailable` where it needs what this machine has not."""
        return _joined(self) if self.impaired else _loopback()


LOOPBACK = Network("loopback")
LOSSY = tuple(
    Network(f"{loss:.0%} loss, 50 ms, 200 Mbit/s", loss, impaired=True) for loss in (0.01, 0.05, 0.1)
)


class _Loopback:
    def __init__(self, place: Place) -> None:
        self.places = place, place

    async def become(self, network: Network) -> None:
        assert not network.impaired


class _Joined:
    def __init__(self, hosts: JoinedHosts) -> None:
        self.places: tuple[Place, Place] = _Machine(hosts.left.namespace), _Machine(hosts.right.namespace)
        self._hosts = hosts

    async def become(self, network: Network) -> None:
        await self._hosts.configure(_link(network))


def _link(network: Network) -> LinkConfig:
    return LinkConfig(
        delay=LOSSY_DELAY,
        loss=network.loss,
        rate_bytes_per_second=LOSSY_RATE,
        max_queue_bytes=LOSSY_QUEUE,
    )


@asynccontextmanager
async def _loopback() -> AsyncGenerator[Field]:
    """Both ends on one machine: in a namespace of its own where that is allowed, so that nothing else is heard."""
    try:
        namespace = Namespace.create()
    except LaboratoryUnavailable:
        yield _Loopback(_Machine())
        return
    try:
        namespace.configure(
            [
                "link add rtcmesh0 type veth peer name rtcmesh1",
                "addr add 10.77.0.1/24 dev rtcmesh0",
                "link set dev rtcmesh0 up",
                "link set dev rtcmesh1 up",
                "route add default dev rtcmesh0",
            ]
        )
        yield _Loopback(_Machine(namespace))
    finally:
        namespace.close()


@asynccontextmanager
async def _joined(network: Network) -> AsyncGenerator[Field]:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise LaboratoryUnavailable("links with a delay and a loss need Linux and root")
    async with joined_hosts(_link(network)) as hosts:
        yield _Joined(hosts)


class _Machine:
    """This machine, or a namespace on it."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        self._namespace = namespace

    async def spawn(self, argv: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        namespace = self._namespace
        return await asyncio.create_subprocess_exec(
            *(namespace.command(argv) if namespace else argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **environment},
            pass_fds=(namespace.fd,) if namespace else (),
            limit=LINE_BYTES,
            process_group=0,
        )
