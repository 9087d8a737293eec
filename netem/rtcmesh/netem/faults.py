"""What can be done to a network while programs use it; every backend that can carry a fault means the same by it."""

from __future__ import annotations

import enum
import re
from typing import Literal, Protocol

import msgspec

from .link import LinkConfig
from .models.ranges import check_not_negative


class Direction(enum.Enum):
    """Which links of an uplink a fault concerns."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


def _tag(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


class _Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag=_tag, forbid_unknown_fields=True):
    """Its name in a scenario is that of the class, in the way of `change-address`."""


class Impair(_Fault, frozen=True):
    """Treat packets on the uplink of a node like this from now on; what is in flight still arrives. None: as before."""

    node: str
    up: LinkConfig | None = None
    down: LinkConfig | None = None


class Cut(_Fault, frozen=True):
    """Let nothing more into the uplink of a node."""

    node: str
    direction: Direction = Direction.BOTH


class Heal(_Fault, frozen=True):
    """Undo what cut or parted a node."""

    node: str


class Partition(_Fault, frozen=True):
    """Drop what the first node sends to the second, and the other way round unless `one_way`."""

    nodes: tuple[str, str]
    one_way: bool = False


class ChangeAddress(_Fault, frozen=True):
    """Take the address of a host away and give it another one of the same network."""

    node: str


class SwitchUplink(_Fault, frozen=True):
    """Leave the uplink in use and take the one that leads to `to`: another network, another address."""

    node: str
    to: str


class Rebind(_Fault, frozen=True):
    """Have a gateway forget its mappings, so that the next packets out get other ports."""

    node: str


class Reboot(_Fault, frozen=True):
    """Have a gateway carry nothing for some seconds, and have forgotten its mappings afterwards."""

    node: str
    seconds: float

    def __post_init__(self) -> None:
        check_not_negative(seconds=self.seconds)


class Signal(_Fault, frozen=True):
    """Pause, resume or kill a program that runs on a host: SIGSTOP, SIGCONT, SIGKILL. In namespaces only."""

    process: str
    signal: Literal["pause", "resume", "kill"]


Fault = Impair | Cut | Heal | Partition | ChangeAddress | SwitchUplink | Rebind | Reboot | Signal


class Faultable(Protocol):
    """A network that is up, whatever carries it."""

    async def apply(self, fault: Fault) -> None:
        """Do it now. Raises ValueError for a node that is not there, `CannotCarry` for what this backend cannot do."""
        ...
