"""The example of the README: an exchange over a slow link, in no time."""

import asyncio
import inspect
from pathlib import Path

from rtcmesh.netem import LinkConfig, VirtualNetwork, run_virtual


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello " + await reader.readline())
    writer.close()
    await writer.wait_closed()


async def main() -> tuple[bytes, float]:
    network = VirtualNetwork(link=LinkConfig(delay=0.3, loss=0.1))
    with network.add_host("server"):
        await asyncio.start_server(greet, port=7000)
    with network.add_host("laptop"):
        reader, writer = await asyncio.open_connection("server", 7000)
    writer.write(b"moon\n")
    answer = await reader.read()
    writer.close()
    return answer, asyncio.get_running_loop().time()


def test_the_example_of_the_readme() -> None:
    answer, seconds = run_virtual(main(), seed=7)
    assert answer == b"hello moon\n"
    assert seconds > 1.2


def test_the_readme_shows_this_example() -> None:
    readme = Path(__file__).parents[2] / "netem" / "README.md"
    assert inspect.getsource(main) in readme.read_text()
