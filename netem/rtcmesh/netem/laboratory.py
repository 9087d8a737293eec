"""The virtual network as a test uses it."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from .host import Host
from .link import Link, LinkConfig
from .loop import DEFAULT_LIMIT, VirtualEventLoop, running_virtual_loop
from .network import Network, Trace
from .packet import Packet
from .randomness import seed_randomness
from .stack import Stack
from .wire import Wire

T = TypeVar("T")


def run_virtual(main: Coroutine[Any, Any, T], *, seed: int = 0, limit: float = DEFAULT_LIMIT) -> T:
    """Run a coroutine on virtual time and return its result; the same seed gives the same run.

    Works like `asyncio.run`: tasks left over are cancelled at the end. All randomness of Python, `os.urandom` included,
    comes from the seed. Raises `Deadlock` when nothing can wake any task, and `VirtualTimeExceeded` after `limit`
    seconds of virtual time.
    """
    with (
        seed_randomness(seed),
        asyncio.Runner(loop_factory=lambda: VirtualEventLoop(seed=seed, limit=limit)) as runner,
    ):
        return runner.run(main)


def virtual_webrtc() -> AbstractContextManager[None]:
    """Let WebRTC on aioice and OpenSSL see the virtual network of the running loop: addresses, names and clock.

    Every connection on a virtual network must be created, used and closed inside.
    """
    from .webrtc import virtual_webrtc as patch_webrtc

    return patch_webrtc()


def virtual_aiortc() -> AbstractContextManager[None]:
    """Let unmodified aiortc see the virtual network of the running loop as well; aiortc must be installed.

    Every `RTCPeerConnection` on a virtual network must be created, used and closed inside.
    """
    from .webrtc import virtual_aiortc as patch_aiortc

    return patch_aiortc()


class VirtualNetwork:
    """Hosts joined by impaired links, under the running virtual event loop.

    Every ordered pair of hosts has its own link, configured like `link` until `set_link`. Create it inside the
    loop, add hosts, and run programs on them: `with network.add_host("alice"): await program()`.
    """

    def __init__(
        self, *, seed: int | None = None, link: LinkConfig | None = None, trace: Trace | None = None
    ) -> None:
        loop = running_virtual_loop()
        self.machine = Network(seed=loop.seed if seed is None else seed, link=link, trace=trace)
        """The network machine under the sockets: its links, its trace and its counters."""
        self._wire = Wire(loop, self.machine)
        loop.attach(Stack(self._wire))

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts, in the order in which they were added."""
        return tuple(self._wire.hosts.values())

    def add_host(self, name: str, address: str | Sequence[str] | None = None) -> Host:
        """Add a host with the given addresses, by default the next of 10.0.0.1, 10.0.0.2 and so on."""
        if name in self._wire.hosts:
            raise ValueError(f"there already is a host named {name!r}")
        if address is None:
            high, low = divmod(len(self._wire.hosts) + 1, 250)
            address = f"10.0.{high}.{low}"
        host = Host(name, (address,) if isinstance(address, str) else address)
        self.machine.attach(name, host.addresses)
        self._wire.hosts[name] = host
        return host

    def link(self, source: Host, destination: Host) -> Link[Packet]:
        """Return the link from one host to another."""
        return self.machine.link(source.name, destination.name)

    def set_link(self, source: Host, destination: Host, config: LinkConfig, *, one_way: bool = False) -> None:
        """Configure the links between two hosts; packets in flight are not affected."""
        for link in self._links(source, destination, one_way=one_way):
            link.config = config

    def partition(self, source: Host, destination: Host, *, one_way: bool = False) -> None:
        """Let no further packet pass between two hosts; those in flight still arrive."""
        for link in self._links(source, destination, one_way=one_way):
            link.cut()

    def heal(self, source: Host, destination: Host, *, one_way: bool = False) -> None:
        """End a partition."""
        for link in self._links(source, destination, one_way=one_way):
            link.heal()

    def _links(self, source: Host, destination: Host, *, one_way: bool) -> list[Link[Packet]]:
        there = self.link(source, destination)
        return [there] if one_way else [there, self.link(destination, source)]
