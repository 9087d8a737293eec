"""Send datagrams one after another to the echo, and print how long each took that came back."""

import json
import socket
import sys
import time

address, count, patience = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
times: list[float] = []
with socket.socket(family, socket.SOCK_DGRAM) as sender:
    sender.settimeout(patience)
    for number in range(count):
        sent_at = time.perf_counter()
        sender.sendto(str(number).encode(), (address, 7007))
        try:
            while sender.recv(2048) != str(number).encode():
                pass
        except TimeoutError:
            continue
        times.append(time.perf_counter() - sent_at)
sys.stdout.write(json.dumps(times))
