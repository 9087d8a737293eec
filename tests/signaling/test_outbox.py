"""The unanswered signals of a peer."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtcmesh.signaling.codes import NackCode
from rtcmesh.signaling.errors import ProtocolError
from rtcmesh.signaling.messages import Ack, Nack, SendSignal
from rtcmesh.signaling.outbox import Outbox
from support.rooms import NAMES

WINDOW, WINDOW_BYTES = 4, 20


class OutboxMachine(RuleBasedStateMachine):
    """Submits, sends, answers, loses the connection, withdraws and restarts; each ticket ends exactly once."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(window_bytes=WINDOW_BYTES)
        self.outbox.restart(WINDOW)
        self.waiting: list[tuple[int, bytes]] = []
        self.sent: list[tuple[int, SendSignal]] = []
        self.last_id = 0

    @rule(sealed=st.binary(max_size=12))
    def submit(self, sealed: bytes) -> None:
        self.waiting.append((self.outbox.submit(NAMES[0], sealed), sealed))

    @rule()
    def send(self) -> None:
        for signal in self.outbox.signals_to_send():
            ticket, sealed = self.waiting.pop(0)
            self.last_id += 1
            assert signal == SendSignal(to=NAMES[0], id=self.last_id, sealed=sealed)
            self.sent.append((ticket, signal))
        size_bytes = sum(len(signal.sealed) for _, signal in self.sent)
        assert len(self.sent) <= WINDOW
        assert size_bytes <= WINDOW_BYTES or len(self.sent) == 1
        if self.waiting:
            full = len(self.sent) == WINDOW or size_bytes + len(self.waiting[0][1]) > WINDOW_BYTES
            assert full, "a signal waits although there is room"

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), nack=st.booleans())
    def answer(self, data: st.DataObject, *, nack: bool) -> None:
        ticket, signal = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        answer = Nack(id=signal.id, code=NackCode.UNKNOWN_PEER) if nack else Ack(id=signal.id)
        assert self.outbox.settle(answer) == ticket

    @rule(id_=st.integers(1, 100))
    def answer_what_nobody_asked(self, id_: int) -> None:
        if id_ not in {signal.id for _, signal in self.sent}:
            with pytest.raises(ProtocolError):
                self.outbox.settle(Ack(id=id_))

    @precondition(lambda self: self.waiting or self.sent)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        tickets = [ticket for ticket, _ in self.waiting] + [ticket for ticket, _ in self.sent]
        ticket = data.draw(st.sampled_from(tickets))
        self.outbox.withdraw(ticket)
        self.waiting = [item for item in self.waiting if item[0] != ticket]

    @rule()
    def restart(self) -> None:
        given_up = self.outbox.restart(WINDOW)
        assert given_up == [t for t, _ in self.sent] + [t for t, _ in self.waiting]
        self.sent, self.waiting, self.last_id = [], [], 0

    @invariant()
    def a_replay_is_what_was_sent_and_not_answered_in_order(self) -> None:
        assert self.outbox.replay() == [signal for _, signal in self.sent]
        assert len(self.outbox) == len(self.sent) + len(self.waiting)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=60, stateful_step_count=30)
