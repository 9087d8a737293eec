"""The chat of the command line: one line typed is one message to everybody."""

from __future__ import annotations

import asyncio
import sys
import threading

import msgspec
from rich.console import Console
from rich.markup import escape

from rtcmesh.signaling.identity import PeerId, short

from .channel import Channel
from .events import (
    EventsMissed,
    MeshEvent,
    MessageRejected,
    PathChanged,
    PeerJoined,
    PeerLeft,
    PresenceChanged,
    SignalingLost,
    SignalingResumed,
)
from .mesh import Mesh


class Line(msgspec.Struct, frozen=True):
    """What is said."""

    text: str


async def run_chat(mesh: Mesh, console: Console) -> None:
    """Chat until standard input ends. What the others say and what happens is printed as it comes."""
    chat = mesh.channel("chat", type=Line)
    console.print(f"[dim]you are {short(mesh.peer_id)}; end with Ctrl-D[/dim]")
    listeners = (
        asyncio.create_task(_print_messages(mesh, chat, console)),
        asyncio.create_task(_print_events(mesh, console)),
    )
    lines = _standard_input()
    try:
        while (text := await lines.get()) is not None:
            await chat.send(Line(text))
    finally:
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)


def _standard_input() -> asyncio.Queue[str | None]:
    """Return a queue of typed lines, then None. A thread reads: not every standard input can be polled."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line.rstrip("\n"))
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines


async def _print_messages(mesh: Mesh, chat: Channel[Line], console: Console) -> None:
    async for message in chat:
        console.print(f"[bold]{_name(mesh, message.sender)}[/bold] {escape(message.data.text)}")


async def _print_events(mesh: Mesh, console: Console) -> None:
    async for event in mesh.events():
        console.print(f"[dim]{escape(_describe(mesh, event))}[/dim]")


def _describe(mesh: Mesh, event: MeshEvent) -> str:
    match event:
        case PeerJoined():
            return f"{_name(mesh, event.peer_id)} joined"
        case PeerLeft():
            missing = f"; {event.undelivered} messages did not reach it" if event.undelivered else ""
            return f"{_name(mesh, event.peer_id)} is gone ({event.reason.value}){missing}"
        case PathChanged():
            path = event.path.value if event.path else "none"
            return f"path to {_name(mesh, event.peer_id)}: {path} ({event.reason.value})"
        case PresenceChanged():
            return f"{short(event.peer_id)} is now {_name(mesh, event.peer_id)}"
        case SignalingLost():
            return f"the server is out of reach: {event.reason}"
        case SignalingResumed():
            return "the server is back"
        case MessageRejected():
            return f"a message of {_name(mesh, event.peer_id)} cannot be read"
        case EventsMissed():
            return f"{event.count} events were missed"


def _name(mesh: Mesh, peer_id: PeerId) -> str:
    remote = mesh.peers.get(peer_id)
    name = remote.presence.get("name") if remote else None
    return f"{name} ({short(peer_id)})" if isinstance(name, str) and name else short(peer_id)
