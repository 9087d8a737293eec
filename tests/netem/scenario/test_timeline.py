"""When what happens: repeated, undone, in order, and never more than can be meant."""

import pytest
from hypothesis import given, settings

from rtcmesh.netem.faults import Cut, Fault, Heal, Impair, Partition, Rebind, Signal, SwitchUplink
from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.scenario.timeline import timeline
from rtcmesh.netem.scenario.words import Event, Scenario
from rtcmesh.netem.topology import GatewaySpec, HostSpec, Topology, Uplink
from support.scenarios import scenarios

TOPOLOGY = Topology(
    hosts=(
        HostSpec(name="ann", uplinks=(Uplink(to="home", up=LinkConfig(delay=0.1)),)),
        HostSpec(name="bob", uplinks=(Uplink(), Uplink(to="home", down=LinkConfig(loss=0.2)))),
    ),
    gateways=(GatewaySpec(name="home"),),
)
CUT, HEAL, REBIND = Cut(node="ann"), Heal(node="ann"), Rebind(node="home")


def happenings(*events: Event, duration: float = 10.0) -> list[tuple[float, Fault]]:
    scenario = Scenario(title="", topology=TOPOLOGY, duration=duration, events=events)
    return [(moment.at, moment.fault) for moment in timeline(scenario)]


def test_what_happens_once_happens_once() -> None:
    assert happenings(Event(at=3.5, fault=CUT)) == [(3.5, CUT)]


def test_a_flap_is_a_cut_that_lasts_and_comes_again() -> None:
    flap = Event(at=1, fault=CUT, every=2, times=2, lasting=0.5)
    assert happenings(flap) == [(1, CUT), (1.5, HEAL), (3, CUT), (3.5, HEAL)]


def test_what_comes_again_ends_with_its_time_or_with_the_duration() -> None:
    assert happenings(Event(at=1, fault=CUT, every=2, until=5)) == [(1, CUT), (3, CUT), (5, CUT)]
    assert happenings(Event(at=7, fault=CUT, every=2)) == [(7, CUT), (9, CUT)]
    assert happenings(Event(at=11, fault=CUT)) == []


def test_events_of_one_time_happen_in_their_order() -> None:
    assert happenings(Event(at=2, fault=CUT), Event(at=1, fault=REBIND), Event(at=2, fault=HEAL)) == [
        (1, REBIND),
        (2, CUT),
        (2, HEAL),
    ]


@pytest.mark.parametrize(
    ("fault", "undone"),
    [
        (Partition(nodes=("ann", "bob")), HEAL),
        (
            Impair(node="ann", up=LinkConfig(loss=1)),
            Impair(node="ann", up=LinkConfig(delay=0.1), down=LinkConfig()),
        ),
        (Signal(process="server", signal="pause"), Signal(process="server", signal="resume")),
    ],
)
def test_what_lasts_is_undone_by_what_undoes_it(fault: Fault, undone: Fault) -> None:
    assert happenings(Event(at=1, fault=fault, lasting=2)) == [(1, fault), (3, undone)]


BAD = Impair(node="bob", up=LinkConfig(loss=1))
AWAY, BACK = SwitchUplink(node="bob", to="home"), SwitchUplink(node="bob", to="internet")


def test_an_impairment_of_another_uplink_ends_as_that_one_was() -> None:
    events = (Event(at=1, fault=AWAY), Event(at=2, fault=BAD, lasting=3))
    restored = Impair(node="bob", up=LinkConfig(), down=LinkConfig(loss=0.2))
    assert happenings(*events) == [(1, AWAY), (2, BAD), (5, restored)]


def test_an_impairment_that_ends_on_an_uplink_that_was_left_is_gone_when_the_node_comes_back() -> None:
    events = (Event(at=1, fault=BAD, lasting=2), Event(at=2, fault=AWAY), Event(at=8, fault=BACK))
    restored = Impair(node="bob", up=LinkConfig(), down=LinkConfig())
    assert happenings(*events) == [(1, BAD), (2, AWAY), (8, BACK), (8, restored)]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"at": float("nan")}, "at must be a finite"),
        ({"every": 0}, "every must be positive"),
        ({"every": 1, "times": 0}, "times must be at least 1"),
        ({"times": 2}, "every is missing"),
        ({"until": 2}, "every is missing"),
        ({"fault": HEAL, "lasting": 1}, "cannot be undone"),
        ({"fault": Signal(process="server", signal="kill"), "lasting": 1}, "other than pause"),
    ],
)
def test_an_event_says_when_it_makes_no_sense(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Event(**{"at": 1, "fault": CUT, **values})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@settings(max_examples=40)
@given(scenarios())
def test_everything_is_in_order_and_within_the_duration(scenario: Scenario) -> None:
    moments = timeline(scenario)
    times = [moment.at for moment in moments]
    assert times == sorted(times)
    assert all(at <= scenario.duration for at in times)
    for number, event in enumerate(scenario.events):
        own = [moment for moment in moments if moment.event == number]
        assert bool(own) == (
            event.at <= scenario.duration and (event.until is None or event.at <= event.until)
        )
        assert all(moment.at >= event.at for moment in own)
        if event.lasting is None:
            assert all(moment.fault == event.fault for moment in own)
            assert event.times is None or len(own) <= event.times
