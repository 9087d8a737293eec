"""Packets to put on links."""

from rtcmesh.netem import Endpoint, Kind, Packet

SOURCE, DESTINATION = Endpoint("10.0.0.1", 40_000), Endpoint("10.0.0.2", 50_000)


def parcel(
    payload: bytes = b"",
    *,
    sequence: int = 0,
    kind: Kind = Kind.UDP,
    source: Endpoint = SOURCE,
    destination: Endpoint = DESTINATION,
) -> Packet:
    """Make a packet of which the test says only what matters to it."""
    return Packet(sequence, kind, source, destination, payload)
