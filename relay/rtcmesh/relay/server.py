"""The relay as an HTTP server: alone, or as a guest of the signaling server's port."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from rtcmesh.signaling.server import is_origin_allowed, listening
from rtcmesh.signaling.ticket import TicketKey

from .aiohttp_socket import RELAY_PATH, accept_websocket, offers_subprotocol
from .config import RelayServerConfig
from .frames import SUBPROTOCOL
from .metrics import CONTENT_TYPE, Metrics
from .service import RelayService


class RelayEndpoint:
    """The relay's WebSocket on somebody's HTTP server; a `Guest` of the signaling server."""

    def __init__(self, service: RelayService, *, allowed_origins: tuple[str, ...] = ()) -> None:
        self.service = service
        """What is served."""
        self.metrics = Metrics(service)
        """Its numbers."""
        self._allowed_origins = allowed_origins

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Return the route of the WebSocket."""
        return [web.get(RELAY_PATH, self._relay)]

    async def drain(self) -> None:
        """See `RelayService.drain`."""
        await self.service.drain()

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        rejections = self.service.stats.rejections
        if not web.WebSocketResponse(protocols=(SUBPROTOCOL,)).can_prepare(request).ok:
            rejections["not_websocket"] += 1
            return web.Response(status=426, text="this is a WebSocket", headers={"Upgrade": "websocket"})
        if not is_origin_allowed(request.headers.get("Origin"), request.host, self._allowed_origins):
            rejections["origin"] += 1
            return web.Response(status=403, text="this origin may not connect")
        if not offers_subprotocol(request):
            rejections["subprotocol"] += 1
            return web.Response(status=400, text=f"the subprotocol is {SUBPROTOCOL}")
        websocket, socket = await accept_websocket(request)
        await self.service.serve(socket)
        return websocket


class RelayServer:
    """A relay that runs alone, as `serve` yields it."""

    def __init__(self, endpoint: RelayEndpoint) -> None:
        self.service = endpoint.service
        """What is served."""
        self.url = ""
        """Where peers find it, without the path."""
        self._endpoint = endpoint

    def application(self) -> web.Application:
        """Return the routes."""
        application = web.Application()
        application.add_routes(self._endpoint.routes())
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._show_metrics)
        return application

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="alive")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self.service.is_draining:
            return web.Response(status=503, text="draining")
        return web.Response(text="ready")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._endpoint.metrics.render(), headers={"Content-Type": CONTENT_TYPE})


@asynccontextmanager
async def serve(key: TicketKey, config: RelayServerConfig | None = None) -> AsyncGenerator[RelayServer, None]:
    """Run a relay alone; at the end of the block it tells its peers and stops.

    That takes `close_timeout` for the peers, and at most as much again for requests. A cancellation meanwhile drops
    them. Raises `OSError` if the address cannot be had.
    """
    config = RelayServerConfig() if config is None else config
    service = RelayService(key, config.relay)
    server = RelayServer(RelayEndpoint(service, allowed_origins=config.allowed_origins))
    async with listening(
        server.application(),
        config.host,
        config.port,
        door=config.door,
        turned_away=service.stats.rejections,
        shutdown_timeout=config.relay.close_timeout,
    ) as server.url:
        try:
            yield server
        finally:
            await service.drain()
