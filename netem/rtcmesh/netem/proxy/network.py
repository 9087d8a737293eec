"""A topology of proxies: every program stays on this machine, and what it sends crosses the links of its host."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict
from random import Random
from typing import Self, assert_never

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
from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.topology import Topology
from rtcmesh.netem.virtual.network import Tap

from .runner import LinkRunner
from .tcp import TcpProxy, bound_tcp_socket
from .toxics import Toxics
from .udp import UdpProxy, bound_udp_socket


class ProxyNetwork:
    """Hosts in the internet, each with a link up and a link down that all its proxies share. No gateways.

    Datagrams cross the link up of the host that sends and the link down of the one that receives. Streams, whose bytes
    the system keeps safe, take the delays and the smaller rate of both. Raises `CannotCarry` for what no proxy can.
    Use it as an async context manager.
    """

    def __init__(self, topology: Topology, *, seed: int = 0, tap: Tap | None = None) -> None:
        if objections := objections_to(topology):
            raise CannotCarry("; ".join(objections))
        self.topology = topology
        self._up: dict[str, LinkRunner] = {}
        self._down: dict[str, LinkRunner] = {}
        for host in topology.hosts:
            uplink = host.uplinks[0]
            self._up[host.name] = LinkRunner(Link(uplink.up, Random(f"{seed}/{host.name}/up")))
            self._down[host.name] = LinkRunner(Link(uplink.down, Random(f"{seed}/{host.name}/down")))
        self._udp: dict[tuple[str, str, Endpoint], UdpProxy] = {}
        self._tcp: dict[tuple[str, str, Endpoint], TcpProxy] = {}
        self._parted: set[tuple[str, str]] = set()
        self._tap = tap
        self._stack = AsyncExitStack()
        self._starting: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._starting)
        await self._stack.aclose()
        for runner in (*self._up.values(), *self._down.values()):
            runner.close()

    def udp(self, source: str, destination: str, target: Endpoint) -> Endpoint:
        """Return where the host `source` finds a UDP socket of the host `destination`. Raises ValueError, OSError."""
        return self._udp_proxy(source, destination, target).endpoint

    def tcp(self, source: str, destination: str, target: Endpoint) -> Endpoint:
        """Return where the host `source` finds a TCP server of the host `destination`. Raises ValueError, OSError."""
        return self._tcp_proxy(source, destination, target).endpoint

    def both(self, source: str, destination: str, target: Endpoint) -> Endpoint:
        """Return where the host `source` finds a port of the host `destination`, UDP's and TCP's alike."""
        tcp = self._tcp_proxy(source, destination, target)
        return self._udp_proxy(source, destination, target, port=tcp.endpoint.port).endpoint

    async def apply(self, fault: Fault) -> None:
        """See `Faultable`. A changed address is another port, on which the others see the host's datagrams come."""
        match fault:
            case Impair(node=node, up=up, down=down):
                self._impair(node, up, down)
            case Cut(node=node, direction=direction):
                self._cut(node, direction)
            case Heal(node=node):
                self._heal(node)
            case Partition(nodes=(one, other), one_way=one_way):
                self._part(one, other)
                if not one_way:
                    self._part(other, one)
            case ChangeAddress(node=node):
                self._link(self._up, node)
                for (source, _, _), proxy in self._udp.items():
                    if source == node:
                        proxy.rebind()
            case SwitchUplink() | Rebind() | Reboot():
                raise CannotCarry(objection_to(fault))
            case Signal():
                raise CannotCarry("proxies know of no programs to signal")
            case _:
                assert_never(fault)

    def counters(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return what became of packets, by host, by `up` or `down`, by fate."""
        return {
            host: {
                way: {**asdict(runner.link.counters), "overflowed": runner.overflowed}
                for way, runner in (("up", self._up[host]), ("down", self._down[host]))
            }
            for host in self._up
        }

    def _udp_proxy(self, source: str, destination: str, target: Endpoint, *, port: int = 0) -> UdpProxy:
        there = (self._link(self._up, source), self._link(self._down, destination))
        back = (self._link(self._up, destination), self._link(self._down, source))
        key = (source, destination, target)
        if key not in self._udp:
            sock = bound_udp_socket(target.address, port)
            self._udp[key] = UdpProxy(
                target, there, back, sock=sock, names=(source, destination), tap=self._tap
            )
            self._start(self._udp[key])
        return self._udp[key]

    def _tcp_proxy(self, source: str, destination: str, target: Endpoint) -> TcpProxy:
        there, back = self._toxics(source, destination), self._toxics(destination, source)
        key = (source, destination, target)
        if key not in self._tcp:
            self._tcp[key] = TcpProxy(target, there=there, back=back, sock=bound_tcp_socket(target.address))
            self._start(self._tcp[key])
        return self._tcp[key]

    def _start(self, proxy: UdpProxy | TcpProxy) -> None:
        """Have it listen from the next round of the loop on; what comes before waits in its socket."""
        self._hold_up()
        self._starting.append(asyncio.create_task(self._enter(proxy)))

    async def _enter(self, proxy: UdpProxy | TcpProxy) -> None:
        await self._stack.enter_async_context(proxy)

    def _impair(self, node: str, up: LinkConfig | None, down: LinkConfig | None) -> None:
        for runners, config in ((self._up, up), (self._down, down)):
            runner = self._link(runners, node)
            if config is not None:
                runner.link.config = config
                runner.schedule()
        for (source, destination, _), proxy in self._tcp.items():
            proxy.poison(there=self._toxics(source, destination), back=self._toxics(destination, source))

    def _cut(self, node: str, direction: Direction) -> None:
        if direction is not Direction.DOWN:
            self._link(self._up, node).link.cut()
        if direction is not Direction.UP:
            self._link(self._down, node).link.cut()
        self._hold_up()

    def _part(self, one: str, other: str) -> None:
        for node in (one, other):
            self._link(self._up, node)
        self._parted.add((one, other))
        self._hold_up()

    def _heal(self, node: str) -> None:
        self._link(self._up, node).link.heal()
        self._link(self._down, node).link.heal()
        self._parted = {pair for pair in self._parted if node not in pair}
        self._hold_up()

    def _hold_up(self) -> None:
        """Have every proxy stop what cannot pass now. A stream that gets no answer stands still both ways."""
        for (source, destination, _), udp in self._udp.items():
            udp.is_cut_there = (source, destination) in self._parted
            udp.is_cut_back = (destination, source) in self._parted
        for (source, destination, _), tcp in self._tcp.items():
            links = (self._up[source], self._down[source], self._up[destination], self._down[destination])
            is_parted = {(source, destination), (destination, source)} & self._parted
            if is_parted or any(runner.link.is_cut for runner in links):
                tcp.cut()
            else:
                tcp.heal()

    def _toxics(self, source: str, destination: str) -> Toxics:
        configs = [self._link(self._up, source).link.config, self._link(self._down, destination).link.config]
        rates = [
            config.rate_bytes_per_second for config in configs if config.rate_bytes_per_second is not None
        ]
        return Toxics(
            latency=sum(config.delay for config in configs), rate_bytes_per_second=min(rates, default=None)
        )

    def _link(self, runners: dict[str, LinkRunner], node: str) -> LinkRunner:
        if node not in runners:
            raise ValueError(f"no host is called {node!r}; there are {', '.join(runners)}")
        return runners[node]


def objections_to(topology: Topology) -> list[str]:
    """Return what of a topology proxies cannot carry."""
    found = [
        f"the gateway {gateway.name!r}: a proxy translates no addresses" for gateway in topology.gateways
    ]
    found += [
        f"the host {host.name!r} has {len(host.uplinks)} uplinks: a proxy has one for each host"
        for host in topology.hosts
        if len(host.uplinks) > 1
    ]
    return found


def objection_to(fault: Fault) -> str | None:
    """Return why proxies cannot do this, or None when they can."""
    match fault:
        case SwitchUplink():
            return "a proxy has one uplink for each host, and cannot switch"
        case Rebind() | Reboot():
            return "a proxy has no gateways"
        case _:
            return None
