"""A process on the internet: our signaling server with its relay, which tells its peers of ICE servers.

python -m rtcmesh.peer.matrix_bench.servers ADDRESS PORT ICE_SERVERS_IN_JSON
"""

from __future__ import annotations

import asyncio
import sys

import msgspec

from rtcmesh.relay.aiohttp_socket import RELAY_PATH
from rtcmesh.relay.server import RelayEndpoint
from rtcmesh.relay.service import RelayService
from rtcmesh.signaling.config import ServerConfig, ServiceConfig
from rtcmesh.signaling.messages import IceServer
from rtcmesh.signaling.server import serve
from rtcmesh.signaling.ticket import TicketKey


async def main(address: str, port: str, ice_servers: str) -> None:
    """Serve until killed."""
    key = TicketKey.create()
    service = ServiceConfig(
        ice_servers=msgspec.json.decode(ice_servers, type=tuple[IceServer, ...]),
        relays=(RELAY_PATH,),
        ticket_key=key,
    )
    config = ServerConfig(host=address, port=int(port), service=service)
    async with serve(config, guests=(RelayEndpoint(RelayService(key)),)) as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
