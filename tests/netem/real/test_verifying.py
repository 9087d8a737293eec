"""Real packets over links as profiles say. A busy machine adds to delays: they are bounded from below."""

import pytest

from rtcmesh.netem import Bursts, LinkConfig
from rtcmesh.netem.profiles import Profile
from rtcmesh.netem.real import joined_hosts
from rtcmesh.netem.real.errors import ProberFailed
from rtcmesh.netem.real.verifying import measure, verify_in_namespaces
from rtcmesh.netem.verification import Aspect, measurements

pytestmark = pytest.mark.namespaces

LINK = LinkConfig(
    delay=0.02, loss=Bursts(loss=0.2, mean_burst=3), rate_bytes_per_second=500_000, max_queue_delay=0.1
)


def of(link: LinkConfig) -> Profile:
    return Profile(name="x", description="", up=link, down=link, loss_scope=None, figures=())


async def test_what_is_sent_is_measured_as_the_link_treats_it() -> None:
    path, flood, *_ = measurements(of(LINK), packets=400, interval=0.002)
    assert (path.aspect, flood.aspect) == (Aspect.PATH, Aspect.BOTTLENECK)
    async with joined_hosts(seed=1) as lab:
        probes, _ = await measure(lab, path)
        assert len(probes) == 400
        arrived = [probe for probe in probes if probe.received_at is not None]
        assert 0.02 < 1 - len(arrived) / 400 < 0.45
        assert all((probe.received_at or 0) - probe.sent_at >= 0.0199 for probe in arrived)

        probes, _ = await measure(lab, flood)
        times = sorted(probe.received_at for probe in probes if probe.received_at is not None)
        assert len(probes) == flood.count > len(times)
        assert (len(times) - 1) * flood.size / (times[-1] - times[0]) <= 500_000 * 1.02


async def test_a_profile_is_put_to_the_test_both_ways() -> None:
    findings, _ = await verify_in_namespaces(of(LinkConfig(delay=0.01, loss=0.5)), packets=50, seed=2)
    assert {finding.direction for finding in findings} == {"down", "up"}
    assert all(finding.measured >= 0.0099 for finding in findings if finding.what == "delay")
    assert all(finding.is_kept for finding in findings if finding.what == "loss")


async def test_a_prober_that_cannot_start_is_said_to_have_failed() -> None:
    (path, *_) = measurements(of(LINK), packets=2)
    async with joined_hosts() as lab:
        lab.right.address = "192.0.2.1"  # which the host has not
        with pytest.raises(ProberFailed):
            await measure(lab, path)
