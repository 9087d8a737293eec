"""The profiles that scenarios may name."""

from __future__ import annotations

from .reading import Profiles


def profiles() -> Profiles:
    """Return the profiles by their names."""
    return {}
