"""Promise: jumps of the clock do not matter: every interval is measured by a clock that only goes forward."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPARES_FILES = {"launch/run/watch.py"}  # with the times at which they were written, which are the wall clock's


def wall_clock(path: Path) -> bool:
    """True if a file asks for the time of day."""
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return any(call in ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.datetime.now") for call in calls)


def test_no_interval_is_measured_by_the_time_of_day() -> None:
    files = [path for package in ("plasticity_rl", "envs", "agents", "launch", "analysis") for path in (ROOT / package).rglob("*.py")]
    assert {str(path.relative_to(ROOT)) for path in files if wall_clock(path)} == COMPARES_FILES
