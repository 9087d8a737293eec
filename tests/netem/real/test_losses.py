"""Telling of packets that links took out."""

import socket
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem import Fate, Link, LinkConfig, QueueDiscipline
from rtcmesh.netem.real.link_process import Pipe
from rtcmesh.netem.real.losses import READ_BATCH, Loss, LossTeller, told_losses

LOSSES = st.lists(
    st.tuples(
        st.integers(0, 0xFFFF),
        st.sampled_from(Fate),
        st.floats(allow_nan=False),
        st.binary(max_size=2000),
    ),
    max_size=READ_BATCH,
)


def ends() -> tuple[LossTeller, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    return LossTeller(theirs.detach()), ours


@given(LOSSES)
def test_what_is_told_is_heard_in_order(losses: list[tuple[int, Fate, float, bytes]]) -> None:
    teller, ours = ends()
    with ours, teller:
        for loss in losses:
            teller.tell(*loss)
            assert list(told_losses(ours)) == [Loss(loss[0], loss[1], 0, *loss[2:])]
        assert list(told_losses(ours)) == []


def test_what_nobody_has_time_for_is_counted() -> None:
    teller, ours = ends()
    with ours, teller:
        for number in range(10_000):
            teller.tell(1, Fate.LOST, float(number), bytes(1000))
        heard: list[Loss] = []
        while batch := list(told_losses(ours)):
            assert len(batch) <= READ_BATCH
            heard += batch
        assert [loss.at for loss in heard] == list(range(len(heard)))
        teller.tell(1, Fate.LOST, 0.0, b"")
        (last,) = told_losses(ours)
        assert last.untold == 10_000 - len(heard) > 0


def test_what_a_queue_gives_up_is_told_once_whatever_is_configured() -> None:
    teller, ours = ends()
    near, source = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, teller, near, source:
        source.setblocking(False)
        slow = LinkConfig(
            rate_bytes_per_second=1000, max_queue_bytes=250, queue=QueueDiscipline.HEAD_DROP, delay=1000
        )
        pipe = Pipe(7, Link(slow, Random(0)), source.fileno(), -1, teller)
        for number in range(6):
            near.send(b"\x45" + bytes([number] * 99))
            pipe.take()
        pipe.configure(LinkConfig())
        pipe.configure(slow)
        told = list(told_losses(ours))
        assert [(loss.link, loss.fate) for loss in told] == [(7, Fate.DROPPED)] * pipe.link.counters.dropped
        assert len({loss.packet for loss in told}) == len(told) > 1


def test_an_owner_who_is_gone_stops_nobody() -> None:
    teller, ours = ends()
    ours.close()
    with teller:
        teller.tell(1, Fate.CUT, 0.0, b"")
