"""The timer of the links."""

from __future__ import annotations

import math
import os
import select
import time

import pytest

from rtcmesh.netem.real.timerfd import Timer


@pytest.mark.parametrize("never", [math.inf, 1e300, None])
def test_a_packet_that_never_leaves_wakes_nobody_and_stops_no_other(never: float | None) -> None:
    timer = Timer()
    try:
        timer.set(never)
        assert select.select([timer.fd], [], [], 0.0)[0] == []
        timer.set(time.monotonic() + 0.01)
        assert select.select([timer.fd], [], [], 10.0)[0] == [timer.fd]
    finally:
        os.close(timer.fd)
