"""Notices that the machine slept, or that its addresses are others now."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

SLEPT = 2.0
"""A timer that is later than this many seconds shows that this process stood still, or the whole machine."""

# What asyncio waits by stands still while the machine sleeps; this does not. On macOS it is CLOCK_MONOTONIC.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class NetworkWatch:
    """Looks every `interval` seconds. `run` is its one task.

    Polling is what works the same on every system; a look costs about a tenth of a millisecond.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        interval: float,
        addresses: Callable[[], frozenset[str]] | None = None,
        asleep: Callable[[], float] | None = None,
    ) -> None:
        """`asleep` tells for how many seconds the machine has slept so far."""
        self._changed = changed
        self._interval = interval
        self._addresses = addresses or _host_addresses
        self._asleep = asleep or _time_asleep

    async def run(self) -> None:
        """Watch, for ever."""
        loop = asyncio.get_running_loop()
        known = self._addresses()
        while True:
            begun_at, asleep_before = loop.time(), self._asleep()
            await asyncio.sleep(self._interval)
            before, known = known, self._addresses()
            late = loop.time() - begun_at - self._interval
            slept = max(late, self._asleep() - asleep_before) > SLEPT
            if slept or known != before:
                logger.info("the machine slept" if slept else "the machine's addresses changed")
                self._changed()


def _time_asleep() -> float:
    return time.clock_gettime(_CLOCK) - time.monotonic()


def _host_addresses() -> frozenset[str]:
    from aioice.ice import get_host_addresses

    return frozenset(get_host_addresses(use_ipv4=True, use_ipv6=True))
