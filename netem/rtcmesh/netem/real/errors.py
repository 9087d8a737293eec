"""What can go wrong with a real laboratory."""

from __future__ import annotations

from rtcmesh.netem.errors import NetemError


class LaboratoryUnavailable(NetemError):
    """This machine, or this user, cannot have namespaces and TUN devices; the text says what is missing."""


class LinkProcessFailed(NetemError):
    """The process that carries the packets ended, or did not answer in time."""


class ProberFailed(NetemError):
    """A program that measures a path ended early, or said what it should not."""
