import copy
import pickle

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.identity import InvalidSignature, PeerId
from rtcmesh.signaling.prekey import (
    InvalidPrekey,
    LocalPrekey,
    Prekey,
    sign_join,
    verify_join,
    verify_prekey,
)
from support.members import Member

NONCE = bytes(range(32))

# Every point of small order of Curve25519, and the other spellings of 0, 1 and -1 below 2**255.
_FIELD = 2**255 - 19
_ORDER_EIGHT = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
SMALL_ORDER = [
    point.to_bytes(32, "little") for point in (0, 1, _FIELD - 1, _FIELD, _FIELD + 1, *_ORDER_EIGHT)
]


def flip(data: bytes, bit: int) -> bytes:
    altered = bytearray(data)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


def signed_by(member: Member, key: bytes) -> Prekey:
    return Prekey(key, member.identity.sign("rtcmesh v1 prekey", member.room.encode(), key))


def test_a_created_prekey_verifies_and_is_new_each_time() -> None:
    member = Member(number=1)
    one, two = (LocalPrekey.create(member.identity, "lobby").public for _ in range(2))
    verify_prekey(member.peer_id, one, "lobby")
    verify_prekey(member.peer_id, two, "lobby")
    assert one.key != two.key


def test_a_prekey_crosses_the_wire() -> None:
    prekey = Member(number=1).prekey
    assert msgspec.json.decode(msgspec.json.encode(prekey), type=Prekey) == prekey


@pytest.mark.parametrize("room", ["", "lobb", "Lobby", "lobby\0", "\u217cobby"])
def test_a_prekey_is_for_one_room(room: str) -> None:
    member = Member(number=1, room="lobby")
    with pytest.raises(InvalidPrekey, match="not signed") as refusal:
        verify_prekey(member.peer_id, member.prekey, room)
    assert refusal.value.peer_id == member.peer_id


def test_a_prekey_is_of_one_peer() -> None:
    with pytest.raises(InvalidPrekey, match="not signed"):
        verify_prekey(Member(number=2).peer_id, Member(number=1).prekey, "lobby")


def test_a_prekey_with_any_bit_changed_is_refused() -> None:
    member = Member(number=1)
    key, signature = member.prekey.key, member.prekey.signature
    altered = [Prekey(flip(key, bit), signature) for bit in range(8 * len(key))]
    altered += [Prekey(key, flip(signature, bit)) for bit in range(8 * len(signature))]
    for prekey in altered:
        with pytest.raises(InvalidPrekey):
            verify_prekey(member.peer_id, prekey, "lobby")


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_in_place_of_a_prekey_raise_the_one_error(key: bytes, signature: bytes) -> None:
    with pytest.raises(InvalidPrekey):
        verify_prekey(Member(number=1).peer_id, Prekey(key, signature), "lobby")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused_even_if_signed(length: int) -> None:
    member = Member(number=1)
    with pytest.raises(InvalidPrekey, match=f"{length} bytes"):
        verify_prekey(member.peer_id, signed_by(member, bytes(length)), "lobby")


def test_a_prekey_of_an_id_that_nobody_checked_is_refused() -> None:
    with pytest.raises(InvalidPrekey):
        verify_prekey(PeerId("nobody"), Member(number=1).prekey, "lobby")


def test_two_holders_of_prekeys_agree_on_a_secret() -> None:
    one, two = Member(number=1), Member(number=2)
    secret = one.local_prekey.agree(two.peer_id, two.prekey, "lobby")
    assert secret == two.local_prekey.agree(one.peer_id, one.prekey, "lobby")
    assert len(secret) == 32


def test_the_secret_is_that_of_rfc_7748() -> None:
    alice = LocalPrekey(
        Member(number=1).identity,
        "lobby",
        X25519PrivateKey.from_private_bytes(
            bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
        ),
    )
    bob = Member(number=2)
    prekey = signed_by(bob, bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"))
    secret = alice.agree(bob.peer_id, prekey, "lobby")
    assert secret.hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


@pytest.mark.parametrize("top_bit", [0x00, 0x80])
@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_signed_point_of_small_order_is_refused(point: bytes, top_bit: int) -> None:
    one, two = Member(number=1), Member(number=2)
    point = point[:-1] + bytes([point[-1] | top_bit])
    with pytest.raises(InvalidPrekey, match="small order"):
        one.local_prekey.agree(two.peer_id, signed_by(two, point), "lobby")


def test_a_join_proof_verifies() -> None:
    member = Member(number=1)
    proof = sign_join(member.identity, nonce=NONCE, room="lobby", prekey=member.prekey)
    verify_join(member.peer_id, proof, nonce=NONCE, room="lobby", prekey=member.prekey)


def test_a_join_proof_answers_one_nonce() -> None:
    member = Member(number=1)
    proof = sign_join(member.identity, nonce=NONCE, room="lobby", prekey=member.prekey)
    with pytest.raises(InvalidSignature):
        verify_join(member.peer_id, proof, nonce=NONCE[::-1], room="lobby", prekey=member.prekey)


def test_a_join_proof_is_for_one_room() -> None:
    member = Member(number=1, room="lobby")
    proof = sign_join(member.identity, nonce=NONCE, room="lobby", prekey=member.prekey)
    elsewhere = Member(number=1, room="elsewhere")
    with pytest.raises(InvalidSignature):
        verify_join(member.peer_id, proof, nonce=NONCE, room="elsewhere", prekey=elsewhere.prekey)


def test_a_join_proof_is_for_one_prekey() -> None:
    member = Member(number=1)
    proof = sign_join(member.identity, nonce=NONCE, room="lobby", prekey=member.prekey)
    later = LocalPrekey.create(member.identity, "lobby").public
    with pytest.raises(InvalidSignature):
        verify_join(member.peer_id, proof, nonce=NONCE, room="lobby", prekey=later)


def test_a_join_proof_of_another_peer_is_refused() -> None:
    member, thief = Member(number=1), Member(number=2)
    proof = sign_join(thief.identity, nonce=NONCE, room="lobby", prekey=member.prekey)
    with pytest.raises(InvalidSignature):
        verify_join(member.peer_id, proof, nonce=NONCE, room="lobby", prekey=member.prekey)


def test_a_peer_does_not_join_with_the_prekey_of_another() -> None:
    member, thief = Member(number=1), Member(number=2)
    proof = sign_join(thief.identity, nonce=NONCE, room="lobby", prekey=member.prekey)
    with pytest.raises(InvalidPrekey):
        verify_join(thief.peer_id, proof, nonce=NONCE, room="lobby", prekey=member.prekey)


def test_the_signature_of_a_prekey_is_no_join_proof() -> None:
    member = Member(number=1)
    with pytest.raises(InvalidSignature):
        verify_join(member.peer_id, member.prekey.signature, nonce=b"", room="lobby", prekey=member.prekey)


def test_a_local_prekey_does_not_show_its_private_key() -> None:
    member = Member(number=1)
    assert repr(member.local_prekey) == f"<LocalPrekey {member.prekey.key.hex()[:8]}>"


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_local_prekey_is_not_copied_by_accident(duplicate: object) -> None:
    assert callable(duplicate)
    with pytest.raises(TypeError, match="private key"):
        duplicate(Member(number=1).local_prekey)
