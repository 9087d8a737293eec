"""A program that sends datagrams at a rate, for the bench of links.

python flood.py ADDRESS PORT PACKETS_PER_SECOND SECONDS PAYLOAD_BYTES        says how many it has sent
python flood.py sink ADDRESS                                                 says its port, and reads nothing
"""

from __future__ import annotations

import socket
import sys
import time

TICK = 0.0005
"""Seconds between two bursts; a rate is kept on average over some of them."""


def flood(address: str, port: int, rate: float, seconds: float, size: int) -> int:
    """Send, and return how many packets that were."""
    payload = bytes(size)
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.connect((address, port))
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            due = int(passed * rate)
            while sent < due:
                sending.send(payload)
                sent += 1
            time.sleep(TICK)
    return sent


def sink(address: str) -> None:
    """Have a port that takes packets until standard input ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.bind((address, 0))
        sys.stdout.write(f"{receiving.getsockname()[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        sink(sys.argv[2])
    else:
        address, port, rate, seconds, size = sys.argv[1:]
        sys.stdout.write(f"{flood(address, int(port), float(rate), float(seconds), int(size))}\n")
