"""Whether a run was as expected, and what it is said to have been instead."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem.faults import ChangeAddress, Cut, Direction, Fault, Impair, Partition, Signal
from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.scenario.account import Account, Ending, described
from rtcmesh.netem.scenario.verdict import judge
from rtcmesh.netem.scenario.words import (
    Count,
    Counted,
    Delivered,
    Exits,
    Expectation,
    Message,
    Note,
    OnPath,
    Packets,
    Path,
    Ready,
    Silence,
)


def seen() -> Account:
    """Ann had messages at 1, 2, 4 and 4.5 s, took two paths, and left at 6 s; bob ran until the run ended at 8 s."""
    account = Account()
    account.report("ann", Ready(), 0.5)
    for at in (1.0, 2.0, 4.0, 4.5):
        account.report("ann", Message(), at)
    account.report("ann", Path(path="relay"), 1.0)
    account.report("ann", Path(path="direct"), 3.0)
    account.report("ann", Count(name="retries", count=2), 3.0)
    account.report("ann", Count(name="retries", count=3), 4.0)
    account.report("ann", Note(text="done"), 5.0)
    account.ended("ann", Ending(at=6.0, status=0))
    account.ended("bob", Ending(at=8.0, status=None))
    account.ended("cy", Ending(at=1.0, status=2, error="no such file"))
    account.counters = {"ann": {"up": {"lost": 2}, "down": {"lost": 3}}}
    account.ended_at = 8.0
    return account


@pytest.mark.parametrize(
    ("expected", "met", "was"),
    [
        (Exits(program="ann"), True, "ann exited with status 0 at 6.000 s"),
        (Exits(program="ann", status=1), False, "ann exited with status 0 at 6.000 s"),
        (Exits(program="bob"), False, "bob still ran after 8 s"),
        (Exits(program="cy"), False, "cy exited with status 2 at 1.000 s: no such file"),
        (Exits(program="dan"), False, "dan never started"),
        (Silence(program="ann", at_most=2), True, "ann was silent for 2.000 s from 2.000 s on"),
        (Silence(program="ann", at_most=1.9), False, "ann was silent for 2.000 s from 2.000 s on"),
        (Silence(program="ann", at_most=1.9, since=4), True, "ann was silent for 1.500 s from 4.500 s on"),
        (
            Silence(program="ann", at_most=0.9, since=0, until=1.5),
            False,
            "ann was silent for 1.000 s from 0.000 s on",
        ),
        (Silence(program="bob", at_most=100), False, "bob had no message at all"),
        (Silence(program="bob", at_most=7, since=0), False, "bob was silent for 8.000 s from 0.000 s on"),
        (Delivered(program="ann", at_least=4), True, "ann had 4 messages"),
        (Delivered(program="ann", at_least=4, by=4.2), False, "ann had 3 messages by 4.2 s"),
        (Delivered(program="ann", at_most=3), False, "ann had 4 messages"),
        (Delivered(program="bob"), False, "bob had 0 messages"),
        (OnPath(program="ann", path="direct"), True, "ann was on the path direct"),
        (OnPath(program="ann", path="direct", at=2), False, "ann was on the path relay"),
        (OnPath(program="bob", path="direct"), False, "bob reported no path"),
        (Counted(program="ann", name="retries", at_most=3), True, "ann counted 3 retries"),
        (Counted(program="ann", name="retries", at_least=4), False, "ann counted 3 retries"),
        (Counted(program="ann", name="tries"), False, "ann reported no count of tries"),
        (Packets(node="ann", fate="lost", at_least=5), True, "5 packets were lost at ann"),
        (
            Packets(node="ann", fate="lost", direction=Direction.UP, at_most=1),
            False,
            "2 packets were lost at ann",
        ),
        (Packets(node="bob", fate="lost", at_most=0), True, "0 packets were lost at bob"),
    ],
)
def test_each_expectation_is_judged_by_what_was_seen(expected: Expectation, was: str, *, met: bool) -> None:
    verdict = judge(expected, seen())
    assert (verdict.met, verdict.was) == (met, was)


def test_the_timeline_tells_everything_but_single_messages_and_counts() -> None:
    assert [(entry.at, entry.subject, entry.text) for entry in seen().entries] == [
        (0.5, "ann", "is ready"),
        (1.0, "ann", "path: relay"),
        (3.0, "ann", "path: direct"),
        (5.0, "ann", "done"),
        (6.0, "ann", "exited with status 0"),
        (8.0, "bob", "was ended"),
        (1.0, "cy", "exited with status 2"),
    ]


@given(times=st.lists(st.floats(0, 10), min_size=1).map(sorted), since=st.none() | st.floats(0, 10))
def test_no_silence_is_longer_than_the_longest(times: list[float], since: float | None) -> None:
    account = Account()
    for at in times:
        account.report("ann", Message(), at)
    account.ended_at = 10.0
    edges = [10.0] if since is None else [since, 10.0]
    points: list[float] = sorted(edges + [at for at in times if since is None or at >= since])
    longest = max((later - earlier for earlier, later in pairwise(points)), default=0.0)
    if len(points) > 1:
        assert judge(Silence(program="ann", at_most=longest, since=since), account).met
    if longest > 0.01:
        assert not judge(Silence(program="ann", at_most=longest - 0.005, since=since), account).met


@pytest.mark.parametrize(
    ("fault", "subject", "text"),
    [
        (Cut(node="ann", direction=Direction.UP), "ann", "cut direction up"),
        (ChangeAddress(node="ann"), "ann", "change-address"),
        (Partition(nodes=("ann", "bob")), "network", 'partition nodes ["ann","bob"], one_way false'),
        (Signal(process="server", signal="kill"), "server", "signal signal kill"),
    ],
)
def test_a_fault_is_described_in_words(fault: Fault, subject: str, text: str) -> None:
    assert described(fault) == (subject, text)


def test_the_description_of_an_impairment_says_what_is_not_perfect() -> None:
    subject, text = described(Impair(node="ann", up=LinkConfig(loss=0.5)))
    assert subject == "ann"
    assert '"loss":0.5' in text
    assert "jitter" not in text
