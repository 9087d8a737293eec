import base64
import copy
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.errors import SignalingError
from rtcmesh.signaling.identity import (
    Identity,
    IdentityError,
    InvalidPeerId,
    InvalidSignature,
    PeerId,
    framed,
    parse_peer_id,
    short,
    verify,
)
from support.members import Member

# RFC 8032, section 7.1, test 1.
RFC8032_SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC8032_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
RFC8032_PEER_ID = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena"

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def an_identity() -> Identity:
    return Identity(Ed25519PrivateKey.from_private_bytes(RFC8032_SECRET))


def test_a_peer_id_is_the_public_key_in_base32() -> None:
    peer_id = an_identity().peer_id
    assert peer_id == RFC8032_PEER_ID
    assert base64.b32decode(peer_id.upper() + "====") == RFC8032_PUBLIC
    assert len(peer_id) == 52
    assert short(peer_id) == "25njqamc"


def test_created_identities_differ() -> None:
    assert Identity.create().peer_id != Identity.create().peer_id


@given(st.binary(min_size=32, max_size=32))
def test_every_public_key_has_a_peer_id_that_parses(public_key: bytes) -> None:
    text = base64.b32encode(public_key).decode().rstrip("=").lower()
    assert parse_peer_id(text) == text


def test_of_the_sixteen_spellings_of_a_key_only_one_parses() -> None:
    spellings = [RFC8032_PEER_ID[:-1] + last for last in ALPHABET]
    keys = {base64.b32decode(spelling.upper() + "====") for spelling in spellings}
    parsed = [spelling for spelling in spellings if parses(spelling)]
    assert len(parsed) == len(keys) == 2
    assert {spelling[-1] for spelling in parsed} == {"a", "q"}


def parses(text: str) -> bool:
    try:
        parse_peer_id(text)
    except InvalidPeerId:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "",
        RFC8032_PEER_ID[:-1],
        RFC8032_PEER_ID + "a",
        RFC8032_PEER_ID + "====",
        RFC8032_PEER_ID + "\n",
        " " + RFC8032_PEER_ID[1:],
        RFC8032_PEER_ID.upper(),
        "0" + RFC8032_PEER_ID[1:],
        "\u0131" + RFC8032_PEER_ID[1:],
        "\ud800" + RFC8032_PEER_ID[1:],
    ],
)
def test_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(InvalidPeerId) as refusal:
        parse_peer_id(text)
    assert refusal.value.text == text


@given(st.text())
def test_any_text_parses_or_raises_the_one_error(text: str) -> None:
    if parses(text):
        assert len(text) == 52


def test_the_error_for_a_huge_peer_id_is_short() -> None:
    assert len(str(InvalidPeerId("x" * 100_000))) < 100


def test_a_signature_is_over_each_part_after_its_length() -> None:
    signature = an_identity().sign("context", b"one", b"")
    message = (
        b"\0\0\0\0\0\0\0\x07context"  # the context
        b"\0\0\0\0\0\0\0\x03one"  # the first part
        b"\0\0\0\0\0\0\0\0"  # the second part
    )
    Ed25519PrivateKey.from_private_bytes(RFC8032_SECRET).public_key().verify(signature, message)
    assert signature.hex() == (
        "32ad2e0fa53debefb93124a7ea902a8fdec1f9b2ab6f721c2ccd28e478e4779d"
        "cf37eb074c8ef71aba09b999e75f75ecb0ac86abb20c5c6f9328339dbf6ba604"
    )


def test_what_an_identity_signed_verifies() -> None:
    identity = Member(number=1).identity
    verify(identity.peer_id, identity.sign("context", b"one", b"two"), "context", b"one", b"two")


@pytest.mark.parametrize(
    ("context", "parts"),
    [
        ("another", (b"one", b"two")),
        ("context", (b"onet", b"wo")),
        ("context", (b"onetwo",)),
        ("context", (b"one", b"two", b"")),
        ("context", (b"two", b"one")),
        ("context", ()),
        ("contexto", (b"ne", b"two")),
    ],
)
def test_a_signature_is_for_one_context_and_one_list_of_parts(context: str, parts: tuple[bytes, ...]) -> None:
    identity = Member(number=1).identity
    signature = identity.sign("context", b"one", b"two")
    with pytest.raises(InvalidSignature) as refusal:
        verify(identity.peer_id, signature, context, *parts)
    assert refusal.value.peer_id == identity.peer_id
    assert refusal.value.context == context


def test_a_signature_is_of_one_peer() -> None:
    one, two = Member(number=1), Member(number=2)
    with pytest.raises(InvalidSignature):
        verify(two.peer_id, one.identity.sign("context"), "context")


def test_a_signature_with_any_bit_changed_does_not_verify() -> None:
    identity = Member(number=1).identity
    signature = identity.sign("context", b"part")
    for bit in range(8 * len(signature)):
        altered = bytearray(signature)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidSignature):
            verify(identity.peer_id, bytes(altered), "context", b"part")


@given(st.binary(max_size=130))
def test_any_bytes_in_place_of_a_signature_raise_the_one_error(signature: bytes) -> None:
    with pytest.raises(InvalidSignature):
        verify(Member(number=1).peer_id, signature, "context")


@given(st.binary(min_size=32, max_size=32))
def test_a_signature_is_of_no_other_key_on_the_curve_or_off_it(public_key: bytes) -> None:
    peer_id = parse_peer_id(base64.b32encode(public_key).decode().rstrip("=").lower())
    with pytest.raises(InvalidSignature):
        verify(peer_id, an_identity().sign("context"), "context")


def test_an_id_that_nobody_checked_is_checked_when_it_is_used() -> None:
    with pytest.raises(InvalidPeerId):
        verify(PeerId("nobody"), b"", "context")


@given(st.lists(st.binary(max_size=20)), st.lists(st.binary(max_size=20)))
def test_no_two_lists_of_parts_are_framed_alike(one: list[bytes], two: list[bytes]) -> None:
    assert (framed(*one) == framed(*two)) == (one == two)


@pytest.mark.parametrize("error", [InvalidPeerId("x"), InvalidSignature(PeerId(RFC8032_PEER_ID), "context")])
def test_what_a_remote_peer_got_wrong_is_an_identity_error(error: Exception) -> None:
    assert isinstance(error, IdentityError)
    assert isinstance(error, SignalingError)
    assert str(error)


def test_an_identity_does_not_show_its_key() -> None:
    assert repr(an_identity()) == str(an_identity()) == "<Identity 25njqamc>"


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_identity_is_not_copied_by_accident(duplicate: object) -> None:
    assert callable(duplicate)
    with pytest.raises(TypeError, match="private key"):
        duplicate(an_identity())
