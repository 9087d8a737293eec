"""Two real peers behind every pair of gateways that people have, and what reaches them."""

import pytest

from rtcmesh.peer.matrix_bench.behind import PAIRS, Pair, can_be_direct, network
from rtcmesh.peer.matrix_bench.results import Matrix, page_of
from rtcmesh.peer.matrix_bench.run import Meeting, run_matrix

JOBS = 7
SETTLE = 6.0

HARD: tuple[Pair, ...] = (
    ("open", "udp-blocked"),
    ("port-restricted", "carrier-grade"),
    ("symmetric", "symmetric"),
    ("udp-blocked", "udp-blocked"),
)


def test_which_pairs_can_be_direct() -> None:
    hopeless = {pair for pair in PAIRS if not can_be_direct(pair)}
    assert len(PAIRS) == 28
    assert hopeless == {
        *(pair for pair in PAIRS if "udp-blocked" in pair),
        ("port-restricted", "symmetric"),
        ("port-restricted", "carrier-grade"),
        ("symmetric", "symmetric"),
        ("symmetric", "carrier-grade"),
        ("carrier-grade", "carrier-grade"),
    }


def test_a_network_has_the_ends_of_its_pairs_alone() -> None:
    assert {host.name for host in network([("open", "symmetric")]).hosts} == {
        "server",
        "open one",
        "symmetric other",
    }
    assert len(network(PAIRS).hosts) == 15


@pytest.mark.namespaces
@pytest.mark.timeout(400)
async def test_every_pair_talks_and_is_direct_where_it_can_be() -> None:
    meetings = await run_matrix(PAIRS, turn=False, settle=SETTLE, jobs=JOBS, progress=lambda _: None)
    for meeting in meetings:
        direct = "/" in meeting.path
        assert direct == can_be_direct((meeting.one, meeting.other)), meeting
        assert "relay/" not in meeting.path
        assert (meeting.rebound is None) == (meeting.one == "open")
        survived(meeting)
    assert "| symmetric, udp-blocked | our relay |" in page_of(
        [Matrix(False, SETTLE, tuple(meetings))], "a test"
    )


@pytest.mark.namespaces
@pytest.mark.timeout(400)
async def test_a_turn_server_makes_a_path_for_the_others() -> None:
    meetings = await run_matrix(HARD, turn=True, settle=SETTLE, jobs=JOBS, progress=lambda _: None)
    for meeting in meetings:
        assert "relay" in meeting.path.split("/"), meeting
        survived(meeting)


def survived(meeting: Meeting) -> None:
    assert meeting.first_message < 30
    if meeting.rebound is not None:
        assert meeting.rebound.path != "none"
        assert meeting.rebound.wrong == 0
