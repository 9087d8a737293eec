"""Two peers as processes that talk all the time, while a test breaks what is between them."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from support.processes import Program, running

TALKER = Path(__file__).with_name("talker.py")


class Conversation:
    """Both ends of it."""

    def __init__(self, ends: Sequence[Program]) -> None:
        self.ends = ends

    async def path(self, path: str) -> None:
        """Wait until both ends say that they reach the other one like this: `direct`, `relayed`, `none`."""
        for end in self.ends:
            await end.expect(f"path {path}")

    async def goes_on(self) -> None:
        """Wait until both ends have received more."""
        for end in self.ends:
            await end.expect("received")

    async def check(self) -> list[float]:
        """End it; every number must have come once and in order. Returns the longest silence at each end."""
        for end in self.ends:
            end.say("end")
        outcomes = [json.loads(await end.expect("longest_gap")) for end in self.ends]
        one, other = outcomes
        assert (one["received"], other["received"]) == (other["sent"], one["sent"])
        assert (one["wrong"], other["wrong"]) == (0, 0)
        for end in self.ends:
            ended = await end.ended()
            assert (ended.code, ended.errors) == (0, "")
            assert "undelivered" not in end.seen
        return [outcome["longest_gap"] for outcome in outcomes]


@asynccontextmanager
async def talking(
    url: str, *, policy: str = "auto", within: Sequence[Sequence[str | Path]] = ((), ())
) -> AsyncGenerator[Conversation]:
    """Start two talkers, each behind a command that says where it runs."""
    first, second = ((*prefix, sys.executable, TALKER, url, "talk", policy) for prefix in within)
    async with running(*first) as ann, running(*second) as bob:
        yield Conversation((ann, bob))
