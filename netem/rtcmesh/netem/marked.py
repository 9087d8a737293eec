"""What the marker of a test means, and what is told of a test that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from .lab import Lab
from .link import LinkConfig
from .scenario.backends import backend_named
from .scenario.library import profiles
from .scenario.reading import load_scenario
from .scenario.record import CAPTURE_FILE, Run
from .scenario.runner import record_scenario
from .topology import INTERNET, NATS, GatewaySpec, HostSpec, Topology, Uplink

CLIENT, SERVER, HOME = "client", "server", "home"

MAX_ENTRIES = 60
"""How many of the last lines of the timeline are told."""

MAX_LOG_LINES = 12
"""How many of the last lines that a program said are told."""


def lab_for(
    title: str, said: dict[str, Any], *, backend: str, seed: int | None, folder: Path, parent: Path
) -> Lab:
    """Return the network that a marker describes. Raises ValueError, which says what is wrong with it."""
    said = dict(said)
    own_seed = said.pop("seed", 0)
    if "scenario" in said:
        raise ValueError("a scenario brings its programs along: ask for the fixture `netem_run`")
    return Lab(
        title,
        _topology(**said),
        backend_named(backend),
        seed=own_seed if seed is None else seed,
        folder=folder,
        parent=parent,
    )


def run_for(
    said: dict[str, Any], *, backend: str, seed: int | None, folder: Path, parent: Path
) -> tuple[Run, Path]:
    """Run the scenario that a marker names."""
    if not said.get("scenario"):
        raise ValueError("the fixture `netem_run` takes a marker: @pytest.mark.netem(scenario='file.toml')")
    file = folder / said["scenario"]
    scenario = load_scenario(file, profiles())
    chosen = said.get("seed") if seed is None else seed
    if chosen is not None:
        scenario = msgspec.structs.replace(scenario, seed=chosen)
    return record_scenario(
        scenario, backend_named(backend), folder=file.parent.resolve(), parent=parent, name=file.stem
    )


def told(run: Run, path: Path | None, unrecorded: str = "") -> str:
    """Return what a person wants to know of a run that failed."""
    lines = [
        f"backend {run.backend}, --netem-seed {run.seed}, {run.seconds:.3f} s on the clock of the network"
    ]
    lines += [f"{entry.at:9.3f}  {entry.subject}: {entry.text}" for entry in run.entries[-MAX_ENTRIES:]]
    lines += [f"{'met' if verdict.met else 'NOT MET':>9}  {verdict.was}" for verdict in run.verdicts]
    for node, ways in run.counters.items():
        for way, fates in ways.items():
            if counts := ", ".join(f"{fate} {count}" for fate, count in fates.items() if count):
                lines.append(f"{node} {way}: {counts}")
    if path is not None:
        lines += _last_words(path)
        lines.append(f"recorded in {path}")
        lines.append(f"{run.captured_packets} packets in {path / CAPTURE_FILE}")
    elif unrecorded:
        lines.append(unrecorded)
    return "\n".join(lines)


def _last_words(path: Path) -> list[str]:
    """Return the end of what each program said: it often tells why another one failed."""
    lines: list[str] = []
    for file in sorted(path.glob("*.log")):
        if said := file.read_text(encoding="utf-8").splitlines():
            lines += [f"{file.stem} said:", *(f"  {line}" for line in said[-MAX_LOG_LINES:])]
    return lines


def _topology(
    *,
    profile: str = "",
    nat: str = "",
    up: LinkConfig | None = None,
    down: LinkConfig | None = None,
    topology: Topology | None = None,
) -> Topology:
    """Return a client behind what is said, and a server that is not behind anything."""
    if topology is not None:
        if profile or nat or up is not None or down is not None:
            raise ValueError("a topology says it all: no profile, NAT or link beside it")
        return topology
    known = profiles()
    if profile and profile not in known:
        raise ValueError(f"no profile is called {profile!r}; `rtcmesh netem profiles` lists them")
    if nat and nat not in NATS:
        raise ValueError(f"no kind of NAT is called {nat!r}; there are {', '.join(NATS)}")
    base = known[profile] if profile else Uplink()
    uplink = Uplink(to=INTERNET, up=up or base.up, down=down or base.down)
    server = HostSpec(name=SERVER)
    if not nat:
        return Topology(hosts=(HostSpec(name=CLIENT, uplinks=(uplink,)), server))
    client = HostSpec(name=CLIENT, uplinks=(Uplink(to=HOME),))
    return Topology(hosts=(client, server), gateways=(GatewaySpec(name=HOME, nat=NATS[nat], uplink=uplink),))
