"""A clock that is asked over UDP: a program that knows nothing of any laboratory.

python clock.py serve 7000
python clock.py ask 127.0.0.1:7000
"""

import asyncio
import sys
import time
from typing import cast

PATIENCE = 0.5
"""Seconds after which a question is asked again: datagrams get lost."""

ATTEMPTS = 20


class Clock(asyncio.DatagramProtocol):
    """Answers every datagram with the time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer."""
        self._transport.sendto(str(time.time()).encode(), addr)


class Question(asyncio.DatagramProtocol):
    """Waits for one answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take the first answer."""
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        """Ask again: nobody may be there yet."""


async def serve(port: str) -> None:
    """Tell the time until cancelled."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Clock, local_addr=("0.0.0.0", int(port)))  # noqa: S104
    await asyncio.Event().wait()


async def ask(endpoint: str) -> None:
    """Ask for the time at `address:port`, again if need be, and print it. Raises TimeoutError."""
    host, port = endpoint.split(":")
    loop = asyncio.get_running_loop()
    transport, question = await loop.create_datagram_endpoint(Question, remote_addr=(host, int(port)))
    try:
        for _ in range(ATTEMPTS):
            transport.sendto(b"?")
            await asyncio.wait([question.answer], timeout=PATIENCE)
            if question.answer.done():
                print(question.answer.result().decode())
                return
        raise TimeoutError(f"{endpoint} does not tell the time")
    finally:
        transport.close()


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    asyncio.run(serve(*arguments) if command == "serve" else ask(*arguments))
