"""Send every datagram back."""

import socket
import sys

family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as echo:
    echo.bind((sys.argv[1], 7007))
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while True:
        data, sender = echo.recvfrom(2048)
        echo.sendto(data, sender)
