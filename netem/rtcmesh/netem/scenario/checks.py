"""Whether what a scenario names is there, and can do what is asked of it."""

from __future__ import annotations

import re
from dataclasses import fields

from rtcmesh.netem.faults import ChangeAddress, Fault, Partition, Rebind, Reboot, Signal, SwitchUplink
from rtcmesh.netem.link import LinkCounters
from rtcmesh.netem.toml_lines import Path
from rtcmesh.netem.topology import Topology
from rtcmesh.netem.typed_toml import Document

from .timeline import timeline
from .words import Packets, Program, Scenario

HOST_PLACEHOLDER = re.compile(r"\{([\w-]+)(?::(\d{1,5}))?\}")
"""In the arguments of a program, a host whose address is meant, or address and port."""

_PROGRAM_NAME = re.compile(r"[\w-]+")
"""Files are named after programs."""


def check_scenario(scenario: Scenario, document: Document) -> None:
    """Raise `DocumentInvalid` for the first name that stands for nothing, or for something that cannot do it."""
    check = _Check(scenario, document)
    for name, program in scenario.programs.items():
        check.program(name, program)
    check.order()
    for number, event in enumerate(scenario.events):
        check.fault(event.fault, ("events", number))
    for number, expected in enumerate(scenario.expectations):
        check.expectation(expected, ("expect", number))
    try:
        timeline(scenario)
    except ValueError as error:
        document.refuse(("events",), str(error))


class _Check:
    def __init__(self, scenario: Scenario, document: Document) -> None:
        self._scenario = scenario
        self._document = document
        topology: Topology = scenario.topology
        self._hosts = [host.name for host in topology.hosts]
        self._gateways = [gateway.name for gateway in topology.gateways]

    def program(self, name: str, program: Program) -> None:
        path: Path = ("programs", name)
        if not _PROGRAM_NAME.fullmatch(name):
            self._document.refuse(path, "a program's name has letters, digits, hyphens and underscores")
        self._known((*path, "host"), program.host, "host", self._hosts)
        for number, before in enumerate(program.after):
            self._known((*path, "after", number), before, "program", list(self._scenario.programs))
        for number, word in enumerate(program.arguments):
            for host, port in HOST_PLACEHOLDER.findall(word):
                self._known((*path, "arguments", number), host, "host", self._hosts)
                if port and not 0 < int(port) < 65536:
                    self._document.refuse((*path, "arguments", number), f"no port has the number {port}")

    def order(self) -> None:
        """Refuse programs that wait for each other."""
        started: set[str] = set()
        waiting = dict(self._scenario.programs)
        while waiting:
            able = [name for name, program in waiting.items() if started.issuperset(program.after)]
            if not able:
                ring = ", ".join(waiting)
                self._document.refuse(
                    ("programs", next(iter(waiting)), "after"), f"these wait for each other: {ring}"
                )
            for name in able:
                started.add(name)
                del waiting[name]

    def fault(self, fault: Fault, path: Path) -> None:
        match fault:
            case Partition(nodes=nodes):
                for number, node in enumerate(nodes):
                    self._known((*path, "nodes", number), node, "node", self._hosts + self._gateways)
                if nodes[0] == nodes[1]:
                    self._document.refuse((*path, "nodes"), f"{nodes[0]!r} cannot be parted from itself")
            case Signal(process=process):
                self._known((*path, "process"), process, "program", list(self._scenario.programs))
            case Rebind(node=node) | Reboot(node=node):
                self._known((*path, "node"), node, "gateway", self._gateways)
            case ChangeAddress(node=node) | SwitchUplink(node=node):
                self._known((*path, "node"), node, "host", self._hosts)
                if isinstance(fault, SwitchUplink):
                    ways = [uplink.to for uplink in self._scenario.topology.host(node).uplinks]
                    self._known((*path, "to"), fault.to, f"place an uplink of {node!r} leads to", ways)
            case _:
                self._known((*path, "node"), fault.node, "node", self._hosts + self._gateways)

    def expectation(self, expected: object, path: Path) -> None:
        if isinstance(expected, Packets):
            self._known((*path, "node"), expected.node, "node", self._hosts + self._gateways)
            fates = [field.name for field in fields(LinkCounters)]
            self._known((*path, "fate"), expected.fate, "counter of a link", fates)
        else:
            program: str = getattr(expected, "program", "")
            self._known((*path, "program"), program, "program", list(self._scenario.programs))

    def _known(self, path: Path, name: str, what: str, names: list[str]) -> None:
        if name not in names:
            self._document.refuse_name(path, name, what, names)
