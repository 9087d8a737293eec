"""The profiles, and reading them."""

from pathlib import Path

import pytest

from rtcmesh.netem import Bursts, DeliveryOpportunities, RateSteps
from rtcmesh.netem.profiles import LossScope, profile, profile_names, profiles_in
from rtcmesh.netem.profiles.library import NoSuchProfile
from rtcmesh.netem.typed_toml import DocumentInvalid

KBIT = 125.0

VILLAGE = """\
[sources]
survey = "A survey, table 3"

[village]
description = "DSL in a village"
loss_is = "residual"
round_trip_ms = { value = 40, source = "survey" }
loss_percent = { value = 0.5, source = "survey" }
mean_burst_packets = { value = 4, source = "survey" }
jitter_ms = { value = 2, source = "assumed" }
[village.down]
rate_kbit_per_second = { value = 6000, source = "survey" }
queue_ms = { value = 200, source = "assumed" }
[village.up]
rate_kbit_per_second = { value = 600, source = "survey" }
queue_packets = { value = 50, source = "survey" }
jitter_ms = { value = 4, source = "survey" }
"""


def village(tmp_path: Path, *, without: str = "", text: str = VILLAGE, add: str = "") -> Path:
    """Write the file, with one piece replaced."""
    assert without in text
    file = tmp_path / "village.toml"
    file.write_text(text.replace(without, add, 1) if without else text + add)
    return file


@pytest.mark.parametrize("name", profile_names())
def test_every_number_of_a_profile_has_a_source(name: str) -> None:
    found = profile(name)
    assert found.name == name
    assert found.description
    assert found.figures
    assert all(figure.source for figure in found.figures)
    assert {figure.source for figure in found.figures} == set(found.sources)
    assert (found.loss_scope is None) == (found.up.loss == 0 and found.up.reconfiguration is None)
    for link in (found.up, found.down):
        assert link.rate_bytes_per_second or link.rate_trace
        assert link.delay > 0


@pytest.mark.parametrize(
    ("name", "down", "up", "one_way"),
    [
        ("apple-3g", 780, 330, 0.1),
        ("apple-edge-lossy", 240, 200, 0.4),
        ("lte", 12000, 12000, 0.035),
        ("3g-slow", 400, 400, 0.2),
        ("fios", 20000, 5000, 0.002),
        ("chrome-fast-4g", 9000, 1500, 0.03),
        ("good-wifi", 100_000, 100_000, 0.008),
        ("absurd", 256, 256, 0.4),
        ("starlink", 150_000, 15_000, 0.025),
        ("geo", 20_000, 3000, 0.3),
    ],
)
def test_numbers_are_those_of_the_sources(name: str, down: float, up: float, one_way: float) -> None:
    found = profile(name)
    assert found.down.rate_bytes_per_second == down * KBIT
    assert found.up.rate_bytes_per_second == up * KBIT
    assert found.down.delay == found.up.delay == pytest.approx(one_way)


def test_losses_come_as_they_were_measured() -> None:
    assert profile("slow-3g").down.loss == Bursts(loss=0.03, mean_burst=10)
    assert profile("satellite").down.loss == 0.015
    assert profile("starlink").down.reconfiguration is not None
    assert isinstance(profile("train").down.rate_trace, RateSteps)


def test_what_nobody_measured_says_so_and_comes_last() -> None:
    assert all(figure.is_assumed for figure in profile("train").figures)
    assert [figure.name for figure in profile("lte").figures if figure.is_assumed] == ["queue_ms"]
    assert profile("lte").sources[-1] == "assumed"


def test_a_name_that_is_nearly_right_is_guessed() -> None:
    with pytest.raises(NoSuchProfile, match="did you mean 'starlink'"):
        profile("starlnk")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    found = profiles_in(village(tmp_path))["village"]
    assert found.loss_scope is LossScope.RESIDUAL
    assert found.down.delay == found.up.delay == 0.02
    assert found.down.loss == Bursts(loss=0.005, mean_burst=4)
    assert (found.down.jitter, found.up.jitter) == (0.002, 0.004)
    assert found.down.max_queue_delay == 0.2
    assert (found.up.max_queue_delay, found.up.max_queue_bytes) == (None, 75_000)
    assert found.sources == ("A survey, table 3", "assumed")
    assert ("up", "queue_packets", "50", "A survey, table 3") in found.figures


def test_a_trace_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "cell.down").write_text("1\n5\n")
    rate = 'rate_kbit_per_second = { value = 6000, source = "survey" }'
    file = village(tmp_path, without=rate, add='rate_file = { value = "cell.down", source = "survey" }')
    found = profiles_in(file)["village"]
    assert found.down.rate_trace == DeliveryOpportunities(milliseconds=(1, 5))
    assert ("down", "rate_file", "cell.down", "A survey, table 3") in found.figures


SURVEY = ', source = "survey"'


@pytest.mark.parametrize(
    ("without", "add", "error"),
    [
        ('description = "DSL in a village"\n', "", "4: village: the key 'description' is missing"),
        ('loss_is = "residual"\n', "", "4: village: the key 'loss_is' is missing"),
        ('"residual"', '"some"', "6: village.loss_is: "),
        ("jitter_ms = { value = 2, ", "jiter_ms = { value = 2, ", "10: village.jiter_ms: .*'jitter_ms'"),
        ("value = 6000" + SURVEY, "value = 6000", "12: village.down.rate_kbit_per_second: .*'source'"),
        ("value = 6000" + SURVEY, 'value = 6000, source = "poll"', "12: .*source: 'poll' is no source"),
        ("value = 6000", "value = -1", "12: village.down.rate_kbit_per_second.value: .*-1"),
        ("value = 6000", "value = 0", "11: village.down: rate_bytes_per_second"),
        ("value = 6000", 'value = "fast"', "12: village.down.rate_kbit_per_second.value: "),
        ("value = 0.5", "value = 101", "8: village.loss_percent.value: .*0 to 100"),
        ("value = 0.5", "value = nan", "8: village.loss_percent.value: .*nan"),
        ("value = 200", "value = inf", "13: village.down.queue_ms.value: .*inf"),
        ('value = 4, source = "survey" }\njitter', 'value = 0.5, source = "survey" }\njitter', "mean_burst"),
        ("round_trip_ms", 'one_way_ms = { value = 1, source = "assumed" }\nround_trip_ms', "village.*both"),
        ("queue_packets", 'queue_ms = { value = 1, source = "assumed" }\nqueue_packets', "village.up.*both"),
        ("[village.up]", '[village.up]\noutage_ms = { value = 1, source = "assumed" }', "step_period_s"),
        ("[village.up]", '[village.up]\nrate_file = { value = "none", source = "assumed" }', "up.*none"),
        ("[village.up]", "[village.up", "1[0-9]: "),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_file_line_and_key(tmp_path: Path, without: str, add: str, error: str) -> None:
    file = village(tmp_path, without=without, add=add)
    with pytest.raises(DocumentInvalid, match=error) as caught:
        profiles_in(file)
    assert str(caught.value).startswith(f"{file}:")


def test_what_is_no_text_is_no_profile(tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_bytes(b"\xff")
    with pytest.raises(DocumentInvalid, match="no text"):
        profiles_in(file)
