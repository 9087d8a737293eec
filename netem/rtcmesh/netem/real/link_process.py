"""The process of a laboratory: it makes what it is told to, then stands between the TUN devices.

A process of its own, so that what it measures and delays does not wait for the programs under test. It is one thread
with one selector and one timer for all links; what it reads from a device it puts through the link and, when its time
has come, into the device at the other end. When its standard input ends so does it, and everything in its namespaces.
"""

from __future__ import annotations

import heapq
import ipaddress
import math
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random

import msgspec

from rtcmesh.netem.link import Fate, Link, LinkConfig

from .audit import Lateness
from .builder import Building, build
from .errors import LaboratoryUnavailable
from .icmp import too_long
from .inhabitants import kill_inhabitants
from .ip_packet import IpPacket
from .link_protocol import Built, Carried, Configure, Cut, Order, Part, Task, Unavailable
from .losses import LossTeller
from .timerfd import Timer
from .undertaker import fork_undertaker

READ_BATCH = 64
"""How many packets are read from one device before the others have their turn."""

READ_BYTES = 65_536

_PRIORITY = 10


class Pipe:
    """A link between two devices, one way."""

    def __init__(
        self, number: int, link: Link[IpPacket], source: int, destination: int, losses: LossTeller | None
    ) -> None:
        self.number = number
        self.link = link
        self.parted: frozenset[bytes] = frozenset()
        """The addresses that cannot be reached through it."""
        self.announced = math.inf
        """When the agenda has it."""
        self._source = source
        self._destination = destination
        self._losses = losses

    def take(self) -> None:
        """Read what has come at the near end into the link."""
        link, source, parted = self.link, self._source, self.parted
        for _ in range(READ_BATCH):
            try:
                packet = IpPacket(os.read(source, READ_BYTES))
            except BlockingIOError:
                return
            if parted and _destination(packet) in parted:
                link.counters.sent += 1
                link.counters.cut += 1
                self._tell(Fate.CUT, packet)
            elif (fate := link.send(packet, time.monotonic())) is not Fate.CARRIED or link.given_up:
                self._take_out(fate, packet)

    def configure(self, config: LinkConfig) -> None:
        """Treat packets like this from now on."""
        self.link.config = config
        self._tell_given_up()

    def _take_out(self, fate: Fate, packet: IpPacket) -> None:
        if fate is not Fate.CARRIED:
            self._tell(fate, packet)
        if fate is Fate.OVERSIZED and self.link.config.mtu_is_reported:
            self._report_mtu(packet)
        self._tell_given_up()

    def _tell_given_up(self) -> None:
        given_up, self.link.given_up = self.link.given_up, []
        for fate, packet in given_up:
            self._tell(fate, packet)

    def _tell(self, fate: Fate, packet: IpPacket) -> None:
        if self._losses is not None:
            self._losses.tell(self.number, fate, time.monotonic(), packet)

    def _report_mtu(self, packet: IpPacket) -> None:
        assert self.link.config.mtu is not None, "the packet is too long for it"
        answer = too_long(packet, self.link.config.mtu)
        if answer is not None:
            with suppress(OSError):  # as any packet, it may be lost
                os.write(self._source, answer)

    def put(self, lateness: Lateness) -> None:
        """Put what has arrived out at the far end."""
        now = time.monotonic()
        for at, packet in self.link.arrivals(now):
            lateness.note(now - at)
            with suppress(OSError):  # a device that is down, or full: the packet is lost there
                os.write(self._destination, packet)
        if self.link.given_up:
            self._tell_given_up()


class LinkProcess:
    """All the links of a laboratory."""

    def __init__(self, task: Task, building: Building, rest: bytes) -> None:
        self._losses = None if task.losses is None else LossTeller(task.losses)
        self._pipes: list[Pipe] = []
        self._takers: dict[int, Pipe] = {}
        for tunnel, ends in zip(task.tunnels, building.tunnels, strict=True):
            self._join(tunnel.up, f"{task.seed}/{tunnel.name}/up", ends.low, ends.high)
            self._join(tunnel.down, f"{task.seed}/{tunnel.name}/down", ends.high, ends.low)
        self._timer = Timer()
        self._lateness = Lateness()
        self._agenda: list[tuple[float, int]] = []
        self._orders = rest
        self._over = False

    def run(self, undertaker: int) -> bool:
        """Carry packets until standard input ends, or the undertaker does, which must not be: then it is False."""
        stdin = sys.stdin.fileno()
        with selectors.EpollSelector() as selector:
            for source, pipe in self._takers.items():
                selector.register(source, selectors.EVENT_READ, pipe)
            selector.register(self._timer.fd, selectors.EVENT_READ)
            selector.register(stdin, selectors.EVENT_READ)
            selector.register(undertaker, selectors.EVENT_READ)
            while not self._over:
                for key, _ in selector.select():
                    if key.data is not None:
                        self._carry(key.data)
                    elif key.fd == stdin:
                        self._obey(os.read(stdin, READ_BYTES))
                    elif key.fd == undertaker:
                        return False
                self._deliver()
        return True

    def _join(self, config: LinkConfig, seed: str, source: int, destination: int) -> None:
        number = len(self._pipes)
        pipe = Pipe(number, Link(config, Random(seed)), source, destination, self._losses)
        self._pipes.append(pipe)
        self._takers[source] = pipe

    def _carry(self, pipe: Pipe) -> None:
        pipe.take()
        self._put(pipe)

    def _deliver(self) -> None:
        """Put out what is due, and have the timer wake us for what comes next."""
        agenda = self._agenda
        while agenda:
            at, number = agenda[0]
            pipe = self._pipes[number]
            if at != pipe.announced:
                heapq.heappop(agenda)
            elif at <= time.monotonic():
                heapq.heappop(agenda)
                pipe.announced = math.inf
                self._put(pipe)
            else:
                break
        self._timer.set(agenda[0][0] if agenda else None)

    def _put(self, pipe: Pipe) -> None:
        pipe.put(self._lateness)
        deadline = pipe.link.deadline()
        if deadline is not None and deadline < pipe.announced:
            pipe.announced = deadline
            heapq.heappush(self._agenda, (deadline, pipe.number))

    def _obey(self, read: bytes) -> None:
        self._over = not read
        *lines, self._orders = (self._orders + read).split(b"\n")
        for line in lines:
            for order in msgspec.json.decode(line, type=list[Order]):
                self._carry_out(order)
            answer = Carried(tuple(pipe.link.counters for pipe in self._pipes), self._lateness.audit())
            _say(answer)

    def _carry_out(self, order: Order) -> None:
        pipe = self._pipes[order.link]
        match order:
            case Configure(config=config):
                pipe.configure(config)
            case Cut(is_cut=is_cut):
                pipe.link.is_cut = is_cut
            case Part(addresses=addresses):
                pipe.parted = frozenset(ipaddress.ip_address(address).packed for address in addresses)


def _destination(packet: bytes) -> bytes:
    """Return the address a packet is for, of 4 or 16 bytes."""
    return packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]


def _say(answer: object) -> None:
    line = memoryview(msgspec.json.encode(answer) + b"\n")
    while line:
        line = line[os.write(sys.stdout.fileno(), line) :]


def _first_line(read: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """Return the first line of standard input, and what came behind it."""
    text = b""
    while b"\n" not in text:
        more = read(READ_BYTES)
        if not more:
            raise SystemExit(0)  # nobody wants anything any more
        text += more
    line, _, rest = text.partition(b"\n")
    return line, rest


def _run_ahead() -> bool:
    """Have the processor before what is under test, where that is allowed: a busy machine would delay us by much."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    except OSError:
        return False
    return True


def main() -> None:
    """Carry out the task on the first line of standard input."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for our owner, who ends us when everything else has ended
    line, rest = _first_line(lambda size: os.read(sys.stdin.fileno(), size))
    task = msgspec.json.decode(line, type=Task)
    try:
        building = build(task)
    except LaboratoryUnavailable as error:
        _say(Unavailable(str(error)))
        return
    undertaker = fork_undertaker(building.namespaces)
    process = LinkProcess(task, building, rest)
    _say(Built(building.namespaces, building.boxes, building.in_user_namespace, _run_ahead()))
    is_watched = process.run(undertaker)
    # The undertaker does so as well, if it was not killed together with our owner.
    kill_inhabitants(building.namespaces)
    if not is_watched:
        sys.exit("who ends what is left in the namespaces was killed")


if __name__ == "__main__":
    main()
