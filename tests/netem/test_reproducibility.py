"""The same seed gives the same run."""

import asyncio
import contextlib
import os
import random
import secrets
import subprocess
import sys
import uuid
from pathlib import Path
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.netem import LinkConfig, TraceEntry, VirtualNetwork, run_virtual, seed_randomness

HOSTS = 3

links = st.builds(
    LinkConfig,
    delay=st.sampled_from([0.0, 0.03]),
    jitter=st.sampled_from([0.0, 0.01]),
    loss=st.sampled_from([0.0, 0.1]),
    duplication=st.sampled_from([0.0, 0.1]),
    reordering=st.sampled_from([0.0, 0.1]),
)


class Chatter(asyncio.DatagramProtocol):
    """Answers two datagrams of three to a random host, so that runs that differ diverge at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if random.random() < 2 / 3:
            self.transport.sendto(os.urandom(random.randrange(100)), (f"host{random.randrange(HOSTS)}", 9))


async def chat(link: LinkConfig, sends: list[tuple[int, int]]) -> list[TraceEntry]:
    trace: list[TraceEntry] = []
    network = VirtualNetwork(link=link, trace=trace.append)
    loop = asyncio.get_running_loop()
    transports: list[asyncio.DatagramTransport] = []
    for number in range(HOSTS):
        with network.add_host(f"host{number}") as host:
            transports.append((await loop.create_datagram_endpoint(Chatter, local_addr=(host.address, 9)))[0])
    for source, destination in sends:
        transports[source].sendto(b"start", (f"host{destination}", 9))
        await asyncio.sleep(random.random())
    await asyncio.sleep(10)
    return trace


@settings(max_examples=30)
@given(
    links,
    st.lists(st.tuples(st.integers(0, HOSTS - 1), st.integers(0, HOSTS - 1)), max_size=10),
    st.integers(0, 999),
)
def test_the_same_seed_gives_the_same_trace(
    link: LinkConfig, sends: list[tuple[int, int]], seed: int
) -> None:
    assert run_virtual(chat(link, sends), seed=seed) == run_virtual(chat(link, sends), seed=seed)


def test_another_seed_gives_another_trace() -> None:
    link, sends = LinkConfig(delay=0.03, loss=0.1), [(0, 1)] * 10
    assert run_virtual(chat(link, sends), seed=1) != run_virtual(chat(link, sends), seed=2)


def test_another_process_has_the_same_trace() -> None:
    script = (
        "from test_reproducibility import *\n"
        "print(hash_of(run_virtual(chat(LinkConfig(delay=0.03, jitter=0.01, loss=0.1), [(0, 1)] * 10), seed=5)))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != b""


def hash_of(trace: list[TraceEntry]) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, repr(trace)))


def draw() -> tuple[object, ...]:
    return random.random(), os.urandom(4), secrets.token_hex(4), secrets.randbits(64), uuid.uuid4()


def test_seeded_randomness_repeats_and_leaves_no_trace() -> None:
    random.seed(1)
    expected = random.random()
    random.seed(1)
    with seed_randomness(7):
        first = draw()
    assert random.random() == expected
    with seed_randomness(7):
        assert draw() == first
    with seed_randomness(8):
        assert draw() != first
    assert os.urandom(8) != os.urandom(8)
    assert draw() != draw()


def test_tasks_are_cancelled_in_the_same_order_wherever_they_lie_in_memory() -> None:
    async def main(ballast: list[object]) -> list[int]:
        order: list[int] = []

        async def wait(number: int) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                order.append(number)

        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                for number in range(40):
                    ballast.append(bytearray(random.randrange(5000)))
                    tasks.create_task(wait(number))
                await asyncio.sleep(1)
                raise ValueError
        return order

    kept: list[object] = []
    orders = [run_virtual(main(kept), seed=seed) for seed in range(4)]
    assert orders == [orders[0]] * 4
