"""Traces from files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem import DeliveryOpportunities, LossPattern, RateStep, RateSteps
from rtcmesh.netem.trace_file import load_losses, load_rate, read_rate
from rtcmesh.netem.typed_toml import DocumentInvalid


def test_mahimahis_format(tmp_path: Path) -> None:
    file = tmp_path / "cell.down"
    file.write_text("0\n4\n4\n11\n")
    trace = load_rate(file)
    assert trace == DeliveryOpportunities(milliseconds=(0, 4, 4, 11))
    assert trace.carried_bytes / trace.seconds == pytest.approx(4 * 1504 / 0.011)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("bytes_per_second", 1),
        ("bit_per_second", 1 / 8),
        ("kbit_per_second", 125),
        ("mbit_per_second", 125_000),
    ],
)
def test_csv_in_every_unit(tmp_path: Path, unit: str, factor: float) -> None:
    file = tmp_path / "cell.csv"
    file.write_text(f"at_seconds, {unit}\n10,8\n11.5,0\n12,16\n")
    assert load_rate(file) == RateSteps(
        steps=(RateStep(1.5, 8 * factor), RateStep(0.5, 0), RateStep(0.5, 16 * factor))
    )


def test_losses(tmp_path: Path) -> None:
    file = tmp_path / "lost"
    file.write_text("..x\n 0 1\n")
    assert load_losses(file) == LossPattern(pattern="..x.x")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "nothing"),
        ("\n\n", 1, "nothing"),
        ("1\nx\n", 2, "'x' is no number"),
        ("1\n-2\n", 2, "'-2' is no number"),
        ("1\n5\n4\n", 3, "4 comes after 5"),
        ("0\n0\n", 2, "no length"),
        ("at,kbit\n1,2\n", 1, "header"),
        ("at_seconds,kbit_per_second,more\n1,2\n", 1, "header"),
        ("at_seconds,kbit_per_second\n1,2\n", 2, "two moments"),
        ("at_seconds,kbit_per_second\n1,2\n2,fast\n", 3, "not two numbers"),
        ("at_seconds,kbit_per_second\n1,2\n2\n", 3, "not two numbers"),
        ("at_seconds,kbit_per_second\n1,2\n2,nan\n", 3, "finite"),
        ("at_seconds,kbit_per_second\n1,2\n1,3\n", 3, "1 comes after 1"),
        ("at_seconds,kbit_per_second\n1,0\n2,0\n", 2, "not 0"),
    ],
)
def test_what_is_no_rate_is_said_with_its_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(DocumentInvalid, match=problem) as caught:
        read_rate(text, "some.trace")
    assert str(caught.value).startswith(f"some.trace:{line}: ")


@pytest.mark.parametrize(
    ("content", "problem"), [(b"", "nothing"), (b"..\n.y", ":2: 'y'"), (b"\xff", "no text")]
)
def test_what_is_no_loss_is_said(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "lost"
    file.write_bytes(content)
    with pytest.raises(DocumentInvalid, match=problem):
        load_losses(file)


def test_what_is_no_text_is_no_rate(tmp_path: Path) -> None:
    file = tmp_path / "rate"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(DocumentInvalid, match="no text"):
        load_rate(file)
    with pytest.raises(FileNotFoundError):
        load_rate(tmp_path / "missing")


HEADER = "at_seconds,kbit_per_second\n"


@given(
    st.one_of(
        st.text("0159.,-\n e", max_size=30),
        st.text("0159.,-\n e", max_size=30).map(lambda rows: HEADER + rows),
    )
)
def test_any_text_is_a_rate_or_is_refused(text: str) -> None:
    try:
        trace = read_rate(text, "some.trace")
    except DocumentInvalid:
        return
    assert trace.seconds > 0
