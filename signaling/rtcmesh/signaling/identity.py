"""Who a peer is: an Ed25519 key pair (RFC 8032) whose public half is the peer's name."""

import base64
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import NewType, NoReturn

from cryptography import exceptions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .errors import SignalingError

PeerId = NewType("PeerId", str)
"""An Ed25519 public key in base32 (RFC 4648), lower case, without padding: 52 characters."""

# 32 bytes are 51 characters and one bit; the four bits that follow it are zero in the one spelling allowed.
_PEER_ID = re.compile(r"[a-z2-7]{51}[aq]")
_SHORT_LENGTH = 8
_FILE_MODE = stat.S_IRUSR | stat.S_IWUSR
_FILE_LIMIT_BYTES = 16 * 1024


class IdentityError(SignalingError):
    """What a remote peer showed does not prove who it is."""


class InvalidPeerId(IdentityError):
    """This text is not a peer id in its one allowed spelling."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"not a peer id: {self.text[:64]!r}"


class InvalidSignature(IdentityError):
    """This peer did not sign this."""

    def __init__(self, peer_id: PeerId, context: str) -> None:
        super().__init__(peer_id, context)
        self.peer_id = peer_id
        self.context = context

    def __str__(self) -> str:
        return f"not signed by {short(self.peer_id)} for {self.context!r}"


class IdentityFileError(SignalingError):
    """The identity cannot be read from, or written to, this file."""

    problem = "is not usable"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"the identity file {self.path} {self.problem}"


class IdentityFileMissing(IdentityFileError):
    """There is no file at this path."""

    problem = "does not exist"


class IdentityFileExists(IdentityFileError):
    """There is a file at this path already; an identity is never written over anything."""

    problem = "exists already"


class MalformedIdentityFile(IdentityFileError):
    """The file is not an unencrypted private key in PEM."""

    problem = "is not an unencrypted PKCS #8 private key in PEM"


class WrongKeyType(IdentityFileError):
    """The file holds a private key, but not an Ed25519 one."""

    problem = "does not hold an Ed25519 key"


class InsecureIdentityFile(IdentityFileError):
    """The file allows more than reading and writing by its owner, so the key may be known to others."""

    def __init__(self, path: Path, mode: int) -> None:
        super().__init__(path)
        self.mode = mode

    def __str__(self) -> str:
        return f"the identity file {self.path} has mode {self.mode:04o}, wider than {_FILE_MODE:04o}"


class Identity:
    """The private half of a peer id.

    The key leaves this object only through `save`: it is not in the `repr`, and copying or pickling raises
    `TypeError`.
    """

    __slots__ = ("_peer_id", "_private_key")

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self._peer_id = _encode(private_key.public_key().public_bytes_raw())

    @classmethod
    def create(cls) -> "Identity":
        """Return a new identity, from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Identity":
        """Return the identity saved in this file.

        Raises `IdentityFileMissing`, `InsecureIdentityFile`, `MalformedIdentityFile` or `WrongKeyType`, each
        an `IdentityFileError`. What else the operating system says (no permission) stays an `OSError`.
        """
        path = Path(path)
        pem = _read_private(path)
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, exceptions.UnsupportedAlgorithm):
            raise MalformedIdentityFile(path) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise WrongKeyType(path)
        return cls(key)

    @classmethod
    def load_or_create(cls, path: str | os.PathLike[str]) -> "Identity":
        """Return the identity saved in this file, after creating and saving one if the file does not exist.

        Programs that do this at the same time all get the same identity. Raises what `load` raises, except
        `IdentityFileMissing`.
        """
        try:
            return cls.load(path)
        except IdentityFileMissing:
            identity = cls.create()
        try:
            identity.save(path)
        except IdentityFileExists:
            return cls.load(path)
        return identity

    @property
    def peer_id(self) -> PeerId:
        """The public half: this peer's name."""
        return self._peer_id

    def sign(self, context: str, *parts: bytes) -> bytes:
        """Return the signature that `verify` accepts for exactly this context and these parts."""
        return self._private_key.sign(framed(context.encode(), *parts))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the private key to a new file in PEM (PKCS #8), with mode 0600 from its first moment on.

        The file appears whole or not at all. Raises `IdentityFileExists`, and changes nothing, if there is
        anything at this path: a lost identity cannot be made again, so only a person removes one.
        """
        path = Path(path)
        pem = self._private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write_private(path, pem)

    def __repr__(self) -> str:
        return f"<Identity {short(self._peer_id)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Identity holds a private key: save() it instead of copying or pickling it")


def parse_peer_id(text: str) -> PeerId:
    """Return the text as a peer id. Raises `InvalidPeerId` for any other spelling than the canonical one."""
    if _PEER_ID.fullmatch(text) is None:
        raise InvalidPeerId(text)
    return PeerId(text)


def short(peer_id: PeerId) -> str:
    """Return the first characters, enough to tell peers apart in a log and for nothing else."""
    return peer_id[:_SHORT_LENGTH]


def verify(peer_id: PeerId, signature: bytes, context: str, *parts: bytes) -> None:
    """Return if this peer signed exactly this context and these parts; raise `InvalidSignature` if not.

    Raises `InvalidPeerId` if the id came from somewhere that did not check it.
    """
    public_key = base64.b32decode(parse_peer_id(peer_id).upper() + "====")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, framed(context.encode(), *parts))
    except exceptions.InvalidSignature:
        raise InvalidSignature(peer_id, context) from None


def framed(*parts: bytes) -> bytes:
    """Return all parts in one string, each after its length in 8 bytes: no two lists give the same."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _encode(public_key: bytes) -> PeerId:
    return PeerId(base64.b32encode(public_key).decode("ascii").rstrip("=").lower())


def _read_private(path: Path) -> bytes:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise IdentityFileMissing(path) from None
    with file:
        # The mode is that of the opened file, not of whatever has the name a moment later.
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & ~_FILE_MODE:
            raise InsecureIdentityFile(path, mode)
        return file.read(_FILE_LIMIT_BYTES)


def _write_private(path: Path, content: bytes) -> None:
    # mkstemp creates with 0600, and a link never replaces: the name has the whole content, or none.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, _FILE_MODE)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.link(temporary, path)
    except FileExistsError:
        raise IdentityFileExists(path) from None
    finally:
        Path(temporary).unlink()
