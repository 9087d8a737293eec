"""`rtcmesh netem profiles`: which networks there are, and where their numbers come from."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from .outcome import AsJson, failing_in_one_line

if TYPE_CHECKING:
    from rtcmesh.netem.link import LinkConfig
    from rtcmesh.netem.profiles import Profile

app = typer.Typer()

File = Annotated[
    Path | None,
    typer.Option("--file", exists=True, dir_okay=False, help="Profiles of your own: a TOML file."),
]


@app.command()
def profiles(
    name: Annotated[str | None, typer.Argument(help="The profile to explain. Default: list all.")] = None,
    file: File = None,
    *,
    json: AsJson = False,
) -> None:
    """List the networks that links can imitate, or say of one where each of its numbers comes from."""
    with failing_in_one_line():
        known = known_profiles(file)
        chosen = list(known.values()) if name is None else [find_profile(known, name)]
    if json:
        sys.stdout.write(msgspec.json.encode(chosen).decode() + "\n")
        return
    console = Console()
    if name is None:
        console.print(_listed(chosen))
    else:
        _explain(console, chosen[0])


def known_profiles(file: Path | None) -> Mapping[str, Profile]:
    """Return the profiles of a file, or those that come with the laboratory."""
    from rtcmesh.netem.profiles import profile, profile_names, profiles_in

    return {name: profile(name) for name in profile_names()} if file is None else profiles_in(file)


def find_profile(known: Mapping[str, Profile], name: str) -> Profile:
    """Return one of them. Raises `NoSuchProfile`."""
    from rtcmesh.netem.profiles import NoSuchProfile

    if name not in known:
        raise NoSuchProfile(name, known)
    return known[name]


def _listed(profiles: list[Profile]) -> Table:
    table = Table()
    table.add_column("name", no_wrap=True)
    for column in ("what it is", "Mbit/s down", "up", "round trip", "jitter", "loss", "assumed"):
        table.add_column(column)
    for each in profiles:
        assumed = [figure.is_assumed for figure in each.figures]
        table.add_row(
            each.name,
            each.description,
            _rate(each.down),
            _rate(each.up),
            f"{(each.down.delay + each.up.delay) * 1000:g} ms",
            _jitter(each.down),
            _loss(each.down),
            "all" if all(assumed) else "some" if any(assumed) else "",
        )
    return table


def _explain(console: Console, profile: Profile) -> None:
    console.print(f"[bold]{profile.name}[/]: {profile.description}")
    if profile.loss_scope is not None:
        meant = {
            "residual": "what programs see, after the link layer's retransmissions",
            "raw": "what happens below the link layer's retransmissions",
        }[profile.loss_scope.value]
        console.print(f"Its loss is {meant}.")
    table = Table("direction", "number", "value", "source")
    for figure in profile.figures:
        table.add_row(
            figure.direction,
            figure.name,
            figure.value,
            f"[yellow]{figure.source}" if figure.is_assumed else figure.source,
        )
    console.print(table)


def _rate(link: LinkConfig) -> str:
    if link.rate_bytes_per_second is not None:
        return f"{link.rate_bytes_per_second * 8 / 1e6:g}"
    if link.rate_trace is not None:
        return f"{link.rate_trace.carried_bytes / link.rate_trace.seconds * 8 / 1e6:.3g}, changing"
    return ""


def _jitter(link: LinkConfig) -> str:
    return f"{link.jitter * 1000:g} ms" if isinstance(link.jitter, float) and link.jitter else ""


def _loss(link: LinkConfig) -> str:
    return ", ".join(_losses(link))


def _losses(link: LinkConfig) -> Iterator[str]:
    from rtcmesh.netem.models.loss import Bursts

    if isinstance(link.loss, Bursts):
        yield f"{link.loss.loss:.3g} in bursts of {link.loss.mean_burst:g}"
    elif link.loss:
        yield f"{link.loss:.3g}"
    if link.reconfiguration is not None and link.reconfiguration.outage:
        yield f"{link.reconfiguration.outage:g} s each {link.reconfiguration.period:g} s"
