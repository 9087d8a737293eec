"""What people see of the demo: a live table while it runs, and what was proved at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rtcmesh.signaling.identity import PeerId, short

from .protocol import Link, Progress
from .verdict import Result

_COLOURS = {"direct": "green", "relayed": "yellow", None: "red"}


def table_of(reports: Sequence[Progress], caption: str = "") -> Table:
    """Return the live table: who reaches whom, by which path, how fast, and after how many changes."""
    table = Table(
        title="rtcmesh demo: path, round-trip time and number of path changes to each peer",
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("peer", no_wrap=True)
    for number in range(1, len(reports) + 1):
        table.add_column(f"to {number}", justify="right", no_wrap=True)
    table.add_column("sent", justify="right", no_wrap=True)
    table.add_column("got", justify="right", no_wrap=True)
    table.add_column("file", no_wrap=True)
    for number, report in enumerate(reports, 1):
        received = sum(link.received for link in report.links.values())
        file = "got" if report.file_sha256 else "sends" if report.file_sent_to else ""
        table.add_row(
            f"{number} {short(PeerId(report.peer_id))}",
            *("" if other is report else _cell(report.links.get(other.peer_id)) for other in reports),
            f"{report.sent:,}",
            f"{received:,}",
            file,
        )
    return table


def _cell(link: Link | None) -> str:
    if link is None or not link.history:
        return "[dim]dials[/dim]"
    path = f"[{_COLOURS[link.path]}]{link.path or 'none'}[/]"
    rtt = "" if link.rtt is None else f"{link.rtt * 1000:.0f} ms"
    return f"{path}\n{rtt}\n{link.changes}x"


def show_result(console: Console, result: Result) -> None:
    """Tell people what was proved, or what is wrong."""
    mark = "[green]✓[/green]" if result.ok else "[red]✗[/red]"
    pairs = " and ".join(f"{one}-{other}" for one, other in result.cut_pairs)
    proved = (
        f"{result.peers} processes, {result.direct_connections} direct connections",
        f"the direct paths {pairs} cut, the server and its relay killed and restarted, the paths healed:",
        *(f"  {step.name}: {step.seconds:.1f} s" for step in result.steps),
        f"{result.messages_received:,} messages meanwhile, each once and in order",
        f"{result.file}: {result.file_bytes:,} bytes, SHA-256 {result.file_sha256[:16]}… at both ends",
        f"all right after {result.seconds:g} s",
    )
    console.print()
    for line in proved if result.ok else result.problems:
        console.print(f"{mark} {escape(line)}")
