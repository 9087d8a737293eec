"""The virtual network as a test uses it."""

import asyncio
import gc
from collections.abc import Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, assert_never

from rtcmesh.netem.addressing import Addressing
from rtcmesh.netem.errors import CannotCarry
from rtcmesh.netem.faults import (
    ChangeAddress,
    Cut,
    Direction,
    Fault,
    Heal,
    Impair,
    Partition,
    Rebind,
    Reboot,
    Signal,
    SwitchUplink,
)
from rtcmesh.netem.link import Link, LinkConfig
from rtcmesh.netem.packet import Packet
from rtcmesh.netem.topology import Topology

from .host import Host
from .loop import DEFAULT_LIMIT, VirtualEventLoop, running_virtual_loop
from .nat import Nat
from .network import Network, Trace
from .node import Ends
from .randomness import seed_randomness
from .stack import Stack
from .wire import Wire

T = TypeVar("T")

OBJECTS_PER_COLLECTION = 50_000
"""How many objects come to life before the garbage collector looks at them: most of those of a run with many hosts
stay, and looking again and again takes a tenth of its time."""


def run_virtual(main: Coroutine[Any, Any, T], *, seed: int = 0, limit: float = DEFAULT_LIMIT) -> T:
    """Run a coroutine on virtual time and return its result; the same seed gives the same run.

    Works like `asyncio.run`: tasks left over are cancelled at the end. All randomness of Python, `os.urandom` included,
    comes from the seed. Raises `Deadlock` when nothing can wake any task, and `VirtualTimeExceeded` after `limit`
    seconds of virtual time.
    """
    with (
        _seldom_collected(),
        seed_randomness(seed),
        asyncio.Runner(loop_factory=lambda: VirtualEventLoop(seed=seed, limit=limit)) as runner,
    ):
        return runner.run(main)


@contextmanager
def _seldom_collected() -> Generator[None]:
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS_PER_COLLECTION, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


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
    """Hosts and gateways joined by impaired links, under the running virtual event loop.

    Create it inside the loop, and run programs on its hosts: `with network.host("ann"): await program()`. Its hosts are
    those of a topology, and those that are added. Of the latter, which stand in the internet itself,
    every ordered pair has its own link, configured like `link` until `set_link`.
    """

    def __init__(
        self,
        topology: Topology | None = None,
        *,
        seed: int | None = None,
        link: LinkConfig | None = None,
        trace: Trace | None = None,
    ) -> None:
        loop = running_virtual_loop()
        self.machine = Network(seed=loop.seed if seed is None else seed, link=link, trace=trace)
        """The network machine under the sockets: its links, its trace and its counters."""
        self.topology = topology or Topology(hosts=())
        """What it was made of."""
        self.faults: list[tuple[float, Fault]] = []
        """What was done to it by `apply`, and when."""
        self._loop = loop
        self._wire = Wire(loop, self.machine)
        self._addressing = Addressing(self.topology)
        self._build()
        loop.attach(Stack(self._wire))

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts, in the order in which they were added."""
        return tuple(self._wire.hosts.values())

    def host(self, name: str) -> Host:
        """Return a host. Raises ValueError."""
        if name not in self._wire.hosts:
            raise ValueError(f"no host is called {name!r}")
        return self._wire.hosts[name]

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

    def nat(self, gateway: str) -> Nat:
        """Return the machine of a gateway, with its counters. Raises ValueError."""
        return self.machine.gateway(gateway).nat

    def link(self, source: Host, destination: Host) -> Link[Packet]:
        """Return the link from one host to another. Raises ValueError when one of them is behind a gateway."""
        return self.machine.link(source.name, destination.name)

    def set_link(self, source: Host, destination: Host, config: LinkConfig, *, one_way: bool = False) -> None:
        """Configure the links between two hosts; packets in flight are not affected."""
        self.link(source, destination).config = config
        if not one_way:
            self.link(destination, source).config = config

    def partition(self, source: Host, destination: Host, *, one_way: bool = False) -> None:
        """Let no further packet pass between two hosts; those in flight still arrive."""
        self._part(source.name, destination.name, one_way=one_way)

    def heal(self, source: Host, destination: Host, *, one_way: bool = False) -> None:
        """End a partition."""
        self.machine.unite(source.name, destination.name)
        if not one_way:
            self.machine.unite(destination.name, source.name)

    async def apply(self, fault: Fault) -> None:
        """See `Faultable`."""
        now = self._loop.time()
        match fault:
            case Impair():
                self._impair(fault)
            case Cut():
                self._cut(fault)
            case Heal():
                self.machine.node(fault.node)
                self.machine.heal(fault.node)
            case Partition():
                self._part(*fault.nodes, one_way=fault.one_way)
            case ChangeAddress():
                self._move(fault.node, self.machine.node(fault.node).net.name)
            case SwitchUplink():
                self._move(fault.node, fault.to)
            case Rebind():
                self.machine.gateway(fault.node).nat.rebind()
            case Reboot():
                self.machine.reboot(fault.node, fault.seconds, now)
            case Signal():
                raise CannotCarry(
                    "programs on virtual hosts are tasks, not processes: use namespaces for signals"
                )
            case _:
                assert_never(fault)
        self.faults.append((now, fault))

    def _build(self) -> None:
        topology, give = self.topology, self._addressing.next_address
        waiting = list(topology.gateways)
        while waiting:
            gateway = waiting.pop(0)
            if gateway.uplink.to in {above.name for above in waiting}:
                waiting.append(gateway)
                continue
            uplink = gateway.uplink
            self.machine.join_gateway(gateway.name, give(uplink.to), uplink, gateway.nat)
        for spec in topology.hosts:
            uplink = spec.uplinks[0]
            host = Host(spec.name, (give(uplink.to),))
            self.machine.join(spec.name, host.address, uplink)
            self._wire.hosts[spec.name] = host

    def _impair(self, fault: Impair) -> None:
        ends = self._ends(fault.node)
        if fault.up is not None:
            ends.up.link.config = fault.up
        if fault.down is not None:
            ends.down.link.config = fault.down

    def _cut(self, fault: Cut) -> None:
        ends = self._ends(fault.node)
        if fault.direction is not Direction.DOWN:
            ends.up.link.cut()
        if fault.direction is not Direction.UP:
            ends.down.link.cut()

    def _ends(self, name: str) -> Ends:
        ends = self.machine.node(name).ends
        if ends is None:
            raise ValueError(
                f"{name!r} stands in the internet itself and has no uplink: use set_link or partition"
            )
        return ends

    def _part(self, source: str, destination: str, *, one_way: bool) -> None:
        self.machine.part(source, destination)
        if not one_way:
            self.machine.part(destination, source)

    def _move(self, name: str, to: str) -> None:
        host, node = self.host(name), self.machine.node(name)
        if node.ends is None:
            raise ValueError(f"{name!r} stands in the internet itself: its address cannot change")
        for uplink in self.topology.host(name).uplinks:
            if uplink.to == to:
                host.readdress((self._unused_address(host, to),))
                self.machine.move(name, host.address, uplink)
                return
        raise ValueError(f"no uplink of {name!r} leads to {to!r}")

    def _unused_address(self, host: Host, network: str) -> str:
        """Return an address that the host never had, be it in another network: its sockets there must stay dead."""
        while (address := self._addressing.next_address(network)) in host.former_addresses:
            continue
        return address
