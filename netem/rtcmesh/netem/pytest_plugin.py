"""The plugin for pytest: a network for each test that asks for one, and everything about it when the test fails.

    @pytest.mark.netem(profile="lte")
    async def test_it_works_on_lte(netem):
        await netem.start("server", clock.serve, 7000)
        assert await netem.run("client", clock.ask, netem.endpoint("server", 7000)) == 0

It imports the laboratory only for tests that use it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from .lab import Lab
    from .scenario.record import Run

MARKER = (
    "netem(profile='', nat='', up=None, down=None, topology=None, scenario='', seed=0): the network of the "
    "fixtures `netem` and `netem_run`: the host client is behind this profile, these links and this NAT, and the host "
    "server is not; or a topology of your own; or the file of a scenario."
)

INVALID = "netem_invalid"
"""What is set on the report of a test of which the machine was too busy to tell anything."""

_lab = pytest.StashKey["Lab"]()
_run = pytest.StashKey["tuple[Run, Path]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("netem", "networks that break on purpose")
    group.addoption(
        "--netem-backend",
        default="virtual",
        choices=("virtual", "namespaces", "proxy"),
        help="what carries networks: virtual time, Linux namespaces, or a proxy",
    )
    group.addoption(
        "--netem-seed", type=int, default=None, help="the seed of all networks, instead of their own"
    )
    group.addoption(
        "--netem-output",
        type=Path,
        default=None,
        help="where failures are recorded; default: pytest's own temporary folder",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def netem(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A network that is up while an `async def` test runs, or while `netem.perform(...)` does."""
    from .marked import lab_for

    lab = lab_for(
        request.node.name,
        _marked(request),
        backend=str(request.config.getoption("netem_backend")),
        seed=request.config.getoption("netem_seed"),
        folder=request.path.parent,
        parent=_output(request.config, tmp_path_factory),
    )
    request.node.stash[_lab] = lab
    return lab


@pytest.fixture
def netem_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What happened in the scenario that the marker names; the test fails when that was not as expected there."""
    from .marked import run_for

    run, path = run_for(
        _marked(request),
        backend=str(request.config.getoption("netem_backend")),
        seed=request.config.getoption("netem_seed"),
        folder=request.path.parent,
        parent=_output(request.config, tmp_path_factory),
    )
    request.node.stash[_run] = (run, path)
    return run


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what the markers say, the closest one first."""
    said: dict[str, Any] = {}
    for marker in request.node.iter_markers("netem"):
        if marker.args:
            raise pytest.UsageError("the marker netem takes keywords alone, such as profile='lte'")
        said = {**marker.kwargs, **said}
    return said


def _output(config: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen: Path | None = config.getoption("netem_output")
    return tmp_path_factory.mktemp("netem") if chosen is None else chosen


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """Run tests that are coroutines with their network, whatever else would run them."""
    if (lab := pyfuncitem.stash.get(_lab, None)) is None:
        return None
    test = _coroutine_of(pyfuncitem)
    if test is None:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}
    lab.perform(test(**arguments), is_failure=_is_failure)
    return True


def _coroutine_of(item: pytest.Function) -> Callable[..., Any] | None:
    """Return the test as it was written, if it is a coroutine; other plugins put something else in its place."""
    written: object = getattr(item.instance or item.module, item.originalname, None)
    return cast("Callable[..., Any]", written) if inspect.iscoroutinefunction(written) else None


def _is_failure(error: BaseException) -> bool:
    return isinstance(error, Exception | pytest.fail.Exception) and not isinstance(
        error, pytest.skip.Exception
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test whose scenario did not go as expected."""
    yield
    if (ran := item.stash.get(_run, None)) is not None and ran[0].outcome == "failed":
        unmet = [f"  {verdict.was}" for verdict in ran[0].verdicts if not verdict.met]
        pytest.fail("\n".join(["not as the scenario expects:", *unmet]), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say all about the network of a test that failed, or that the test says nothing."""
    report = yield
    if call.when != "call" or not report.failed:
        return report
    if (lab := item.stash.get(_lab, None)) is not None:
        run, path, unrecorded = lab.result(), lab.record, lab.unrecorded
    elif (ran := item.stash.get(_run, None)) is not None:
        (run, path), unrecorded = ran, ""
    else:
        return report
    from .marked import told

    report.sections.append(("netem", told(run, path, unrecorded)))
    if run.invalid:
        setattr(report, INVALID, True)
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, run.invalid)
    return report


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Show a test that says nothing as what it is: neither passed nor failed."""
    if getattr(report, INVALID, False):
        return "invalid", "I", ("INVALID", {"purple": True})
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests said nothing, and why."""
    for report in terminalreporter.getreports("invalid"):
        terminalreporter.write_line(f"INVALID {report.nodeid} - {report.longrepr[2]}", purple=True)
