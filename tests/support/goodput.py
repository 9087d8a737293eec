"""One end of a bare aiortc connection that carries as much as it can; on any event loop, and as a program.

python goodput.py send SECONDS        writes its offer, reads the answer, and sends until its input ends
python goodput.py receive SECONDS     reads the offer, writes its answer, then how many bytes a second came
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

MESSAGE = bytes(8192)
HIGH_WATER_BYTES = 256 * 1024


class End:
    """A peer connection with a channel; both ends know its number."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._channel = self.connection.createDataChannel("goodput", negotiated=True, id=0)
        self._channel.bufferedAmountLowThreshold = HIGH_WATER_BYTES // 2
        self._opened, self._writable, self._begun = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._received = 0
        self._channel.on("open", self._opened.set)
        self._channel.on("bufferedamountlow", self._writable.set)
        self._channel.on("message", self._take)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def answer(self, offer: str) -> str:
        await self.connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def pour(self) -> None:
        """Send until cancelled."""
        await self._opened.wait()
        while True:
            self._writable.clear()
            while self._channel.bufferedAmount < HIGH_WATER_BYTES:
                self._channel.send(MESSAGE)
            await self._writable.wait()

    async def measure(self, seconds: float) -> float:
        """Return how many bytes a second come in, from a third of that time after the first ones on."""
        await self._begun.wait()
        await asyncio.sleep(seconds / 3)
        before = self._received
        await asyncio.sleep(seconds)
        return (self._received - before) / seconds

    def _take(self, message: bytes) -> None:
        self._received += len(message)
        self._begun.set()


async def line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(role: str, seconds: str) -> None:
    end = End()
    if role == "send":
        say(await end.offer())
        await end.accept(json.loads(await line()))
        pouring = asyncio.create_task(end.pour())
        await line()
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
    else:
        say(await end.answer(json.loads(await line())))
        say(await end.measure(float(seconds)))
    await end.connection.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
