"""Speeds from short training measurements, and training."""

import multiprocessing
import time

import pytest

from launch.config.parse import experiment
from launch.run import calibration
from launch.run.calibration import Now, Speed, calibrate, speed
from plasticity_rl.checks import UsageError
from tests.training import CARTPOLE, LABELS

LONG = [LABELS | {"benchmark": "random-labels:images=60,tasks=3,updates=100000", "seed": seed} for seed in (0, 1)]
POLES = CARTPOLE | {"benchmark": "cartpole"}


def moments(*rows: tuple[int, float, float]) -> list[Now]:
    return [Now(*row, compiled_anew=False) for row in rows]


def test_speed_is_of_the_steady_state() -> None:
    # 10 updates in the first 8 seconds; then 20 in 4 seconds, 2 of them other programs': 2 CPU seconds.
    seen = moments((0, 100.0, 1.0), (10, 108.0, 5.0), (20, 110.0, 5.5), (30, 112.0, 7.0), (40, 150.0, 30.0))
    assert speed(seen, seconds=2.0) == Speed(0.1, 0.1, True, 8.0, False)


def test_two_processors_take_twice_the_cpu_time() -> None:
    assert speed(moments((0, 0.0, 0.0), (1, 1.0, 1.0), (5, 3.0, 5.0)), seconds=1.0) == Speed(0.5, 1.0, True, 1.0, False)


def test_first_updates_alone_are_an_upper_bound() -> None:
    assert speed(moments((0, 0.0, 0.0), (10, 8.0, 4.0)), seconds=1.0) == Speed(0.4, 0.4, False, 8.0, False)
    assert speed(moments((0, 0.0, 0.0)), seconds=1.0) is None and speed([], seconds=1.0) is None


@pytest.mark.process
@pytest.mark.parametrize("said", [LONG, LONG[:1], [POLES]])
def test_training_is_measured(said: list[dict]) -> None:
    found = calibrate([experiment(each) for each in said], "cpu", False, limit=200.0, seconds=0.05)
    assert found and found.steady and 1e-7 < found.seconds <= found.processors < 10 and 0 < found.setup < 200


@pytest.mark.process
def test_a_run_that_ends_at_once_is_bounded() -> None:
    found = calibrate([experiment(LABELS | {"benchmark": "random-labels:images=20,tasks=1,updates=3"})], "cpu", False, limit=200.0)
    assert found and 0 < found.seconds < 60


def test_training_ends_at_the_deadline() -> None:
    began = time.monotonic()
    assert calibrate([experiment(LONG[0])], "cpu", False, limit=0.5) is None
    assert time.monotonic() - began < 10 and not multiprocessing.active_children()


def test_an_error_of_training_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration.plugins, "allowed", lambda: ("no_such_module_anywhere",))
    with pytest.raises(UsageError, match="no_such_module_anywhere cannot be imported"):
        calibrate([experiment(LONG[0])], "cpu", False, limit=60.0)
