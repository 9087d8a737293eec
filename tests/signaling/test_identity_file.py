import errno
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from rtcmesh.signaling.identity import (
    Identity,
    IdentityFileError,
    IdentityFileExists,
    IdentityFileMissing,
    InsecureIdentityFile,
    MalformedIdentityFile,
    WrongKeyType,
)
from support.members import Member


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identity.pem"


@pytest.fixture
def restored_umask() -> Iterator[None]:
    umask = os.umask(0o022)
    yield
    os.umask(umask)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def test_a_saved_identity_loads_again(path: Path) -> None:
    identity = Member(number=1).identity
    identity.save(path)
    loaded = Identity.load(str(path))
    assert loaded.peer_id == identity.peer_id
    assert loaded.sign("context") == identity.sign("context")


def test_the_file_is_pkcs8_in_pem_that_other_tools_read(path: Path) -> None:
    Member(number=1).identity.save(path)
    pem = path.read_bytes()
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    serialization.load_pem_private_key(pem, password=None)


@pytest.mark.usefixtures("restored_umask")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_the_file_has_mode_0600_whatever_the_umask(path: Path, umask: int) -> None:
    os.umask(umask)
    Member(number=1).identity.save(path)
    assert mode(path) == 0o600


@pytest.mark.usefixtures("restored_umask")
def test_no_moment_passes_in_which_the_file_allows_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def fchmod_that_only_looks(descriptor: int, _mode: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))

    monkeypatch.setattr(os, "fchmod", fchmod_that_only_looks)
    os.umask(0)
    Member(number=1).identity.save(path)
    assert seen == [0o600]
    assert mode(path) == 0o600


def test_an_identity_never_replaces_a_file(path: Path) -> None:
    one, two = Member(number=1).identity, Member(number=2).identity
    one.save(path)
    with pytest.raises(IdentityFileExists) as refusal:
        two.save(path)
    assert refusal.value.path == path
    assert Identity.load(path).peer_id == one.peer_id
    assert list(path.parent.iterdir()) == [path]


def test_an_identity_is_not_written_through_a_dangling_link(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    path.symlink_to(target)
    with pytest.raises(IdentityFileExists):
        Member(number=1).identity.save(path)
    assert not target.exists()


def test_a_save_that_fails_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        Member(number=1).identity.save(path)
    assert list(path.parent.iterdir()) == []


def test_a_directory_that_is_not_there_stays_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Identity.load_or_create(tmp_path / "missing" / "identity.pem")


def test_a_missing_file_has_its_own_error(path: Path) -> None:
    with pytest.raises(IdentityFileMissing) as refusal:
        Identity.load(path)
    assert refusal.value.path == path
    assert str(refusal.value) == f"the identity file {path} does not exist"


@pytest.mark.parametrize("wider", [0o601, 0o604, 0o640, 0o644, 0o660, 0o666, 0o700, 0o4600])
def test_a_file_that_allows_more_is_refused(path: Path, wider: int) -> None:
    Member(number=1).identity.save(path)
    path.chmod(wider)
    with pytest.raises(InsecureIdentityFile) as refusal:
        Identity.load(path)
    assert refusal.value.mode == wider
    assert f"{wider:04o}" in str(refusal.value)


def test_a_file_that_allows_less_is_read(path: Path) -> None:
    identity = Member(number=1).identity
    identity.save(path)
    path.chmod(0o400)
    assert Identity.load(path).peer_id == identity.peer_id


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100_000,
        b"-----BEGIN PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        Member(number=1).peer_id.encode(),
    ],
)
def test_a_file_that_holds_no_key_is_refused(path: Path, content: bytes) -> None:
    write_private(path, content)
    with pytest.raises(MalformedIdentityFile) as refusal:
        Identity.load(path)
    assert refusal.value.__suppress_context__


def test_an_encrypted_key_is_refused(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(
        path,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        ),
    )
    with pytest.raises(MalformedIdentityFile):
        Identity.load(path)


@pytest.mark.parametrize("key", [x25519.X25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())])
def test_a_key_of_another_type_is_refused(
    path: Path, key: x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    write_private(
        path,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    with pytest.raises(WrongKeyType) as refusal:
        Identity.load(path)
    assert isinstance(refusal.value, IdentityFileError)


def test_load_or_create_creates_once_and_then_loads(path: Path) -> None:
    created = Identity.load_or_create(path)
    assert mode(path) == 0o600
    assert Identity.load_or_create(path).peer_id == created.peer_id


def test_load_or_create_does_not_hide_a_broken_file(path: Path) -> None:
    write_private(path, b"broken")
    with pytest.raises(MalformedIdentityFile):
        Identity.load_or_create(path)
    assert path.read_bytes() == b"broken"


def test_all_who_load_or_create_at_once_get_the_same_identity(path: Path) -> None:
    programs = 8
    barrier = Barrier(programs)

    def run(_program: int) -> str:
        barrier.wait()
        return Identity.load_or_create(path).peer_id

    with ThreadPoolExecutor(programs) as executor:
        peer_ids = set(executor.map(run, range(programs)))
    assert peer_ids == {Identity.load(path).peer_id}
    assert list(path.parent.iterdir()) == [path]
