"""The address of a shared store, as an operator writes it."""

from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qs, unquote, urlsplit


class Topology(Enum):
    """How the store's servers belong together; the value is the suffix of the URL's scheme."""

    STANDALONE = ""
    SENTINEL = "+sentinel"
    CLUSTER = "+cluster"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreUrl:
    """Where a Redis or Valkey is.

    redis://[user:password@]host[:port][/db]
    redis+sentinel://[user:password@]host[:port][,host[:port]...]/service[/db][?sentinel_password=...]
    redis+cluster://[user:password@]host[:port][,host[:port]...]

    and the same with `rediss` for TLS. User and password are the data servers'; the sentinels may have their own.
    """

    topology: Topology
    hosts: tuple[tuple[str, int], ...]
    tls: bool = False
    username: str | None = None
    password: str | None = None
    service: str = ""
    db: int = 0
    sentinel_password: str | None = None

    @classmethod
    def parse(cls, url: str) -> "StoreUrl":
        """Return what the URL says. Raises `ValueError` whose text does not repeat the password."""
        parts = urlsplit(url)
        scheme, plus, suffix = parts.scheme.partition("+")
        try:
            topology = Topology(plus + suffix)
        except ValueError:
            scheme = ""
        if scheme not in ("redis", "rediss"):
            raise ValueError(
                "the store's URL begins with redis://, redis+sentinel:// or redis+cluster:// (rediss for TLS)"
            )
        topology = Topology(plus + suffix)
        userinfo, _, hostlist = parts.netloc.rpartition("@")
        username, _, password = userinfo.partition(":")
        default_port = 26_379 if topology is Topology.SENTINEL else 6379
        hosts = tuple(_host(text, default_port) for text in hostlist.split(","))
        if topology is Topology.STANDALONE and len(hosts) > 1:
            raise ValueError("redis:// has one host; for several there are redis+sentinel and redis+cluster")
        path = [unquote(part) for part in parts.path.split("/") if part]
        service = ""
        if topology is Topology.SENTINEL:
            if not path:
                raise ValueError(
                    "redis+sentinel:// needs the name of the service: redis+sentinel://host/service"
                )
            service = path.pop(0)
        return cls(
            topology=topology,
            hosts=hosts,
            tls=scheme == "rediss",
            username=unquote(username) or None,
            password=unquote(password) or None,
            service=service,
            db=_db(path, topology),
            sentinel_password=parse_qs(parts.query).get("sentinel_password", [None])[0],
        )

    def __str__(self) -> str:
        """Show it without passwords."""
        scheme = ("rediss" if self.tls else "redis") + self.topology.value
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{scheme}://{hosts}" + (f"/{self.service}" if self.service else "")

    def __repr__(self) -> str:
        """Show it without passwords."""
        return f"<StoreUrl {self}>"


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("the store's URL names no host")
    return parts.hostname, default_port if parts.port is None else parts.port


def _db(path: list[str], topology: Topology) -> int:
    if not path:
        return 0
    if len(path) > 1 or not path[0].isdecimal() or topology is Topology.CLUSTER:
        raise ValueError("what follows the host in the store's URL is not the number of a database")
    return int(path[0])
