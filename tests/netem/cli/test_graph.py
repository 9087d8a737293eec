"""`rtcmesh netem graph`: a picture of a run."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtcmesh.netem.graph import GraphImpossible, draw
from rtcmesh.netem.scenario.account import Entry
from rtcmesh.netem.scenario.meter import Sample
from rtcmesh.netem.scenario.record import Run, RunDirectory
from rtcmesh.peer.cli import app

RUN = Run(
    title="Two tunnels",
    backend="virtual",
    seed=7,
    seconds=1.0,
    interval=0.1,
    entries=[Entry(at=0.3, kind="fault", subject="ann", text="cut")],
    samples=[
        Sample(at=0.0, host="ann", sent_packets=10, lost_packets=1),
        Sample(at=0.1, host="bob", received_packets=9, received_bytes=9000, delay_sum=0.9, delay_max=0.2),
    ],
)


@pytest.mark.parametrize(("name", "magic"), [("run.png", b"\x89PNG"), ("run.svg", b"<?xml")])
def test_a_run_is_drawn_in_either_format(tmp_path: Path, name: str, magic: bytes) -> None:
    draw(RUN, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(magic)
    if name.endswith(".svg"):
        assert b"clip" in (tmp_path / name).read_bytes()


def test_the_picture_stands_beside_the_run(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, "run") as directory:
        path = directory.finish(RUN, "", {})
    drawn = CliRunner().invoke(app, ["netem", "graph", str(path)])
    assert drawn.exit_code == 0
    assert f"drawn in {path / 'graph.png'}" in drawn.output
    assert (path / "graph.png").is_file()
    again = CliRunner().invoke(
        app, ["netem", "graph", str(path / "run.json"), "--output", str(tmp_path / "a.gif")]
    )
    assert again.exit_code == 1
    assert "must end in .png or .svg" in again.output


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(GraphImpossible, match=r"pip install 'rtcmesh\[graph\]'"):
        draw(RUN, tmp_path / "run.png")


def test_a_run_without_packets_has_no_picture(tmp_path: Path) -> None:
    with pytest.raises(GraphImpossible, match="nothing to draw"):
        draw(Run(title="", backend="virtual", seed=0, seconds=1), tmp_path / "run.png")
