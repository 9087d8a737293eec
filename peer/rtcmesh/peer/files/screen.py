"""What people and programs see of a transfer of files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from rtcmesh.signaling.identity import PeerId, short

from .messages import FileInfo
from .transfer import Transfer

INTERVAL = 0.2


class TransferOutcome(msgspec.Struct, frozen=True):
    """What became of the files between this peer and another one."""

    peer_id: str
    ok: bool
    error: str | None
    files: tuple[FileInfo, ...]
    placed: int
    bytes: int
    resumed_bytes: int
    path_changes: int


class Outcome(msgspec.Struct, frozen=True):
    """What came out of a command."""

    ok: bool
    transfers: tuple[TransferOutcome, ...]
    seconds: float


class TransferScreen:
    """Shows a bar for each transfer: how far it is, how fast, and by which path."""

    def __init__(self, console: Console, transfers: Mapping[PeerId, Transfer]) -> None:
        self._transfers = transfers
        self._bars: dict[PeerId, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=console.quiet,
        )

    @asynccontextmanager
    async def shown(self) -> AsyncGenerator[None]:
        """Show it while the block runs."""
        with self._progress:
            updating = asyncio.create_task(self._update_steadily())
            try:
                yield
            finally:
                updating.cancel()
                with suppress(asyncio.CancelledError):
                    await updating
                self._update()

    def outcome(self, *, ok: bool, seconds: float) -> Outcome:
        """Return what came out."""
        outcomes = tuple(self._outcome_of(transfer) for transfer in self._transfers.values())
        return Outcome(ok, outcomes, round(seconds, 2))

    async def _update_steadily(self) -> None:
        while True:
            self._update()
            await asyncio.sleep(INTERVAL)

    def _update(self) -> None:
        for peer_id, transfer in self._transfers.items():
            if peer_id not in self._bars:
                self._bars[peer_id] = self._progress.add_task("", total=None)
            self._progress.update(
                self._bars[peer_id],
                description=self._describe(transfer),
                total=transfer.size,
                completed=transfer.done,
            )

    def _describe(self, transfer: Transfer) -> str:
        name = escape(transfer.infos[min(transfer.placed, len(transfer.infos) - 1)].name)
        peer = transfer.peer
        path = peer.path.value if peer and peer.path else "no path"
        return f"{name} {short(transfer.peer_id)} {path}"

    def _outcome_of(self, transfer: Transfer) -> TransferOutcome:
        peer = transfer.peer
        return TransferOutcome(
            peer_id=transfer.peer_id,
            ok=transfer.succeeded,
            error=transfer.error,
            files=tuple(transfer.infos),
            placed=transfer.placed,
            bytes=transfer.done,
            resumed_bytes=transfer.resumed,
            path_changes=peer.stats().path_changes if peer else 0,
        )


def show_outcome(console: Console, outcome: Outcome) -> None:
    """Tell people what went over, or why it did not."""
    for transfer in outcome.transfers:
        who = short(PeerId(transfer.peer_id))
        for info in transfer.files[: transfer.placed]:
            console.print(
                f"[green]✓[/green] {escape(info.name)}: {info.size:,} bytes, SHA-256 {info.sha256[:16]}… ({who})"
            )
        if transfer.error is not None:
            console.print(f"[red]✗[/red] {who}: {escape(transfer.error)}")


def sizes(infos: Sequence[FileInfo]) -> str:
    """Say how many files these are, and how large."""
    return f"{len(infos)} file{'s' * (len(infos) != 1)}, {sum(info.size for info in infos):,} bytes"
