"""The promise of the product, as a sample: `make soak` runs it ten thousand times."""

from __future__ import annotations

import pytest

from rtcmesh.peer.events import PathKind
from rtcmesh.peer.testing.direct_death import measure_direct_death
from rtcmesh.peer.testing.first_message import measure_first_message
from rtcmesh.peer.testing.head_of_line import RATE_BYTES_PER_SECOND, measure_head_of_line
from rtcmesh.peer.testing.path_trials import run_trial


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_lost_repeated_or_reordered_whatever_happens_to_the_paths(seed: int) -> None:
    result = run_trial(seed)
    assert result.ok, result.verdict
    assert result.sent > 1000
    assert result.gaps


def test_a_trial_is_the_same_each_time() -> None:
    assert run_trial(3) == run_trial(3)


@pytest.mark.parametrize("seed", range(6))
def test_the_death_of_the_direct_path_silences_the_conversation_for_less_than_a_second_and_a_half(
    seed: int,
) -> None:
    assert measure_direct_death(seed) < 1.5


@pytest.mark.parametrize("round_trip", [0.01, 0.1, 0.6])
def test_the_first_message_takes_one_round_trip_to_the_server_and_its_answer_another(
    round_trip: float,
) -> None:
    first = measure_first_message(round_trip=round_trip)
    assert first.heard <= 1.5
    assert first.answered <= 2.5


@pytest.mark.parametrize(
    ("kind", "webrtc"), [(PathKind.RELAYED, False), (PathKind.DIRECT, False), (PathKind.DIRECT, True)]
)
def test_a_bulk_transfer_that_saturates_the_path_delays_small_messages_little(
    kind: PathKind, webrtc: bool
) -> None:
    measured = measure_head_of_line(kind, webrtc=webrtc, seconds=2)
    assert measured.p99 < 0.1
    saturated = 0.3 if webrtc else 0.8  # the congestion window below has not grown yet
    assert measured.bulk_bytes_per_second > saturated * RATE_BYTES_PER_SECOND
