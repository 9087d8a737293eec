"""The open paths to one remote peer."""

from __future__ import annotations

from collections.abc import Iterator

from rtcmesh.relay.link import RelayLink

from .attempt import Attempt
from .path import DirectPath, Path, RelayPath


class PathTable:
    """Paths by number, and by what they run on. No number is given twice."""

    def __init__(self) -> None:
        self._paths: dict[int, Path] = {}
        self._last = 0

    def __iter__(self) -> Iterator[Path]:
        """Iterate over the paths as they are now, whatever becomes of them meanwhile."""
        return iter(list(self._paths.values()))

    def __getitem__(self, number: int) -> Path:
        return self._paths[number]

    def next_number(self) -> int:
        """Return the number of the next path."""
        self._last += 1
        return self._last

    def add(self, path: Path) -> None:
        """Add a path."""
        self._paths[path.number] = path

    def remove(self, path: Path) -> bool:
        """Remove a path. Returns whether it was there."""
        return self._paths.pop(path.number, None) is not None

    def clear(self) -> None:
        """Remove all."""
        self._paths.clear()

    def find(self, number: int) -> Path | None:
        """Return a path by its number, if it is open."""
        return self._paths.get(number)

    def direct(self, attempt: Attempt) -> DirectPath | None:
        """Return the path of a transport."""
        for path in self._paths.values():
            if isinstance(path, DirectPath) and path.attempt is attempt:
                return path
        return None

    def relayed(self, link: RelayLink | None = None) -> RelayPath | None:
        """Return the path over a relay, or over this one."""
        for path in self._paths.values():
            if isinstance(path, RelayPath) and (link is None or path.link is link):
                return path
        return None
