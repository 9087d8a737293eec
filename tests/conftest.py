"""What holds for every test: whoever starts a task ends it, and what needs root is not passed over in silence.

Tests that make network namespaces are left out without root, and the last lines of the run say so; where CI is set they
run, and fail.
"""

import asyncio
import os
import sys
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

ROUNDS_TO_SETTLE = 10
"""Rounds of the loop in which tasks that were cancelled, or about to return, may end."""

_leaks: list[str] = []

# A busy machine makes a property slow, not wrong; and where CI is set, new examples are as welcome as elsewhere.
settings.register_profile(
    "rtcmesh", deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("rtcmesh")


# No program that a test starts knows anybody for whom the system's authorities vouch, and aiohttp reads all of them
# whenever it is imported: a tenth of what it takes to start one.
os.environ["SSL_CERT_FILE"] = os.devnull


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaks_tasks: this test leaves tasks behind on purpose")
    asyncio.runners._cancel_all_tasks = _record_and_cancel  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return what `--numprocesses auto` means: many tests wait for real seconds, and use no core meanwhile."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    yield
    leaks, _leaks[:] = list(_leaks), []
    if leaks and item.get_closest_marker("leaks_tasks") is None:
        pytest.fail("tasks were still running at the end:\n" + "\n".join(leaks), pytrace=False)


_cancel_all_tasks = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]


def _record_and_cancel(loop: asyncio.AbstractEventLoop) -> None:
    """Stand in for the step with which every runner ends, this package's and pytest-asyncio's alike."""
    for _ in range(ROUNDS_TO_SETTLE):
        if not asyncio.all_tasks(loop):
            return
        loop.run_until_complete(asyncio.sleep(0))
    _leaks.extend(map(repr, asyncio.all_tasks(loop)))
    _cancel_all_tasks(loop)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _may_make_namespaces():
        return
    left_out = [item for item in items if item.get_closest_marker("namespaces")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _may_make_namespaces():
        terminalreporter.write_line(
            "tests that make network namespaces were left out: they need root on Linux", yellow=True
        )


def _may_make_namespaces() -> bool:
    return bool(os.environ.get("CI")) or (sys.platform == "linux" and os.geteuid() == 0)
