"""The plugin as the tests of other projects see it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CLOCK = Path(__file__).parents[2] / "examples" / "udp_on_lte" / "clock.py"

HEARD = """
    import clock, pytest

    @pytest.mark.netem(profile="lte")
    async def test_it_is_heard(netem):
        await netem.start("server", clock.serve, 7000)
        assert await netem.run("client", clock.ask, netem.endpoint("server", 7000)) == 0
"""

CUT_OFF = """
    import clock, pytest
    from rtcmesh.netem.faults import Cut

    @pytest.mark.netem(profile="lte", seed=7)
    async def test_it_is_heard(netem):
        await netem.start("server", clock.serve, 7000)
        await netem.apply(Cut(node="client"))
        assert await netem.run("client", clock.ask, netem.endpoint("server", 7000)) == 0
"""

SCENARIO = """
title = "The clock"
duration = 30
[hosts.ann]
profile = "lte"
[hosts.bob]
[programs.clock]
host = "bob"
run = "clock:serve"
arguments = ["7000"]
background = true
[programs.question]
host = "ann"
run = "clock:ask"
arguments = ["{bob:7000}"]
[[expect]]
that = "exits"
program = "question"
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with a program that knows nothing of the laboratory."""
    (pytester.path / "clock.py").write_text(CLOCK.read_text())
    return pytester


QUIET = ("-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function")


def outcomes(project: pytest.Pytester, *arguments: str) -> tuple[dict[str, int], str]:
    run = project.runpytest_inprocess(*QUIET[: 2 if "no:asyncio" in arguments else 4], *arguments)
    return run.parseoutcomes(), run.stdout.str()


@pytest.mark.parametrize("asyncio_plugin", [("-p", "no:asyncio"), ("-o", "asyncio_mode=auto"), ()])
def test_a_coroutine_runs_with_its_network_whoever_else_runs_coroutines(
    project: pytest.Pytester, asyncio_plugin: tuple[str, ...]
) -> None:
    project.makepyfile(HEARD)
    assert outcomes(project, *asyncio_plugin)[0] == {"passed": 1}


def test_a_failure_tells_everything_about_its_network(project: pytest.Pytester) -> None:
    project.makepyfile(CUT_OFF)
    found, text = outcomes(project, "--netem-output", "runs")
    assert found == {"failed": 1}
    assert "backend virtual, --netem-seed 7, 10.000 s on the clock of the network" in text
    assert "client: cut direction both" in text
    assert "ask: exited with status 1" in text
    assert "client up: sent 20, cut 20" in text
    (record,) = (project.path / "runs").iterdir()
    assert f"recorded in {Path('runs') / record.name}" in text
    assert (record / "packets.pcapng").read_bytes().count(b"cut; sent by client") == 20
    assert "does not tell the time" in (record / "ask.log").read_text()
    assert re.search(r"ask said:\n(  .*\n)*  TimeoutError: .* does not tell the time", text)


def test_a_test_that_passes_leaves_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(HEARD)
    outcomes(project, "--netem-output", "runs")
    assert list((project.path / "runs").iterdir()) == []


def test_a_seed_of_the_command_line_takes_the_place_of_all_others(project: pytest.Pytester) -> None:
    project.makepyfile(CUT_OFF)
    assert "--netem-seed 99," in outcomes(project, "--netem-seed", "99")[1]


def test_a_test_that_is_no_coroutine_brings_its_network_up_by_itself(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.netem(nat="symmetric")
        def test_by_hand(netem):
            async def main():
                await netem.sleep(3)
                with netem.host("client") as host:
                    return host.name, netem.time()
            assert netem.perform(main()) == ("client", 3.0)
            with pytest.raises(Exception, match="up only while"):
                netem.time()
        """
    )
    assert outcomes(project)[0] == {"passed": 1}


def test_tests_in_classes_with_parameters_and_fixtures_are_run_too(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.fixture
        def three():
            return 3

        @pytest.mark.netem(profile="lte")
        class TestLte:
            @pytest.mark.netem(nat="symmetric")
            @pytest.mark.parametrize("seconds", [1, 2])
            async def test_time(self, netem, seconds, three):
                await netem.sleep(seconds * three)
                assert netem.time() == seconds * three
                assert netem.topology.gateways[0].uplink.up.delay > 0
        """
    )
    assert outcomes(project, "-o", "asyncio_mode=auto")[0] == {"passed": 2}


def test_a_scenario_is_held_to_its_own_expectations(project: pytest.Pytester) -> None:
    test = "import pytest\n\n@pytest.mark.netem(scenario='clock.toml')\ndef test_it(netem_run): assert netem_run.title"
    project.makepyfile(test)
    (project.path / "clock.toml").write_text(SCENARIO)
    assert outcomes(project)[0] == {"passed": 1}
    (project.path / "clock.toml").write_text(SCENARIO + "status = 4\n")
    found, text = outcomes(project)
    assert found == {"failed": 1}
    assert "not as the scenario expects:\n  question exited with status 0 at" in _plain(text)
    assert "NOT MET  question exited with status 0" in text
    (project.path / "clock.toml").write_text(SCENARIO.replace("hosts.bob", "hosts.bobby"))
    found, text = outcomes(project)
    assert found == {"errors": 1}
    assert "clock.toml:8: programs.clock.host: 'bob' is no host; did you mean 'bobby'?" in text


def _plain(text: str) -> str:
    return re.sub(r"^E +", "  ", text, flags=re.MULTILINE)


def test_a_machine_that_is_too_busy_makes_a_failure_invalid(project: pytest.Pytester) -> None:
    """A backend that complains stands in for one whose links were late; a test that passes has passed all the same."""
    project.makeconftest(
        """
        import pytest
        from rtcmesh.netem.scenario.virtual_stage import VirtualStage

        @pytest.fixture(autouse=True)
        def busy(monkeypatch):
            async def complaint(self):
                return "invalid environment: this machine was too busy"
            monkeypatch.setattr(VirtualStage, "complaint", complaint)
        """
    )
    project.makepyfile(
        """
        async def test_fails(netem):
            assert False

        async def test_passes(netem):
            pass
        """
    )
    run = project.runpytest_inprocess("-v", *QUIET)
    run.stdout.fnmatch_lines(["*test_fails INVALID*", "*test_passes PASSED*"])
    run.stdout.fnmatch_lines(["INVALID *::test_fails - invalid environment: this machine was too busy"])
    assert run.parseoutcomes() == {"invalid": 1, "passed": 1}
    assert run.ret == 0


def test_failures_are_told_and_recorded_by_several_workers_at_once(project: pytest.Pytester) -> None:
    """And the invalid one stays invalid on its way to the process that tells of it."""
    project.makepyfile(
        """
        import clock, pytest
        from rtcmesh.netem.faults import Cut
        from rtcmesh.netem.scenario.virtual_stage import VirtualStage

        @pytest.mark.parametrize("number", range(4))
        async def test_fails(netem, number):
            await netem.apply(Cut(node="client"))
            assert False

        async def test_says_nothing(netem, monkeypatch):
            async def complaint(self):
                return "invalid environment: this machine was too busy"
            monkeypatch.setattr(VirtualStage, "complaint", complaint)
            assert False
        """
    )
    run = project.runpytest_subprocess(*QUIET, "-n", "2", "--netem-output", "runs")
    assert run.parseoutcomes() == {"failed": 4, "invalid": 1}
    text = run.stdout.str()
    for number in range(4):
        (record,) = (project.path / "runs").glob(f"test-fails-{number}-*")
        assert f"recorded in {Path('runs') / record.name}" in text
    assert (
        "INVALID test_failures_are_told_and_recorded_by_several_workers_at_once.py::test_says_nothing" in text
    )
    assert len(list((project.path / "runs").iterdir())) == 5


def test_a_record_that_cannot_be_written_does_not_hide_why_the_test_failed(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import shutil

        async def test_it(netem):
            shutil.rmtree("runs")
            assert 2 + 2 == 5
        """
    )
    found, text = outcomes(project, "--netem-output", "runs")
    assert found == {"failed": 1}
    assert "assert (2 + 2) == 5" in text
    assert "the record of the run cannot be written to runs: No such file or directory" in text
    assert "During handling" not in text


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ("profile='let'", "no profile is called 'let'"),
        ("nat='moon'", "no kind of NAT is called 'moon'; there are full-cone"),
        ("'lte'", "takes keywords alone"),
        ("profil='lte'", "unexpected keyword argument 'profil'"),
        ("scenario='x.toml'", "ask for the fixture `netem_run`"),
    ],
)
def test_a_marker_that_means_nothing_says_what_is_wrong(
    project: pytest.Pytester, marker: str, complaint: str
) -> None:
    project.makepyfile(f"import pytest\n\n@pytest.mark.netem({marker})\nasync def test_it(netem): pass")
    found, text = outcomes(project)
    assert found == {"errors": 1}
    assert complaint in text


def test_what_fails_before_the_network_is_up_is_an_ordinary_failure(project: pytest.Pytester) -> None:
    project.makepyfile("async def test_it(netem):\n    await netem.start('moon', 'clock:serve', 7000)")
    found, text = outcomes(project)
    assert found == {"failed": 1}
    assert "no host is called 'moon'" in text


def test_projects_that_do_not_use_it_notice_nothing(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(): pass")
    assert outcomes(project, "--strict-markers", "-W", "error", "-p", "no:asyncio")[0] == {"passed": 1}
    program = "import rtcmesh.netem.pytest_plugin, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"aioice", "aiohttp", "typer", "rich", "rtcmesh.netem.scenario", "rtcmesh.netem.real"}.isdisjoint(
        run.stdout.split()
    )


def test_the_example_passes_as_it_stands(pytester: pytest.Pytester) -> None:
    for file in CLOCK.parent.iterdir():
        if file.is_file():
            (pytester.path / file.name).write_text(file.read_text())
    assert outcomes(pytester)[0] == {"passed": 3}


def test_the_readme_shows_the_example() -> None:
    """But for types and docstring, which it leaves out."""
    readme = (CLOCK.parents[2] / "netem" / "README.md").read_text()
    for line in (CLOCK.parent / "test_clock.py").read_text().split("async def")[1].splitlines()[2:4]:
        assert line in readme


def test_it_runs_through_a_proxy(project: pytest.Pytester) -> None:
    project.makepyfile(HEARD)
    assert outcomes(project, "--netem-backend", "proxy")[0] == {"passed": 1}


@pytest.mark.namespaces
def test_the_same_test_runs_with_real_processes(project: pytest.Pytester) -> None:
    project.makepyfile(HEARD)
    assert set(outcomes(project, "--netem-backend", "namespaces")[0]) <= {"passed", "invalid"}
