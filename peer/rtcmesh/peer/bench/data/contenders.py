"""Who competes, and how one end of each is started."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from importlib.util import find_spec
from pathlib import Path

from .devtools import find_chromium

HERE = Path(__file__).parent

NODE_MODULES = Path(os.environ.get("RTCMESH_NODE_MODULES", Path(sys.prefix) / "node" / "node_modules"))
"""Where `make bench-peers` installs what comes from npm."""


BULK = "bulk 16 KiB"
LARGE_BULK = "bulk 64 KiB"
SMALL = "messages of 64 B"
COALESCED = "messages of 64 B, coalesced"
PING_PONG = "ping-pong"
IDLE = "idle"
WORKS = (BULK, LARGE_BULK, SMALL, COALESCED, PING_PONG)
"""What every stack does. `IDLE` takes long, and only two stacks are compared by it."""


class Kind(Enum):
    """What a contender is compared as."""

    OURS = auto()
    OTHER = auto()
    LIMIT = auto()
    """What no stack can be faster than."""


@dataclass(frozen=True)
class Contender:
    """A stack that can be run as a process."""

    name: str
    command: tuple[str, ...]
    is_installed: Callable[[], bool]
    kind: Kind = Kind.OTHER
    works: Sequence[str] = WORKS
    """What it does on the loopback interface."""
    works_impaired: Sequence[str] = (BULK, PING_PONG)
    """What it does on links with a delay and a loss."""
    coalesces: bool = False
    """Whether it makes large messages of small ones by itself."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is added to the process's own."""


def _python(name: str, stack: str, package: str, works: Sequence[str] = WORKS) -> Contender:
    command = (sys.executable, "-m", "rtcmesh.peer.bench.data.worker", stack)
    return Contender(name, command, lambda: find_spec(package) is not None, works=works)


def _ours(
    name: str,
    stack: str,
    works: Sequence[str],
    works_impaired: Sequence[str] = (),
    kind: Kind = Kind.OURS,
) -> Contender:
    return replace(_python(name, stack, "rtcmesh.peer", works), kind=kind, works_impaired=works_impaired)


def _node(name: str, module: str, package: str) -> Contender:
    def is_installed() -> bool:
        return shutil.which("node") is not None and (NODE_MODULES / package).is_dir()

    command = ("node", str(HERE / "node_end.js"), module)
    return Contender(name, command, is_installed, environment={"NODE_PATH": str(NODE_MODULES)})


OURS = _ours("rtcmesh", "ours", (*WORKS, IDLE), (BULK, PING_PONG))
CUBIC = _ours("rtcmesh, CUBIC", "ours:make_cubic", (BULK,), (BULK, PING_PONG))
SAFE = _ours("rtcmesh, packets of 1,188 bytes", "ours:make_safe", (BULK, LARGE_BULK, SMALL))
LARGE = _ours("rtcmesh, packets of 15,000 bytes", "ours:make_large", (BULK, LARGE_BULK, SMALL))
SESSION = replace(_ours("rtcmesh, session", "session", (COALESCED,)), coalesces=True)
BARE = _python("aiortc", "bare_aiortc", "aiortc", (*WORKS, IDLE))

LIMITS = (
    _ours("UDP alone, one by one", "plain_udp", (BULK,), kind=Kind.LIMIT),
    _ours("UDP alone, segmentation offload", "plain_udp:make_segmented", (BULK,), kind=Kind.LIMIT),
)

CONTENDERS: tuple[Contender, ...] = (
    OURS,
    SAFE,
    LARGE,
    CUBIC,
    SESSION,
    BARE,
    _python("libdatachannel (aiolibdatachannel)", "libdatachannel", "aiolibdatachannel"),
    _python("libwebrtc (wrtc)", "libwebrtc", "webrtc"),
    _node("libdatachannel (node-datachannel)", "node-datachannel/polyfill", "node-datachannel"),
    _node("libwebrtc (@roamhq/wrtc)", "@roamhq/wrtc", "@roamhq/wrtc"),
    _node("werift", "werift", "werift"),
    Contender(
        "Chromium",
        (sys.executable, "-m", "rtcmesh.peer.bench.data.chromium_end"),
        lambda: find_chromium() is not None,
    ),
)
