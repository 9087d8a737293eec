"""The command line of the servers: signaling with a relay beside it, or a relay alone."""

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Annotated, Literal, TypeAlias

import typer

from rtcmesh.signaling.config import DoorLimits, RedisConfig, ServerConfig, ServiceConfig
from rtcmesh.signaling.errors import MissingExtra, StoreFailed, StoreUnreachable
from rtcmesh.signaling.limits.address import LOOPBACK, Network, parse_network
from rtcmesh.signaling.messages import IceServer
from rtcmesh.signaling.store_url import StoreUrl
from rtcmesh.signaling.ticket import TicketKey

from .aiohttp_socket import RELAY_PATH, parse_url
from .config import RelayServerConfig

app = typer.Typer(help="The servers of rtcmesh.", no_args_is_help=True)

_SECRET_VARIABLE = "RTCMESH_TICKET_SECRET"  # noqa: S105

AUTO = "auto"
DRAIN_WINDOW = 10.0
"""Seconds over which a server that shares its rooms sends its peers away."""


def _checked_urls(urls: list[str] | None) -> list[str] | None:
    for url in urls or ():
        try:
            parse_url(url)
        except ValueError:
            raise typer.BadParameter(f"{url!r} is not the address of a server") from None
    return urls


def _checked_url(url: str | None) -> str | None:
    if url not in (None, AUTO):
        _checked_urls([url])
    return url


def _checked_networks(texts: list[str] | None) -> list[str] | None:
    for text in texts or ():
        try:
            parse_network(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is no address and no network") from None
    return texts


Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(help="The port to listen on; 0 lets the system choose.")]
AllowedOrigins = Annotated[
    list[str] | None, typer.Option("--allow-origin", help="An origin whose pages may connect; * for all.")
]
IceUrls = Annotated[list[str] | None, typer.Option("--ice-server", help="A STUN or TURN URL for the peers.")]
RelayUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--relay", callback=_checked_urls, help="A relay elsewhere that the peers may use; needs the secret."
    ),
]
NoRelay = Annotated[bool, typer.Option("--no-relay", help="Run no relay on this port.")]
Secret = Annotated[
    str | None,
    typer.Option(
        "--ticket-secret",
        envvar=_SECRET_VARIABLE,
        help="What signaling servers and relays share: 32 bytes or more, best given by the environment.",
    ),
]
AdvertisedUrl = Annotated[
    str | None,
    typer.Option(
        "--advertise",
        callback=_checked_url,
        help="Where the other servers behind a load balancer reach this one, for peers that use plain HTTP; needs "
        "the secret. `auto`: this host's own address.",
    ),
]
TrustedProxies = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxy",
        callback=_checked_networks,
        help="An address or network of proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8; this machine's "
        "own always are.",
    ),
]
MaxConnections = Annotated[int, typer.Option(min=1, help="Connections at once; more are told to come back.")]
Alternatives = Annotated[
    list[str] | None,
    typer.Option("--alternative", help="The URL of another server, told to the peers when this one stops."),
]
DrainNotice = Annotated[
    float,
    typer.Option(min=0, help="Seconds to be unready before the first peer is sent away, when stopping."),
]
DrainWindow = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Seconds over which peers are sent away when stopping. Default: 10 with --redis; else all at once.",
    ),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis",
        envvar="RTCMESH_REDIS_URL",
        help="Keep the rooms in a Redis or Valkey that several servers share: redis://, redis+sentinel:// or "
        "redis+cluster:// with hosts. Default: in this process.",
    ),
]
ResumeSecret = Annotated[
    str | None,
    typer.Option(
        "--resume-secret",
        envvar="RTCMESH_RESUME_SECRET",
        help="What signs resume tokens, the same for all servers: 32 bytes or more. Default: one kept in the store.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="The same as --log-level info.")]
LogForm = Annotated[
    Literal["json", "console"], typer.Option("--log-format", help="JSON, an object a line, or columns.")
]
LogDepth = Annotated[
    Literal["warning", "info", "debug"],
    typer.Option("--log-level", help="Log trouble, each connection as well, or each signal as well."),
]

_Serving: TypeAlias = Callable[[asyncio.Event], Coroutine[None, None, None]]


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8080,
    allow_origin: AllowedOrigins = None,
    ice_server: IceUrls = None,
    *,
    relay: RelayUrls = None,
    ticket_secret: Secret = None,
    no_relay: NoRelay = False,
    redis: RedisUrl = None,
    resume_secret: ResumeSecret = None,
    alternative: Alternatives = None,
    advertise: AdvertisedUrl = None,
    trusted_proxy: TrustedProxies = None,
    max_connections: MaxConnections = 10_000,
    drain_notice: DrainNotice = 0.0,
    drain_window: DrainWindow = None,
    log_format: LogForm = "console",
    log_level: LogDepth = "warning",
    verbose: Verbose = False,
) -> None:
    """Run a signaling server and a relay until interrupted or terminated; they tell their peers before they stop."""
    if relay and ticket_secret is None:
        raise typer.BadParameter(f"a relay elsewhere needs the same secret: set {_SECRET_VARIABLE}")
    if advertise and ticket_secret is None:
        raise typer.BadParameter(
            f"servers that pass on requests need the same secret: set {_SECRET_VARIABLE}"
        )
    key = TicketKey.create() if ticket_secret is None else _key_of(ticket_secret)
    relays = (*(() if no_relay else (RELAY_PATH,)), *(relay or ()))
    ice_servers = (IceServer(urls=tuple(ice_server)),) if ice_server else ()
    if drain_window is None:
        drain_window = 0.0 if redis is None else DRAIN_WINDOW
    service = ServiceConfig(
        ice_servers=ice_servers,
        relays=relays,
        ticket_key=key if relays else None,
        alternatives=tuple(alternative or ()),
        drain_notice=drain_notice,
        drain_window=drain_window,
        max_connections=max_connections,
    )
    proxies = _trusted(trusted_proxy)
    # A third more sockets than connections: probes, metrics, POSTs, and those who are told to come back.
    door = DoorLimits(trusted_proxies=proxies, max_sockets=max_connections + max_connections // 3 + 64)
    config = ServerConfig(
        host=host,
        port=port,
        allowed_origins=tuple(allow_origin or ()),
        service=service,
        redis=_redis_config(redis, resume_secret),
        door=door,
        advertised_url=f"http://{_own_address()}:{port}" if advertise == AUTO else advertise,
        fleet_secret=None if ticket_secret is None else ticket_secret.encode(),
    )

    async def run(stopped: asyncio.Event) -> None:
        from rtcmesh.signaling.server import serve as serve_signaling

        from .server import RelayEndpoint
        from .service import RelayService

        endpoint = RelayEndpoint(RelayService(key), allowed_origins=config.allowed_origins)
        async with serve_signaling(config, guests=() if no_relay else (endpoint,)) as server:
            typer.echo(f"rtcmesh signaling on {server.url}")
            await stopped.wait()

    _run(run, log_format, "info" if verbose and log_level == "warning" else log_level)


@app.command("relay")
def serve_relay(
    host: Host = "127.0.0.1",
    port: Port = 8081,
    allow_origin: AllowedOrigins = None,
    ticket_secret: Secret = None,
    *,
    trusted_proxy: TrustedProxies = None,
    log_format: LogForm = "console",
    log_level: LogDepth = "warning",
    verbose: Verbose = False,
) -> None:
    """Run a relay alone, for signaling servers that share its secret, until it is interrupted or terminated."""
    if ticket_secret is None:
        raise typer.BadParameter(
            f"a relay alone needs the secret of its signaling servers: set {_SECRET_VARIABLE}"
        )
    key = _key_of(ticket_secret)
    config = RelayServerConfig(
        host=host,
        port=port,
        allowed_origins=tuple(allow_origin or ()),
        door=DoorLimits(trusted_proxies=_trusted(trusted_proxy)),
    )

    async def run(stopped: asyncio.Event) -> None:
        from .server import serve as serve_alone

        async with serve_alone(key, config) as server:
            typer.echo(f"rtcmesh relay on {server.url}")
            await stopped.wait()

    _run(run, log_format, "info" if verbose and log_level == "warning" else log_level)


def _redis_config(url: str | None, resume_secret: str | None) -> RedisConfig | None:
    if url is None:
        return None
    try:
        secret = None if resume_secret is None else resume_secret.encode()
        return RedisConfig(url=StoreUrl.parse(url), resume_secret=secret)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _trusted(texts: list[str] | None) -> tuple[Network, ...]:
    return (*LOOPBACK, *(parse_network(text) for text in texts or ()))


def _own_address() -> str:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError as error:
        raise typer.BadParameter(f"this host does not know its own address: {error}") from None


def _key_of(secret: str) -> TicketKey:
    try:
        return TicketKey.from_secret(secret.encode())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _run(serving: _Serving, log_format: str, log_level: str) -> None:
    """Serve until a signal comes."""

    async def until_stopped() -> None:
        stopped = asyncio.Event()
        task = asyncio.current_task()
        assert task is not None

        def stop() -> None:
            # Whoever asks a second time does not want to wait until all peers have gone.
            if stopped.is_set():
                task.cancel()
            stopped.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        await serving(stopped)

    try:
        from rtcmesh.signaling.logs import LogFormat, LogLevel, configure_logs

        configure_logs(LogFormat(log_format), LogLevel(log_level))
        asyncio.run(until_stopped())
    except asyncio.CancelledError:
        raise typer.Exit(1) from None
    except (OSError, MissingExtra, StoreUnreachable, StoreFailed) as error:
        typer.echo(f"cannot serve: {error}", err=True)
        raise typer.Exit(1) from error
