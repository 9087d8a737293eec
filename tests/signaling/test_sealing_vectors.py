"""Known answers: fixed keys give fixed bytes, computed a second time from the primitives, as docs/sealing.md says."""

import hashlib
import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from rtcmesh.signaling.identity import Identity
from rtcmesh.signaling.prekey import LocalPrekey, sign_join
from rtcmesh.signaling.sealing import PairSeal

DOCUMENT = Path(__file__).parents[2] / "docs" / "sealing.md"

# The identities are those of RFC 8032, section 7.1, tests 1 and 2; the prekeys those of RFC 7748, section 6.1.
ALICE_IDENTITY = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
BOB_IDENTITY = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
ALICE_PREKEY = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
BOB_PREKEY = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")

ALICE_ID = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena"
BOB_ID = "hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyga"

NONCE = bytes(range(32))
SECRET = bytes(range(32))
ALICE_SALT = bytes.fromhex("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf")
BOB_SALT = bytes.fromhex("b0b1b2b3b4b5b6b7b8b9babbbcbdbebf")

PINNED = {
    "prekey signature of alice": (
        "bdd0b86fbf9fccdfeca77e8fa22b56523bc44c7915eb412986fe7dfe59c0e95f"
        "b5d89662cea374c43d0e7e77c518599ad0df4fec93e9baad2af5fb3d5761d80a"
    ),
    "prekey signature of bob": (
        "bd29a7946afb675e6ff479cc98b9dbb4a5e7d1f182693492d7a1fb64c9a34009"
        "e66b0c20d3e7b3e58f68819a2503f0b444e6c21e170ece872f8f8a100debc40b"
    ),
    "join proof of alice": (
        "785a7934165ceca1b96010faf19f0cbcd9e1de9bc7fc81f24997ef2b3a85a775"
        "34ca60cf996add2e2dc8158eb68c1bba0f553ce20923df02e7013f960a6c0904"
    ),
    "alice's key": "e69190b654a1084eae829394f1868e503e9f877c919ecb5812c9a95e05e30d8a",
    "bob's key": "fa8b42eb56820c81bf4db290d9e8a61c7404d1bc27331f91c922c0b76fb61de4",
    "alice's key, with the secret": "0664354bf7c9a71edc309f7dd0a587140dad9763f57f958ec72c3b4cca8d1395",
    "bob's key, with the secret": "0ea179cc6b1902fec8d5b9857d285ce330180e83a122101efc299bbd9ac9bcf8",
    "alice's envelope 0": (
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf000000000000000061bcb309b357ed2d77003174b15469e7dd82764dae"
    ),
    "alice's envelope 1": (
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf00000000000000014b650807f42e23ab68a6e20e09cb92b8174e2bd547"
    ),
    "bob's envelope 0": (
        "b0b1b2b3b4b5b6b7b8b9babbbcbdbebf00000000000000002162face47e979a94eb34937bda50e5755445b4c26"
    ),
    "alice's envelope 0, with the secret": (
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf00000000000000007a12a714386aa045265c912974eac4ee992bae6456"
    ),
    "alice's envelope 0, for the relay": (
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf00000000000000001abbcd5f948970d093d460b81709c58937b07e6b71"
    ),
}


def lengthened(*parts: bytes) -> bytes:
    result = b""
    for part in parts:
        result += b"\0\0\0\0" + len(part).to_bytes(4, "big") + part
    return result


def hkdf(material: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869, written out for one block of output."""
    pseudorandom_key = hmac.digest(salt, material, hashlib.sha256)
    return hmac.digest(pseudorandom_key, info + b"\x01", hashlib.sha256)


def keys(*, secret: bytes | None = None, purpose: bytes = b"signal") -> tuple[bytes, bytes]:
    """Return what Alice seals with, and what Bob does."""
    private = X25519PrivateKey.from_private_bytes(ALICE_PREKEY)
    shared = private.exchange(X25519PublicKey.from_public_bytes(BOB_PUBLIC))
    material = lengthened(shared) if secret is None else lengthened(shared, secret)
    alice, bob = (ALICE_ID.encode(), ALICE_PUBLIC), (BOB_ID.encode(), BOB_PUBLIC)
    by_alice = hkdf(material, b"rtcmesh v1 seal", lengthened(purpose, b"lobby", *alice, *bob))
    by_bob = hkdf(material, b"rtcmesh v1 seal", lengthened(purpose, b"lobby", *bob, *alice))
    return hkdf(by_alice, ALICE_SALT, b"rtcmesh v1 instance"), hkdf(by_bob, BOB_SALT, b"rtcmesh v1 instance")


def sealed(key: bytes, salt: bytes, counter: int, plaintext: bytes, associated_data: bytes) -> str:
    nonce = counter.to_bytes(12, "big")
    return (salt + nonce[4:] + ChaCha20Poly1305(key).encrypt(nonce, plaintext, associated_data)).hex()


def signed(key: bytes, *parts: bytes) -> str:
    return Ed25519PrivateKey.from_private_bytes(key).sign(lengthened(*parts)).hex()


def computed() -> dict[str, str]:
    alice, bob = keys()
    alice_secret, bob_secret = keys(secret=SECRET)
    alice_relay, _ = keys(purpose=b"relay")
    return {
        "prekey signature of alice": signed(ALICE_IDENTITY, b"rtcmesh v1 prekey", b"lobby", ALICE_PUBLIC),
        "prekey signature of bob": signed(BOB_IDENTITY, b"rtcmesh v1 prekey", b"lobby", BOB_PUBLIC),
        "join proof of alice": signed(ALICE_IDENTITY, b"rtcmesh v1 join", NONCE, b"lobby", ALICE_PUBLIC),
        "alice's key": alice.hex(),
        "bob's key": bob.hex(),
        "alice's key, with the secret": alice_secret.hex(),
        "bob's key, with the secret": bob_secret.hex(),
        "alice's envelope 0": sealed(alice, ALICE_SALT, 0, b"hello", b""),
        "alice's envelope 1": sealed(alice, ALICE_SALT, 1, b"hello", b"data"),
        "bob's envelope 0": sealed(bob, BOB_SALT, 0, b"hello", b""),
        "alice's envelope 0, with the secret": sealed(alice_secret, ALICE_SALT, 0, b"hello", b""),
        "alice's envelope 0, for the relay": sealed(alice_relay, ALICE_SALT, 0, b"hello", b""),
    }


class Party:
    """One side of the vectors, as the library has it."""

    def __init__(self, identity: bytes, prekey: bytes, salt: bytes) -> None:
        self.salt = salt
        self.identity = Identity(Ed25519PrivateKey.from_private_bytes(identity))
        self.local_prekey = LocalPrekey(self.identity, "lobby", X25519PrivateKey.from_private_bytes(prekey))

    def seal_with(self, remote: "Party", *, secret: bytes | None = None, purpose: str = "signal") -> PairSeal:
        return PairSeal.derive(
            self.identity.peer_id,
            self.local_prekey,
            remote.identity.peer_id,
            remote.local_prekey.public,
            room="lobby",
            secret=secret,
            purpose=purpose,
            salt=self.salt,
        )


def parties() -> tuple[Party, Party]:
    return Party(ALICE_IDENTITY, ALICE_PREKEY, ALICE_SALT), Party(BOB_IDENTITY, BOB_PREKEY, BOB_SALT)


def test_the_keys_are_those_of_the_rfcs() -> None:
    alice, bob = parties()
    assert (alice.identity.peer_id, bob.identity.peer_id) == (ALICE_ID, BOB_ID)
    assert (alice.local_prekey.public.key, bob.local_prekey.public.key) == (ALICE_PUBLIC, BOB_PUBLIC)


def test_the_primitives_give_the_pinned_bytes() -> None:
    assert computed() == PINNED


def test_the_library_signs_the_pinned_signatures() -> None:
    alice, bob = parties()
    assert alice.local_prekey.public.signature.hex() == PINNED["prekey signature of alice"]
    assert bob.local_prekey.public.signature.hex() == PINNED["prekey signature of bob"]
    proof = sign_join(alice.identity, nonce=NONCE, room="lobby", prekey=alice.local_prekey.public)
    assert proof.hex() == PINNED["join proof of alice"]


def test_the_library_seals_the_pinned_envelopes() -> None:
    alice, bob = parties()
    to_bob, to_alice = alice.seal_with(bob), bob.seal_with(alice)
    assert to_bob.seal(b"hello").hex() == PINNED["alice's envelope 0"]
    assert to_bob.seal(b"hello", b"data").hex() == PINNED["alice's envelope 1"]
    assert to_alice.seal(b"hello").hex() == PINNED["bob's envelope 0"]


@pytest.mark.parametrize(
    ("name", "secret", "purpose"),
    [
        ("alice's envelope 0, with the secret", SECRET, "signal"),
        ("alice's envelope 0, for the relay", None, "relay"),
    ],
)
def test_the_library_seals_the_pinned_variants(name: str, secret: bytes | None, purpose: str) -> None:
    alice, bob = parties()
    assert alice.seal_with(bob, secret=secret, purpose=purpose).seal(b"hello").hex() == PINNED[name]


def test_the_library_opens_the_pinned_envelopes() -> None:
    alice, bob = parties()
    to_alice = bob.seal_with(alice)
    assert to_alice.open(bytes.fromhex(PINNED["alice's envelope 1"]), b"data") == b"hello"
    assert to_alice.open(bytes.fromhex(PINNED["alice's envelope 0"])) == b"hello"


@pytest.mark.parametrize("name", PINNED)
def test_the_document_shows_the_same_vectors(name: str) -> None:
    assert PINNED[name] in "".join(DOCUMENT.read_text().split())
