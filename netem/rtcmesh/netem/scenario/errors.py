"""What can go wrong with a scenario that is well written."""

from __future__ import annotations

from collections.abc import Sequence

from rtcmesh.netem.errors import NetemError


class NotCarried(NetemError):
    """A backend cannot carry a scenario; nothing was started."""

    def __init__(self, backend: str, objections: Sequence[str]) -> None:
        super().__init__(backend, objections)
        self.backend = backend
        self.objections = tuple(objections)

    def __str__(self) -> str:
        return "\n  ".join([f"the backend {self.backend} cannot carry this scenario:", *self.objections])


class RecordFailed(NetemError):
    """The record of a run could not be written; nothing of it was left."""

    def __init__(self, directory: str, error: OSError) -> None:
        super().__init__(directory, error)
        self.directory = directory

    def __str__(self) -> str:
        error = self.args[1]
        return f"the record of the run cannot be written to {self.directory}: {error.strerror or error}"


class RecordInvalid(NetemError):
    """A file is no record of a run."""


class UnknownBackend(NetemError):
    """No backend has this name."""


class ExtraMissing(NetemError):
    """A library is not installed; the message says which extra brings it."""
