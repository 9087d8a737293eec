"""Quickstart: greet everybody in a room, and print what they say."""

import asyncio
import sys

from rtcmesh.peer import Mesh


async def main(url: str) -> None:
    """Join the room of the server at this URL; run `rtcmesh serve` in one shell, and this in two others."""
    async with Mesh.join(url, room="lobby") as mesh:
        chat = mesh.channel("chat")
        await mesh.wait_for_peers(1)
        await chat.send({"text": "hello"})
        async for message in chat:
            print(message.sender[:8], message.data)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"))
