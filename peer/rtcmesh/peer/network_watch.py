"""Notices that the machine slept, or that its addresses are others now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

SLEPT = 2.0
"""A timer that is later than this many seconds shows that this process stood still."""


class NetworkWatch:
    """Looks every `interval` seconds. `run` is its one task.

    Polling is what works the same on every system; a look costs about a tenth of a millisecond.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        interval: float,
        addresses: Callable[[], frozenset[str]] | None = None,
    ) -> None:
        self._changed = changed
        self._interval = interval
        self._addresses = addresses or _host_addresses

    async def run(self) -> None:
        """Watch, for ever."""
        loop = asyncio.get_running_loop()
        known = self._addresses()
        while True:
            expected_at = loop.time() + self._interval
            await asyncio.sleep(self._interval)
            before, known = known, self._addresses()
            slept = loop.time() - expected_at > SLEPT
            if slept or known != before:
                logger.info("the machine slept" if slept else "the machine's addresses changed")
                self._changed()


def _host_addresses() -> frozenset[str]:
    from aioice.ice import get_host_addresses

    return frozenset(get_host_addresses(use_ipv4=True, use_ipv6=True))
