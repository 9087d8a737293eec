import copy
import pickle
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtcmesh.signaling.errors import SignalingError
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.prekey import InvalidPrekey, LocalPrekey, Prekey
from rtcmesh.signaling.sealing import (
    MAX_REMOTE_INSTANCES,
    OVERHEAD_BYTES,
    SALT_BYTES,
    WINDOW_WIDTH,
    ForgedEnvelope,
    PairSeal,
    ReplayedEnvelope,
    SealError,
    SealExhausted,
    TooManyInstances,
)
from support.members import Member, pair_of_seals


def assert_strangers(one: PairSeal, two: PairSeal) -> None:
    for sealing, opening in ((one, two), (two, one)):
        with pytest.raises(ForgedEnvelope):
            opening.open(sealing.seal(b"hello"))


@given(st.binary(), st.binary(), st.none() | st.binary(min_size=1))
def test_what_one_member_seals_the_other_opens(
    plaintext: bytes, associated_data: bytes, secret: bytes | None
) -> None:
    one, two = pair_of_seals(secret=secret)
    for sealing, opening in ((one, two), (two, one)):
        sealed = sealing.seal(plaintext, associated_data)
        assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
        assert opening.open(sealed, associated_data) == plaintext


def test_the_same_plaintext_is_never_sealed_alike() -> None:
    one, two = pair_of_seals()
    sealed = {one.seal(b"hello")[24:] for _ in range(100)} | {two.seal(b"hello")[24:] for _ in range(100)}
    assert len(sealed) == 200


def test_an_envelope_with_any_bit_changed_is_forged() -> None:
    one, two = pair_of_seals()
    sealed = one.seal(b"an offer", b"to two")
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ForgedEnvelope):
            two.open(bytes(altered), b"to two")
    assert two.open(sealed, b"to two") == b"an offer"


def test_an_envelope_cut_anywhere_or_grown_is_forged() -> None:
    one, two = pair_of_seals()
    sealed = one.seal(b"an offer")
    for length in range(len(sealed)):
        with pytest.raises(ForgedEnvelope):
            two.open(sealed[:length])
    with pytest.raises(ForgedEnvelope):
        two.open(sealed + b"\0")


@given(st.binary(max_size=200))
def test_any_bytes_in_place_of_an_envelope_raise_the_one_error(sealed: bytes) -> None:
    _, two = pair_of_seals()
    with pytest.raises(ForgedEnvelope):
        two.open(sealed)


@given(st.binary(min_size=1, max_size=100), st.data())
def test_an_envelope_altered_anyhow_is_forged(plaintext: bytes, data: st.DataObject) -> None:
    one, two = pair_of_seals()
    sealed = one.seal(plaintext)
    mask = data.draw(st.binary(min_size=len(sealed), max_size=len(sealed)).filter(any))
    with pytest.raises(ForgedEnvelope):
        two.open(bytes(a ^ b for a, b in zip(sealed, mask, strict=True)))
    assert two.open(sealed) == plaintext


@pytest.mark.parametrize("associated_data", [b"", b"to tw", b"to two ", b"to one"])
def test_other_associated_data_is_forged(associated_data: bytes) -> None:
    one, two = pair_of_seals()
    sealed = one.seal(b"an offer", b"to two")
    with pytest.raises(ForgedEnvelope):
        two.open(sealed, associated_data)


def test_an_envelope_opens_once() -> None:
    one, two = pair_of_seals()
    sealed = one.seal(b"hello")
    two.open(sealed)
    with pytest.raises(ReplayedEnvelope) as refusal:
        two.open(sealed)
    assert refusal.value.counter == 0


def test_envelopes_open_in_any_order_within_the_window() -> None:
    one, two = pair_of_seals()
    sealed = [one.seal(str(number).encode()) for number in range(WINDOW_WIDTH)]
    opened = [two.open(envelope) for envelope in reversed(sealed)]
    assert opened == [str(number).encode() for number in reversed(range(WINDOW_WIDTH))]


def test_an_envelope_older_than_the_window_is_refused_although_it_was_never_opened() -> None:
    one, two = pair_of_seals()
    sealed = [one.seal(b"hello") for _ in range(WINDOW_WIDTH + 1)]
    two.open(sealed[-1])
    with pytest.raises(ReplayedEnvelope):
        two.open(sealed[0])
    assert two.open(sealed[1]) == b"hello"


def test_a_forgery_does_not_use_up_the_counter_or_move_the_window() -> None:
    one, two = pair_of_seals()
    sealed = one.seal(b"hello")
    with pytest.raises(ForgedEnvelope):
        two.open(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(ForgedEnvelope):
        two.open(sealed[:16] + bytes.fromhex("ffffffffffffffff") + sealed[24:])
    with pytest.raises(ForgedEnvelope):
        two.open(bytes(16) + sealed[16:])
    assert two.remote_salt is None
    assert two.open(sealed) == b"hello"


def test_an_envelope_sent_back_is_forged() -> None:
    one, _ = pair_of_seals()
    with pytest.raises(ForgedEnvelope):
        one.open(one.seal(b"hello"))


def test_another_member_opens_nothing() -> None:
    one, two, three = (Member(number=number) for number in (1, 2, 3))
    sealed = one.seal_with(two).seal(b"hello")
    with pytest.raises(ForgedEnvelope):
        three.seal_with(one).open(sealed)
    with pytest.raises(ForgedEnvelope):
        three.seal_with(two).open(sealed)


def test_the_secret_of_the_room_is_part_of_the_keys() -> None:
    secrets = [None, b"a", b"a\0", b"b", b"a" * 64, b"a" * 65, bytes(32), bytes(64)]
    for number, secret in enumerate(secrets):
        for other in secrets[number + 1 :]:
            one, two = Member(number=1), Member(number=2)
            assert_strangers(one.seal_with(two, secret=secret), two.seal_with(one, secret=other))


def test_an_empty_secret_is_refused_and_uses_nothing_up() -> None:
    one, two = Member(number=1), Member(number=2)
    with pytest.raises(ValueError, match="must not be empty"):
        one.seal_with(two, secret=b"")
    one.seal_with(two)


def test_the_purpose_is_part_of_the_keys() -> None:
    one, two = Member(number=1), Member(number=2)
    assert_strangers(one.seal_with(two, purpose="signal"), two.seal_with(one, purpose="relay"))


def test_the_room_is_part_of_the_keys() -> None:
    """Both prekeys are signed for both rooms, so that nothing but the derivation tells the rooms apart."""
    here = Member(number=1, room="here"), Member(number=2, room="here")
    there = Member(number=1, room="there"), Member(number=2, room="there")
    assert here[0].prekey.key == there[0].prekey.key
    assert_strangers(here[0].seal_with(here[1]), there[1].seal_with(there[0]))


def test_a_prekey_signed_for_another_room_is_refused() -> None:
    here, there = Member(number=1, room="here"), Member(number=2, room="there")
    with pytest.raises(InvalidPrekey):
        here.seal_with(there)


def test_swapped_prekeys_are_refused() -> None:
    one, two, three = (Member(number=number) for number in (1, 2, 3))
    with pytest.raises(InvalidPrekey):
        PairSeal.derive(one.peer_id, one.local_prekey, two.peer_id, three.prekey, room="lobby")


def test_a_member_who_signs_the_prekey_of_another_gains_nothing() -> None:
    """The thief's name is on two's key: one seals to the thief, and neither the thief nor two can open it."""
    one, two, thief = (Member(number=number) for number in (1, 2, 3))
    signature = thief.identity.sign("rtcmesh v1 prekey", b"lobby", two.prekey.key)
    stolen = Prekey(two.prekey.key, signature)
    to_thief = PairSeal.derive(one.peer_id, one.local_prekey, thief.peer_id, stolen, room="lobby")
    assert_strangers(to_thief, two.seal_with(one))
    assert_strangers(to_thief, thief.seal_with(one))


def test_a_prekey_of_an_earlier_membership_does_not_fit() -> None:
    one, two = Member(number=1), Member(number=2)
    rejoined = LocalPrekey.create(two.identity, "lobby")
    later = PairSeal.derive(two.peer_id, rejoined, one.peer_id, one.prekey, room="lobby")
    assert_strangers(one.seal_with(two), later)


def test_a_wrong_local_peer_id_does_not_fit() -> None:
    one, two, three = (Member(number=number) for number in (1, 2, 3))
    misnamed = PairSeal.derive(three.peer_id, one.local_prekey, two.peer_id, two.prekey, room="lobby")
    assert_strangers(misnamed, two.seal_with(one))


def test_a_peer_does_not_seal_to_another_membership_of_its_own() -> None:
    one = Member(number=1)
    again = LocalPrekey.create(one.identity, "lobby").public
    with pytest.raises(InvalidPrekey, match="local peer itself"):
        PairSeal.derive(one.peer_id, one.local_prekey, one.peer_id, again, room="lobby")


def test_a_seal_derived_again_seals_with_another_key() -> None:
    one, two = Member(number=1), Member(number=2)
    first, again = one.seal_with(two).seal(b"hello"), one.seal_with(two).seal(b"hello")
    assert first[SALT_BYTES : SALT_BYTES + 8] == again[SALT_BYTES : SALT_BYTES + 8] == bytes(8)
    assert first[:SALT_BYTES] != again[:SALT_BYTES]
    assert first[SALT_BYTES + 8 :] != again[SALT_BYTES + 8 :]


def test_the_other_end_opens_the_envelopes_of_every_instance_once() -> None:
    one, two = Member(number=1), Member(number=2)
    instances, opening = [one.seal_with(two) for _ in range(3)], two.seal_with(one)
    sealed = [instance.seal(b"hello") for instance in instances for _ in range(2)]
    assert [opening.open(envelope) for envelope in sealed] == [b"hello"] * 6
    for envelope in sealed:
        with pytest.raises(ReplayedEnvelope):
            opening.open(envelope)


def test_each_instance_has_a_window_of_its_own() -> None:
    one, two = Member(number=1), Member(number=2)
    first, again, opening = one.seal_with(two), one.seal_with(two), two.seal_with(one)
    first._next_counter = 2**32
    opening.open(first.seal(b"far ahead"))
    assert opening.open(again.seal(b"hello")) == b"hello"


def test_the_remote_salt_is_that_of_the_instance_which_appeared_last() -> None:
    one, two = Member(number=1), Member(number=2)
    first, again, opening = one.seal_with(two), one.seal_with(two), two.seal_with(one)
    late, sealed, renewed = first.seal(b"late"), first.seal(b"hello"), again.seal(b"hello")
    assert opening.remote_salt is None
    opening.open(sealed)
    assert opening.remote_salt == sealed[:SALT_BYTES]
    opening.open(renewed)
    assert opening.remote_salt == renewed[:SALT_BYTES]
    opening.open(late)
    assert opening.remote_salt == renewed[:SALT_BYTES]
    with pytest.raises(ReplayedEnvelope):
        opening.open(sealed)
    assert opening.remote_salt == renewed[:SALT_BYTES]


def test_an_instance_that_was_withheld_appears_when_its_first_envelope_is_opened() -> None:
    one, two = Member(number=1), Member(number=2)
    withheld, sealed = one.seal_with(two).seal(b"hello"), one.seal_with(two).seal(b"hello")
    opening = two.seal_with(one)
    opening.open(sealed)
    opening.open(withheld)
    assert opening.remote_salt == withheld[:SALT_BYTES]


def test_an_instance_appears_with_an_authentic_envelope_only() -> None:
    one, two = Member(number=1), Member(number=2)
    opening, sealed = two.seal_with(one), one.seal_with(two).seal(b"hello")
    for bit in range(8 * SALT_BYTES):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ForgedEnvelope):
            opening.open(bytes(altered))
    assert opening.remote_salt is None
    for _ in range(MAX_REMOTE_INSTANCES):
        opening.open(one.seal_with(two).seal(b"hello"))


def test_one_remote_instance_too_many_is_refused_and_nothing_is_forgotten() -> None:
    one, two = Member(number=1), Member(number=2)
    opening = two.seal_with(one)
    instances = [one.seal_with(two) for _ in range(MAX_REMOTE_INSTANCES)]
    opened = [instance.seal(b"hello") for instance in instances]
    for sealed in opened:
        opening.open(sealed)
    one_more = one.seal_with(two)
    for _ in range(2):
        with pytest.raises(TooManyInstances):
            opening.open(one_more.seal(b"hello"))
    with pytest.raises(ForgedEnvelope):
        opening.open(one_more.seal(b"hello")[:-1])
    assert opening.remote_salt == opened[-1][:SALT_BYTES]
    for instance, sealed in zip(instances, opened, strict=True):
        with pytest.raises(ReplayedEnvelope):
            opening.open(sealed)
        assert opening.open(instance.seal(b"again")) == b"again"
    assert two.seal_with(one).open(one_more.seal(b"hello")) == b"hello"


def test_a_freshly_derived_seal_opens_what_an_earlier_one_opened() -> None:
    """The limit of replay protection, which what is above has to bear."""
    one, two = Member(number=1), Member(number=2)
    sealed = one.seal_with(two).seal(b"hello")
    for _ in range(2):
        assert two.seal_with(one).open(sealed) == b"hello"


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_salt_of_another_length_is_refused(length: int) -> None:
    one, two = Member(number=1), Member(number=2)
    with pytest.raises(ValueError, match="16 bytes"):
        PairSeal.derive(
            one.peer_id, one.local_prekey, two.peer_id, two.prekey, room="lobby", salt=bytes(length)
        )


def test_a_seal_with_a_salt_of_the_other_end_gives_nothing_away() -> None:
    one, two = Member(number=1), Member(number=2)
    salt = bytes(SALT_BYTES)
    seals = [
        PairSeal.derive(
            local.peer_id, local.local_prekey, remote.peer_id, remote.prekey, room="lobby", salt=salt
        )
        for local, remote in ((one, two), (two, one))
    ]
    assert seals[0].seal(b"hello") != seals[1].seal(b"hello")
    with pytest.raises(ForgedEnvelope):
        seals[0].open(seals[0].seal(b"hello"))


def test_every_counter_is_used_once_and_then_sealing_ends() -> None:
    one, two = pair_of_seals()
    one._next_counter = 2**64 - 2
    last = [one.seal(b"one but last"), one.seal(b"last")]
    assert [sealed[16:24].hex() for sealed in last] == ["fffffffffffffffe", "ffffffffffffffff"]
    for _ in range(3):
        with pytest.raises(SealExhausted):
            one.seal(b"one more")
    assert [two.open(sealed) for sealed in last] == [b"one but last", b"last"]
    assert one.open(two.seal(b"hello")) == b"hello"


@pytest.mark.parametrize(
    "error", [SealExhausted(), ForgedEnvelope(), ReplayedEnvelope(7), TooManyInstances()]
)
def test_what_goes_wrong_with_an_envelope_is_a_seal_error(error: Exception) -> None:
    assert isinstance(error, SealError)
    assert isinstance(error, SignalingError)
    assert re.search(r"envelope|counter", str(error))


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_seal_is_not_copied_by_accident(duplicate: object) -> None:
    assert callable(duplicate)
    one, _ = pair_of_seals()
    with pytest.raises(TypeError, match="counters"):
        duplicate(one)


def test_an_unchecked_remote_peer_id_is_refused() -> None:
    one, two = Member(number=1), Member(number=2)
    with pytest.raises(InvalidPrekey):
        PairSeal.derive(one.peer_id, one.local_prekey, PeerId("two"), two.prekey, room="lobby")


@dataclass(frozen=True)
class Envelope:
    """One that was sealed, and what is inside."""

    plaintext: bytes
    sealed: bytes

    @property
    def salt(self) -> bytes:
        return self.sealed[:SALT_BYTES]

    @property
    def counter(self) -> int:
        return int.from_bytes(self.sealed[SALT_BYTES : SALT_BYTES + 8], "big")


@dataclass
class End:
    """One member: its seal, what it sealed, and by salt, in the order of first opening, the counters it opened."""

    member: Member
    seal: PairSeal
    sent: list[Envelope] = field(default_factory=list[Envelope])
    opened: dict[bytes, set[int]] = field(default_factory=dict[bytes, set[int]])

    def refusal(self, envelope: Envelope) -> type[SealError] | None:
        counters = self.opened.get(envelope.salt)
        if counters is None:
            return TooManyInstances if len(self.opened) == MAX_REMOTE_INSTANCES else None
        if envelope.counter in counters or envelope.counter <= max(counters) - WINDOW_WIDTH:
            return ReplayedEnvelope
        return None


class TwoMembers(RuleBasedStateMachine):
    """Envelopes both ways over a network that loses, repeats, delays and alters them, between members that forget."""

    def __init__(self) -> None:
        super().__init__()
        one, two = Member(number=1), Member(number=2)
        self.ends = [End(one, one.seal_with(two)), End(two, two.seal_with(one))]

    @rule(end=st.integers(0, 1), short_lived=st.sampled_from([*[0] * 9, MAX_REMOTE_INSTANCES - 2]))
    def derive_again(self, end: int, short_lived: int) -> None:
        local, remote = self.ends[end], self.ends[1 - end]
        for _ in range(short_lived):
            envelope = Envelope(b"", local.member.seal_with(remote.member).seal(b""))
            local.sent.append(envelope)
            self._deliver(envelope, remote)
        local.seal = local.member.seal_with(remote.member)
        local.opened.clear()

    @rule(end=st.integers(0, 1), plaintext=st.binary(max_size=9), lost=st.sampled_from([0, 0, 1, 1022, 1024]))
    def seal(self, end: int, plaintext: bytes, lost: int) -> None:
        local = self.ends[end]
        # What is lost on the way is not worth sealing.
        local.seal._next_counter += lost
        local.sent.append(Envelope(plaintext, local.seal.seal(plaintext)))

    @precondition(lambda self: any(end.sent for end in self.ends))
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        sender, receiver = self._way(data)
        self._deliver(data.draw(st.sampled_from(sender.sent)), receiver)

    def _deliver(self, envelope: Envelope, receiver: End) -> None:
        refusal = receiver.refusal(envelope)
        if refusal is not None:
            with pytest.raises(refusal):
                receiver.seal.open(envelope.sealed)
        else:
            assert receiver.seal.open(envelope.sealed) == envelope.plaintext
            receiver.opened.setdefault(envelope.salt, set()).add(envelope.counter)
        assert receiver.seal.remote_salt == list(receiver.opened)[-1]

    @precondition(lambda self: any(end.sent for end in self.ends))
    @rule(data=st.data())
    def attack(self, data: st.DataObject) -> None:
        sender, receiver = self._way(data)
        sealed = data.draw(st.sampled_from(sender.sent)).sealed
        with pytest.raises(ForgedEnvelope):
            sender.seal.open(sealed)
        bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ForgedEnvelope):
            receiver.seal.open(bytes(altered))

    @invariant()
    def no_key_and_counter_is_used_twice(self) -> None:
        sent = [envelope.sealed[: SALT_BYTES + 8] for end in self.ends for envelope in end.sent]
        assert len(set(sent)) == len(sent)

    def _way(self, data: st.DataObject) -> tuple[End, End]:
        sender = data.draw(st.sampled_from([end for end in (0, 1) if self.ends[end].sent]))
        return self.ends[sender], self.ends[1 - sender]


TestTwoMembers = TwoMembers.TestCase
