"""The NAT machine, held against what RFC 4787 requires."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rtcmesh.netem.packet import Endpoint, Kind
from rtcmesh.netem.topology import NATS, Dependence, NatConfig, PortAssignment
from rtcmesh.netem.virtual.nat import FIRST_UNPRIVILEGED, TCP_LIFETIME, Nat, Refusal

EXTERNAL = "198.18.0.2"
INSIDE = [Endpoint(f"10.1.0.{host}", port) for host in (2, 3) for port in (500, 4000, 4001)]
REMOTE = [Endpoint(f"203.0.113.{host}", port) for host in (1, 2) for port in (53, 3478)]

configs = st.builds(
    NatConfig,
    mapping=st.sampled_from(Dependence),
    filtering=st.sampled_from(Dependence),
    hairpinning=st.booleans(),
    ports=st.sampled_from(PortAssignment),
    udp_lifetime=st.just(120.0),
)
Sent = tuple[float, Kind, Endpoint, Endpoint, Endpoint]
"""When, over what, from where inside, to where, and as whom outside."""

kinds = st.sampled_from(Kind)


def seen_as(dependence: Dependence, remote: Endpoint) -> object:
    """Return what of a remote endpoint a box may look at."""
    return {
        Dependence.ENDPOINT_INDEPENDENT: None,
        Dependence.ADDRESS_DEPENDENT: remote.address,
        Dependence.ADDRESS_AND_PORT_DEPENDENT: remote,
    }[dependence]


class NatRequirements(RuleBasedStateMachine):
    """Keeps what went out and when; says from that alone what must be mapped and what may come in."""

    @initialize(config=configs, seed=st.integers(0, 9))
    def build(self, config: NatConfig, seed: int) -> None:
        self.config, self.now, self.nat = config, 0.0, Nat(config, EXTERNAL, Random(seed))
        self.sent: list[Sent] = []

    def lifetime(self, kind: Kind) -> float:
        return self.config.udp_lifetime if kind is Kind.UDP else TCP_LIFETIME

    def alive(self) -> list[Sent]:
        return [sent for sent in self.sent if self.now < sent[0] + self.lifetime(sent[1])]

    @rule(kind=kinds, internal=st.sampled_from(INSIDE), remote=st.sampled_from(REMOTE))
    def send_out(self, kind: Kind, internal: Endpoint, remote: Endpoint) -> None:
        before = self.alive()
        external = self.nat.outbound(kind, internal, remote, self.now)
        assert isinstance(external, Endpoint)
        self.note(kind, internal, remote, external, before)

    def note(
        self, kind: Kind, internal: Endpoint, remote: Endpoint, external: Endpoint, before: list[Sent]
    ) -> None:
        scope = seen_as(self.config.mapping, remote)
        same = {
            sent[4]
            for sent in before
            if sent[1:3] == (kind, internal) and seen_as(self.config.mapping, sent[3]) == scope
        }
        assert same <= {external}, "REQ-1, as far as the mapping behaviour goes: a living mapping is reused"
        others = {sent[2] for sent in before if (sent[1], sent[4]) == (kind, external)}
        assert others <= {internal}, "REQ-3: no port stands for two internal endpoints"
        assert external.address == EXTERNAL
        assert (external.port < FIRST_UNPRIVILEGED) == (internal.port < FIRST_UNPRIVILEGED), "REQ-3 a"
        self.sent.append((self.now, kind, internal, remote, external))

    @rule(kind=kinds, remote=st.sampled_from(REMOTE), data=st.data())
    @precondition(lambda self: self.sent)
    def let_in(self, kind: Kind, remote: Endpoint, data: st.DataObject) -> None:
        port = data.draw(st.sampled_from(sorted({sent[4].port for sent in self.sent})))
        mapped = [sent for sent in self.alive() if (sent[1], sent[4].port) == (kind, port)]
        welcome = {seen_as(self.config.filtering, sent[3]) for sent in mapped}
        admitted = self.nat.inbound(kind, remote, port, self.now)
        if not mapped:
            assert admitted is Refusal.UNMAPPED
        elif seen_as(self.config.filtering, remote) in welcome:
            assert admitted == mapped[0][2]
        else:
            assert admitted is Refusal.FILTERED, "REQ-8, as far as the filtering behaviour goes"

    @rule(internal=st.sampled_from(INSIDE), data=st.data())
    @precondition(lambda self: self.sent)
    def hairpin(self, internal: Endpoint, data: st.DataObject) -> None:
        target = data.draw(st.sampled_from(sorted({sent[4] for sent in self.sent})))
        before = self.alive()
        passed = self.nat.hairpin(Kind.UDP, internal, target.port, self.now)
        if not self.config.hairpinning:
            assert passed is Refusal.NOT_HAIRPINNED
            return
        source = self.nat.outbound(Kind.UDP, internal, target, self.now)
        assert isinstance(source, Endpoint)
        self.note(Kind.UDP, internal, target, source, before)
        mapped = [sent for sent in self.alive() if (sent[1], sent[4]) == (Kind.UDP, target)]
        welcome = {seen_as(self.config.filtering, sent[3]) for sent in mapped}
        if mapped and seen_as(self.config.filtering, source) in welcome:
            assert passed == (source, mapped[0][2]), "REQ-9 a: the external source address and port"
        else:
            assert isinstance(passed, Refusal)

    @rule(seconds=st.sampled_from([0.0, 1.0, 60.0, 119.9, 120.0, TCP_LIFETIME]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def rebind(self) -> None:
        taken = {(sent[1], sent[4].port) for sent in self.alive()}
        self.nat.rebind()
        for _, kind, internal, remote, _ in self.alive():
            external = self.nat.outbound(kind, internal, remote, self.now)
            assert isinstance(external, Endpoint)
            assert (kind, external.port) not in taken, "the next packets out get other ports"
        self.nat.forget()
        self.sent.clear()

    @invariant()
    def nothing_that_is_forgotten_is_kept(self) -> None:
        if self.sent:
            assert self.nat.mappings <= len({sent[1:] for sent in self.sent})


NatRequirements.TestCase.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
TestNat = NatRequirements.TestCase


def test_incoming_packets_alone_keep_no_mapping_alive() -> None:
    """RFC 4787, REQ-6: outgoing packets must refresh a mapping, incoming ones need not."""
    nat = Nat(NatConfig(filtering=Dependence.ENDPOINT_INDEPENDENT), EXTERNAL, Random(1))
    external = nat.outbound(Kind.UDP, INSIDE[1], REMOTE[0], 0.0)
    assert isinstance(external, Endpoint)
    for second in range(0, 119, 10):
        assert nat.inbound(Kind.UDP, REMOTE[1], external.port, float(second)) == INSIDE[1]
    assert nat.inbound(Kind.UDP, REMOTE[1], external.port, 120.0) is Refusal.UNMAPPED


def test_each_remote_is_let_in_for_a_lifetime_after_the_last_packet_to_it() -> None:
    nat = Nat(NATS["port-restricted"], EXTERNAL, Random(1))
    nat.outbound(Kind.UDP, INSIDE[1], REMOTE[0], 0.0)
    external = nat.outbound(Kind.UDP, INSIDE[1], REMOTE[1], 100.0)
    assert isinstance(external, Endpoint)
    assert nat.inbound(Kind.UDP, REMOTE[0], external.port, 119.0) == INSIDE[1]
    assert nat.inbound(Kind.UDP, REMOTE[0], external.port, 120.0) is Refusal.FILTERED
    assert nat.inbound(Kind.UDP, REMOTE[1], external.port, 219.0) == INSIDE[1]


@pytest.mark.parametrize("ports", PortAssignment)
def test_ports_run_out_are_counted_and_come_back(ports: PortAssignment) -> None:
    nat = Nat(NatConfig(ports=ports), EXTERNAL, Random(1))
    low = FIRST_UNPRIVILEGED - 1
    for number in range(low):
        assert isinstance(nat.outbound(Kind.UDP, Endpoint(f"10.1.0.{number}", 53), REMOTE[0], 0.0), Endpoint)
    assert nat.outbound(Kind.UDP, Endpoint("10.1.9.9", 53), REMOTE[0], 0.0) is Refusal.EXHAUSTED
    assert (nat.counters.mapped, nat.counters.exhausted) == (low, 1)
    assert isinstance(nat.outbound(Kind.TCP, Endpoint("10.1.9.9", 53), REMOTE[0], 0.0), Endpoint)
    assert isinstance(nat.outbound(Kind.UDP, Endpoint("10.1.9.9", 53), REMOTE[0], 120.0), Endpoint)
    assert nat.counters.expired == low


def test_a_port_is_preserved_where_it_is_free() -> None:
    nat = Nat(NATS["full-cone"], EXTERNAL, Random(1))
    ports = [nat.outbound(Kind.UDP, Endpoint(f"10.1.0.{host}", 4000), REMOTE[0], 0.0) for host in (2, 3, 4)]
    assert ports == [Endpoint(EXTERNAL, port) for port in (4000, 4001, 4002)]


def test_contiguous_ports_follow_one_another() -> None:
    nat = Nat(
        NatConfig(mapping=Dependence.ADDRESS_DEPENDENT, ports=PortAssignment.CONTIGUOUS), EXTERNAL, Random(1)
    )
    ports = [nat.outbound(Kind.UDP, INSIDE[1], Endpoint(f"203.0.113.{host}", 9), 0.0) for host in range(3)]
    assert ports == [Endpoint(EXTERNAL, FIRST_UNPRIVILEGED + number) for number in range(3)]


def test_blocked_udp_passes_no_way_and_tcp_does() -> None:
    nat = Nat(NATS["udp-blocked"], EXTERNAL, Random(1))
    assert nat.outbound(Kind.UDP, INSIDE[1], REMOTE[0], 0.0) is Refusal.BLOCKED
    assert nat.inbound(Kind.UDP, REMOTE[0], 4000, 0.0) is Refusal.BLOCKED
    external = nat.outbound(Kind.TCP, INSIDE[1], REMOTE[0], 0.0)
    assert isinstance(external, Endpoint)
    assert nat.inbound(Kind.TCP, REMOTE[0], external.port, 0.0) == INSIDE[1]
    assert nat.counters.blocked == 2


def test_a_box_that_starts_anew_gives_the_same_port_again() -> None:
    nat = Nat(NATS["port-restricted"], EXTERNAL, Random(1))
    first = nat.outbound(Kind.UDP, INSIDE[1], REMOTE[0], 0.0)
    nat.forget()
    assert nat.inbound(Kind.UDP, REMOTE[0], 4000, 1.0) is Refusal.UNMAPPED
    assert nat.outbound(Kind.UDP, INSIDE[1], REMOTE[0], 1.0) == first


@pytest.mark.parametrize("kind", NATS)
def test_the_lifetimes_of_all_kinds_are_as_long_as_the_standard_asks(kind: str) -> None:
    assert NATS[kind].udp_lifetime >= 120, "RFC 4787, REQ-5"
