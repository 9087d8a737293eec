"""A relay without HTTP, for tests: on a virtual network, or on loopback."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from .service import RelayService
from .stream_socket import StreamSocket, dial_stream

__all__ = ["StreamSocket", "dial_stream", "serve_streams"]


@asynccontextmanager
async def serve_streams(
    service: RelayService, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[str, None]:
    """Serve the relay over TCP streams and yield the URL for `dial_stream`.

    At the end of the block the relay is drained; an error or a cancellation kills it: connections are dropped
    without a word. No task remains in either case.
    """
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.create_task(service.serve(StreamSocket(reader, writer)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, host, port)
    address = server.sockets[0].getsockname()
    try:
        yield f"tcp://{address[0]}:{address[1]}"
        server.close()
        await service.drain()
    finally:
        server.close()
        remaining = list(tasks)
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)
