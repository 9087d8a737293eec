"""TUN devices: network interfaces whose packets a program reads and writes."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import struct
from collections.abc import Sequence

from .errors import LaboratoryUnavailable
from .namespace import Namespace

_DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000

QUEUE_PACKETS = 5000
"""How many packets wait in the kernel for the link; more than it ever leaves there, or the kernel drops some unseen."""


def open_tun(namespace: Namespace, name: str, addresses: Sequence[str], mtu: int) -> int:
    """Make a device in a namespace and return its descriptor, which does not block; closing it removes the device.

    `addresses` have a prefix length, such as `10.0.0.1/24`. Raises `LaboratoryUnavailable`.
    """
    try:
        with namespace.entered():
            fd = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise LaboratoryUnavailable(f"{_DEVICE} is missing: load the kernel module tun") from error
    try:
        with namespace.entered():
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
        lines = [f"link set dev {name} mtu {mtu} txqueuelen {QUEUE_PACKETS}"]
        lines += [f"addr add {address} dev {name}{_without_probing(address)}" for address in addresses]
        namespace.configure([*lines, f"link set dev {name} up"])
    except OSError as error:
        os.close(fd)
        if error.errno == errno.EPERM:
            raise LaboratoryUnavailable("making a TUN device needs root") from error
        raise LaboratoryUnavailable(f"no TUN device can be made: {error}") from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def _without_probing(address: str) -> str:
    """Let an IPv6 address be usable at once: nobody else can have it (RFC 4862 section 5.4)."""
    return " nodad" if ipaddress.ip_interface(address).version == 6 else ""
