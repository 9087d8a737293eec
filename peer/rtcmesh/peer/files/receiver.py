"""Receives files from senders in a room into a directory."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

from rtcmesh.peer.errors import PeerGone, PeerUnreachable
from rtcmesh.peer.events import PeerLeft, SessionExpired, SignalingLost
from rtcmesh.peer.mesh import Mesh
from rtcmesh.peer.peer import Peer
from rtcmesh.peer.printable import printable
from rtcmesh.peer.tasks import owned_tasks
from rtcmesh.signaling.identity import PeerId

from .messages import (
    MAX_REASON_LENGTH,
    Accept,
    Control,
    Failed,
    Offer,
    Placed,
    control_channel,
    data_channel,
    objection_to,
)
from .partial_file import CannotReceive, PartialFile
from .transfer import Transfer


class Receiving(Transfer):
    """The transfer of all files of one sender."""

    def __init__(self, peer_id: PeerId, offer: Offer, peer: Peer | None) -> None:
        super().__init__(peer_id, offer.files, peer)
        self._partials: list[PartialFile] = []

    @property
    def done(self) -> int:
        """How many bytes are here."""
        return sum(partial.received for partial in self._partials)

    @property
    def is_open(self) -> bool:
        """Whether data can be taken."""
        return len(self._partials) == len(self.infos) and not self.ended

    async def open(self, directory: Path, *, force: bool) -> Accept:
        """Find out what is here already. Raises `CannotReceive`."""
        names = [info.name for info in self.infos]
        for name in names:
            if objection := objection_to(name):
                raise CannotReceive(f"{printable(name)!r} {objection}")
            if names.count(name) > 1:
                raise CannotReceive(f"two files are named {name}")
        missing = self.size
        for info in self.infos:
            partial = await PartialFile.open(directory, info, force=force)
            self._partials.append(partial)
            missing -= partial.received
        if missing > (free := shutil.disk_usage(directory).free):
            raise CannotReceive(f"{missing:,} bytes are to come, and only {free:,} are free")
        self.resumed = self.done
        return Accept(tuple(partial.received for partial in self._partials))

    async def write(self, data: bytes) -> None:
        """Append to the file that comes now. Raises `CannotReceive`."""
        await self._partials[self.placed].write(data)

    async def place_whole(self) -> list[Placed]:
        """Give the files that are whole their names, in order. Raises `CannotReceive`."""
        placed: list[Placed] = []
        while not self.ended and self._partials[self.placed].is_whole:
            await self._partials[self.placed].place()
            placed.append(Placed(self.placed))
            self.placed += 1
        return placed

    def close(self) -> None:
        """Let go of all files; what is not whole stays for the next time."""
        for partial in self._partials:
            partial.close()


class FileReceiver:
    """Takes what is offered by the first senders that come. For one `run`.

    Data is taken from the channel only when what came before is on the disk, so a slow disk slows the senders, and
    memory holds one window of each.
    """

    def __init__(self, mesh: Mesh, directory: Path, *, senders: int = 1, force: bool = False) -> None:
        self.transfers: dict[PeerId, Receiving] = {}
        """One for each sender that was accepted."""
        self._mesh = mesh
        self._directory = directory
        self._senders = senders
        self._force = force
        self._control = control_channel(mesh)
        self._finished: set[PeerId] = set()
        self._all_finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> bool:
        """Return whether everything came, when the transfers of all senders have ended.

        Raises `CannotReceive` when no more senders can come.
        """
        try:
            async with owned_tasks() as tasks:
                errands = [
                    tasks.create_task(errand)
                    for errand in (self._take_control(), self._take_data(), self._watch())
                ]
                try:
                    await self._all_finished
                finally:
                    for errand in errands:
                        errand.cancel()
        finally:
            for receiving in self.transfers.values():
                receiving.close()
        return all(receiving.succeeded for receiving in self.transfers.values())

    async def _take_control(self) -> None:
        async for message in self._control:
            receiving = self.transfers.get(message.sender)
            match message.data:
                case Offer() if receiving is None and len(self.transfers) < self._senders:
                    await self._accept(message.sender, message.data)
                case Offer():
                    await self._say(message.sender, Failed("the receiver takes nothing more"))
                case Failed() if receiving is not None:
                    self._fail(receiving, printable(message.data.reason))
                case _:
                    pass

    async def _take_data(self) -> None:
        async for message in data_channel(self._mesh):
            receiving = self.transfers.get(message.sender)
            if receiving is None or not receiving.is_open:
                continue
            try:
                await receiving.write(message.data)
                await self._place_whole(receiving)
            except CannotReceive as error:
                await self._refuse(receiving, error)

    async def _watch(self) -> None:
        async for event in self._mesh.events():
            match event:
                case PeerLeft() if receiving := self.transfers.get(event.peer_id):
                    self._fail(receiving, f"the sender is gone ({event.reason.value})")
                case SessionExpired() if receiving := self.transfers.get(event.peer_id):
                    self._fail(receiving, "the sender is out of reach")
                case SignalingLost(final=True) if len(self.transfers) < self._senders:
                    lost = CannotReceive(f"nobody can be found any more: {event.reason}")
                    self._all_finished.set_exception(lost)
                    return
                case _:
                    pass

    async def _accept(self, sender: PeerId, offer: Offer) -> None:
        receiving = self.transfers[sender] = Receiving(sender, offer, self._mesh.peers.get(sender))
        try:
            await self._say(sender, await receiving.open(self._directory, force=self._force))
            await self._place_whole(receiving)
        except CannotReceive as error:
            await self._refuse(receiving, error)

    async def _place_whole(self, receiving: Receiving) -> None:
        for placed in await receiving.place_whole():
            await self._say(receiving.peer_id, placed, confirm=receiving.ended)
        if receiving.ended:
            self._finish(receiving)

    async def _refuse(self, receiving: Receiving, error: CannotReceive) -> None:
        receiving.error = str(error)
        await self._say(receiving.peer_id, Failed(str(error)[:MAX_REASON_LENGTH]), confirm=True)
        self._finish(receiving)

    async def _say(self, sender: PeerId, message: Control, *, confirm: bool = False) -> None:
        with suppress(PeerGone, PeerUnreachable):  # `_watch` is told, too
            await self._control.send(message, to=sender, confirm=confirm)

    def _fail(self, receiving: Receiving, reason: str) -> None:
        if not receiving.ended:
            receiving.error = reason
            self._finish(receiving)

    def _finish(self, receiving: Receiving) -> None:
        self._finished.add(receiving.peer_id)
        if len(self._finished) == self._senders and not self._all_finished.done():
            self._all_finished.set_result(None)
