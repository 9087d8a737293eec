"""Who competes, and how one end of each is started."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent

NODE_MODULES = Path(os.environ.get("RTCMESH_NODE_MODULES", Path(sys.prefix) / "node" / "node_modules"))
"""Where `make bench-peers` installs what comes from npm."""


@dataclass(frozen=True)
class Contender:
    """A stack that can be run as a process."""

    name: str
    command: tuple[str, ...]
    is_installed: Callable[[], bool]
    is_ours: bool = False
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is added to the process's own."""


def _python(name: str, stack: str, package: str, *, is_ours: bool = False) -> Contender:
    command = (sys.executable, "-m", "rtcmesh.peer.data_bench.worker", stack)
    return Contender(name, command, lambda: find_spec(package) is not None, is_ours)


def _node(name: str, module: str, package: str) -> Contender:
    def is_installed() -> bool:
        return shutil.which("node") is not None and (NODE_MODULES / package).is_dir()

    command = ("node", str(HERE / "node_end.js"), module)
    return Contender(name, command, is_installed, environment={"NODE_PATH": str(NODE_MODULES)})


def find_chromium() -> str | None:
    """Return the browser's program."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


OURS = _python("rtcmesh", "ours", "rtcmesh.peer", is_ours=True)
BARE = _python("aiortc", "bare_aiortc", "aiortc")

CONTENDERS: tuple[Contender, ...] = (
    OURS,
    _python("rtcmesh, loss-tolerant", "ours:make_tolerant", "rtcmesh.peer", is_ours=True),
    _python("rtcmesh, large packets", "ours:make_large", "rtcmesh.peer", is_ours=True),
    BARE,
    _python("libdatachannel (aiolibdatachannel)", "libdatachannel", "aiolibdatachannel"),
    _python("libwebrtc (wrtc)", "libwebrtc", "webrtc"),
    _node("libdatachannel (node-datachannel)", "node-datachannel/polyfill", "node-datachannel"),
    _node("libwebrtc (@roamhq/wrtc)", "@roamhq/wrtc", "@roamhq/wrtc"),
    _node("werift", "werift", "werift"),
    Contender(
        "Chromium",
        (sys.executable, "-m", "rtcmesh.peer.data_bench.chromium_end"),
        lambda: find_chromium() is not None,
    ),
)
