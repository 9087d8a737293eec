"""The kernel's list of connections, by which a gateway translates. A program too, to be run inside a namespace."""

from __future__ import annotations

import os
import socket
import struct

_NETLINK_NETFILTER = 12
_FORGET_ALL = struct.pack("=IHHIIBBH", 20, 0x0102, 0x0005, 1, 0, socket.AF_INET, 0, 0)
"""ctnetlink: IPCTNL_MSG_CT_DELETE, a request with an acknowledgement, and of no connection in particular."""


def forget_connections() -> None:
    """Have the namespace in which the caller is forget every connection that it tracks. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.sendto(_FORGET_ALL, (0, 0))
        _, _, _, _, _, error = struct.unpack_from("=IHHIIi", netlink.recv(4096))
    if error:
        raise OSError(-error, os.strerror(-error))


if __name__ == "__main__":
    forget_connections()
