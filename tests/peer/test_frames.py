from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer import frames, signals
from rtcmesh.peer.errors import ProtocolViolation
from rtcmesh.peer.frames import Ack, Data, End, Frame, Open, Probe, ProbeType, Progress, Resume

U16 = st.integers(0, 2**16 - 1)
U64 = st.integers(0, 2**64 - 1)
PROGRESS = st.builds(Progress, U16, U64, U64)
LABEL = st.text(min_size=1, max_size=60).filter(lambda label: label.isascii())
FRAME = st.one_of(
    st.builds(
        Resume,
        st.integers(1, 2**64 - 1),
        U64,
        st.integers(2**17, 2**64 - 1),
        st.lists(PROGRESS, max_size=5).map(tuple),
    ),
    st.builds(Open, U16, LABEL),
    st.builds(Data, U16, U64, st.binary(max_size=100)),
    st.builds(Ack, PROGRESS),
    st.just(End()),
)
SIGNAL = st.one_of(
    st.builds(signals.Offer, st.integers(0, 2**53 - 1), st.text(max_size=50)),
    st.builds(signals.Answer, st.integers(0, 2**53 - 1), st.text(max_size=50)),
    st.builds(signals.Candidate, st.integers(0, 2**53 - 1), st.text(max_size=50)),
    st.builds(signals.Redial, st.integers(0, 2**53 - 1)),
    st.builds(signals.Abandon, st.integers(0, 2**53 - 1)),
)


def encode(frame: Frame) -> bytes:
    match frame:
        case Resume():
            return frames.encode_resume(frame)
        case Open():
            return frames.encode_open(frame.channel, frame.label)
        case Data():
            return frames.encode_data(*frame)
        case Ack():
            return frames.encode_ack(frame.progress)
        case End():
            return frames.encode_end()


def decode_whole_packet(packet: bytes) -> list[Frame]:
    return list(frames.decode_packet(packet))


@given(st.lists(FRAME, max_size=6))
def test_a_packet_is_its_frames_one_after_the_other(sent: list[Frame]) -> None:
    assert list(frames.decode_packet(b"".join(map(encode, sent)))) == sent


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_the_protocol_error(data: bytes) -> None:
    for decode in (decode_whole_packet, frames.decode_probe, signals.decode):
        with contextlib.suppress(ProtocolViolation):
            decode(data)


@given(FRAME, st.integers(1, 30))
def test_a_truncated_packet_is_refused(frame: Frame, cut: int) -> None:
    packet = encode(frame)[:-cut]
    if packet:
        with pytest.raises(ProtocolViolation):
            list(frames.decode_packet(packet))


@given(st.sampled_from(ProbeType), U64)
def test_a_probe_comes_back_as_it_was(kind: ProbeType, number: int) -> None:
    assert frames.decode_probe(frames.encode_probe(Probe(kind, number))) == Probe(kind, number)


@given(SIGNAL)
def test_a_signal_comes_back_as_it_was(signal: signals.Signal) -> None:
    assert signals.decode(signals.encode(signal)) == signal


def test_the_layout_of_a_data_frame_is_pinned() -> None:
    assert frames.encode_data(3, 5, b"hi").hex() == "03" + "0003" + "0000000000000005" + "00000002" + "6869"
