"""Scenarios from TOML. Whatever is wrong is told with its file, its line, its key, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path as FilePath
from typing import Any, get_args

import msgspec

from rtcmesh.netem.faults import Fault
from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.profiles import profiles_in
from rtcmesh.netem.toml_lines import Path
from rtcmesh.netem.topology import INTERNET, NATS, GatewaySpec, HostSpec, NatConfig, Topology, Uplink
from rtcmesh.netem.trace_file import load_losses, load_rate
from rtcmesh.netem.typed_toml import Document, DocumentInvalid

from .checks import check_scenario
from .timeline import Switch, switches, uplink_in_use
from .words import DEFAULT_DURATION, Event, Expectation, Program, Scenario

Profiles = Mapping[str, Uplink]
"""Uplinks by the names of their profiles."""

NONE = "none"
"""What TOML has no value for: `rate_bytes_per_second = "none"` takes away the limit that a profile sets."""

_TRACES: dict[str, tuple[Callable[[FilePath], object], *tuple[str, ...]]] = {
    "rate_file": (load_rate, "rate_trace", "rate_bytes_per_second"),
    "loss_file": (load_losses, "loss"),
}
"""How files are read that a link may name, and what of it they take the place of."""

IMPAIR = "impair"
_TIMING = ("at", "every", "times", "until", "lasting")
_UplinkAt = Callable[[int, float, str], Uplink]
_FAULTS = {fault.__struct_config__.tag: fault for fault in get_args(Fault)}


class _UplinkTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    profile: str = ""
    both: dict[str, Any] = {}
    up: dict[str, Any] = {}
    down: dict[str, Any] = {}


class _OneUplinkTable(_UplinkTable, kw_only=True, forbid_unknown_fields=True):
    to: str = INTERNET


class _NodeTable(_UplinkTable, kw_only=True, forbid_unknown_fields=True):
    behind: str = INTERNET


class _HostTable(_NodeTable, kw_only=True, forbid_unknown_fields=True):
    uplinks: list[dict[str, Any]] = []


class _GatewayTable(_NodeTable, kw_only=True, forbid_unknown_fields=True):
    nat: str | dict[str, Any] = {}


class _Timing(msgspec.Struct):
    at: float


class _ScenarioTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    title: str
    seed: int = 0
    duration: float = DEFAULT_DURATION
    profiles: list[str] = []
    hosts: dict[str, dict[str, Any]]
    gateways: dict[str, dict[str, Any]] = {}
    programs: dict[str, dict[str, Any]] = {}
    events: list[dict[str, Any]] = []
    expect: list[dict[str, Any]] = []


def load_scenario(path: FilePath, profiles: Profiles) -> Scenario:
    """Read a scenario from a file. Raises `DocumentInvalid`, and OSError for the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DocumentInvalid(str(path), line, "", "this is not UTF-8, and so no TOML") from None
    return read_scenario(text, str(path), profiles)


def read_scenario(text: str, file: str, profiles: Profiles) -> Scenario:
    """Read a scenario; the files it names are beside `file`. Raises `DocumentInvalid`."""
    return _Reader(Document(text, file), profiles).read()


class _Reader:
    def __init__(self, document: Document, profiles: Profiles) -> None:
        self._document = document
        self._profiles = profiles
        self._folder = FilePath(document.file).parent

    def read(self) -> Scenario:
        table = self._document.convert(self._document.root, _ScenarioTable, ())
        if not 0 < table.duration < float("inf"):
            self._document.refuse(("duration",), f"must be a number of seconds, not {table.duration}")
        self._add_profiles(table.profiles)
        topology = self._topology(table)
        scenario = Scenario(
            title=table.title,
            topology=topology,
            seed=table.seed,
            duration=table.duration,
            programs={
                name: self._document.convert(program, Program, ("programs", name))
                for name, program in table.programs.items()
            },
            events=self._events(table, topology),
            expectations=tuple(
                self._expectation(expected, ("expect", number))
                for number, expected in enumerate(table.expect)
            ),
        )
        check_scenario(scenario, self._document)
        return scenario

    # The network

    def _add_profiles(self, files: list[str]) -> None:
        """Read the profiles of files beside this one; they go before others of the same name."""
        for number, file in enumerate(files):
            try:
                found = profiles_in(self._folder / file)
            except OSError as error:
                self._document.refuse(("profiles", number), str(error))
            own = {name: Uplink(up=each.up, down=each.down) for name, each in found.items()}
            self._profiles = {**self._profiles, **own}

    def _topology(self, table: _ScenarioTable) -> Topology:
        hosts = tuple(self._host(name, host) for name, host in table.hosts.items())
        gateways = tuple(self._gateway(name, gateway) for name, gateway in table.gateways.items())
        for name, uplink, path in self._ways_up(table, hosts, gateways):
            if uplink.to != INTERNET and uplink.to not in table.gateways:
                known = [INTERNET, *table.gateways]
                self._document.refuse_name(path, uplink.to, f"gateway that {name!r} could be behind", known)
        try:
            return Topology(hosts=hosts, gateways=gateways)
        except ValueError as error:
            self._document.refuse(_blamed(str(error), table), str(error))

    def _host(self, name: str, table: dict[str, Any]) -> HostSpec:
        path = ("hosts", name)
        host = self._document.convert(table, _HostTable, path)
        if not host.uplinks:
            return HostSpec(name=name, uplinks=(self._uplink(host, host.behind, path),))
        if len(table) > 1:
            self._document.refuse(path, "what its uplinks are like is said in `uplinks`, and only there")
        uplinks: list[Uplink] = []
        for number, item in enumerate(host.uplinks):
            item_path = (*path, "uplinks", number)
            uplink = self._document.convert(item, _OneUplinkTable, item_path)
            uplinks.append(self._uplink(uplink, uplink.to, item_path))
        return HostSpec(name=name, uplinks=tuple(uplinks))

    def _gateway(self, name: str, table: dict[str, Any]) -> GatewaySpec:
        path = ("gateways", name)
        gateway = self._document.convert(table, _GatewayTable, path)
        uplink = self._uplink(gateway, gateway.behind, path)
        return GatewaySpec(name=name, nat=self._nat(gateway.nat, (*path, "nat")), uplink=uplink)

    def _nat(self, nat: str | dict[str, Any], path: Path) -> NatConfig:
        if isinstance(nat, dict):
            return self._document.convert(nat, NatConfig, path)
        if nat not in NATS:
            self._document.refuse_name(path, nat, "kind of NAT", NATS)
        return NATS[nat]

    def _uplink(self, table: _UplinkTable, to: str, path: Path) -> Uplink:
        base = self._profile(table.profile, path) if table.profile else Uplink()
        up, down = (
            self._overridden(self._overridden(link, table.both, (*path, "both")), own, (*path, key))
            for link, own, key in ((base.up, table.up, "up"), (base.down, table.down, "down"))
        )
        return Uplink(to=to, up=up, down=down)

    def _profile(self, name: str, path: Path) -> Uplink:
        if name not in self._profiles:
            self._document.refuse_name((*path, "profile"), name, "profile", self._profiles)
        return self._profiles[name]

    def _overridden(self, link: LinkConfig, table: dict[str, Any], path: Path) -> LinkConfig:
        if not table:
            return link
        table = self._with_traces(table, path)
        self._document.check_keys(table, LinkConfig, path)
        base: dict[str, Any] = msgspec.to_builtins(link)
        own = {key: None if value == NONE else value for key, value in table.items()}
        return self._document.convert({**base, **own}, LinkConfig, path)

    def _with_traces(self, table: dict[str, Any], path: Path) -> dict[str, Any]:
        """Put what was recorded in the place of the names of files beside this one."""
        table = dict(table)
        for key, (loads, *fields) in _TRACES.items():
            if (file := table.pop(key, None)) is None:
                continue
            if not isinstance(file, str):
                self._document.refuse((*path, key), "must be the name of a file beside this one")
            if said := table.keys() & set(fields):
                self._document.refuse((*path, key), f"{min(said)} says something else")
            try:
                recorded = msgspec.to_builtins(loads(self._folder / file))
            except OSError as error:
                self._document.refuse((*path, key), str(error))
            table |= {**dict.fromkeys(fields, NONE), fields[0]: recorded}
        return table

    def _ways_up(
        self, table: _ScenarioTable, hosts: tuple[HostSpec, ...], gateways: tuple[GatewaySpec, ...]
    ) -> list[tuple[str, Uplink, Path]]:
        ways: list[tuple[str, Uplink, Path]] = []
        for host in hosts:
            if "uplinks" in table.hosts[host.name]:
                ways += [
                    (host.name, uplink, ("hosts", host.name, "uplinks", number, "to"))
                    for number, uplink in enumerate(host.uplinks)
                ]
            else:
                ways.append((host.name, host.uplinks[0], ("hosts", host.name, "behind")))
        return ways + [(gate.name, gate.uplink, ("gateways", gate.name, "behind")) for gate in gateways]

    # What happens, and what is expected

    def _events(self, table: _ScenarioTable, topology: Topology) -> tuple[Event, ...]:
        """Read the impairments last: what they are based on depends on where uplinks are switched."""
        events: dict[int, Event] = {}
        switched: list[Switch] = []

        def uplink_at(number: int, at: float, node: str) -> Uplink:
            return uplink_in_use(topology, switched, node, (at, number))

        impairing = [number for number, event in enumerate(table.events) if event.get("do") == IMPAIR]
        for number, event in enumerate(table.events):
            if number not in impairing:
                events[number] = self._event(event, number, uplink_at)
        switched += switches(events, table.duration)
        for number in impairing:
            events[number] = self._event(table.events[number], number, uplink_at)
        return tuple(event for _, event in sorted(events.items()))

    def _event(self, table: dict[str, Any], number: int, uplink_at: _UplinkAt) -> Event:
        path = ("events", number)
        if "do" not in table:
            self._document.refuse(path, "the key 'do' is missing")
        if (word := table["do"]) not in list(_FAULTS):
            self._document.refuse_name((*path, "do"), word, "fault", map(str, _FAULTS))
        sugar = ("profile", "both") if word == IMPAIR else ()
        fields = _FAULTS[word].__struct_fields__
        self._document.check_known(table, ("do", *_TIMING, *fields, *sugar), path)
        timing = {key: value for key, value in table.items() if key in _TIMING}
        rest = {key: value for key, value in table.items() if key not in _TIMING}
        if "at" not in timing:
            self._document.refuse(path, "the key 'at' is missing")
        if word == IMPAIR:
            when = self._document.convert({"at": timing["at"]}, _Timing, path)
            rest = self._impairment(rest, partial(uplink_at, number, when.at), path)
        fault: Fault = self._document.convert(rest, Fault, path)
        return self._document.convert({**timing, "fault": msgspec.to_builtins(fault)}, Event, path)

    def _impairment(
        self, table: dict[str, Any], uplink_of: Callable[[str], Uplink], path: Path
    ) -> dict[str, Any]:
        """Complete what an event says about a link by what the profile, or the topology, says of that uplink."""
        keys = {key: table[key] for key in ("profile", "both", "up", "down") if key in table}
        if not keys:
            self._document.refuse(path, "it says of no link what to do: give profile, both, up or down")
        said = self._document.convert(keys, _UplinkTable, path)
        try:
            before = uplink_of(table.get("node", ""))
        except (KeyError, TypeError):  # no such node, which is told when the whole event is looked at
            before = Uplink()
        base = self._profile(said.profile, path) if said.profile else before
        rest = {key: value for key, value in table.items() if key not in keys}
        for key, link, own in (("up", base.up, said.up), ("down", base.down, said.down)):
            if keys.keys() & {"profile", "both", key}:
                both = self._overridden(link, said.both, (*path, "both"))
                rest[key] = msgspec.to_builtins(self._overridden(both, own, (*path, key)))
        return rest

    def _expectation(self, table: dict[str, Any], path: Path) -> Expectation:
        expected: Expectation = self._document.convert(table, Expectation, path)
        return expected


def _blamed(problem: str, table: _ScenarioTable) -> Path:
    """Return the place of the node that a complaint about the topology names."""
    for name in re.findall(r"[\w-]+", problem):
        for kind, nodes in (("gateways", table.gateways), ("hosts", table.hosts)):
            if name in nodes:
                return (kind, name)
    return ("hosts",)
