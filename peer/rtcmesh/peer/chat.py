"""The chat of the command line: one line typed is one message to everybody."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading

import msgspec
from rich.console import Console
from rich.text import Text

from rtcmesh.signaling.identity import PeerId, short

from .channel import Channel
from .errors import MessageTooLarge
from .events import (
    EventsMissed,
    MeshEvent,
    MessageRejected,
    OutboxExpired,
    PathChanged,
    PeerJoined,
    PeerLeft,
    PresenceChanged,
    SessionExpired,
    SignalingLost,
    SignalingResumed,
)
from .mesh import Mesh
from .printable import printable

MAX_NAME_LENGTH = 32
MAX_LINES_AHEAD = 64
"""How many typed lines wait to be sent; then standard input is not read on."""


class Line(msgspec.Struct, frozen=True):
    """What is said."""

    text: str


async def run_chat(mesh: Mesh, console: Console) -> None:
    """Chat until standard input ends. What the others say and what happens is printed as it comes."""
    screen = Screen(mesh, console)
    chat = mesh.channel("chat", type=Line)
    screen.show_note(f"you are {short(mesh.peer_id)}; end with Ctrl-D")
    async with asyncio.TaskGroup() as tasks:
        listeners = (
            tasks.create_task(screen.show_messages(chat)),
            tasks.create_task(screen.show_events()),
        )
        lines = _standard_input()
        while (text := await lines.get()) is not None:
            try:
                await chat.send(Line(text))
            except MessageTooLarge as error:
                screen.show_note(f"not sent: {error}")
        for listener in listeners:
            listener.cancel()


def _standard_input() -> asyncio.Queue[str | None]:
    """Return a queue of typed lines, then None. A thread reads: not every standard input can be polled."""
    lines: asyncio.Queue[str | None] = asyncio.Queue(MAX_LINES_AHEAD)
    loop = asyncio.get_running_loop()

    def read() -> None:
        # Not sys.stdin: the interpreter needs its lock to exit, and this thread may still wait for a line then.
        with open(sys.stdin.fileno(), encoding="utf-8", errors="replace", closefd=False) as stdin:
            for line in stdin:
                asyncio.run_coroutine_threadsafe(lines.put(line.rstrip("\n")), loop).result()
        asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()

    def read_until_the_loop_ends() -> None:
        with contextlib.suppress(RuntimeError, asyncio.CancelledError):
            read()

    threading.Thread(target=read_until_the_loop_ends, daemon=True).start()
    return lines


class Screen:
    """Where the chat is shown. Whatever the others send, it changes nothing but one line of text."""

    def __init__(self, mesh: Mesh, console: Console) -> None:
        self._mesh = mesh
        self._console = console
        self._names: dict[PeerId, str] = {}

    async def show_messages(self, chat: Channel[Line]) -> None:
        """Print what the others say."""
        async for message in chat:
            name = Text(self._name(message.sender), "bold")
            self._console.print(name.append(f" {printable(message.data.text)}", "not bold"), soft_wrap=True)

    async def show_events(self) -> None:
        """Print what happens."""
        async for event in self._mesh.events():
            self._learn_name(event)
            self.show_note(self._describe(event))
            if isinstance(event, PeerLeft):
                self._names.pop(event.peer_id, None)

    def show_note(self, text: str) -> None:
        """Print something that nobody has said."""
        self._console.print(Text(printable(text), "dim"), soft_wrap=True)

    def _describe(self, event: MeshEvent) -> str:
        match event:
            case PeerJoined():
                return f"{self._name(event.peer_id)} joined"
            case PeerLeft():
                missing = f"; {len(event.undelivered)} messages did not reach it" if event.undelivered else ""
                return f"{self._name(event.peer_id)} is gone ({event.reason.value}){missing}"
            case PathChanged():
                path = event.path.value if event.path else "none"
                return f"path to {self._name(event.peer_id)}: {path} ({event.reason.value})"
            case SessionExpired():
                return f"{len(event.undelivered)} messages did not reach {self._name(event.peer_id)}: no path"
            case OutboxExpired():
                return f"{event.count} messages to {self._name(event.peer_id)} were too old to send"
            case PresenceChanged():
                return f"{short(event.peer_id)} is now {self._name(event.peer_id)}"
            case SignalingLost():
                return f"the server {'refuses us' if event.final else 'is out of reach'}: {event.reason}"
            case SignalingResumed():
                return "the server is back"
            case MessageRejected():
                return f"a message of {self._name(event.peer_id)} cannot be read"
            case EventsMissed():
                return f"{event.count} events were missed"

    def _learn_name(self, event: MeshEvent) -> None:
        if isinstance(event, PeerJoined | PresenceChanged):
            name = event.presence.get("name")
            self._names[event.peer_id] = name[:MAX_NAME_LENGTH] if isinstance(name, str) else ""

    def _name(self, peer_id: PeerId) -> str:
        name = self._names.get(peer_id)
        return f"{printable(name)} ({short(peer_id)})" if name else short(peer_id)
