"""Which ICE agent connections use."""

from __future__ import annotations

import functools
import logging

from .ice import IceAgentFactory
from .plain_ice import PlainIce
from .trickle_ice import TrickleIce, missing_names

logger = logging.getLogger(__name__)


@functools.cache
def default_agent() -> IceAgentFactory:
    """Return the fast agent, or the plain one with a warning if the installed aioice is not as expected."""
    missing = missing_names()
    if not missing:
        return TrickleIce
    logger.warning(
        "the installed aioice has no %s: connections use its public interface alone, "
        "which asks one STUN and one TURN server, gathers before it signals, and is many times slower",
        ", ".join(missing),
    )
    return PlainIce
