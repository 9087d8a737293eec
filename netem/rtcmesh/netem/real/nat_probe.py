"""How a gateway really behaves: asked by playing both sides of it (RFC 5780, section 4).

Before any link carries packets, the one who made the devices holds both ends of a gateway: what it writes to the inner
device came from a host within, what it reads from the outer one left for the world. The probe asks from fresh ports
for each question, and of two addresses with two ports each. A packet that must not come is not waited for: another
one, which must come, is sent behind it on the same way.
"""

from __future__ import annotations

import itertools
import os
import select
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from rtcmesh.netem.nat_examination import Remote, examine_filtering, examine_mapping
from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.topology import Dependence, NatConfig, PortAssignment

from .datagrams import UDP, Datagram, parse, syn_packet, udp_packet
from .errors import LaboratoryUnavailable

ANSWER_TIMEOUT = 10.0
"""Seconds within which a packet that must come comes; the kernel takes microseconds, if it has the processor."""

_PACKET_BYTES = 2048
_FIRST_PORT = 20_000

_REMOTES = ("198.51.100.1", "198.51.100.2")
_REMOTE_PORTS = (3478, 3479)

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Found = TypeVar("Found")


class Observed(msgspec.Struct, frozen=True):
    """How a gateway was seen to treat UDP; None where it lets none through. TCP passes, or none of this is known."""

    mapping: Dependence | None
    filtering: Dependence | None
    hairpinning: bool | None
    ports: PortAssignment | None

    def differences(self, nat: NatConfig) -> list[str]:
        """Say in what it differs from what was asked for."""
        expected = Observed(None, None, None, None)
        if not nat.blocks_udp:
            expected = Observed(nat.mapping, nat.filtering, nat.hairpinning, nat.ports)
        return [
            f"{name} is {_said(seen)}, not {_said(wanted)}"
            for name in self.__struct_fields__
            if (seen := getattr(self, name)) != (wanted := getattr(expected, name))
        ]


def _said(value: object) -> str:
    match value:
        case Dependence() | PortAssignment():
            return str(value.value)
        case None:
            return "no matter, since it passes no UDP"
        case _:
            return "on" if value else "off"


@dataclass(frozen=True, kw_only=True)
class Box:
    """A gateway and the devices at both sides of it."""

    inside: int
    """The descriptor that puts packets in as from the host with `host_address`."""
    outside: int
    host_address: str
    external_address: str


def probe(box: Box) -> Observed:
    """Find out how it behaves. Raises `LaboratoryUnavailable` when it carries nothing at all."""
    return _Probe(box).run()


class _Probe:
    def __init__(self, box: Box) -> None:
        self._box = box
        self._ports = itertools.count(_FIRST_PORT)
        self._payloads = itertools.count()
        self._remotes = {
            Remote.FIRST: Endpoint(_REMOTES[0], _REMOTE_PORTS[0]),
            Remote.OTHER_PORT: Endpoint(_REMOTES[0], _REMOTE_PORTS[1]),
            Remote.OTHER_ADDRESS: Endpoint(_REMOTES[1], _REMOTE_PORTS[0]),
            Remote.OTHER: Endpoint(_REMOTES[1], _REMOTE_PORTS[1]),
        }
        self._server = self._remotes[Remote.FIRST]

    def run(self) -> Observed:
        socket = self._socket()
        if self._out(socket, self._server) is None:
            return Observed(None, None, None, None)
        return Observed(self._mapping(), self._filtering(), self._hairpinning(), self._port_assignment())

    def _mapping(self) -> Dependence:
        socket = self._socket()
        examination = examine_mapping()
        found = _answered(
            examination, lambda question: self._must_get_out(socket, self._remotes[question.remote])
        )
        assert found is not None, "every question was answered"
        return found

    def _filtering(self) -> Dependence:
        return _answered(
            examine_filtering(), lambda question: self._comes_in_from(self._remotes[question.remote])
        )

    def _hairpinning(self) -> bool:
        """Send from one socket within to what another one looks like from outside (section 4.5)."""
        one, other = self._socket(), self._socket()
        one_seen, other_seen = self._must_get_out(one, self._server), self._must_get_out(other, self._server)
        payload = self._put_in(one, other_seen)
        self._put_in(other, one_seen)  # lets the first one in, where hairpinned packets are filtered too
        again = self._put_in(one, other_seen)
        last = self._put_out(self._server, other_seen)
        external = self._box.external_address
        return any(
            packet.payload in {payload, again} and packet.source.address == external
            for packet in self._read(self._box.inside, until=last)
        )

    def _port_assignment(self) -> PortAssignment:
        sockets = [self._socket() for _ in range(3)]
        seen = [self._must_get_out(socket, self._server).port for socket in sockets]
        if seen == [socket.port for socket in sockets]:
            return PortAssignment.PRESERVED
        steps = {later - earlier for earlier, later in itertools.pairwise(seen)}
        return PortAssignment.CONTIGUOUS if steps == {1} else PortAssignment.RANDOM

    def _comes_in_from(self, remote: Endpoint) -> bool:
        seen = self._must_get_out(self._socket(), self._server)
        payload = self._put_out(remote, seen)
        last = self._put_out(self._server, seen)
        return any(packet.payload == payload for packet in self._read(self._box.inside, until=last))

    def _socket(self) -> Endpoint:
        return Endpoint(self._box.host_address, next(self._ports))

    def _must_get_out(self, socket: Endpoint, remote: Endpoint) -> Endpoint:
        seen = self._out(socket, remote)
        if seen is None:
            raise LaboratoryUnavailable(f"a gateway lets some UDP out, and nothing from {socket} to {remote}")
        return seen

    def _out(self, socket: Endpoint, remote: Endpoint) -> Endpoint | None:
        """Send a datagram out, and a SYN behind it, which must pass; return where the datagram seems to come from."""
        payload = self._put_in(socket, remote)
        os.write(self._box.inside, syn_packet(socket, remote))
        for packet in self._read(self._box.outside, until=None):
            if packet.protocol == UDP and packet.payload == payload:
                return packet.source
        return None

    def _put_in(self, source: Endpoint, destination: Endpoint) -> bytes:
        return self._put(self._box.inside, source, destination)

    def _put_out(self, source: Endpoint, destination: Endpoint) -> bytes:
        return self._put(self._box.outside, source, destination)

    def _put(self, device: int, source: Endpoint, destination: Endpoint) -> bytes:
        payload = b"rtcmesh %d" % next(self._payloads)
        os.write(device, udp_packet(source, destination, payload))
        return payload

    def _read(self, device: int, *, until: bytes | None) -> list[Datagram]:
        """Read until a datagram with this payload has come; None: until a TCP packet has."""
        came: list[Datagram] = []
        while True:
            ready, _, _ = select.select([device], [], [], ANSWER_TIMEOUT)
            if not ready:
                awaited = "a reply" if until else "TCP"
                raise LaboratoryUnavailable(
                    f"the gateway {self._box.external_address} does not let {awaited} through: "
                    "does this kernel have nftables with NAT (nft_chain_nat, nft_nat, nf_conntrack)?"
                )
            packet = parse(os.read(device, _PACKET_BYTES))
            if packet is None:
                continue
            if packet.protocol != UDP if until is None else packet.payload == until:
                return [*came, packet]
            came.append(packet)


def _answered(examination: Generator[Question, Answer, Found], answer: Callable[[Question], Answer]) -> Found:
    try:
        question = next(examination)
        while True:
            question = examination.send(answer(question))
    except StopIteration as done:
        found: Found = done.value
        return found
