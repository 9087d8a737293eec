"""Tests with real processes on real networks. Those that make network namespaces need root on Linux.

Without root they are left out, and the last lines of the run say so; where CI is set they fail instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

_left_out: list[pytest.Item] = []
_figures: list[str] = []


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Note a figure, for the end of the run."""
    name = str(request.node.name)
    return lambda what, figure: _figures.append(f"{name}: {what}: {figure}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("CI") or (sys.platform == "linux" and os.geteuid() == 0):
        return
    _left_out[:] = [item for item in items if item.get_closest_marker("namespaces")]
    items[:] = [item for item in items if item not in _left_out]
    config.hook.pytest_deselected(items=_left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for figure in _figures:
        terminalreporter.write_line(figure)
    if _left_out:
        terminalreporter.write_line(
            f"{len(_left_out)} tests that make network namespaces were left out: they need root on Linux",
            yellow=True,
        )
