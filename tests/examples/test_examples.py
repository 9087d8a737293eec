"""Every example, run as its README says: a server, and two shells."""

import ast
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from rtcmesh.signaling.config import ServerConfig
from rtcmesh.signaling.server import serve
from support.processes import Program, running

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
async def url() -> AsyncGenerator[str]:
    async with serve(ServerConfig(port=0)) as server:
        yield server.url


def example(name: str, *arguments: str) -> AbstractAsyncContextManager[Program]:
    return running(sys.executable, EXAMPLES / name, *arguments)


async def test_quickstart_greets_whoever_is_there(url: str) -> None:
    async with example("quickstart.py", url) as ann, example("quickstart.py", url) as bob:
        assert "{'text': 'hello'}" in await ann.expect("hello")
        assert "{'text': 'hello'}" in await bob.expect("hello")


async def test_the_chat_shows_names_messages_and_departures(url: str) -> None:
    async with example("chat.py", "ann", url) as ann, example("chat.py", "bob", url) as bob:
        await ann.expect("* 'bob' is connected")
        await bob.expect("* 'ann' is connected")
        ann.say("hello bob")
        await bob.expect("'ann': hello bob")
        bob.say("hello ann")
        bob.end_input()
        await ann.expect("'bob': hello ann")
        await ann.expect("* 'bob' left")
        ann.interrupt()
        for program in (ann, bob):
            ended = await program.ended()
            assert (ended.code, ended.errors) == (0, "")


async def test_a_shared_cursor_ends_where_the_other_peer_left_it(url: str) -> None:
    async with (
        example("shared_cursor.py", url, "1000000") as ann,
        example("shared_cursor.py", url, "20") as bob,
    ):
        assert (await ann.expect("left at")).endswith(" left at 140,100")
        ann.interrupt()
        for program in (ann, bob):
            ended = await program.ended()
            assert (ended.code, ended.errors) == (0, "")


def test_the_readme_shows_the_quickstart_as_it_runs() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert code_of(blocks[0]) == code_of((EXAMPLES / "quickstart.py").read_text())


def code_of(source: str) -> str:
    """Return the code in a form in which neither docstrings nor layout count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            del node.body[0]
    return ast.unparse(tree)


def test_every_example_is_run_and_listed() -> None:
    source = Path(__file__).read_text()
    table = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'example("{path.name}"' in source
        assert f"[`{path.name}`]({path.name})" in table
