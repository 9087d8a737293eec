"""Which ports of a host are taken."""

import errno
import os
from collections.abc import Sequence

from rtcmesh.netem.packet import Kind

WILDCARDS = {4: "0.0.0.0", 6: "::"}  # noqa: S104
"""What stands for every address of a version, those that the host will have later included."""

FIRST_EPHEMERAL = 49152
LAST_PORT = 65535


class Ports:
    """Gives out the ports of one host; ephemeral ones in ascending order, so that runs repeat."""

    def __init__(self) -> None:
        self._taken: dict[tuple[Kind, int], set[str]] = {}
        self._next = FIRST_EPHEMERAL

    def claim(self, kind: Kind, addresses: Sequence[str], port: int = 0) -> int:
        """Take `port`, or a free one for 0, on all of `addresses`. Raises OSError (EADDRINUSE) when it is taken."""
        if port == 0:
            port = self._free_port(kind, addresses)
        elif not self._is_free(kind, addresses, port):
            raise OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)}: port {port}")
        self._taken.setdefault((kind, port), set()).update(addresses)
        return port

    def release(self, kind: Kind, addresses: Sequence[str], port: int) -> None:
        """Give a port back."""
        self._taken[kind, port].difference_update(addresses)
        if not self._taken[kind, port]:
            del self._taken[kind, port]

    def _is_free(self, kind: Kind, addresses: Sequence[str], port: int) -> bool:
        taken = self._taken.get((kind, port))
        return not taken or not any(_collide(one, other) for one in taken for other in addresses)

    def _free_port(self, kind: Kind, addresses: Sequence[str]) -> int:
        for _ in range(FIRST_EPHEMERAL, LAST_PORT + 1):
            port = self._next
            self._next = port + 1 if port < LAST_PORT else FIRST_EPHEMERAL
            if self._is_free(kind, addresses, port):
                return port
        raise OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)}: every ephemeral port is taken")


def _collide(one: str, other: str) -> bool:
    is_wild = one in WILDCARDS.values() or other in WILDCARDS.values()
    return one == other or (is_wild and (":" in one) == (":" in other))
