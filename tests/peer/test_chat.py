"""The screen of the chat: whatever others send, it shows one line of text."""

import asyncio
import io

from rich.console import Console

from rtcmesh.peer.chat import Line, Screen
from rtcmesh.peer.testing import virtual_room
from rtcmesh.signaling.identity import short
from support.virtual import on_virtual_time

MARK = "\N{REPLACEMENT CHARACTER}"


@on_virtual_time
async def test_nothing_that_others_say_steers_the_terminal() -> None:
    output = io.StringIO()
    async with virtual_room() as room:
        ann = await room.join("ann")
        screen = Screen(ann, Console(file=output, force_terminal=False, width=40))
        bob = await room.join("bob", presence={"name": "[/red]\x1b[2J" + "b" * 100})
        await bob.channel("chat", type=Line).send(Line("[bold]\x1b]0;title\a\n:smile: " + "long " * 40))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(screen.show_events())
            tasks.create_task(screen.show_messages(ann.channel("chat", type=Line)))
            await bob.set_presence({"name": 7})
            await ann.wait_for_peers(1)
            await bob.aclose()
            await ann.aclose()
    name = f"[/red]{MARK}[2J{'b' * 22} ({short(bob.peer_id)})"
    lines = output.getvalue().splitlines()
    assert lines[0] == f"{name} joined"
    assert lines[-1].endswith("is gone (left)")
    said = [line for line in lines if "long" in line]
    assert len(said) == 1
    assert said[0].endswith(f" [bold]{MARK}]0;title{MARK}{MARK}:smile: " + "long " * 40)
