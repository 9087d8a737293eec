"""Send a datagram that is too long for the path, and print the MTU that the kernel knows once it is told of it."""

import select
import socket
import struct
import sys

IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
IPV6_MTU_DISCOVER, IPV6_MTU = 23, 24

address = sys.argv[1]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
level, discover, mtu = (
    (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_MTU)
    if family == socket.AF_INET6
    else (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_MTU)
)
with socket.socket(family, socket.SOCK_DGRAM) as sender:
    sender.setsockopt(level, discover, IP_PMTUDISC_DO)
    sender.connect((address, 7007))
    sender.send(bytes(1440))
    poll = select.poll()
    poll.register(sender, select.POLLERR)
    told = bool(poll.poll(float(sys.argv[2]) * 1000))
    known = struct.unpack("i", sender.getsockopt(level, mtu, 4))[0]
sys.stdout.write(f"{told} {known}")
