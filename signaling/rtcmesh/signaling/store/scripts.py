"""The Lua scripts of the shared store: their text as it is sent, and the name by which Redis knows it."""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from hashlib import sha1
from importlib.resources import files

_FOLDER = files("rtcmesh.signaling.store") / "lua"


class Script(Enum):
    """One atomic operation; what each does and returns stands at the top of its file."""

    JOIN = "join"
    SIGNALS = "signals"
    CHANGE = "change"
    DEPART = "depart"
    ABANDON = "abandon"
    EXPIRE = "expire"
    TICK = "tick"

    @cached_property
    def source(self) -> "ScriptSource":
        """Return the text to load."""
        return ScriptSource.of(self)


@dataclass(frozen=True, slots=True)
class ScriptSource:
    """A script with what it shares with the others in front."""

    text: str
    sha: str

    @classmethod
    def of(cls, script: Script) -> "ScriptSource":
        """Put the parts of one script together."""
        # What only adds to the store is refused while it is full; what frees or replaces must go on.
        adds = script in (Script.JOIN, Script.SIGNALS)
        shebang = "#!lua" if adds else "#!lua flags=allow-oom"
        shared = ("store",) if script is Script.TICK else ("store", "room")
        parts = [(_FOLDER / f"{name}.lua").read_text() for name in (*shared, script.value)]
        text = "\n".join((shebang, *parts))
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
