"""Runs a network machine on an event loop."""

import asyncio
import socket
from collections.abc import Callable

from rtcmesh.netem.packet import Endpoint, Kind, Packet, ip_version
from rtcmesh.netem.segment import Segment

from .host import LOOPBACK_NAMES, Host
from .network import Network

Receiver = Callable[[Host, Packet], None]


class Wire:
    """Sends packets into a network and hands each arrival, at its time, to whoever receives its kind."""

    def __init__(self, loop: asyncio.AbstractEventLoop, network: Network) -> None:
        self.loop = loop
        self.network = network
        self.hosts: dict[str, Host] = {}
        self.receivers: dict[Kind, Receiver] = {}
        self._timer: asyncio.TimerHandle | None = None

    def send(
        self, host: Host, kind: Kind, source: Endpoint, destination: Endpoint, payload: bytes | Segment
    ) -> None:
        """Send one packet from a host now."""
        self.network.send(host.name, kind, source, destination, payload, now=self.loop.time())
        self._schedule()

    def resolve(self, name: str, asking: Host) -> str:
        """Return the IP address that a name or an address means to a host. Raises `socket.gaierror`."""
        return asking.address if name in LOOPBACK_NAMES else self.look_up(name)

    def look_up(self, name: str) -> str:
        """Return the IP address of a host by its name; an address stands for itself. Raises `socket.gaierror`."""
        if name in self.hosts:
            return self.hosts[name].address
        try:
            ip_version(name)
        except ValueError:
            raise socket.gaierror(socket.EAI_NONAME, f"no virtual host is named {name!r}") from None
        return name

    def _schedule(self) -> None:
        deadline = self.network.deadline()
        if self._timer is not None:
            if deadline == self._timer.when():
                return
            self._timer.cancel()
        self._timer = None if deadline is None else self.loop.call_at(deadline, self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        try:
            for name, packet in self.network.packets_due(self.loop.time()):
                self.receivers[packet.kind](self.hosts[name], packet)
        finally:
            self._schedule()
