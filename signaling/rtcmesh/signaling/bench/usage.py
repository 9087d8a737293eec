"""What a process of a bench has used, told to whoever started it."""

import asyncio
import os
import resource
import sys
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path


async def report_usage(pipe: Pipe) -> None:
    """Answer whoever asks what this process uses, until the pipe is closed."""
    while True:
        try:
            await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        pipe.send((time.process_time(), _resident_bytes()))


def _resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    # Without /proc there is only the highest value so far: bytes on macOS, KiB elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
