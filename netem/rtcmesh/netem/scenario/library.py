"""The profiles that scenarios may name."""

from __future__ import annotations

from functools import cache

from rtcmesh.netem.profiles import profile, profile_names
from rtcmesh.netem.topology import Uplink

from .reading import Profiles


@cache
def profiles() -> Profiles:
    """Return the profiles of the laboratory, as uplinks to the internet."""
    found = {name: profile(name) for name in profile_names()}
    return {name: Uplink(up=known.up, down=known.down) for name, known in found.items()}
