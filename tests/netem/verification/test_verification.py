"""Verification finds every profile as it should be, and everything else not."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as with_fields

from rtcmesh.netem import (
    Bursts,
    DeliveryOpportunities,
    LinkConfig,
    NetemJitter,
    RateStep,
    RateSteps,
    Reconfiguration,
    WanderingJitter,
)
from rtcmesh.netem.profiles import Profile, profile, profile_names, profiles_in
from rtcmesh.netem.verification import Aspect, Finding, Probe, judge, measure_virtually, measurements, verify

PACKETS = 4000

PATH = LinkConfig(
    delay=0.1,
    jitter=0.005,
    loss=Bursts(loss=0.02, mean_burst=8),
    rate_bytes_per_second=1e6,
    max_queue_delay=0.2,
)
STEPPING = LinkConfig(
    delay=0.1, jitter=0.002, reconfiguration=Reconfiguration(period=15, spread=0.01, outage=0.3)
)
CHANGING = LinkConfig(delay=0.05, rate_trace=RateSteps(steps=(RateStep(0.2, 1e5), RateStep(0.3, 1e6))))
RECORDED = LinkConfig(
    delay=0.05,
    rate_trace=DeliveryOpportunities(
        milliseconds=(*range(1, 300), *range(310, 3000, 10), *range(3000, 3200))
    ),
)


def of(link: LinkConfig) -> Profile:
    return Profile(name="x", description="", up=link, down=link, loss_scope=None, figures=())


def found(wanted: LinkConfig, real: LinkConfig, packets: int = 20_000) -> set[str]:
    """Return what verification finds wrong with a link that is another one than it should be."""
    wrong: set[str] = set()
    for measurement in measurements(of(wanted), packets=packets)[:2]:
        link = measurement.config if real == wanted else real
        if measurement.aspect is Aspect.BOTTLENECK:
            link = with_fields(link, jitter=0.0, loss=0.0)
        probes = measure_virtually(replace(measurement, config=link), seed=1)
        wrong |= {finding.what for finding in judge(measurement, probes) if not finding.is_kept}
    return wrong


def failures(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.is_kept]


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_kept_on_virtual_time(name: str) -> None:
    findings = verify(profile(name), packets=PACKETS)
    assert failures(findings) == []
    whats = {finding.what for finding in findings}
    assert {"delay", "jitter", "loss", "rate"} <= whats


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_kept_by_a_million_packets(name: str) -> None:
    assert failures(verify(profile(name), packets=1_000_000)) == []


@pytest.mark.parametrize("config", [PATH, STEPPING, CHANGING, RECORDED])
def test_a_link_is_found_to_be_what_it_is(config: LinkConfig) -> None:
    assert found(config, config) == set()


@pytest.mark.parametrize(
    ("wanted", "change", "wrong"),
    [
        (PATH, {"delay": 0.103}, {"delay"}),
        (PATH, {"jitter": 0.006}, {"jitter"}),
        (PATH, {"jitter": WanderingJitter(deviation=0.005, time_constant=1.0)}, {"correlation of delays"}),
        (PATH, {"jitter": NetemJitter(jitter=0.005, distribution="normal")}, {"correlation of delays"}),
        (
            PATH,
            {"jitter": NetemJitter(jitter=0.005 * math.sqrt(3), distribution="uniform")},
            {"distance of distributions", "correlation of delays"},
        ),
        (PATH, {"loss": Bursts(loss=0.04, mean_burst=8)}, {"loss"}),
        (PATH, {"loss": Bursts(loss=0.02, mean_burst=4)}, {"mean burst"}),
        (PATH, {"loss": 0.02}, {"mean burst"}),
        (PATH, {"rate_bytes_per_second": 0.985e6}, {"rate"}),
        (PATH, {"max_queue_delay": 0.25}, {"longest wait"}),
        (STEPPING, {"reconfiguration": None}, {"jitter", "loss", "correlation of delays", "distance of distributions"}),
        (STEPPING, {"reconfiguration": Reconfiguration(period=15, spread=0.01, outage=0.6)}, {"loss"}),
        (CHANGING, {"rate_trace": RateSteps(steps=(RateStep(0.2, 2e5), RateStep(0.3, 1e6)))}, {"rate"}),
        (RECORDED, {"rate_trace": DeliveryOpportunities(milliseconds=(*range(1, 3000, 8), 3199))}, {"rate"}),
    ],
)  # fmt: skip
def test_a_link_that_is_another_one_is_found_out(
    wanted: LinkConfig, change: dict[str, object], wrong: set[str]
) -> None:
    real = with_fields(wanted, **change)
    assert wrong <= found(wanted, real)


def test_bursts_widen_what_chance_may_do_to_a_loss() -> None:
    def tolerance(config: LinkConfig) -> float:
        (loss,) = [finding for finding in verify(of(config), packets=1000) if finding.what == "loss"][:1]
        return loss.tolerance

    assert tolerance(LinkConfig(loss=Bursts(loss=0.1, mean_burst=10))) > 3 * tolerance(LinkConfig(loss=0.1))


def test_few_probes_make_no_claims_about_distributions() -> None:
    whats = [finding.what for finding in verify(of(PATH), packets=40)]
    assert "distance of distributions" not in whats
    assert "delay" in whats


def test_probes_are_in_order_and_evenly_spread() -> None:
    (measurement, *_) = measurements(of(STEPPING), packets=6000)
    moments = list(measurement.moments())
    assert moments == sorted(moments)
    in_outage = sum(moment % 15 < 0.3 for moment in moments) / len(moments)
    assert in_outage == pytest.approx(0.02, abs=0.002)


def test_a_slow_link_is_probed_slowly(tmp_path: Path) -> None:
    file = tmp_path / "slow.toml"
    rate = "rate_kbit_per_second = { value = 0.8, source = 'assumed' }"
    file.write_text(
        f"[pigeon]\ndescription = 'one'\n{rate}\nqueue_packets = {{ value = 3, source = 'assumed' }}\n"
    )
    findings = verify(profiles_in(file)["pigeon"], packets=200)
    assert failures(findings) == []


def test_a_network_that_carries_nothing_loses_everything() -> None:
    path, flood, *_ = measurements(of(PATH), packets=200)
    (loss,) = judge(path, [Probe(at, None, 100) for at in path.moments()])
    assert (loss.what, loss.measured, loss.is_kept) == ("loss", 1.0, False)
    for received_at in (None, 0.2):
        probes = [Probe(0.0, received_at, 1200), Probe(0.1, None, 1200)]
        assert "rate" in {finding.what for finding in failures(judge(flood, probes))}


def test_a_profile_that_loses_everything_is_kept_by_a_link_that_does() -> None:
    assert failures(verify(of(LinkConfig(loss=1.0)), packets=100)) == []


def test_a_sender_that_pauses_makes_no_link_slower() -> None:
    """What counts is the time in which packets waited."""
    rate, size = 1e6, 1200
    probes: list[Probe] = []
    free_at = 0.0
    for number in range(1000):
        sent_at = number * 0.0005 + (0.3 if number >= 500 else 0.0)
        free_at = max(free_at, sent_at) + size / rate
        probes.append(Probe(sent_at, free_at + PATH.delay, size))
    _, flood, *_ = measurements(of(PATH), packets=10)
    (measured,) = [finding.measured for finding in judge(flood, probes) if finding.what == "rate"]
    assert measured == pytest.approx(rate)


def test_a_queue_that_was_never_full_is_not_judged_by_it() -> None:
    _, flood, *_ = measurements(of(PATH), packets=10)
    few = [Probe(number / 1000, number / 1000 + PATH.delay + 0.0012, 1200) for number in range(10)]
    assert "longest wait" not in {finding.what for finding in judge(flood, few)}
    late = [Probe(probe.sent_at, probe.sent_at + PATH.delay + 0.3, 1200) for probe in few]
    assert "longest wait" in {finding.what for finding in failures(judge(flood, late))}
