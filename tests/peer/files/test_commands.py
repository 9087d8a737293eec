"""`rtcmesh send` and `rtcmesh receive` as processes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtcmesh.peer import Mesh
from rtcmesh.peer.cli import app
from rtcmesh.peer.files.messages import Accept, FileInfo, Offer, control_channel, data_channel
from rtcmesh.signaling.config import ServerConfig
from rtcmesh.signaling.server import serve
from support.processes import rtcmesh, run_rtcmesh

CONTENT = bytes(range(256)) * 2000
pytestmark = pytest.mark.timeout(180)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
async def url() -> AsyncGenerator[str]:
    async with serve(ServerConfig(port=0)) as server:
        yield server.url


@pytest.fixture
def target(tmp_path: Path) -> Path:
    directory = tmp_path / "target"
    directory.mkdir()
    return directory


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "numbers"
    path.write_bytes(CONTENT)
    return path


async def test_a_file_is_sent_to_two_receivers_and_both_ends_say_so_in_json(
    url: str, file: Path, tmp_path: Path
) -> None:
    targets = [tmp_path / "one", tmp_path / "two"]
    for directory in targets:
        directory.mkdir()
    sent, *received = await asyncio.gather(
        run_rtcmesh("send", url, "files", str(file), "--peers", "2", "--secret", "hush", "--json"),
        *(run_rtcmesh("receive", url, "files", str(t), "--secret", "hush", "--json") for t in targets),
    )
    for ended, transfers in ((sent, 2), *((ended, 1) for ended in received)):
        assert (ended.code, ended.errors) == (0, "")
        outcome = json.loads(ended.output)
        assert outcome["ok"] is True
        assert len(outcome["transfers"]) == transfers
        for transfer in outcome["transfers"]:
            assert transfer["path_changes"] >= 1
            assert (transfer["ok"], transfer["error"], transfer["placed"]) == (True, None, 1)
            assert (transfer["bytes"], transfer["resumed_bytes"]) == (len(CONTENT), 0)
            assert transfer["files"] == [{"name": "numbers", "size": len(CONTENT), "sha256": SHA256}]
    assert [(directory / "numbers").read_bytes() for directory in targets] == [CONTENT, CONTENT]


async def test_people_are_told_what_arrived_and_what_did_not(url: str, file: Path, target: Path) -> None:
    (target / "numbers").write_text("mine")
    sent, received = await asyncio.gather(
        run_rtcmesh("send", url, "files", str(file)), run_rtcmesh("receive", url, "files", str(target))
    )
    for ended in (sent, received):
        assert (ended.code, ended.errors) == (1, "")
        assert "numbers: exists already; --force overwrites it" in ended.output
    sent, received = await asyncio.gather(
        run_rtcmesh("send", url, "files", str(file)),
        run_rtcmesh("receive", url, "files", str(target), "--force"),
    )
    for ended in (sent, received):
        assert (ended.code, ended.errors) == (0, "")
        assert f"✓ numbers: 512,000 bytes, SHA-256 {SHA256[:16]}…" in ended.output
    assert (target / "numbers").read_bytes() == CONTENT


async def test_ctrl_c_ends_both_in_silence_while_they_wait(url: str, file: Path, target: Path) -> None:
    async with rtcmesh("receive", url, "files", str(target)) as receiver:
        await receiver.expect("receives in files")
        receiver.interrupt()
        ended = await receiver.ended()
        assert (ended.code, ended.errors) == (130, "")
    async with rtcmesh("send", url, "files", str(file)) as sender:
        await sender.expect("waiting for receivers")
        sender.interrupt()
        ended = await sender.ended()
        assert (ended.code, ended.errors) == (130, "")


async def test_ctrl_c_in_the_midst_of_a_file_leaves_a_part_that_is_not_named_like_it(
    url: str, target: Path
) -> None:
    async with rtcmesh("receive", url, "files", str(target)) as receiver, Mesh.join(url, room="files") as ann:
        await receiver.expect("receives in files")
        await ann.wait_for_peers(1)
        control = control_channel(ann)
        await control.send(Offer((FileInfo("numbers", len(CONTENT), SHA256),)))
        assert (await control.receive()).data == Accept((0,))
        data = data_channel(ann)
        await data.send(CONTENT[:1000])
        await data.flush()
        receiver.interrupt()
        ended = await receiver.ended()
        assert (ended.code, ended.errors) == (130, "")
    assert list_of(target) == [f".numbers.{SHA256[:16]}.part"]


def list_of(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_a_hidden_file_and_a_server_that_is_not_there_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "file").write_text("")
    hidden = await run_rtcmesh("send", "http://127.0.0.1:1", "files", str(tmp_path / ".hidden"))
    assert (hidden.code, hidden.output) == (1, "")
    assert hidden.errors == "'.hidden' is the name of a hidden file\n"
    nowhere = await run_rtcmesh(
        "send", "http://127.0.0.1:1", "files", str(tmp_path / "file"), "--timeout", "0.5"
    )
    assert (nowhere.code, nowhere.output, nowhere.errors.count("\n")) == (1, "", 1)
    assert "no signaling server welcomed us" in nowhere.errors


@pytest.mark.parametrize(
    "command",
    [["send", "http://127.0.0.1", "files", "nowhere"], ["receive", "http://127.0.0.1", "files", "nowhere"]],
)
def test_what_is_not_there_is_refused_at_once(command: list[str]) -> None:
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    assert "does not exist" in refused.output
