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
from rtcmesh.netem.real import LaboratoryUnavailable, Namespace, joined_hosts

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


Field = AbstractAsyncContextManager[tuple[Place, Place]]


@dataclass(frozen=True)
class Network:
    """A network to compete on."""

    name: str
    loss: float = 0.0
    impaired: bool = False
    """Whether it is a link with a delay and a rate, which needs namespaces, or the loopback interface."""

    def open(self) -> Field:
        """Give the places of both ends. Raises `LaboratoryUnavailable` where it needs what this machine has not."""
        return _joined(self.loss) if self.impaired else _loopback()


LOOPBACK = Network("loopback")
LOSSY = tuple(
    Network(f"{loss:.0%} loss, 50 ms, 200 Mbit/s", loss, impaired=True) for loss in (0, 0.01, 0.05, 0.1)
)


@asynccontextmanager
async def _loopback() -> AsyncGenerator[tuple[Place, Place]]:
    """Both ends on one machine: in a namespace of its own where that is allowed, so that nothing else is heard."""
    try:
        namespace = Namespace.create()
    except LaboratoryUnavailable:
        yield _Machine(), _Machine()
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
        inside = _Machine(namespace)
        yield inside, inside
    finally:
        namespace.close()


@asynccontextmanager
async def _joined(loss: float) -> AsyncGenerator[tuple[Place, Place]]:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise LaboratoryUnavailable("links with a delay and a loss need Linux and root")
    config = LinkConfig(
        delay=LOSSY_DELAY, loss=loss, rate_bytes_per_second=LOSSY_RATE, max_queue_bytes=LOSSY_QUEUE
    )
    async with joined_hosts(config) as lab:
        yield _Machine(lab.left.namespace), _Machine(lab.right.namespace)


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
        )
