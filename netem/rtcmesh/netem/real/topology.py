"""A topology in namespaces: programs run on its hosts, while faults are done to it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, assert_never

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
from rtcmesh.netem.link import LinkConfig, LinkCounters
from rtcmesh.netem.topology import INTERNET, Topology

from . import conntrack, link_protocol
from .audit import Audit
from .carrier import Carrier, carrying
from .hosts import RealHost
from .link_protocol import Configure, Order, Part
from .losses import told_losses
from .nat_probe import Observed
from .nat_rules import SILENT_RULES
from .plan import Attachment, Plan

DEFAULT_MTU = 1500


class LostPacket(NamedTuple):
    """A packet that a link took out."""

    node: str
    """Whose uplink it was."""
    way: str
    """`up` or `down`."""
    fate: str
    """Which of the link's counters has it."""
    at: float
    """When, on the clock of `time.monotonic`."""
    packet: bytes
    untold: int
    """How many others before it there was no time to tell of."""


class RealTopology:
    """A network that is up. `apply` does faults to it one after another, in the order of the calls."""

    def __init__(self, plan: Plan, carrier: Carrier, boxes: Mapping[str, Observed]) -> None:
        self.boxes = boxes
        """How each gateway with somebody behind it was found to behave, where that was looked at."""
        self._plan = plan
        self._carrier = carrier
        self._starting = set[asyncio.Task[None]]()
        self._namespaces = dict(zip(plan.names, carrier.namespaces, strict=True))
        self._in_use = {node: attachments[0] for node, attachments in plan.attachments.items()}
        self._partitions: list[tuple[str, str]] = []
        self._generations: dict[str, int] = {}
        self._turn = asyncio.Lock()
        self._hosts = {
            host.name: RealHost(
                host.name,
                self._namespaces[host.name],
                carrier.programs,
                address=first.address,
                address6=first.address6,
            )
            for host in plan.topology.hosts
            for first in plan.attachments[host.name][:1]
        }

    @property
    def hosts(self) -> Mapping[str, RealHost]:
        """All hosts by name."""
        return self._hosts

    def host(self, name: str) -> RealHost:
        """Return a host. Raises ValueError where there is none of this name."""
        if name not in self._hosts:
            raise ValueError(f"there is no host {name!r}; there are {', '.join(self._hosts)}")
        return self._hosts[name]

    def external_address(self, gateway: str) -> str:
        """Return the address that a gateway has on the side of the world."""
        return self._attachment(gateway).address

    async def apply(self, fault: Fault) -> None:
        """Do it now. A reboot ends by itself. Raises ValueError, which says what is wrong with the fault."""
        async with self._turn:
            match fault:
                case Impair(node=node, up=up, down=down):
                    await self._impair(node, up, down)
                case Cut(node=node, direction=direction):
                    await self._cut(node, direction)
                case Heal(node=node):
                    await self._heal(node)
                case Partition(nodes=nodes, one_way=one_way):
                    await self._part(nodes, one_way=one_way)
                case ChangeAddress(node=node):
                    await self._change_address(self.host(node))
                case SwitchUplink(node=node, to=to):
                    await self._switch_uplink(self.host(node), to)
                case Rebind(node=node):
                    await self._rebind(self._gateway(node))
                case Reboot(node=node, seconds=seconds):
                    await self._carry_nothing(self._gateway(node))
                    self._starting.add(asyncio.create_task(self._start_again(node, seconds)))
                case Signal(process=process, signal=word):
                    self._signal(process, word)
                case _:
                    assert_never(fault)

    async def report(self) -> tuple[dict[str, tuple[LinkCounters, LinkCounters]], Audit]:
        """Return what became of the packets on the uplink of each node, up and down, and how late all links were.

        The latter is since the last call of any method. Raises `LinkProcessFailed`.
        """
        carried = await self._carrier.obey()
        links = {
            node: (carried.links[each.up], carried.links[each.down]) for node, each in self._in_use.items()
        }
        return links, carried.audit

    async def aclose(self) -> None:
        """Leave gateways that are starting as they are. Raises what went wrong at a start."""
        for task in self._starting:
            task.cancel()
        for task in self._starting:
            with suppress(asyncio.CancelledError):
                await task

    async def _impair(self, node: str, up: LinkConfig | None, down: LinkConfig | None) -> None:
        each = self._attachment(node)
        configs = ((each.up, up), (each.down, down))
        await self._carrier.obey([Configure(link, config) for link, config in configs if config is not None])

    async def _cut(self, node: str, direction: Direction) -> None:
        each = self._attachment(node)
        links = {Direction.UP: (each.up,), Direction.DOWN: (each.down,), Direction.BOTH: (each.up, each.down)}
        await self._carrier.obey([link_protocol.Cut(link, is_cut=True) for link in links[direction]])

    async def _heal(self, node: str) -> None:
        self._attachment(node)
        self._partitions = [pair for pair in self._partitions if node not in pair]
        links = [link for each in self._plan.attachments[node] for link in (each.up, each.down)]
        await self._carrier.obey([*(link_protocol.Cut(link, is_cut=False) for link in links), *self._parts()])

    async def _part(self, nodes: tuple[str, str], *, one_way: bool) -> None:
        one, other = nodes
        for node in nodes:
            self._attachment(node)
        self._partitions += [(one, other)] if one_way else [(one, other), (other, one)]
        await self._carrier.obey(self._parts())

    def _parts(self) -> list[Order]:
        """Return orders that keep every node from the addresses by which those are reached that it is parted from."""
        orders: list[Order] = []
        for node, attachments in self._plan.attachments.items():
            parted = [other for one, other in self._partitions if one == node]
            addresses = tuple(address for other in parted for address in self._addresses_of(other))
            orders += [Part(each.up, addresses) for each in attachments]
        return orders

    def _addresses_of(self, node: str) -> list[str]:
        """Return those by which a node is reached: its own, and those of the gateways before it."""
        addresses: list[str] = []
        while node != INTERNET:
            each = self._in_use[node]
            addresses += each.addresses
            node = each.uplink.to
        return addresses

    async def _change_address(self, host: RealHost) -> None:
        each = self._in_use[host.name]
        old, lost = each.addresses, each.be_lost()
        address, address6 = self._plan.networks[each.uplink.to].take()
        each.address, each.address6 = address, address6
        leave = [f"addr del {one}/{128 if ':' in one else 32} dev {each.device}" for one in old]
        await self._ip(host.name, [*leave, *each.arrive(self._plan.mtu)])
        await self._ip(each.uplink.to, [*lost, *each.be_reached()])
        await self._moved(host)

    async def _switch_uplink(self, host: RealHost, to: str) -> None:
        found = [each for each in self._plan.attachments[host.name] if each.uplink.to == to]
        if not found:
            raise ValueError(f"the host {host.name!r} has no uplink to {to!r}")
        old, new = self._in_use[host.name], found[0]
        if old is new:
            return
        await self._ip(host.name, [*old.leave(), *new.arrive(self._plan.mtu)])
        self._in_use[host.name] = new
        await self._moved(host)

    async def _moved(self, host: RealHost) -> None:
        each = self._in_use[host.name]
        host.address, host.address6 = each.address, each.address6
        await self._carrier.obey(self._parts())

    async def _rebind(self, gateway: str) -> None:
        generation = self._generations[gateway] = self._generations.get(gateway, 0) + 1
        await self._nft(gateway, self._plan.rules(gateway, generation))
        await self._run(gateway, [sys.executable, "-I", "-S", str(Path(conntrack.__file__))])

    async def _carry_nothing(self, gateway: str) -> None:
        await self._nft(gateway, SILENT_RULES)

    async def _start_again(self, gateway: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        async with self._turn:
            await self._rebind(gateway)

    def _signal(self, process: str, word: str) -> None:
        for host in self._hosts.values():
            if host.runs(process):
                host.signal(process, word)
                return
        raise ValueError(f"no program called {process!r} is running")

    def _attachment(self, node: str) -> Attachment:
        if node not in self._in_use:
            what = "the internet has no uplink" if node == INTERNET else f"there is no node {node!r}"
            raise ValueError(f"{what}; there are {', '.join(self._in_use)}")
        return self._in_use[node]

    def _gateway(self, name: str) -> str:
        if name in self._hosts or name not in self._in_use:
            raise ValueError(f"there is no gateway {name!r}")
        return name

    async def _ip(self, node: str, lines: Sequence[str]) -> None:
        await self._run(node, ["ip", "-batch", "-"], "\n".join(lines) + "\n")

    async def _nft(self, node: str, rules: str) -> None:
        await self._run(node, ["nft", "-f", "-"], rules)

    async def _run(self, node: str, argv: Sequence[str], text: str = "") -> None:
        await asyncio.to_thread(self._namespaces[node].run, argv, stdin=text)


@asynccontextmanager
async def real_topology(
    topology: Topology,
    *,
    seed: int = 0,
    mtu: int = DEFAULT_MTU,
    verify: bool = True,
    lost: Callable[[LostPacket], None] | None = None,
) -> AsyncGenerator[RealTopology]:
    """Run a topology for the block; every gateway is verified before, and the programs started are killed after it.

    `lost` is told of every packet that a link takes out, as far as it keeps up with them. Raises
    `LaboratoryUnavailable` where this machine cannot have it, and says why.
    """
    plan = Plan(topology, mtu)
    with _hearing_of_losses(plan, lost) as losses:
        task = plan.task(seed=seed, verify=verify, losses=losses)
        async with carrying(task) as carrier:
            boxes = {box.name: observed for box, observed in zip(task.boxes, carrier.boxes, strict=True)}
            network = RealTopology(plan, carrier, boxes)
            try:
                yield network
            finally:
                await network.aclose()


@contextmanager
def _hearing_of_losses(plan: Plan, lost: Callable[[LostPacket], None] | None) -> Generator[int | None]:
    """Hand over what is told by the descriptor that is given, the last of it at the end."""
    if lost is None:
        yield None
        return
    links = {
        link: (node, way)
        for node, attachments in plan.attachments.items()
        for each in attachments
        for link, way in ((each.up, "up"), (each.down, "down"))
    }

    def take() -> int:
        count = 0
        for count, loss in enumerate(told_losses(ours), start=1):  # noqa: B007
            lost(LostPacket(*links[loss.link], loss.fate.value, loss.at, loss.packet, loss.untold))
        return count

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)  # noqa: FBT003
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, take)
        try:
            yield theirs.fileno()
        finally:
            loop.remove_reader(ours)
            while take():
                pass
