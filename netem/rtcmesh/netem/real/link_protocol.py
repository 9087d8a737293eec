"""What the owner of a laboratory and its process tell each other: a JSON object a line, over standard streams."""

from __future__ import annotations

import msgspec

from rtcmesh.netem.link import LinkConfig, LinkCounters
from rtcmesh.netem.topology import NatConfig

from .audit import Audit
from .nat_probe import Observed


class NamespaceTask(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace to make."""

    settings: tuple[tuple[str, str], ...] = ()
    """Paths below `/proc/sys` and what to write there, before there is any device."""
    lines: tuple[str, ...] = ()
    """What iproute2 carries out, once the devices are there."""
    rules: str = ""
    """What nft loads after that."""
    late_settings: tuple[tuple[str, str], ...] = ()
    """Settings that are there only once the rules are."""


class End(msgspec.Struct, frozen=True):
    """Where a TUN device is to be made."""

    namespace: int
    device: str


class TunnelTask(msgspec.Struct, frozen=True, kw_only=True):
    """Two devices, and the links that join them. The link up has twice its number, the link down one more."""

    name: str
    """The seed of its randomness, beside that of the laboratory."""
    low: End
    high: End
    mtu: int
    up: LinkConfig
    down: LinkConfig


class BoxTask(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway to verify before packets are carried."""

    name: str
    nat: NatConfig
    namespace: int
    outside: int
    """The tunnel of which the gateway is the lower end."""
    inside: int
    """A tunnel of which it is the higher end."""
    host_address: str
    external_address: str


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what is to be made, and then carried."""

    seed: int
    namespaces: tuple[NamespaceTask, ...]
    tunnels: tuple[TunnelTask, ...]
    boxes: tuple[BoxTask, ...] = ()
    losses: int | None = None
    """The descriptor by which to tell of packets that do not arrive."""


class Built(msgspec.Struct, frozen=True, tag="built"):
    """The first answer: all is there, and packets are carried."""

    namespaces: tuple[int, ...]
    """The process's descriptors of them."""
    boxes: tuple[Observed, ...]
    in_user_namespace: bool
    """Whether they belong to a user namespace, that of the process."""
    runs_ahead: bool
    """Whether the process has the processor before all others, so that a busy machine does not delay it."""


class Unavailable(msgspec.Struct, frozen=True, tag="unavailable"):
    """The first answer where it cannot be made. The process ends."""

    reason: str


Outcome = Built | Unavailable


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """Have a link treat packets like this from now on."""

    link: int
    config: LinkConfig


class Cut(msgspec.Struct, frozen=True, tag="cut"):
    """Let no packet into a link, or let them in again."""

    link: int
    is_cut: bool


class Part(msgspec.Struct, frozen=True, tag="part"):
    """Let no packet into a link that is for one of these addresses, and any other one."""

    link: int
    addresses: tuple[str, ...]


Order = Configure | Cut | Part


class Carried(msgspec.Struct, frozen=True):
    """The answer to each line of orders, once they are obeyed."""

    links: tuple[LinkCounters, ...]
    audit: Audit
    """Since the answer before."""
