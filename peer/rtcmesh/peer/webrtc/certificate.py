"""Self-signed certificates: what the two ends of a DTLS connection know each other by."""

from __future__ import annotations

import functools
import hashlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from .description import Fingerprint

LIFETIME = timedelta(days=30)
"""As W3C webrtc-pc section 4.9.1 has it. Peers compare fingerprints and do not look at dates."""

# ECDSA first, as every stack uses it; RSA is for peers that bring a certificate of their own.
_CIPHERS = b":".join(
    (
        b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"ECDHE-RSA-AES128-GCM-SHA256",
        b"ECDHE-ECDSA-CHACHA20-POLY1305",
        b"ECDHE-RSA-CHACHA20-POLY1305",
        b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"ECDHE-RSA-AES256-GCM-SHA384",
    )
)

# No media is ever protected with these, but aiortc ends a handshake in which no profile was agreed on.
_SRTP_PROFILES = b"SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"

_DIGESTS = ("sha-256", "sha-384", "sha-512")


class Certificate:
    """A certificate with its private key, and the OpenSSL context of all connections that present it."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        self.fingerprint = Fingerprint("sha-256", certificate.fingerprint(hashes.SHA256()))
        """What a description announces."""

    @classmethod
    def create(cls) -> Certificate:
        """Return a new certificate for a new P-256 key, whose name and number are the key's."""
        key = ec.generate_private_key(ec.SECP256R1())
        # Nothing is drawn from Python's randomness, which a seed may repeat: the first run of a program in a process
        # would draw more than the next one.
        digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, digest.hex())])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(int.from_bytes(digest[:16]))
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + LIFETIME)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @functools.cached_property
    def context(self) -> SSL.Context:
        """The context for DTLS connections; whoever uses it checks the fingerprint of the other end."""
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_QUERY_MTU)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept)
        context.use_certificate(self._certificate)
        context.use_privatekey(self._key)
        context.set_cipher_list(_CIPHERS)
        context.set_tlsext_use_srtp(_SRTP_PROFILES)
        return context


def _accept(*_: object) -> bool:
    """Let every certificate pass OpenSSL: nobody but the announced fingerprint vouches for one."""
    return True


@functools.cache
def process_certificate() -> Certificate:
    """Return the certificate that all transports of this process share: making one takes longer than connecting."""
    return Certificate.create()


def vouches_for(fingerprints: tuple[Fingerprint, ...], certificate: bytes) -> bool:
    """Tell whether announced fingerprints are those of a certificate (DER).

    At least one must use a hash that is trusted, and every one that does must match (RFC 8122 section 5).
    """
    known = [fingerprint for fingerprint in fingerprints if fingerprint.algorithm in _DIGESTS]
    return bool(known) and all(
        hashlib.new(fingerprint.algorithm.replace("-", ""), certificate).digest() == fingerprint.digest
        for fingerprint in known
    )
