"""The backends by the names that users give them."""

from __future__ import annotations

from .errors import UnknownBackend
from .proxy_stage import ProxyBackend
from .stage import Backend
from .virtual_stage import VirtualBackend

BACKENDS = ("virtual", "namespaces", "proxy")
"""Their names; the first is the default."""


def backend_named(name: str) -> Backend:
    """Return a backend. Raises `UnknownBackend`."""
    match name:
        case "virtual":
            return VirtualBackend()
        case "namespaces":
            from .namespace_stage import NamespaceBackend  # late: it is for Linux alone

            return NamespaceBackend()
        case "proxy":
            return ProxyBackend()
        case _:
            raise UnknownBackend(f"there is no backend {name!r}; there are {', '.join(BACKENDS)}")
