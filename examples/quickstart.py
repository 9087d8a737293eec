"""quickstart.py: run `rtcmesh serve` in one shell, and this in two others."""

import asyncio
import contextlib
import sys

from rtcmesh.peer import Mesh, short


async def main(url: str = "http://127.0.0.1:8080") -> None:
    """Say hello as soon as somebody is there, and print what the others say."""
    async with Mesh.join(url, room="lobby") as mesh:
        chat = mesh.channel("chat", type=str)
        await mesh.wait_for_peers(1)
        await chat.send(f"hello from {short(mesh.peer_id)}")
        async for message in chat:
            print(f"{short(message.sender)}: {message.data}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
