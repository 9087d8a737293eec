"""TUN devices: network interfaces whose packets a program reads and writes."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from .errors import LaboratoryUnavailable

DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000

QUEUE_PACKETS = 5000
"""How many packets wait in the kernel for the link; more than it ever leaves there, or the kernel drops some unseen."""


def open_tun(name: str) -> int:
    """Make a device in the namespace where the caller is, and return its descriptor, which does not block.

    Closing it removes the device. Raises `LaboratoryUnavailable`.
    """
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise LaboratoryUnavailable(
            f"{DEVICE} is missing: load the kernel module tun (modprobe tun)"
        ) from error
    except PermissionError as error:
        raise LaboratoryUnavailable(
            f"{DEVICE} may not be opened by you: have root run `chmod 666 {DEVICE}`, which is what most systems have"
        ) from error
    except OSError as error:
        raise LaboratoryUnavailable(f"{DEVICE} cannot be opened: {error.strerror}") from error
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError as error:
        os.close(fd)
        what = "that needs root" if error.errno == errno.EPERM else error.strerror
        raise LaboratoryUnavailable(f"no TUN device can be made: {what}") from error
    return fd


def lines_for(name: str, addresses: tuple[str, ...], mtu: int) -> list[str]:
    """Return what iproute2 does to bring a device up that has these addresses, such as `10.0.0.1/24`."""
    # Without addresses of its own making, nor probing for others that have ours (RFC 4862): nobody else is there.
    lines = [f"link set dev {name} mtu {mtu} txqueuelen {QUEUE_PACKETS} addrgenmode none"]
    lines += [f"addr add {address} dev {name}{' nodad' if ':' in address else ''}" for address in addresses]
    return [*lines, f"link set dev {name} up"]
