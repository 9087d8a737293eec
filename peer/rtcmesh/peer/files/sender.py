"""Sends files to the receivers in a room, each at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rtcmesh.peer.channel import Channel
from rtcmesh.peer.errors import MeshError, PeerGone, PeerUnreachable
from rtcmesh.peer.events import PeerJoined, PeerLeft, PresenceChanged, SessionExpired, SignalingLost
from rtcmesh.peer.mesh import Mesh
from rtcmesh.peer.peer import Peer
from rtcmesh.peer.printable import printable
from rtcmesh.peer.tasks import owned_tasks
from rtcmesh.signaling.identity import PeerId

from .disk import BLOCK_BYTES, hash_file, in_thread
from .messages import (
    MAX_FILES,
    MAX_REASON_LENGTH,
    PART_BYTES,
    PRESENCE,
    Accept,
    Control,
    Failed,
    FileInfo,
    Offer,
    Placed,
    control_channel,
    data_channel,
    objection_to,
)
from .transfer import Transfer


class CannotSend(MeshError):
    """A file cannot be offered, or nobody will come to take it."""


@dataclass(frozen=True)
class OfferedFile:
    """A file and what is announced of it."""

    path: Path
    info: FileInfo


async def offered_files(paths: Sequence[Path]) -> list[OfferedFile]:
    """Read the files once to know their SHA-256. Raises `CannotSend`."""
    names = [path.name for path in paths]
    if not 1 <= len(names) <= MAX_FILES:
        raise CannotSend(f"{len(names)} files, and 1 to {MAX_FILES:,} can be sent at once")
    for name in names:
        if objection := objection_to(name):
            raise CannotSend(f"{printable(name)!r} {objection}")
        if names.count(name) > 1:
            raise CannotSend(f"two files are named {name}")
    offered: list[OfferedFile] = []
    for path in paths:
        if path.exists() and not path.is_file():
            raise CannotSend(f"{path} is not a regular file")
        try:
            size, sha256 = await hash_file(path)
        except OSError as error:
            raise CannotSend(f"{path}: {error.strerror}") from error
        offered.append(OfferedFile(path, FileInfo(path.name, size, sha256)))
    return offered


class Sending(Transfer):
    """The transfer of all files to one receiver."""

    def __init__(self, peer_id: PeerId, files: Sequence[OfferedFile], peer: Peer | None) -> None:
        super().__init__(peer_id, [file.info for file in files], peer)
        self._files = files
        self._sent = [0] * len(files)
        self._offsets: Sequence[int] = ()
        self._accepted = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def done(self) -> int:
        """How many bytes the receiver was sent, or had already."""
        return sum(self._sent)

    def receive(self, message: Control) -> None:
        """Take what the receiver says; what it may not say now ends the transfer."""
        match message:
            case Accept() if not self._accepted.is_set() and self._is_valid(message.offsets):
                self._sent = list(message.offsets)
                self._offsets = message.offsets
                self.resumed = sum(message.offsets)
                self._accepted.set()
            case Placed() if message.index == self.placed and self._is_sent(message.index):
                self.placed += 1
                if self.succeeded:
                    self._ended.set()
            case Failed():
                self.fail(printable(message.reason))
            case _:
                self.fail("the receiver broke the protocol")

    def fail(self, reason: str) -> None:
        """End without success, unless it has ended."""
        if not self.ended:
            self.error = reason
            self._ended.set()

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._ended.wait()

    async def run(self, mesh: Mesh) -> None:
        """Offer the files, send what is wanted, and return when the transfer has ended."""
        sending = asyncio.ensure_future(self._send(mesh))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait([sending, ended], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            await ended
        except PeerGone:
            self.fail("the receiver is gone")
        except PeerUnreachable:
            self.fail("the receiver is out of reach")
        except (CannotSend, OSError) as error:
            self.fail(str(error))
            with suppress(PeerGone, PeerUnreachable):
                reason = Failed(str(error)[:MAX_REASON_LENGTH])
                await control_channel(mesh).send(reason, to=self.peer_id, confirm=True)
        finally:
            for task in (sending, ended):
                task.cancel()
            await asyncio.gather(sending, ended, return_exceptions=True)

    async def _send(self, mesh: Mesh) -> None:
        await control_channel(mesh).send(Offer(tuple(self.infos)), to=self.peer_id)
        await self._accepted.wait()
        data = data_channel(mesh)
        for index, offset in enumerate(self._offsets):
            await self._send_file(index, offset, data)

    async def _send_file(self, index: int, offset: int, data: Channel[bytes]) -> None:
        offered = self._files[index]
        left = offered.info.size - offset
        with offered.path.open("rb") as file:
            file.seek(offset)
            while left:
                block = await in_thread(file.read, min(left, BLOCK_BYTES))
                if not block:
                    raise CannotSend(f"{offered.info.name} became shorter while it was sent")
                left -= len(block)
                for start in range(0, len(block), PART_BYTES):
                    part = block[start : start + PART_BYTES]
                    self._sent[index] += len(part)
                    await data.send(part, to=self.peer_id)

    def _is_valid(self, offsets: Sequence[int]) -> bool:
        return len(offsets) == len(self.infos) and all(
            offset <= info.size for offset, info in zip(offsets, self.infos, strict=True)
        )

    def _is_sent(self, index: int) -> bool:
        return self._accepted.is_set() and self._sent[index] == self.infos[index].size


class FileSender:
    """Finds receivers, and sends all files to each of them. For one `run`."""

    def __init__(self, mesh: Mesh, files: Sequence[OfferedFile]) -> None:
        self.transfers: dict[PeerId, Sending] = {}
        """One for each receiver that was found."""
        self._mesh = mesh
        self._files = files
        self._found_all: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, *, receivers: int = 1, to: Collection[str] = ()) -> bool:
        """Send to so many receivers, or to those whose ids begin like this; wait for them to come.

        Returns whether all of them have everything. Raises `CannotSend` when no more can come.
        """
        async with owned_tasks() as tasks:
            errands = (
                tasks.create_task(self._watch(tasks, list(to) or [""] * receivers)),
                tasks.create_task(self._listen()),
            )
            try:
                await self._found_all
                for sending in self.transfers.values():
                    await sending.wait()
            except BaseException:
                for sending in self.transfers.values():
                    sending.fail("given up")
                raise
            finally:
                for errand in errands:
                    errand.cancel()
        return all(sending.succeeded for sending in self.transfers.values())

    async def _watch(self, tasks: asyncio.TaskGroup, wanted: list[str]) -> None:
        """Begin a transfer to each receiver that comes, as long as one is wanted; end those whose receiver goes."""
        async for event in self._mesh.events():
            match event:
                case PeerJoined() | PresenceChanged() if event.presence == PRESENCE:
                    beginning = next((begin for begin in wanted if event.peer_id.startswith(begin)), None)
                    if beginning is not None and event.peer_id not in self.transfers:
                        wanted.remove(beginning)
                        peer = self._mesh.peers.get(event.peer_id)
                        sending = self.transfers[event.peer_id] = Sending(event.peer_id, self._files, peer)
                        tasks.create_task(sending.run(self._mesh))
                case PeerLeft() if known := self.transfers.get(event.peer_id):
                    known.fail(f"the receiver is gone ({event.reason.value})")
                case SessionExpired() if known := self.transfers.get(event.peer_id):
                    known.fail("the receiver is out of reach")
                case SignalingLost(final=True) if wanted:
                    self._found_all.set_exception(CannotSend(f"nobody can be found any more: {event.reason}"))
                    return
                case _:
                    pass
            if not wanted and not self._found_all.done():
                self._found_all.set_result(None)

    async def _listen(self) -> None:
        async for message in control_channel(self._mesh):
            if sending := self.transfers.get(message.sender):
                sending.receive(message.data)
