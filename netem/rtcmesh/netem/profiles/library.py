"""The profiles that come with the laboratory, and those of a user's files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from rtcmesh.netem.errors import NetemError
from rtcmesh.netem.models.rate_trace import RateTrace
from rtcmesh.netem.trace_file import load_rate, text_of

from .description import Profile
from .reading import read_profiles


class NoSuchProfile(NetemError):
    """No profile has this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(name)
        self.name = name
        self.known = tuple(known)
        """The names that there are."""

    def __str__(self) -> str:
        close = get_close_matches(self.name, self.known, n=1)
        meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(self.known)}"
        return f"there is no profile named {self.name!r}; {meant}"


def profile(name: str) -> Profile:
    """Return a profile by its name. Raises `NoSuchProfile`."""
    try:
        return _library()[name]
    except KeyError:
        raise NoSuchProfile(name, _library()) from None


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles that come with the laboratory, family by family."""
    return tuple(_library())


def profiles_in(file: Path) -> Mapping[str, Profile]:
    """Return the profiles of a file of one's own by their names; paths in it are seen from its folder.

    Raises `DocumentInvalid` or OSError.
    """
    return read_profiles(text_of(file), str(file), lambda path: load_rate(file.parent / path))


def _no_trace(path: str) -> RateTrace:
    raise FileNotFoundError(f"no trace comes with the laboratory: {path}")


@cache
def _library() -> Mapping[str, Profile]:
    profiles: dict[str, Profile] = {}
    folder = resources.files("rtcmesh.netem.profiles") / "data"
    for file in sorted(folder.iterdir(), key=lambda resource: resource.name):
        if file.name.endswith(".toml"):
            found = read_profiles(file.read_text(encoding="utf-8"), file.name, _no_trace)
            assert not found.keys() & profiles.keys(), f"{file.name} repeats a name"
            profiles |= found
    return MappingProxyType(profiles)
