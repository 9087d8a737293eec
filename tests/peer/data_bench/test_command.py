from pathlib import Path

import pytest

from rtcmesh.peer.bench.data.command import NothingToResume, run_data_bench
from rtcmesh.peer.bench.data.results import keep_in
from rtcmesh.peer.bench.data.run import Run


@pytest.mark.parametrize("kept", [False, True], ids=["nothing is kept", "another command made it"])
def test_only_a_run_of_the_same_command_is_resumed(tmp_path: Path, kept: bool) -> None:
    if kept:
        keep_in(tmp_path, Run("another command", "2026-11-26", "", {}, []))
    with pytest.raises(NothingToResume):
        run_data_bench(
            rounds=1,
            seconds=0.1,
            connections=1,
            only=(),
            loss=False,
            limit=False,
            output=tmp_path,
            resume=True,
            progress=print,
        )
