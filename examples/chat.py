"""chat.py: names, messages and events.

Run `rtcmesh serve` in one shell, then in two others, each with a name of its own:

    python examples/chat.py ann
    python examples/chat.py bob http://127.0.0.1:8080

Ctrl-D ends it.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from rtcmesh.peer import Channel, Mesh, PathChanged, PeerId, PeerJoined, PeerLeft


async def main(name: str, url: str = "http://127.0.0.1:8080") -> None:
    """Send what is typed to everybody, until the end of standard input."""
    names: dict[PeerId, str] = {}
    async with Mesh.join(url, room="chat", presence={"name": name}) as mesh, asyncio.TaskGroup() as tasks:
        chat = mesh.channel("chat", type=str)
        listeners = (
            tasks.create_task(show_events(mesh, names)),
            tasks.create_task(show_messages(chat, names)),
        )
        async for line in typed_lines():
            await chat.send(line)
        for listener in listeners:
            listener.cancel()


async def show_events(mesh: Mesh, names: dict[PeerId, str]) -> None:
    """Print who comes, who goes, and when a direct connection opens or is lost."""
    async for event in mesh.events():
        match event:
            case PeerJoined():
                names[event.peer_id] = repr(event.presence.get("name", "somebody"))
                print(f"* {names[event.peer_id]} joined")
            case PathChanged():
                print(f"* {names[event.peer_id]} is {'connected' if event.path else 'out of reach'}")
            case PeerLeft():
                print(f"* {names[event.peer_id]} left")
            case _:
                pass


async def show_messages(chat: Channel[str], names: dict[PeerId, str]) -> None:
    """Print what the others say."""
    async for message in chat:
        print(f"{names[message.sender]}: {message.data}")


async def typed_lines() -> AsyncIterator[str]:
    """Yield the lines of standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        yield line.decode().rstrip("\n")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
