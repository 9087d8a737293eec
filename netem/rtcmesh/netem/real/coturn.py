"""A real STUN and TURN server on a host: coturn, which must be installed."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import PIPE, STDOUT
from typing import NamedTuple

from .errors import LaboratoryUnavailable
from .hosts import RealHost

PORT = 3478
TCP_PORT = 443
"""The port that firewalls leave open."""

START_TIMEOUT = 20.0
_READY = b"(admin thread)"
"""What it says last before it serves."""


class Coturn(NamedTuple):
    """A server that runs, in the words of RTCIceServer."""

    urls: tuple[str, ...]
    """STUN, TURN over UDP, and TURN over TCP on the port of the web."""
    username: str
    credential: str


async def start_coturn(
    host: RealHost, *, username: str = "rtcmesh", credential: str = "laboratory"
) -> Coturn:
    """Start it; it ends with the laboratory. Raises `LaboratoryUnavailable` where it is missing or does not start."""
    if shutil.which("turnserver") is None:
        raise LaboratoryUnavailable("turnserver is missing: install coturn")
    address = host.address
    program = await host.spawn(
        *(
            "turnserver",
            "-n",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--fingerprint",
            "--pidfile=",
            "--log-file=stdout",
        ),
        *("--realm=rtcmesh", "--lt-cred-mech", f"--user={username}:{credential}"),
        *(f"--listening-ip={address}", f"--relay-ip={address}", f"--listening-port={PORT}"),
        f"--aux-server={address}:{TCP_PORT}",
        stdout=PIPE,
        stderr=STDOUT,
        name="coturn",
    )
    assert program.stdout is not None, "it was started with a pipe"
    said = b""
    try:
        async with asyncio.timeout(START_TIMEOUT):
            async for line in program.stdout:
                said += line
                if _READY in line:
                    return Coturn(
                        (
                            f"stun:{address}:{PORT}",
                            f"turn:{address}:{PORT}?transport=udp",
                            f"turn:{address}:{TCP_PORT}?transport=tcp",
                        ),
                        username,
                        credential,
                    )
    except TimeoutError:
        pass
    raise LaboratoryUnavailable(f"coturn does not start: {said.decode(errors='replace')}")
