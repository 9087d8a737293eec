"""What can be configured is checked once."""

from collections.abc import Callable

import pytest

from rtcmesh.signaling.config import ClientConfig, ServerConfig, ServiceConfig
from rtcmesh.signaling.room import RoomLimits


@pytest.mark.parametrize(
    "make",
    [
        lambda: ServiceConfig(heartbeat=0.0),
        lambda: ServiceConfig(close_timeout=-1.0),
        lambda: ServiceConfig(max_connections=0),
        lambda: ServiceConfig(drain_spread=-0.1),
        lambda: ServiceConfig(max_message_bytes=40_000),
        lambda: ServiceConfig(max_queue_bytes=1_000_000),
        lambda: ServiceConfig(room=RoomLimits(max_members=100_000)),
        lambda: ServerConfig(port=65_536),
        lambda: ClientConfig(connect_timeout=0.0),
        lambda: ClientConfig(max_queued_events=0),
    ],
)
def test_a_configuration_that_cannot_work_is_rejected(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"must|too"):
        make()


def test_the_defaults_fit_together() -> None:
    assert ServerConfig().service == ServiceConfig()
    assert ClientConfig().max_queued_events == 1024
