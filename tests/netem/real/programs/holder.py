"""Hold a laboratory for ever, and say which processes belong to it."""

import asyncio
import json
import sys

from rtcmesh.netem.real import joined_hosts


async def hold() -> None:
    async with joined_hosts() as lab:
        sleeper = await lab.left.spawn("sleep", "1000")
        sys.stdout.write(json.dumps([sleeper.pid, lab._carrier.process.pid]) + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()


asyncio.run(hold())
