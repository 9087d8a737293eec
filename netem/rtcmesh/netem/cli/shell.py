"""`rtcmesh netem shell`: a command behind an impaired uplink."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from .outcome import fail, failing_in_one_line
from .profiles import File, find_profile, known_profiles

if TYPE_CHECKING:
    from rtcmesh.netem.real.shell import ShellEnded

app = typer.Typer()


@app.command(context_settings={"ignore_unknown_options": True})
def shell(
    command: Annotated[
        list[str] | None, typer.Argument(help="The command, after `--`. Default: your shell.")
    ] = None,
    *,
    file: File = None,
    profile: Annotated[str, typer.Option(help="The uplink; `rtcmesh netem profiles` lists them.")] = "lte",
    nat: Annotated[
        str | None, typer.Option(help="Stand behind a gateway of this kind, such as `symmetric`.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of what is random about the uplink.")] = 0,
) -> None:
    """Run a command on a host behind an uplink like those of the profile. Linux alone, and no way out of the machine.

    On the other side, at $RTCMESH_SERVER, there are echo (port 7) and discard (9), over UDP and TCP, and a web server
    (80) that answers GET /1000000 with so many bytes. The exit code is the command's own.
    """
    from rich.console import Console

    from rtcmesh.netem.real.shell import run_in_shell
    from rtcmesh.netem.topology import NATS

    if nat is not None and nat not in NATS:
        fail(f"there is no kind of gateway called {nat!r}; there are {', '.join(NATS)}")
    console = Console(stderr=True, highlight=False)
    argv = command or [os.environ.get("SHELL", "/bin/sh")]

    def started(address: str) -> None:
        console.print(
            f"{profile}: the other side is {address}: echo 7, discard 9, web 80 (GET /N gives N bytes)"
        )

    with failing_in_one_line():
        link = find_profile(known_profiles(file), profile)
        ended = asyncio.run(
            run_in_shell(
                argv, up=link.up, down=link.down, nat=NATS[nat] if nat else None, seed=seed, started=started
            )
        )
    for line in _told(ended, max(link.up.delay, link.down.delay)):
        console.print(line, soft_wrap=True)
    raise typer.Exit(ended.code)


def _told(ended: ShellEnded, delay: float) -> list[str]:
    audit = ended.audit
    lines = [
        f"{name}: {links.sent} packets, {links.delivered} arrived, {links.lost} lost, {links.dropped} dropped"
        for name, links in (("up", ended.up), ("down", ended.down))
    ]
    if not audit.is_valid(delay):
        lines.append(
            f"[yellow]this machine was too busy: 1 % of the packets were over {audit.late_p99 * 1000:.1f} ms late"
        )
    return lines
