"""The process that stands between two TUN devices and treats each packet as two links say.

A process of its own, so that what it measures and delays does not wait for the programs under test. It carries some
50,000 packets a second.
"""

from __future__ import annotations

import os
import selectors
import sys
import time
from contextlib import suppress
from random import Random

import msgspec

from rtcmesh.netem.link import Link

from .audit import Lateness
from .ip_packet import IpPacket
from .link_protocol import Carried, Configure, Cut, Order, Report, Task
from .timerfd import Timer

READ_BATCH = 64
"""How many packets are read from one device before the others have their turn."""

MAX_PACKET_BYTES = READ_BYTES = 65_536

_PRIORITY = 10


class LinkProcess:
    """Two links between two devices."""

    def __init__(self, task: Task) -> None:
        self._rightward: Link[IpPacket] = Link(task.rightward, Random(f"{task.seed}/rightward"))
        self._leftward: Link[IpPacket] = Link(task.leftward, Random(f"{task.seed}/leftward"))
        self._ends = ((task.left, self._rightward, task.right), (task.right, self._leftward, task.left))
        self._timer = Timer()
        self._lateness = Lateness()
        self._orders = b""
        self._over = False

    def run(self) -> None:
        """Carry packets until standard input ends."""
        with selectors.DefaultSelector() as selector:
            for source, _, _ in self._ends:
                selector.register(source, selectors.EVENT_READ)
            selector.register(self._timer.fd, selectors.EVENT_READ)
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
            self._answer()
            while not self._over:
                ready = {key.fd for key, _ in selector.select()}
                for source, link, _ in self._ends:
                    if source in ready:
                        self._read(source, link)
                if sys.stdin.fileno() in ready:
                    self._obey(os.read(sys.stdin.fileno(), READ_BYTES))
                self._deliver()

    def _read(self, device: int, link: Link[IpPacket]) -> None:
        for _ in range(READ_BATCH):
            try:
                packet = os.read(device, MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            link.send(IpPacket(packet), time.monotonic())

    def _deliver(self) -> None:
        """Put out what has arrived, and have the timer wake us for what comes next."""
        due: list[float] = []
        for _, link, destination in self._ends:
            now = time.monotonic()
            for at, packet in link.arrivals(now):
                self._lateness.note(now - at)
                with suppress(
                    BlockingIOError, OSError
                ):  # a device that is down, or full: the packet is lost there
                    os.write(destination, packet)
            deadline = link.deadline()
            if deadline is not None:
                due.append(deadline)
        self._timer.set(min(due, default=None))

    def _obey(self, read: bytes) -> None:
        self._over = not read
        *lines, self._orders = (self._orders + read).split(b"\n")
        for line in lines:
            order: Order = msgspec.json.decode(line, type=Order)
            match order:
                case Configure(rightward, leftward):
                    self._rightward.config, self._leftward.config = rightward, leftward
                case Cut(rightward, leftward):
                    self._rightward.is_cut, self._leftward.is_cut = rightward, leftward
                case Report():
                    pass
            self._answer()

    def _answer(self) -> None:
        answer = Carried(self._rightward.counters, self._leftward.counters, self._lateness.audit())
        os.write(sys.stdout.fileno(), msgspec.json.encode(answer) + b"\n")


def main() -> None:
    """Carry out the task that the only argument describes."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    # Ahead of what is under test, where that is allowed: under load it would be milliseconds late otherwise.
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    with suppress(KeyboardInterrupt):
        LinkProcess(task).run()


if __name__ == "__main__":
    main()
