"""Files between meshes, on virtual time: what arrives is right and in its place, or does not bear the file's name."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer import Mesh, MeshConfig
from rtcmesh.peer.files.messages import (
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
from rtcmesh.peer.files.partial_file import CannotReceive, PartialFile
from rtcmesh.peer.files.receiver import FileReceiver
from rtcmesh.peer.files.sender import CannotSend, FileSender, OfferedFile, offered_files
from rtcmesh.peer.testing import LinkConfig, VirtualRoom, run_virtual, virtual_room

WINDOW = 256 * 1024
CONTENT = bytes(range(256)) * 4096

LINK = LinkConfig(delay=0.005)
"""Without a delay a whole file crosses the relay before anything can happen to it."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    return directory


@pytest.fixture
def target(tmp_path: Path) -> Path:
    directory = tmp_path / "target"
    directory.mkdir()
    return directory


def file_in(directory: Path, name: str, content: bytes = CONTENT) -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def info_of(name: str, content: bytes) -> FileInfo:
    return FileInfo(name, len(content), hashlib.sha256(content).hexdigest())


async def offered(*paths: Path) -> list[OfferedFile]:
    return await offered_files(paths)


def files_in(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in directory.iterdir()}


async def receiver_in(
    room: VirtualRoom, directory: Path, name: str = "bob", *, senders: int = 1, force: bool = False
) -> FileReceiver:
    mesh = await room.join(name, presence=dict(PRESENCE))
    return FileReceiver(mesh, directory, senders=senders, force=force)


def in_room(test: Callable[[VirtualRoom], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        async with virtual_room(link=LINK, config=MeshConfig(channel_window_bytes=WINDOW)) as room:
            await test(room)

    run_virtual(main())


# What is promised


def test_files_arrive_in_order_at_every_receiver(source: Path, tmp_path: Path) -> None:
    contents = {"large": CONTENT, "empty": b"", "small": b"x", "with space é.txt": b"y" * PART_BYTES}
    paths = [file_in(source, name, content) for name, content in contents.items()]

    async def main(room: VirtualRoom) -> None:
        directories = [tmp_path / "bob", tmp_path / "cat"]
        ann = await room.join("ann")
        receivers: list[FileReceiver] = []
        for directory in directories:
            directory.mkdir()
            receivers.append(await receiver_in(room, directory, directory.name))
        sender = FileSender(ann, await offered(*paths))
        outcomes = await asyncio.gather(sender.run(receivers=2), *(receiver.run() for receiver in receivers))
        assert outcomes == [True, True, True]
        for directory in directories:
            assert {path.name: path.read_bytes() for path in directory.iterdir()} == contents
        for transfer in (*sender.transfers.values(), *receivers[0].transfers.values()):
            assert (transfer.done, transfer.resumed) == (transfer.size, 0)

    in_room(main)


def test_a_file_survives_every_fault_on_its_way(source: Path, target: Path) -> None:
    path = file_in(source, "file", CONTENT * 4)

    async def main(room: VirtualRoom) -> None:
        assert room.memory is not None
        ann = await room.join("ann")
        sender, receiver = FileSender(ann, await offered(path)), await receiver_in(room, target)
        running = asyncio.create_task(both(sender.run(), receiver.run()))
        await until(lambda: bool(sender.transfers))
        (transfer,) = sender.transfers.values()
        await until(lambda: transfer.done >= 0.2 * transfer.size)
        room.memory.cut("ann", "bob")
        await room.kill_relay()
        await asyncio.sleep(10)
        await room.start_relay()
        await until(lambda: transfer.done >= 0.4 * transfer.size)
        await room.kill_server()
        room.memory.heal("ann", "bob")
        await until(lambda: transfer.done >= 0.6 * transfer.size)
        await room.kill_relay()
        await asyncio.sleep(5)
        await room.start_relay()
        await room.start_server()
        assert await running == (True, True)
        assert (target / "file").read_bytes() == CONTENT * 4

    in_room(main)


def test_only_named_receivers_are_sent_to(source: Path, target: Path) -> None:
    path = file_in(source, "file")

    async def main(room: VirtualRoom) -> None:
        ann = await room.join("ann")
        other = await receiver_in(room, target, "cat")
        receiver = await receiver_in(room, target)
        sender = FileSender(ann, await offered(path))
        beginning = receiver._mesh.peer_id[:12]
        assert await both(sender.run(to=[beginning]), receiver.run()) == (True, True)
        assert list(sender.transfers) == [receiver._mesh.peer_id]
        assert other.transfers == {}

    in_room(main)


def test_what_is_there_already_is_not_sent_again(source: Path, target: Path) -> None:
    paths = [file_in(source, "one"), file_in(source, "two", b"two")]
    file_in(target, "one")

    async def main(room: VirtualRoom) -> None:
        ann = await room.join("ann")
        sender, receiver = FileSender(ann, await offered(*paths)), await receiver_in(room, target)
        assert await both(sender.run(), receiver.run()) == (True, True)
        (transfer,) = sender.transfers.values()
        assert transfer.resumed == len(CONTENT)

    in_room(main)


def test_a_transfer_that_broke_off_goes_on_from_where_it_stood(source: Path, target: Path) -> None:
    path = file_in(source, "file", CONTENT * 4)

    async def main(room: VirtualRoom) -> None:
        receiver = await receiver_in(room, target)
        receiving = asyncio.create_task(receiver.run())
        ann = await room.join("ann")
        sender = FileSender(ann, await offered(path))
        sending = asyncio.create_task(sender.run())
        await until(lambda: any(sending.done >= 2 * len(CONTENT) for sending in sender.transfers.values()))
        sending.cancel()
        await asyncio.wait([sending])
        await ann.aclose()
        assert not await receiving
        (transfer,) = receiver.transfers.values()
        assert transfer.error == "the sender is gone (left)"
        (kept,) = files_in(target).values()
        assert 0 < kept < len(CONTENT) * 4

        await receiver._mesh.aclose()
        sender = FileSender(await room.join("cat"), await offered(path))
        receiver = await receiver_in(room, target, "dan")
        assert await both(sender.run(), receiver.run()) == (True, True)
        (again,) = sender.transfers.values()
        assert again.resumed == kept
        assert list(files_in(target)) == ["file"]
        assert (target / "file").read_bytes() == CONTENT * 4

    in_room(main)


@pytest.mark.parametrize("force", [False, True])
def test_an_existing_file_is_overwritten_only_by_force(source: Path, target: Path, *, force: bool) -> None:
    path = file_in(source, "file")
    file_in(target, "file", b"mine")

    async def main(room: VirtualRoom) -> None:
        ann = await room.join("ann")
        sender, receiver = FileSender(ann, await offered(path)), await receiver_in(room, target, force=force)
        assert await both(sender.run(), receiver.run()) == (force, force)
        assert (target / "file").read_bytes() == (CONTENT if force else b"mine")
        (transfer,) = sender.transfers.values()
        assert transfer.error == (None if force else "file: exists already; --force overwrites it")

    in_room(main)


def test_a_receiver_that_does_not_read_is_sent_two_windows_and_no_more(source: Path) -> None:
    path = file_in(source, "file", CONTENT * 4)

    async def main(room: VirtualRoom) -> None:
        ann = await room.join("ann")
        sender = FileSender(ann, await offered(path))
        sending = asyncio.create_task(sender.run())
        bob = await room.join("bob", presence=dict(PRESENCE))
        await expect_offer(bob)
        await control_channel(bob).send(Accept((0,)))
        await asyncio.sleep(60)
        (transfer,) = sender.transfers.values()
        # One is unread over there, one is not acknowledged here, and one part waits.
        assert 2 * (WINDOW - PART_BYTES) <= transfer.done <= 2 * WINDOW + PART_BYTES
        await bob.aclose()
        assert not await sending
        assert transfer.error is not None
        assert transfer.error.startswith("the receiver is gone")

    in_room(main)


# What receivers may not do


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ([Accept(())], "the receiver broke the protocol"),
        ([Accept((len(CONTENT) + 1,))], "the receiver broke the protocol"),
        ([Accept((len(CONTENT),)), Accept((0,))], "the receiver broke the protocol"),
        ([Placed(0)], "the receiver broke the protocol"),
        ([Accept((0,)), Placed(1)], "the receiver broke the protocol"),
        ([Offer((info_of("name", b""),))], "the receiver broke the protocol"),
        ([Failed("no \x1b[2J")], "no \N{REPLACEMENT CHARACTER}[2J"),
    ],
)
def test_a_receiver_that_breaks_the_protocol_ends_its_own_transfer(
    source: Path, replies: list[Control], error: str
) -> None:
    path = file_in(source, "file")

    async def main(room: VirtualRoom) -> None:
        ann = await room.join("ann")
        sender = FileSender(ann, await offered(path))
        sending = asyncio.create_task(sender.run())
        bob = await room.join("bob", presence=dict(PRESENCE))
        await expect_offer(bob)
        for reply in replies:
            await control_channel(bob).send(reply)
        assert not await sending
        assert [transfer.error for transfer in sender.transfers.values()] == [error]

    in_room(main)


# What senders may not do


@pytest.mark.parametrize(
    ("infos", "error"),
    [
        ([info_of("../file", b"")], "'../file' is not the name of a file"),
        ([info_of("/etc/passwd", b"")], "'/etc/passwd' is not the name of a file"),
        ([info_of(".profile", b"")], "'.profile' is the name of a hidden file"),
        ([info_of("a\nb", b"")], "'a\N{REPLACEMENT CHARACTER}b' has characters that cannot be shown"),
        ([info_of("a" * 201, b"")], f"'{'a' * 201}' is longer than 200 bytes"),
        ([info_of("file", b"1"), info_of("file", b"2")], "two files are named file"),
        ([FileInfo("file", 2**62, "0" * 64)], "bytes are to come, and only"),
    ],
)
def test_an_offer_that_cannot_be_taken_is_refused(target: Path, infos: list[FileInfo], error: str) -> None:
    async def main(room: VirtualRoom) -> None:
        receiver = await receiver_in(room, target)
        receiving = asyncio.create_task(receiver.run())
        ann = await room.join("ann")
        await ann.wait_for_peers(1)
        await control_channel(ann).send(Offer(tuple(infos)))
        reply = (await control_channel(ann).receive()).data
        assert isinstance(reply, Failed)
        assert error in reply.reason
        assert not await receiving
        assert files_in(target) == {}

    in_room(main)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"wrong", "file: its SHA-256 is not the one that was announced"),
        (b"too much", "file: more came than was announced"),
    ],
)
def test_wrong_data_never_gets_the_name(target: Path, data: bytes, error: str) -> None:
    async def main(room: VirtualRoom) -> None:
        receiver = await receiver_in(room, target)
        receiving = asyncio.create_task(receiver.run())
        ann = await room.join("ann")
        await ann.wait_for_peers(1)
        await data_channel(ann).send(b"before anything was offered")
        await control_channel(ann).send(Offer((info_of("file", b"right"),)))
        assert (await control_channel(ann).receive()).data == Accept((0,))
        await data_channel(ann).send(data)
        assert (await control_channel(ann).receive()).data == Failed(error)
        assert not await receiving
        assert files_in(target) == {}

    in_room(main)


def test_a_receiver_takes_from_as_many_senders_as_it_wants(source: Path, target: Path) -> None:
    async def main(room: VirtualRoom) -> None:
        receiver = await receiver_in(room, target, senders=2)
        senders = [
            FileSender(await room.join(name), await offered(file_in(source, name, name.encode())))
            for name in ("ann", "cat", "dan")
        ]
        outcomes = await asyncio.gather(receiver.run(), *(sender.run() for sender in senders))
        assert sorted(outcomes) == [False, True, True, True]
        errors = [transfer.error for sender in senders for transfer in sender.transfers.values()]
        assert sorted(filter(None, errors)) == ["the receiver takes nothing more"]
        assert len(files_in(target)) == 2

    in_room(main)


def test_a_file_that_shrinks_while_it_is_sent_ends_the_transfer_at_both_ends(
    source: Path, target: Path
) -> None:
    path = file_in(source, "file")

    async def main(room: VirtualRoom) -> None:
        files = await offered(path)
        path.write_bytes(CONTENT[:1000])
        sender, receiver = FileSender(await room.join("ann"), files), await receiver_in(room, target)
        assert await both(sender.run(), receiver.run()) == (False, False)
        for transfer in (*sender.transfers.values(), *receiver.transfers.values()):
            assert transfer.error == "file became shorter while it was sent"

    in_room(main)


@pytest.mark.parametrize(
    ("names", "error"),
    [
        ([], "0 files, and 1 to 1,000 can be sent at once"),
        (["missing"], "No such file or directory"),
        ([".hidden"], "'.hidden' is the name of a hidden file"),
        (["a/file", "b/file"], "two files are named file"),
        (["directory"], "is not a regular file"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_anybody_is_asked(
    tmp_path: Path, names: list[str], error: str
) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(CannotSend, match=error):
        await offered_files([tmp_path / name for name in names])


# Names and partial files


@given(st.text())
def test_a_name_without_objection_stays_in_its_directory(name: str) -> None:
    if objection_to(name) is None:
        path = Path("directory") / name
        assert path.parent == Path("directory")
        assert path.name == name
        assert not name.startswith(".")


@given(
    content=st.binary(max_size=300),
    cuts=st.lists(st.integers(min_value=0, max_value=300), max_size=6),
)
def test_however_often_a_transfer_breaks_off_the_file_is_right(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cuts: list[int]
) -> None:
    async def main() -> None:
        directory = tmp_path_factory.mktemp("target")
        info = info_of("file", content)
        for cut in [*sorted(cuts), len(content)]:
            partial = await PartialFile.open(directory, info, force=False)
            try:
                await partial.write(content[partial.received : cut])
                if partial.is_whole:
                    await partial.place()
            finally:
                partial.close()
        assert [path.name for path in directory.iterdir()] == ["file"]
        assert (directory / "file").read_bytes() == content

    asyncio.run(main())


async def test_a_file_is_received_by_one_at_a_time_and_garbage_is_started_over(tmp_path: Path) -> None:
    info = info_of("file", b"content")
    first = await PartialFile.open(tmp_path, info, force=False)
    with pytest.raises(CannotReceive, match="is being received already"):
        await PartialFile.open(tmp_path, info, force=False)
    await first.write(b"c")
    first.close()
    (partial,) = files_in(tmp_path)
    (tmp_path / partial).write_bytes(b"longer than the content")
    second = await PartialFile.open(tmp_path, info, force=False)
    assert second.received == 0
    await second.write(b"content")
    file_in(tmp_path, "file", b"made by somebody else meanwhile")
    with pytest.raises(CannotReceive, match="exists already"):
        await second.place()
    second.close()
    assert (tmp_path / "file").read_bytes() == b"made by somebody else meanwhile"


async def test_a_link_in_place_of_the_partial_file_is_not_followed(tmp_path: Path) -> None:
    info, elsewhere = info_of("file", b"content"), file_in(tmp_path, "elsewhere", b"mine")
    (tmp_path / f".file.{info.sha256[:16]}.part").symlink_to(elsewhere)
    with pytest.raises(CannotReceive):
        await PartialFile.open(tmp_path, info, force=True)
    assert elsewhere.read_bytes() == b"mine"


async def test_a_directory_is_not_overwritten_even_by_force(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(CannotReceive, match="a directory is in the way"):
        await PartialFile.open(tmp_path, info_of("file", b"content"), force=True)


async def both(sending: Coroutine[Any, Any, bool], receiving: Coroutine[Any, Any, bool]) -> tuple[bool, bool]:
    sent, received = await asyncio.gather(sending, receiving)
    return sent, received


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - time is virtual, and progress is polled
        await asyncio.sleep(0.01)


async def expect_offer(mesh: Mesh) -> None:
    assert isinstance((await control_channel(mesh).receive()).data, Offer)
