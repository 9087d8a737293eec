#!/usr/bin/env python3
"""How fast two associations are in one process, and what both congestion controls do on simulated paths.

    scripts/bench_sctp.py speed          bulk and small messages: messages and packets a second, CPU seconds per GB
    scripts/bench_sctp.py paths          200 Mbit/s, 50 ms, 0 to 10 % loss: goodput and queue
    scripts/bench_sctp.py fairness       20 Mbit/s, 50 ms, two flows: who gets what, and the queue

`--json` prints the raw figures. `speed` measures the CPU time of this process, both ends together and nothing else: no
DTLS, no sockets. `paths` and `fairness` run on virtual time, and give the same figures everywhere for the same code.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from rtcmesh.peer.sctp import Association, CongestionControl, MessageReceived, Role, SctpConfig
from support.sctp import Shared

TICK = 0.0002
BATCH = 64
HIGH_WATER = 256 * 1024

LOSSES = (0.0, 0.01, 0.05, 0.1)
QUEUES = (0.25, 0.5, 1.0, 2.0)


class Pair:
    """Two associations that hand their packets to one another in read batches, as a pair of busy sockets would."""

    def __init__(self, *, interleaving: bool, packet_bytes: int) -> None:
        self.now = 0.0
        self.client, self.server = (
            Association(
                SctpConfig(role=role, interleaving=interleaving, packet_bytes=packet_bytes),
                Random(role.value),
            )
            for role in Role
        )
        for end in (self.client, self.server):
            end.remote_max_message_bytes = 0
            end.open_channel(0.0, negotiated_id=0)
        self.client.set_water_marks(0, low_bytes=HIGH_WATER // 4, high_bytes=HIGH_WATER)
        self.client.connect(self.now)
        for _ in range(5):
            self.turn()

    def turn(self) -> int:
        """Let a moment pass. Returns how many messages the server got."""
        self.now += TICK
        received = 0
        for end in (self.client, self.server):
            due = end.deadline()
            if due is not None and due <= self.now:
                end.handle_timeout(self.now)
        packets = self.client.packets_to_send(self.now)
        for start in range(0, len(packets) or 1, BATCH):
            self.server.receive_packets(packets[start : start + BATCH], self.now)
            size = count = 0
            for event in self.server.events():
                if isinstance(event, MessageReceived):
                    count += 1
                    size += len(event.data)
            if count:
                self.server.consumed(size, count)
                received += count
            self.client.receive_packets(self.server.packets_to_send(self.now), self.now)
        self.client.events()
        return received


def speed(
    message_bytes: int, count: int, *, interleaving: bool = False, packet_bytes: int = 1188
) -> dict[str, float]:
    """Return the figures of one run."""
    pair = Pair(interleaving=interleaving, packet_bytes=packet_bytes)
    message = bytes(message_bytes)
    sent = received = 0
    started_at = time.process_time()
    while received < count:
        writable = pair.client.buffered_amount(0) < HIGH_WATER
        while writable and sent < count:
            sent += 1
            writable = pair.client.send(0, message, pair.now)
        received += pair.turn()
    seconds = time.process_time() - started_at
    packets = pair.client.stats().packets_sent + pair.server.stats().packets_sent
    return {
        "message_bytes": message_bytes,
        "interleaving": interleaving,
        "packet_bytes": packet_bytes,
        "messages_per_second": count / seconds,
        "mbit_per_second": 8e-6 * count * message_bytes / seconds,
        "packets_per_second": packets / seconds,
        "cpu_seconds_per_gb": seconds / (1e-9 * count * message_bytes),
    }


def speeds(rounds: int) -> list[dict[str, float]]:
    """Return the medians of interleaved runs."""
    cases = [
        {"message_bytes": 16_384, "count": 3000},
        {"message_bytes": 16_384, "count": 3000, "interleaving": True},
        {"message_bytes": 16_384, "count": 10_000, "packet_bytes": 15_000},
        {"message_bytes": 64, "count": 100_000},
        {"message_bytes": 64, "count": 100_000, "interleaving": True},
    ]
    runs = [[speed(**case) for case in cases] for _ in range(rounds)]
    return [
        {name: statistics.median(run[index][name] for run in runs) for name in runs[0][index]}
        for index in range(len(cases))
    ]


def paths(seconds: float) -> list[dict[str, float | str]]:
    """Return what each control does alone on a path that loses packets."""
    figures: list[dict[str, float | str]] = []
    for control in CongestionControl:
        for loss in LOSSES:
            flow = Shared(control, bits_per_second=200e6, round_trip=0.05, loss=loss)
            (rate,) = flow.run(seconds)
            figures.append(
                {
                    "control": control.value,
                    "loss": loss,
                    "mbit_per_second": rate / 1e6,
                    "mean_queue_ms": 1000 * statistics.mean(flow.backlogs),
                    "max_queue_ms": 1000 * max(flow.backlogs),
                }
            )
    return figures


def fairness(seconds: float) -> list[dict[str, float | str]]:
    """Return what two flows get that share a bottleneck, the second one 2 s later than the first."""
    cubic, tolerant = CongestionControl.CUBIC, CongestionControl.LOSS_TOLERANT
    figures: list[dict[str, float | str]] = []
    for first, second in ((cubic, tolerant), (tolerant, cubic), (tolerant, tolerant), (cubic, cubic)):
        for queue in QUEUES:
            flows = Shared(first, second, bits_per_second=20e6, round_trip=0.05, queue_round_trips=queue)
            flows.run(4)
            flows.backlogs.clear()
            rates = flows.run(seconds)
            figures.append(
                {
                    "first": first.value,
                    "second": second.value,
                    "queue_round_trips": queue,
                    "first_share": rates[0] / sum(rates),
                    "mbit_per_second": sum(rates) / 1e6,
                    "mean_queue_ms": 1000 * statistics.mean(flows.backlogs),
                }
            )
    return figures


def main() -> None:
    """Run what the command line names, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "paths", "fairness"])
    parser.add_argument("--rounds", type=int, default=5, help="runs of each case of `speed`")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="virtual seconds of `paths` and `fairness`"
    )
    parser.add_argument("--json", action="store_true", help="print the raw figures")
    options = parser.parse_args()
    if options.what == "speed":
        figures = speeds(options.rounds)
    else:
        figures = paths(options.seconds) if options.what == "paths" else fairness(options.seconds)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    names = list(figures[0])
    print("  ".join(f"{name:>20}" for name in names))
    for row in figures:
        print("  ".join(f"{_shown(row[name]):>20}" for name in names))


def _shown(value: float | str) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
