"""Scenarios as TOML, which reads back as the same scenario."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec

from rtcmesh.netem.faults import Impair
from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.topology import NATS, GatewaySpec, HostSpec, NatConfig, Uplink

from .errors import ExtraMissing
from .reading import NONE
from .timeline import Switch, switches, uplink_in_use
from .words import DEFAULT_DURATION, Event, Program, Scenario

Table = dict[str, Any]


def write_scenario(scenario: Scenario, *, comment: str = "") -> str:
    """Return a scenario as TOML; the comment, if any, is its first lines. Raises `ExtraMissing`."""
    try:
        import tomli_w
    except ModuleNotFoundError:
        raise ExtraMissing("writing scenarios needs tomli-w: pip install 'rtcmesh[netem]'") from None
    root: Table = {"title": scenario.title, "seed": scenario.seed}
    if scenario.duration != DEFAULT_DURATION:
        root["duration"] = scenario.duration
    root["hosts"] = {host.name: _host(host) for host in scenario.topology.hosts}
    root["gateways"] = {gateway.name: _gateway(gateway) for gateway in scenario.topology.gateways}
    root["programs"] = {name: _program(program) for name, program in scenario.programs.items()}
    events = scenario.events
    switched = switches(dict(enumerate(events)), scenario.duration)
    root["events"] = [_event(event, number, scenario, switched) for number, event in enumerate(events)]
    root["expect"] = [_without_nothing(msgspec.to_builtins(expected)) for expected in scenario.expectations]
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    return lines + tomli_w.dumps({key: value for key, value in root.items() if value not in ({}, [])})


def _host(host: HostSpec) -> Table:
    if len(host.uplinks) == 1:
        return _way_up(host.uplinks[0], "behind")
    return {"uplinks": [_way_up(uplink, "to") for uplink in host.uplinks]}


def _gateway(gateway: GatewaySpec) -> Table:
    names = [name for name, nat in NATS.items() if nat == gateway.nat]
    nat = names[0] if names else _differences(gateway.nat, NatConfig())
    return {"nat": nat, **_way_up(gateway.uplink, "behind")}


def _way_up(uplink: Uplink, key: str) -> Table:
    links = {"up": _differences(uplink.up, LinkConfig()), "down": _differences(uplink.down, LinkConfig())}
    return {key: uplink.to, **{name: link for name, link in links.items() if link}}


def _program(program: Program) -> Table:
    table: Table = msgspec.to_builtins(program)
    return {key: value for key, value in table.items() if value not in ("", (), [], False)}


def _event(event: Event, number: int, scenario: Scenario, switched: list[Switch]) -> Table:
    timing = {name: getattr(event, name) for name in ("at", "every", "times", "until", "lasting")}
    fault: Table = msgspec.to_builtins(event.fault)
    if isinstance(event.fault, Impair):
        before = uplink_in_use(scenario.topology, switched, event.fault.node, (event.at, number))
        for way, link, was in (("up", event.fault.up, before.up), ("down", event.fault.down, before.down)):
            fault[way] = None if link is None else _differences(link, was)
    return _without_nothing({**timing, **fault})


def _differences(config: LinkConfig | NatConfig, base: LinkConfig | NatConfig) -> Table:
    """Return what has to be said about a configuration where `base` holds otherwise."""
    said, known = _all_of(config), _all_of(base)
    return {key: NONE if value is None else value for key, value in said.items() if value != known[key]}


def _all_of(config: LinkConfig | NatConfig) -> Table:
    """Return every field, those that have their default too."""
    values = asdict(config) if isinstance(config, NatConfig) else msgspec.structs.asdict(config)
    return {key: msgspec.to_builtins(value) for key, value in values.items()}


def _without_nothing(table: Table) -> Table:
    return {key: value for key, value in table.items() if value is not None}
