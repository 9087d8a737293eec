"""Chaos: repeatable, possible, recorded, and shrunk to the least that still fails."""

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rtcmesh.netem.faults import ChangeAddress, Cut, Fault, Signal, SwitchUplink
from rtcmesh.netem.scenario.chaos import CALM_AT_END, chaos
from rtcmesh.netem.scenario.reading import read_scenario
from rtcmesh.netem.scenario.shrink import Shrinking
from rtcmesh.netem.scenario.timeline import timeline
from rtcmesh.netem.scenario.words import Event, Scenario
from rtcmesh.netem.scenario.writing import write_scenario
from support.scenarios import scenarios

SEEDS = st.integers(0, 2**32)


@settings(max_examples=40)
@given(scenario=scenarios(), seed=SEEDS, faults=st.integers(0, 12), signals=st.booleans())
def test_a_seed_means_a_timeline_that_a_file_can_hold(
    scenario: Scenario, seed: int, faults: int, *, signals: bool
) -> None:
    drawn = chaos(scenario, seed, faults=faults, signals=signals)
    assert drawn == chaos(scenario, seed, faults=faults, signals=signals)
    assert read_scenario(write_scenario(drawn), "chaos.toml", {}) == drawn
    assert (drawn.seed, drawn.topology, drawn.programs) == (seed, scenario.topology, scenario.programs)
    own = drawn.events[len(scenario.events) :]
    assert drawn.events[: len(scenario.events)] == scenario.events
    assert len(own) == faults
    assert signals or not any(isinstance(event.fault, Signal) for event in own)


@settings(max_examples=40)
@given(scenario=scenarios(), seed=SEEDS)
def test_at_the_end_there_is_time_to_recover(scenario: Scenario, seed: int) -> None:
    calm = msgspec.structs.replace(scenario, events=(), duration=max(scenario.duration, 10.0))
    drawn = chaos(calm, seed, faults=10, signals=True)
    quiet_from = calm.duration * (1 - CALM_AT_END) + 0.2
    assert all(moment.at <= quiet_from for moment in timeline(drawn))
    for moment in timeline(drawn):
        if isinstance(moment.fault, Cut):
            assert drawn.events[moment.event].lasting is not None


def test_different_seeds_mean_different_timelines() -> None:
    scenario = read_scenario("title = ''\n[hosts.ann]\n[hosts.bob]", "", {})
    assert len({chaos(scenario, seed, faults=5, signals=False).events for seed in range(20)}) == 20


FAULTS: list[Fault] = [ChangeAddress(node="ann"), SwitchUplink(node="ann", to="home")]
events = st.builds(
    Event,
    at=st.integers(0, 50).map(float),
    fault=st.sampled_from(FAULTS),
    every=st.none() | st.just(1.0),
)


@given(timeline=st.lists(events, min_size=1, max_size=12, unique=True).map(tuple), data=st.data())
def test_the_least_that_is_needed_is_what_is_left(timeline: tuple[Event, ...], data: st.DataObject) -> None:
    """A failure that takes some of the events together is shrunk to these."""
    needed = data.draw(st.lists(st.sampled_from(timeline), min_size=1, max_size=4, unique=True))
    places = {event.at for event in needed}
    assume(len({event.at for event in timeline}) == len(timeline))
    shrinking = Shrinking(
        timeline, lambda events: places <= {event.at for event in events}, max_trials=10_000
    )
    assert {event.at for event in shrinking.run()} == places
    assert not any(event.every for event in shrinking.smallest)
    assert not shrinking.is_exhausted


@given(
    timeline=st.lists(events, max_size=8, unique=True).map(tuple),
    answers=st.integers(0, 2**32),
    max_trials=st.integers(0, 500),
)
def test_whatever_fails_for_whatever_reason_still_fails_when_it_is_shrunk(
    timeline: tuple[Event, ...], answers: int, max_trials: int
) -> None:
    asked: list[tuple[Event, ...]] = []

    def fails(events: tuple[Event, ...]) -> bool:
        asked.append(events)
        return _answer(events, answers)

    shrinking = Shrinking(timeline, fails, max_trials=max_trials)
    smallest = shrinking.run()
    assert smallest == timeline or _answer(smallest, answers)
    assert len(asked) == shrinking.trials <= max_trials
    assert len(set(asked)) == len(asked)
    if not shrinking.is_exhausted:
        for number in range(len(smallest)):
            assert not _answer(smallest[:number] + smallest[number + 1 :], answers)


def _answer(events: tuple[Event, ...], answers: int) -> bool:
    """Answer in a way that has no order in it."""
    return bool(answers >> (sum(int(event.at) * 7 + bool(event.every) for event in events) % 32) & 1)


def test_what_lasts_is_made_shorter_as_long_as_it_fails() -> None:
    cut = Event(at=1, fault=Cut(node="ann"), every=1, times=8, lasting=16)
    shrinking = Shrinking(
        (cut,), lambda events: bool(events) and (events[0].lasting or 0) >= 3, max_trials=100
    )
    assert shrinking.run() == (Event(at=1, fault=Cut(node="ann"), lasting=4),)


def test_an_empty_timeline_that_fails_is_the_smallest() -> None:
    assert Shrinking((Event(at=1, fault=Cut(node="ann")),), lambda _: True, max_trials=9).run() == ()
