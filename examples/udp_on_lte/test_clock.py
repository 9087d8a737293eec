"""Does the clock work on LTE? `pytest` asks on virtual time, `--netem-backend namespaces` with real processes."""

import clock
import pytest

from rtcmesh.netem.faults import Cut, Heal
from rtcmesh.netem.lab import Lab


@pytest.mark.netem(profile="lte")
async def test_the_clock_is_heard_on_lte(netem: Lab) -> None:
    """In five lines, this one left out."""
    await netem.start("server", clock.serve, 7000)
    assert await netem.run("client", clock.ask, netem.endpoint("server", 7000)) == 0


@pytest.mark.netem(profile="lte", nat="symmetric")
async def test_the_clock_is_heard_after_a_tunnel(netem: Lab) -> None:
    """The first questions are lost."""
    await netem.start("server", clock.serve, 7000)
    await netem.apply(Cut(node="client"))
    asking = await netem.start("client", clock.ask, netem.endpoint("server", 7000))
    await netem.sleep(2.0)
    await netem.apply(Heal(node="client"))
    assert await asking.ended() == 0


@pytest.mark.netem(scenario="tunnel.toml")
def test_the_clock_keeps_what_its_scenario_expects(netem_run: object) -> None:
    """The expectations stand in the file."""
