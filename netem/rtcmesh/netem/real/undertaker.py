"""Who ends what is left in the namespaces when the process that made them ends, however that comes."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Collection

from .inhabitants import kill_inhabitants


def fork_undertaker(namespaces: Collection[int]) -> int:
    """Fork a process that waits for our end, then kills all that is in these namespaces; return a descriptor of it.

    It holds our standard output open until that is done: who reads there to the end waits for it.
    """
    # A reference to us that no other process can take over, and that is there before we can end.
    us = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid:
        os.close(us)
        return os.pidfd_open(pid)
    try:
        # A session of its own: what is meant for the group that started us is not meant for it.
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        end = select.poll()
        end.register(us, select.POLLIN)
        end.poll()
        kill_inhabitants(namespaces)
    finally:
        os._exit(0)
