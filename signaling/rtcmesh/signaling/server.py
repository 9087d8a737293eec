"""The signaling service as an HTTP server: the WebSocket, the probes and the metrics."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from aiohttp import web

from .aiohttp_socket import SIGNALING_PATH, accept_websocket, offers_subprotocol
from .config import ServerConfig
from .memory_registry import MemoryRegistry
from .messages import SUBPROTOCOL
from .metrics import CONTENT_TYPE, Metrics
from .registry import Registry
from .service import SignalingService

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

FRAME_HEADROOM = 4
"""How much longer than the limit a frame may be and still get an answer instead of a bare close (1009)."""


class Guest(Protocol):
    """Another service on the same port."""

    @property
    def metrics(self) -> "Collector":
        """Its numbers, shown with the server's own."""
        ...

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Return where it is found."""
        ...

    async def drain(self) -> None:
        """Tell everybody that it stops, and return when they have gone."""
        ...


class SignalingServer:
    """A running server, as `serve` yields it."""

    def __init__(self, config: ServerConfig, service: SignalingService, metrics: Metrics) -> None:
        self.service = service
        """What is served."""
        self.url = ""
        """Where peers find it, without the path."""
        self._config = config
        self._metrics = metrics

    def application(self) -> web.Application:
        """Return the routes."""
        application = web.Application()
        application.router.add_get(SIGNALING_PATH, self._signaling)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._show_metrics)
        return application

    async def _signaling(self, request: web.Request) -> web.StreamResponse:
        rejections = self.service.stats.rejections
        if not web.WebSocketResponse(protocols=(SUBPROTOCOL,)).can_prepare(request).ok:
            rejections["not_websocket"] += 1
            return web.Response(status=426, text="this is a WebSocket", headers={"Upgrade": "websocket"})
        if not is_origin_allowed(request.headers.get("Origin"), request.host, self._config.allowed_origins):
            rejections["origin"] += 1
            return web.Response(status=403, text="this origin may not connect")
        if not offers_subprotocol(request):
            rejections["subprotocol"] += 1
            return web.Response(status=400, text=f"the subprotocol is {SUBPROTOCOL}")
        max_frame_bytes = FRAME_HEADROOM * self._config.service.max_message_bytes
        websocket, socket = await accept_websocket(request, max_frame_bytes=max_frame_bytes)
        await self.service.serve(socket)
        return websocket

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="alive")

    async def _readyz(self, request: web.Request) -> web.Response:
        """Say whether new peers are welcome; `?deep=1` asks whether they could join, too."""
        troubles = ["draining"] if self.service.is_draining else []
        if request.query.get("deep") == "1":
            troubles += sorted(self.service.registry_stats.troubles)
        if troubles:
            return web.Response(status=503, text=" ".join(troubles))
        return web.Response(text="ready")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})


@asynccontextmanager
async def serve(
    config: ServerConfig | None = None, *, guests: Sequence[Guest] = ()
) -> AsyncGenerator[SignalingServer, None]:
    """Run a server and its guests; at the end of the block it tells its peers and stops.

    That takes `close_timeout` for the peers, and at most as much again for requests. A cancellation meanwhile drops
    them. Raises `OSError` if the address cannot be had, `StoreUnreachable` or `StoreFailed` if the store cannot.
    """
    config = ServerConfig() if config is None else config
    registry = await _open_registry(config)
    service = SignalingService(registry, config.service)
    metrics = Metrics(service.stats, registry, *(guest.metrics for guest in guests))
    server = SignalingServer(config, service, metrics)
    application = server.application()
    for guest in guests:
        application.add_routes(guest.routes())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=config.service.close_timeout)
    try:
        await runner.setup()
        await web.TCPSite(runner, config.host, config.port).start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        yield server
    finally:
        try:
            await asyncio.gather(service.drain(), *(guest.drain() for guest in guests))
        finally:
            await runner.cleanup()
            await registry.aclose()


async def _open_registry(config: ServerConfig) -> Registry:
    if config.redis is None:
        return MemoryRegistry(config.service.room)
    from .redis_registry import RedisRegistry

    return await RedisRegistry.open(config.redis, config.service.room)


def is_origin_allowed(origin: str | None, host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a page of this origin (RFC 6454) may connect to a server that it reached as `host`.

    A browser sends the header and a page cannot change it; other programs send none and are not stopped by it.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    try:
        scheme, netloc, *_ = urlsplit(origin)
    except ValueError:
        return False
    return scheme in ("http", "https") and netloc.lower() == host.lower() != ""
