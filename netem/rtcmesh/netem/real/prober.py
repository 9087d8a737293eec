"""A program that measures a path from within: one end sends numbered datagrams, the other one notes when they come.

    python -m rtcmesh.netem.real.prober receive ADDRESS       says its port, then, at the end of its input, what came
    python -m rtcmesh.netem.real.prober send ADDRESS PORT     reads a `Plan`, and says when it sent each packet

Both tell points in time by `time.monotonic`, which is the same in all namespaces of a machine. What comes is stamped by
the kernel, so that a receiver without a processor is no delay.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from contextlib import suppress

import msgspec

_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 8 * 1024 * 1024
_NUMBER = struct.Struct("!I")
_TIMESPEC = struct.Struct("@ll")
_BATCH = 256


class Plan(msgspec.Struct, frozen=True):
    """What to send."""

    moments: list[float]
    """Seconds after the start, in order."""
    payload_bytes: int


def send(address: str, port: int) -> list[float]:
    """Send as planned, or as fast as that goes; return when each packet was sent."""
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    sent_at: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.connect((address, port))
        padding = bytes(plan.payload_bytes - _NUMBER.size)
        start = time.monotonic()
        for number, moment in enumerate(plan.moments):
            wait = start + moment - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sent_at.append(time.monotonic())
            with suppress(OSError):  # a full device: lost, which the receiver will not see
                sending.send(_NUMBER.pack(number) + padding)
    return sent_at


def receive(address: str) -> list[tuple[int, float]]:
    """Note what comes until standard input ends; return number and time of each packet."""
    arrived: list[tuple[int, float]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        with suppress(OSError):  # beyond the limit of the machine, where that is allowed
            receiving.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        receiving.bind((address, 0))
        receiving.settimeout(0)
        _say(receiving.getsockname()[1])
        over = False
        while not over:
            ready, _, _ = select.select([receiving, sys.stdin], [], [])
            over = sys.stdin in ready
            arrived += _waiting(receiving)
    return arrived


def _waiting(receiving: socket.socket) -> list[tuple[int, float]]:
    """Take what is there; the kernel tells the time of day, so both clocks are read together."""
    arrived: list[tuple[int, float]] = []
    day = time.time() - time.monotonic()
    while True:
        try:
            data, ancillary, _, _ = receiving.recvmsg(_NUMBER.size, _BATCH)
        except BlockingIOError:
            return arrived
        for level, kind, stamp in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack_from(stamp)
                (number,) = _NUMBER.unpack(data)
                arrived.append((number, seconds + nanoseconds * 1e-9 - day))


def _say(what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Play the end that the first argument names."""
    role, address, *port = sys.argv[1:]
    with suppress(KeyboardInterrupt):
        _say(receive(address) if role == "receive" else send(address, int(port[0])))


if __name__ == "__main__":
    main()
