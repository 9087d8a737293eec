"""What the owner of a link process and the process tell each other: a JSON object a line, over standard streams."""

from __future__ import annotations

import msgspec

from rtcmesh.netem.link import LinkConfig, LinkCounters

from .audit import Audit


class Task(msgspec.Struct, frozen=True):
    """What the process is started with, as its only argument."""

    left: int
    """The descriptor of the TUN device at the left end."""
    right: int
    seed: int
    rightward: LinkConfig
    leftward: LinkConfig


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """Treat packets like this from now on."""

    rightward: LinkConfig
    leftward: LinkConfig


class Cut(msgspec.Struct, frozen=True, tag="cut"):
    """Let no packet in, or let them in again."""

    rightward: bool
    leftward: bool


class Report(msgspec.Struct, frozen=True, tag="report"):
    """Say what happened so far."""


class Carried(msgspec.Struct, frozen=True):
    """The answer to each order, once it is obeyed; the first one says that packets are carried."""

    rightward: LinkCounters
    leftward: LinkCounters
    audit: Audit
    """Since the answer before."""


Order = Configure | Cut | Report
