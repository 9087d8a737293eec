"""The judgement of the demo: it is worth something only if it sees what is wrong."""

import io
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console
from typer.testing import CliRunner

from rtcmesh.peer.cli import app
from rtcmesh.peer.demo.protocol import Link, Progress
from rtcmesh.peer.demo.run import Demo, DemoFailed, default_file
from rtcmesh.peer.demo.screen import show_result, table_of
from rtcmesh.peer.demo.verdict import Result, Step, pairs_to_cut, problems_in

MESSAGES = 10
NAMES = ("aaaaaaaa", "bbbbbbbb", "cccccccc")
CUT = (NAMES[0], NAMES[2])
THE_WAY_OF_THE_CUT = ("relayed", "direct", "relayed", "none", "relayed", "direct")

Change = Callable[[Progress], Progress]


def report_of(name: str) -> Progress:
    """Return what a peer reports when all is right."""

    def link_to(other: str) -> Link:
        history = THE_WAY_OF_THE_CUT if {name, other} == set(CUT) else ("relayed", "direct")
        return Link("direct", 0.001, len(history), history, received=MESSAGES, in_order=True)

    return Progress(
        peer_id=name,
        sent=2 * MESSAGES,
        links={other: link_to(other) for other in NAMES if other != name},
        file_sha256="f" if name == NAMES[-1] else None,
        file_sent_to=NAMES[-1] if name == NAMES[0] else None,
        done=True,
    )


def judge(*reports: Progress) -> list[str]:
    return list(problems_in(reports, peers=3, messages=MESSAGES, digest="f", cut=[(1, 3)]))


def change(**changes: object) -> Change:
    return lambda report: replace(report, **changes)


def change_link(to: str = NAMES[1], **changes: object) -> Change:
    def change_report(report: Progress) -> Progress:
        return replace(report, links={**report.links, to: replace(report.links[to], **changes)})

    return change_report


def test_nothing_is_wrong_when_all_is_right() -> None:
    assert judge(*map(report_of, NAMES)) == []


@pytest.mark.parametrize(
    ("mistake", "problem"),
    [
        (change_link(received=9), "aaaaaaaa received 9 messages of bbbbbbbb instead of 10"),
        (change_link(received=11), "aaaaaaaa received 11 messages of bbbbbbbb instead of 10"),
        (change_link(in_order=False), "aaaaaaaa received messages of bbbbbbbb out of order"),
        (change(sent=19), "aaaaaaaa sent 19 messages instead of 20"),
        (
            change(links={NAMES[1]: Link("direct", None, 1, ("direct",), received=MESSAGES, in_order=True)}),
            "aaaaaaaa knows 1 peers instead of the 2 others",
        ),
        (
            change_link(NAMES[2], history=("relayed", "direct")),
            "aaaaaaaa reached cccccccc by relayed, direct instead of direct, relayed, none, relayed, direct",
        ),
        (
            change_link(NAMES[2], history=("direct", "none", "direct")),
            "aaaaaaaa reached cccccccc by direct, none, direct instead of direct, relayed, none, relayed, direct",
        ),
        (
            change_link(history=("relayed",)),
            "aaaaaaaa reached bbbbbbbb by relayed instead of direct",
        ),
        (change(file_sha256="e"), "the file arrived as e and f instead of f"),
    ],
)
def test_whatever_is_wrong_is_named(mistake: Change, problem: str) -> None:
    first, *others = map(report_of, NAMES)
    assert judge(mistake(first), *others) == [problem]


def test_a_missing_peer_and_a_missing_file_are_noticed() -> None:
    problems = judge(*map(report_of, NAMES[:2]))
    assert "2 peers reported instead of 3" in problems
    assert "the file arrived as nothing instead of f" in problems


def test_the_table_shows_paths_round_trips_and_counts() -> None:
    first, *others = map(report_of, NAMES)
    output = io.StringIO()
    Console(file=output, width=100).print(
        table_of([change_link(path=None, rtt=None, changes=0, history=(), received=0)(first), *others])
    )
    lines = iter(output.getvalue().splitlines())
    row = next(line for line in lines if "aaaaaaaa" in line)
    assert row.split() == ["1", "aaaaaaaa", "dials", "direct", "20", "10", "sends"]
    assert next(lines).split() == ["1", "ms"]
    assert next(lines).split() == ["6x"]


@pytest.mark.parametrize("problems", [(), ("[x] one thing", "another thing")])
def test_people_are_told_what_was_proved_or_all_that_is_wrong(problems: tuple[str, ...]) -> None:
    output = io.StringIO()
    result = Result(
        ok=not problems,
        problems=problems,
        peers=5,
        direct_connections=10,
        cut_pairs=((1, 5), (2, 3)),
        steps=(Step("a thing happened", 1.23),),
        ways=(),
        messages_sent=20_000,
        messages_received=20_000,
        file="README.md",
        file_bytes=4_000,
        file_sha256="f" * 64,
        seconds=2.5,
    )
    show_result(Console(file=output, width=100), result)
    told = [line[2:] for line in output.getvalue().splitlines() if line]
    assert told == list(problems) or told == [
        "5 processes, 10 direct connections",
        "the direct paths 1-5 and 2-3 cut, the server and its relay killed and restarted, the paths healed:",
        "  a thing happened: 1.2 s",
        "20,000 messages meanwhile, each once and in order",
        f"README.md: 4,000 bytes, SHA-256 {'f' * 16}… at both ends",
        "all right after 2.5 s",
    ]


@pytest.mark.parametrize(
    ("peers", "pairs"), [(2, [(1, 2)]), (3, [(1, 3)]), (4, [(1, 4), (2, 3)]), (20, [(1, 20), (2, 3)])]
)
def test_the_pairs_that_are_cut_share_no_peer(peers: int, pairs: list[tuple[int, int]]) -> None:
    assert list(pairs_to_cut(peers)) == pairs


class DemoWhosePortIsTaken(Demo):
    """A demo whose server cannot come back."""

    async def start_server(self, port: int = 0) -> str:
        """Let somebody else have the port before the server returns."""
        if port == 0:
            return await super().start_server()
        with socket.create_server(("127.0.0.1", port)):
            return await super().start_server(port)


@pytest.mark.timeout(180)
async def test_a_relay_that_does_not_come_back_is_noticed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    with pytest.raises(DemoFailed, match="the server ended early"):
        await DemoWhosePortIsTaken(peers=2, messages=10, file=file).run(160)
    assert "address already in use" in capfd.readouterr().err.lower()


def test_the_file_is_the_readme_unless_told_otherwise() -> None:
    assert default_file() == Path(__file__).parents[3] / "README.md"


def test_a_file_that_is_not_there_is_refused_at_once() -> None:
    demo = CliRunner().invoke(app, ["demo", "--file", "nowhere"])
    assert demo.exit_code == 2
    assert "does not exist" in demo.output
