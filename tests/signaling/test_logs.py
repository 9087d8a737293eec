"""The logs of a server: an object a line, and one id from the challenge of a connection to its last signal."""

import io
import json
import logging
from collections.abc import Generator

import pytest

from rtcmesh.signaling.logs import LogFormat, LogLevel, configure_logs
from rtcmesh.signaling.messages import Challenge, SendSignal, Signal
from support.links import Lab
from support.members import Member
from support.virtual import on_virtual_time


@pytest.fixture(autouse=True)
def root() -> Generator[logging.Logger, None, None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield root
    root.handlers = handlers
    root.setLevel(level)


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@on_virtual_time
async def test_one_id_follows_a_connection_from_its_challenge_to_its_signals_and_its_end() -> None:
    stream = io.StringIO()
    configure_logs(LogFormat.JSON, LogLevel.DEBUG, stream)
    lab = Lab()
    async with lab.server(), lab.link(1) as alice:
        async with lab.raw_peer(3) as eve:
            challenge = await eve.receive()
            assert isinstance(challenge, Challenge)
            await eve.send(eve.proved(challenge))
            await eve.receive()
            await eve.send(SendSignal(to=Member(number=1).peer_id, id=1, sealed=b"x"))
            while not isinstance(await anext(alice), Signal):
                pass
            eve.socket.abort()
        await anext(alice)
    lines = lines_of(stream)
    hers = [line for line in lines if line.get("connection") == challenge.connection]
    assert [line["event"] for line in hers] == ["joined", "signal answered", "connection ended"]
    assert {line["room"] for line in hers} == {"lobby"}
    assert hers[-1]["reason"] == "abnormal"
    (delivered,) = [line for line in lines if line["event"] == "signal delivered"]
    assert (delivered["from"], delivered["signal"]) == (hers[0]["peer"], hers[1]["signal"])
    assert delivered["connection"] != challenge.connection
    assert all({"timestamp", "level", "logger"} <= line.keys() for line in lines)


def test_nothing_that_is_logged_breaks_its_line() -> None:
    stream = io.StringIO()
    configure_logs(LogFormat.JSON, LogLevel.INFO, stream)
    logger = logging.getLogger("rtcmesh.test")
    logger.info("joined", extra={"room": "a\nb\x1b[31m", "peer": b"\xff"})
    try:
        int("two\nlines")
    except ValueError:
        logger.exception("failed")
    logger.debug("not logged")
    joined, failed = lines_of(stream)
    assert joined["room"] == "a\nb\x1b[31m"
    assert "invalid literal" in str(failed["exception"])


def test_people_get_columns_without_colours_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    configure_logs(LogFormat.CONSOLE, LogLevel.INFO, stream)
    logging.getLogger("rtcmesh.test").info("joined", extra={"connection": "c0ffee", "detail": "a\nb\x1b[31m"})
    assert stream.getvalue().count("\n") == 1
    assert "joined" in stream.getvalue()
    assert "connection='c0ffee'" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
