"""Scenarios: a network, the programs on it, what happens to it, and what is expected of all that.

scenario = load_scenario(Path("tunnel.toml"), profiles())
run = run_scenario(scenario, backend_named("virtual"), folder=Path())
assert run.outcome == "passed"
"""

from .backends import backend_named
from .library import profiles
from .program import report
from .reading import load_scenario, read_scenario
from .record import Run, load_run
from .runner import record_scenario, run_scenario
from .words import Scenario
from .writing import write_scenario

__all__ = [
    "Run",
    "Scenario",
    "backend_named",
    "load_run",
    "load_scenario",
    "profiles",
    "read_scenario",
    "record_scenario",
    "report",
    "run_scenario",
    "write_scenario",
]
