"""Tests with real processes on real networks; the figures they note are printed at the end of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Callable[[str, object], None]:
    """Note a figure, for the end of the run."""
    return record_property


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for what, figure in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {what}: {figure}")
