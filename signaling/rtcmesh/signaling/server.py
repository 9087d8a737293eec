"""The signaling service as an HTTP server: the WebSocket, the probes and the metrics."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger as aiohttp_logger

from .acceptor import Acceptor, listen
from .aiohttp_socket import SIGNALING_PATH
from .config import DoorLimits, ServerConfig
from .door import Door
from .http_socket import EVENTS_PATH, HttpEndpoint
from .limits.address import Address, origin_of
from .memory_registry import MemoryRegistry
from .messages import SUBPROTOCOL
from .metrics import CONTENT_TYPE, Metrics
from .post import ConnectionNames
from .registry import Registry
from .server_socket import accept_websocket, offers_subprotocol
from .service import SignalingService
from .text_socket import SocketClosed, TextSocket

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

FRAME_HEADROOM = 4
"""How much longer than the limit a frame may be and still get an answer instead of a bare close (1009)."""

LINGERING_TIME = 1.0
"""Seconds for the rest of a body that nobody wants, so that its sender can read why."""

KEEPALIVE_TIMEOUT = 75.0
"""Seconds for which a connection may be idle after a request; longer than the usual 60 of a reverse proxy."""

_POST_FAILURES = {
    400: "post_invalid",
    408: "post_slow",
    413: "post_too_large",
    404: "post_unknown",
    409: "post_out_of_turn",
    502: "post_undeliverable",
}


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
        names = None
        if config.advertised_url is not None and config.fleet_secret is not None:
            names = ConnectionNames(config.fleet_secret, config.advertised_url.rstrip("/"))
        max_post_bytes = FRAME_HEADROOM * config.service.max_message_bytes
        self._endpoint = HttpEndpoint(self._serve_events, max_post_bytes=max_post_bytes, names=names)
        self._visits: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Release what is held besides the connections."""
        await self._endpoint.aclose()

    async def end_visits(self) -> None:
        """Give the WebSockets that are left `close_timeout` to end, and drop them then."""
        if self._visits:
            await asyncio.wait(self._visits, timeout=self._config.service.close_timeout)
        for visit in self._visits:
            visit.cancel()
        if self._visits:
            await asyncio.wait(self._visits)

    def application(self) -> web.Application:
        """Return the routes."""
        application = web.Application()
        application.router.add_get(SIGNALING_PATH, self._signaling)
        application.router.add_get(EVENTS_PATH, self._events)
        application.router.add_post(EVENTS_PATH, self._post)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._show_metrics)
        return application

    async def _signaling(self, request: web.Request) -> web.StreamResponse:
        rejections = self.service.stats.rejections
        if not web.WebSocketResponse(protocols=(SUBPROTOCOL,)).can_prepare(request).ok:
            rejections["not_websocket"] += 1
            return web.Response(status=426, text="this is a WebSocket", headers={"Upgrade": "websocket"})
        if not self._is_welcome(request):
            return web.Response(status=403, text="this origin may not connect")
        if not offers_subprotocol(request):
            rejections["subprotocol"] += 1
            return web.Response(status=400, text=f"the subprotocol is {SUBPROTOCOL}")
        max_frame_bytes = FRAME_HEADROOM * self._config.service.max_message_bytes
        address = self._address(request)
        with suppress(SocketClosed):
            socket = accept_websocket(request, max_frame_bytes=max_frame_bytes)
            visit = asyncio.create_task(self.service.serve(socket, address))
            self._visits.add(visit)
            visit.add_done_callback(self._visits.discard)
        return web.Response()

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if not self._is_welcome(request):
            return web.Response(status=403, text="this origin may not connect")
        return await self._endpoint.open_stream(request, self._cors(request))

    async def _post(self, request: web.Request) -> web.Response:
        if not self._is_welcome(request):
            return web.Response(status=403, text="this origin may not connect")
        answer = await self._endpoint.take_post(request)
        answer.headers.update(self._cors(request))
        reason = _POST_FAILURES.get(answer.status)
        if reason is not None:
            self.service.stats.rejections[reason] += 1
        return answer

    async def _serve_events(self, socket: TextSocket, request: web.Request) -> None:
        await self.service.serve(socket, self._address(request))

    def _is_welcome(self, request: web.Request) -> bool:
        allowed = self._config.allowed_origins
        welcome = is_origin_allowed(request.headers.get("Origin"), request.host, allowed)
        if not welcome:
            self.service.stats.rejections["origin"] += 1
        return welcome

    @staticmethod
    def _cors(request: web.Request) -> dict[str, str]:
        """Return what lets a page of another origin, which was found to be welcome, read the answer (Fetch)."""
        origin = request.headers.get("Origin")
        return {} if origin is None else {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}

    def _address(self, request: web.Request) -> Address:
        forwarded_for = ",".join(request.headers.getall("X-Forwarded-For", []))
        return origin_of(request.remote or "", forwarded_for, self._config.door.trusted_proxies)

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
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.aclose)
        stack.push_async_callback(registry.aclose)
        stack.push_async_callback(server.end_visits)
        server.url = await stack.enter_async_context(
            listening(
                application,
                config.host,
                config.port,
                door=config.door,
                turned_away=service.stats.rejections,
                shutdown_timeout=config.service.close_timeout,
            )
        )
        try:
            yield server
        finally:
            await asyncio.gather(service.drain(), *(guest.drain() for guest in guests))


@asynccontextmanager
async def listening(
    application: web.Application,
    host: str,
    port: int,
    *,
    door: DoorLimits,
    turned_away: Counter[str],
    shutdown_timeout: float,
) -> AsyncGenerator[str, None]:
    """Answer the requests that come through a `Door`, and yield the URL; at the end requests have `shutdown_timeout`.

    Raises `OSError` if the address cannot be had.
    """
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_logger_of_requests(turned_away),
        keepalive_timeout=KEEPALIVE_TIMEOUT,
        lingering_time=LINGERING_TIME,
        shutdown_timeout=shutdown_timeout,
    )
    await runner.setup()
    assert runner.server is not None
    entrance = Door(runner.server, door, turned_away)
    try:
        listening_socket = listen(host, port)
        address, actual_port = listening_socket.getsockname()[:2]
        acceptor = Acceptor(listening_socket, entrance)
        try:
            yield f"http://[{address}]:{actual_port}" if ":" in address else f"http://{address}:{actual_port}"
        finally:
            await acceptor.aclose()
    finally:
        entrance.close()
        await runner.cleanup()


def _logger_of_requests(turned_away: Counter[str]) -> logging.Logger:
    """Return what aiohttp logs to: as always, except that malformed requests are counted and cost no traceback."""

    def is_ours(record: logging.LogRecord) -> bool:
        malformed = record.exc_info is not None and isinstance(record.exc_info[1], HttpProcessingError)
        turned_away["malformed"] += malformed
        return not malformed

    logger = logging.Logger(aiohttp_logger.name)  # noqa: LOG001 (one for each server, with counters of its own)
    logger.parent = aiohttp_logger
    logger.addFilter(is_ours)
    return logger


async def _open_registry(config: ServerConfig) -> Registry:
    if config.redis is None:
        return MemoryRegistry(config.service.room)
    from .store.redis_registry import RedisRegistry

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
