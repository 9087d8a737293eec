"""A sink that notes what a registry pushes into it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.messages import Ack, Nack, Resume, RoomEvent
from rtcmesh.signaling.room import Admission
from rtcmesh.signaling.room_stream import StreamEntry


@dataclass(eq=False)
class RecordingSink:
    """Notes what it is given, in order."""

    admissions: list[Admission] = field(default_factory=list[Admission])
    entries: list[StreamEntry] = field(default_factory=list[StreamEntry])
    answers: list[Ack | Nack] = field(default_factory=list[Ack | Nack])
    ends: list[RefusalCode | None] = field(default_factory=list[RefusalCode | None])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[RoomEvent]:
        return [entry.event for entry in self.entries]

    @property
    def resume(self) -> Resume:
        admission = self.admissions[-1]
        offset = self.events[-1].offset if self.entries else admission.offset
        return Resume(epoch=admission.epoch, offset=offset, token=admission.resume_token)

    def welcome(self, admission: Admission) -> None:
        assert not self.admissions
        self.admissions.append(admission)
        self.entries.extend(admission.replay)
        self.changed.set()

    def deliver(self, entry: StreamEntry) -> None:
        assert self.admissions, "the welcome comes first"
        assert not self.ends, "nothing comes after the end"
        self.entries.append(entry)
        self.changed.set()

    def answer(self, answer: Ack | Nack) -> None:
        assert not self.ends, "nothing comes after the end"
        self.answers.append(answer)
        self.changed.set()

    def end(self, code: RefusalCode | None, message: str = "") -> None:
        self.ends.append(code)
        self.changed.set()

    async def wait_for(self, count: int) -> list[RoomEvent]:
        """Wait for so many events since the welcome."""
        await self.until(lambda: len(self.entries) >= count)
        return self.events

    async def answered(self, count: int) -> list[Ack | Nack]:
        """Wait for so many answers."""
        await self.until(lambda: len(self.answers) >= count)
        return self.answers

    async def ended(self) -> RefusalCode | None:
        """Wait for the end and return its code."""
        await self.until(lambda: bool(self.ends))
        return self.ends[0]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()
