"""The commands `rtcmesh bench ...`: what anyone can measure on a machine of their own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console, RenderableType
from rich.text import Text

from rtcmesh.peer.command_line import fail

app = typer.Typer(
    no_args_is_help=True, help="Measure: the speed of a mesh, the promise about paths, outboxes, a relay."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the raw figures as JSON, and nothing else.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each contender is measured.")]
Seconds = Annotated[float, typer.Option(min=0.1, help="For how long each figure is measured.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="How many processes. Default: one for each core.")]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--output", file_okay=False, help="A folder for the page, its pictures and the raw figures."
    ),
]


@app.command()
def mesh(
    rounds: Rounds = 5,
    *,
    json: AsJson = False,
) -> None:
    """Measure a mesh beside its bare transport: connecting, small messages, bulk, ping-pong."""
    # Late, here and below: other commands load none of it.
    from .mesh import run_bench, table_of

    console = Console(quiet=json)
    with console.status("measuring") as status:
        results = asyncio.run(run_bench(rounds, status.update))
    _show(results, [table_of(results)], json=json)


@app.command()
def paths(
    runs: Annotated[int, typer.Option(min=1, help="How many trials.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the first trial; each has the next one.")] = 0,
    jobs: Jobs = None,
    *,
    json: AsJson = False,
) -> None:
    """Break and mend the paths between two peers, on virtual time, and count what is lost, repeated or reordered.

    Exit code 0 only if every promise was kept.
    """
    from .paths import run_path_bench, tables_of

    console = Console(quiet=json)
    with console.status("measuring") as status:
        results = run_path_bench(runs, first_seed=seed, jobs=jobs, progress=status.update)
    _show(results, tables_of(results), json=json)
    if broken := results.broken_promises():
        for line in broken:
            Console(stderr=True).print(Text(line, "red"), soft_wrap=True)
        raise typer.Exit(1)


@app.command()
def virtual(
    peers: Annotated[int, typer.Option(min=2, max=100, help="How many peers the mesh has.")] = 20,
    seconds: Annotated[float, typer.Option(min=1, help="For how many virtual seconds it stands.")] = 60.0,
    *,
    json: AsJson = False,
) -> None:
    """Measure how much processor time virtual time takes: a mesh behind NATs at 1 % loss, and an outage of 40 s."""
    from .virtual import run_virtual_bench, table_of

    console = Console(quiet=json)
    with console.status("measuring"):
        results = run_virtual_bench(peers, seconds)
    _show(results, [table_of(results)], json=json)


@app.command()
def outbox(
    rounds: Rounds = 5,
    *,
    json: AsJson = False,
) -> None:
    """Measure what an outbox costs the processor, and how long a transaction keeps the event loop."""
    from .outbox import run_outbox_bench, tables_of

    console = Console(quiet=json)
    with console.status("measuring") as status:
        results = run_outbox_bench(rounds, status.update)
    _show(results, tables_of(results), json=json)


@app.command()
def relay(
    seconds: Seconds = 3.0,
    pairs: Annotated[int, typer.Option(min=1, help="How many senders, each with a receiver of its own.")] = 4,
    *,
    json: AsJson = False,
) -> None:
    """Measure a relay in a process of its own: frames and bytes a second, and the delay of small frames beside bulk."""
    from rtcmesh.relay.bench import run_relay_bench, table_of

    console = Console(quiet=json)
    with console.status("measuring"):
        results = asyncio.run(run_relay_bench(seconds, pairs))
    _show(results, table_of(results), json=json)


@app.command()
def signaling(
    rooms: Annotated[int, typer.Option(min=1, help="How many rooms.")] = 20,
    members: Annotated[int, typer.Option(min=2, max=1000, help="Members of each room.")] = 10,
    *,
    joins: Annotated[float, typer.Option(min=1, help="Joins a second at the start.")] = 200.0,
    signals: Annotated[
        float, typer.Option(min=0, help="Signals a second in all; 0: as many as the server takes.")
    ] = 0.0,
    churn: Annotated[float, typer.Option(min=0, help="Members a second that come and go meanwhile.")] = 0.0,
    slow_readers: Annotated[int, typer.Option(min=0, help="Members that read nothing.")] = 0,
    seconds: Seconds = 5.0,
    store: Annotated[
        str | None,
        typer.Option(
            "--redis", help="A store for servers that share rooms; python-socketio is measured beside them."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Measure a signaling server in a process of its own: joins, signals, large rooms, memory, processor time."""
    from rtcmesh.signaling.bench.bench import Work, contenders_on, memory_server, run_load, table_of

    work = Work(
        rooms=rooms,
        members=members,
        joins_per_second=joins,
        signals_per_second=signals,
        churn_per_second=churn,
        slow_readers=slow_readers,
        seconds=seconds,
    )
    console = Console(quiet=json)
    with console.status("measuring") as status:
        contenders = (memory_server(), *(() if store is None else contenders_on(store)))
        results = run_load(work, contenders, status.update)
    _show(results, [table_of(results)], json=json)


@app.command("signaling-promises")
def signaling_promises(
    rounds: Rounds = 3,
    seconds: Seconds = 5.0,
    idle: Annotated[int, typer.Option(min=10, help="How many idle members.")] = 2000,
    output: Folder = None,
    *,
    store: Annotated[
        str | None,
        typer.Option("--redis", help="The store of servers that share rooms. Default: one is started here."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Measure all that signaling promises in figures, in about six minutes.

    Exit code 0 only if every promise was kept.
    """
    from rtcmesh.signaling.bench.promises import run_promises, tables_of, write_to
    from rtcmesh.signaling.errors import SignalingError

    console = Console(quiet=json)
    with console.status("measuring") as status:
        try:
            results = run_promises(
                rounds=rounds, seconds=seconds, idle=idle, store=store, progress=status.update
            )
        except SignalingError as error:
            fail(f"cannot measure: {error}")
    if output is not None:
        write_to(output, results)
    _show(results, tables_of(results), json=json)
    if not all(promise.is_kept for promise in results.promises):
        raise typer.Exit(1)


@app.command()
def flood(
    seconds: Seconds = 5.0,
    signals: Annotated[float, typer.Option(min=1, help="Signals a second of everybody else.")] = 200.0,
    *,
    json: AsJson = False,
) -> None:
    """Measure what a flood from one address costs everybody else on a signaling server."""
    from rtcmesh.signaling.bench.bench import Work
    from rtcmesh.signaling.bench.flood import run_flood, table_of

    console = Console(quiet=json)
    with console.status("measuring"):
        results = run_flood(Work(seconds=seconds, signals_per_second=signals, churn_per_second=10))
    _show(results, [table_of(results)], json=json)


@app.command()
def data(
    rounds: Rounds = 10,
    seconds: Seconds = 1.0,
    connections: Annotated[int, typer.Option(min=1, help="How many idle connections.")] = 100,
    only: Annotated[
        list[str] | None,
        typer.Option(help="A part of the name of a stack or a piece of work; may be repeated."),
    ] = None,
    output: Folder = None,
    *,
    loss: Annotated[
        bool, typer.Option(help="Also over links with a delay and a loss; needs Linux and root.")
    ] = True,
    limit: Annotated[
        bool, typer.Option("--limit", help="Also UDP alone, which no stack can be faster than.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that was interrupted; needs --output.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Measure data channels beside other stacks, two processes each: those that `make bench-peers` has installed."""
    from .data.command import NothingToResume, run_data_bench
    from .data.results import promises_of, tables_of, write_to

    console = Console(quiet=json)
    try:
        with console.status("measuring") as status:
            results = run_data_bench(
                rounds=rounds,
                seconds=seconds,
                connections=connections,
                only=tuple(only or ()),
                loss=loss,
                limit=limit,
                output=output,
                resume=resume,
                progress=status.update,
            )
    except NothingToResume as error:
        fail(f"--resume: {error}")
    if output is not None:
        write_to(output, results)
    _show(results, (*tables_of(results), promises_of(results)), json=json)


@app.command()
def congestion(
    rounds: Annotated[
        int, typer.Option(min=1, help="How many trials of each situation, of a seed each.")
    ] = 3,
    seed: Annotated[int, typer.Option(min=0, help="The first seed; each round has the next one.")] = 0,
    only: Annotated[
        list[str] | None, typer.Option(help="A part of a topic or of a path; may be repeated.")
    ] = None,
    jobs: Jobs = None,
    output: Folder = None,
    *,
    json: AsJson = False,
) -> None:
    """Compare the congestion controls on virtual time: throughput, queue, and who gets what of a bottleneck."""
    from .congestion.results import tables_of, write_to
    from .congestion.run import run_congestion_bench

    console = Console(quiet=json)
    with console.status("simulating") as status:
        results = run_congestion_bench(
            rounds, seed=seed, only=tuple(only or ()), jobs=jobs, progress=status.update
        )
    if not results.cases:
        raise typer.BadParameter("no topic and no path has that in its name", param_hint="--only")
    if output is not None:
        write_to(output, results)
    _show(results, tables_of(results), json=json)


@app.command()
def matrix(
    only: Annotated[
        list[str] | None, typer.Option(help="Only pairs of these, such as `symmetric`; may be repeated.")
    ] = None,
    settle: Annotated[
        float, typer.Option(min=0.1, help="Seconds a pair has for a direct path, and after a rebinding.")
    ] = 12.0,
    jobs: Annotated[int, typer.Option(min=1, help="How many pairs meet at once.")] = 4,
    output: Annotated[
        Path | None, typer.Option("--output", dir_okay=False, help="A page to write the tables to.")
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """Have two peers meet behind every pair of gateways that there are, with and without a TURN server. Linux only.

    Needs coturn. Which path each pair gets, when the first message comes, and whether a rebinding is survived.
    """
    from rtcmesh.netem.errors import NetemError

    from .matrix.command import run_matrix_bench
    from .matrix.results import page_of, tables_of

    console = Console(quiet=json)
    try:
        with console.status("starting") as status:
            results = run_matrix_bench(
                only=tuple(only or ()), settle=settle, jobs=jobs, progress=status.update
            )
    except (NetemError, ValueError) as error:
        fail(str(error))
    if output is not None:
        output.write_text(page_of(results, "rtcmesh bench matrix"), encoding="utf-8")
    _show(results, tables_of(results), json=json)


@app.command()
def netem(
    seconds: Annotated[float, typer.Option(min=0.1, help="For how long each rate is measured.")] = 2.0,
    *,
    json: AsJson = False,
) -> None:
    """Measure the laboratory: what a link between namespaces carries, and how exactly. Needs Linux.

    The figures hold for a machine that does nothing else.
    """
    from rtcmesh.netem.errors import NetemError
    from rtcmesh.netem.real.link_bench import run_link_bench, tables_of, verdict_on

    console = Console(quiet=json)
    try:
        with console.status("measuring") as status:
            figures = asyncio.run(run_link_bench(seconds, status.update))
    except NetemError as error:
        fail(str(error))
    _show(figures, [*tables_of(figures), verdict_on(figures)], json=json)


def _show(results: object, shown: Iterable[RenderableType], *, json: bool) -> None:
    if json:
        sys.stdout.write(msgspec.json.encode(results).decode() + "\n")
    else:
        for each in shown:
            Console().print(each, soft_wrap=isinstance(each, str))
