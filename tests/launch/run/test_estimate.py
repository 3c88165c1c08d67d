"""Estimates of a sweep's cost beside the cost of real runs."""

import math
from pathlib import Path

import pytest

from launch.__main__ import main
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run import estimate, runner
from launch.run.calibration import Speed
from launch.run.estimate import Span
from launch.run.store import Store
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.checkpoint import checkpoints
from tests.training import ATARI, CARTPOLE, LABELS, PENDULUM

RAINBOW = CARTPOLE | {"agent": "rainbow:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10,num_atoms=5"}
SAC = PENDULUM | {"benchmark": "envpool:ids=Pendulum-v1,frames=200", "agent": PENDULUM["agent"].replace("160", "100")}
KEPT = CARTPOLE | {"agent": CARTPOLE["agent"] + ",replay_at_switch=keep,train_every=20"}


@pytest.mark.parametrize(
    "said", [LABELS, CARTPOLE, RAINBOW, KEPT, SAC, CARTPOLE | {"agent": "ppo:num_envs=4,rollout_length=8,minibatches=2"}]
)
def test_checkpoints_take_what_was_said(said: dict, tmp_path: Path) -> None:
    made = experiment(said)
    run, _ = runner.run(made, Store(tmp_path, "sized"), Execution("cpu", eager=True))
    largest = max(path.joinpath("tensors.safetensors").stat().st_size for path in checkpoints(run.checkpoints))
    header = 20_000  # names and shapes; and rows at the ends of segments, and incomplete blocks of priorities
    assert largest - header < estimate.checkpoint_size(made) <= largest + header
    assert estimate.costs([made])[0].disk == estimate.KEPT * estimate.checkpoint_size(made)


def measured(seconds: float, processors: float, *, setup: float = 0.0, steady: bool = True, anew: bool = True) -> Speed:
    return Speed(seconds, processors, steady, setup, anew)


def test_hours_are_speed_times_amount_and_a_kind_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def calibrate(group: list[Experiment], device: str, compile: bool, limit: float) -> Speed:
        asked.append((group[0].benchmark.tasks, compile, limit))
        return measured(0.5, 0.75)

    monkeypatch.setattr(estimate, "calibrate", calibrate)
    runs = [
        experiment(CARTPOLE | more)
        for more in (
            {},
            {"seed": 1},
            {"chain": ["nap"]},
            {"benchmark": "cartpole:tasks=3,frames=500", "agent": CARTPOLE["agent"] + ",rollout_length=3"},
        )
    ]
    together, processors = estimate.hours([[each] for each in runs], "cpu", compile=False, limit=20.0)
    # The kind with most frames comes first; its half is unused.
    assert asked == [(3, False, pytest.approx(10.0, abs=0.1)), (2, False, pytest.approx(20.0, abs=0.1))]
    assert [each.amount for each in estimate.costs(runs)] == [400, 400, 400, 1500] and estimate.costs(runs)[3].frames == 2 * 1500
    assert together == pytest.approx((2700 * 0.5 / 3600,) * 2) and processors == pytest.approx((2700 * 0.75 / 3600,) * 2)


@pytest.mark.parametrize(("anew", "setup"), [(True, (7.0, 14.0)), (False, (10.0, 20.0))])
def test_compiled_updates_are_measured_and_every_group_is_set_up(
    anew: bool, setup: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "can_compile", lambda: True)
    monkeypatch.setattr(estimate, "calibrate", lambda *_: measured(1.5, 3.0, setup=10.0, anew=anew))
    groups = [[experiment(LABELS | {"chain": chain})] for chain in ([], ["nap"])]
    together, processors = estimate.hours(groups, "cpu", compile=True)
    assert together == pytest.approx([(240 * 1.5 + 2 * each) / 3600 for each in setup])
    assert processors == pytest.approx([(240 * 3.0 + 2 * each) / 3600 for each in setup])


def test_speedup_is_a_range_where_compilation_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def calibrate(group: object, device: str, compile: bool, limit: float) -> Speed | None:
        asked.append((compile, limit))
        return None if compile else measured(1.4, 2.8)

    monkeypatch.setattr(estimate, "can_compile", lambda: True)
    monkeypatch.setattr(estimate, "calibrate", calibrate)
    labels, poles, atari = ([experiment(said)] for said in (LABELS, CARTPOLE, ATARI))
    for group, amount, slowest in ((labels, 120, 120 * 1.4 / 4), (poles, 400, 400 * 1.4), (atari, 800, 800 * 1.4)):
        together, processors = estimate.hours([group], "cpu", compile=True, limit=20.0)
        fastest = amount * 1.4 / (2 if group is atari else 14)
        assert together == pytest.approx(((fastest + 5) / 3600, (slowest + 20) / 3600))
        assert processors == pytest.approx(((2 * fastest + 5) / 3600, (2 * slowest + 20) / 3600))
    assert asked[:2] == [(True, pytest.approx(14.0, abs=0.1)), (False, pytest.approx(20.0, abs=0.1))]


def test_too_little_time_widens_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    group = [experiment(LABELS)]
    monkeypatch.setattr(estimate, "calibrate", lambda *_: measured(0.5, 0.5, steady=False))
    assert estimate.hours([group], "cpu", compile=False)[0] == pytest.approx((0.0, 120 * 0.5 / 3600))
    monkeypatch.setattr(estimate, "calibrate", lambda *_: None)
    assert estimate.hours([group], "cpu", compile=False) == (Span(0.0, math.inf),) * 2


def test_runs_that_are_trained_as_one_are_measured_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []

    def calibrate(group: list[Experiment], *_: object) -> Speed:
        asked.append([each.members for each in group])
        return measured(0.5, 0.5)

    monkeypatch.setattr(estimate, "calibrate", calibrate)
    group = [experiment(LABELS | {"seed": seed}) for seed in range(3)]
    together, _ = estimate.hours([group], "cpu", compile=False)
    assert asked == [[2, 2, 2]] and together == pytest.approx((120 * 0.5 / 3600,) * 2)


@pytest.mark.parametrize(
    ("speed", "said"),
    [
        (Span(0.9, 0.9), "4.0 h one after the other; 8.0 h of processors, 2.0 h of GPUs"),
        (Span(0.09, 0.9), "0.4 to 4.0 h one after the other; 0.8 to 8.0 h of processors, 0.2 to 2.0 h of GPUs"),
        (Span(0.009, 0.018), "2.4 to 4.8 min one after the other; 4.8 to 9.6 min of processors, 1.2 to 2.4 min of GPUs"),
        (Span(0.0, float("inf")), "time not known: a kind of run made fewer than two updates in the 25 s that all are given"),
    ],
)
def test_a_dry_run_says_it_and_writes_nothing(
    speed: Span, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_measure", lambda *_: (Span(0.0, 0.0), speed, speed * 2))
    sweep = tmp_path / "two.toml"
    sweep.write_text('[[experiments]]\nbenchmark = "cartpole:tasks=2,frames=8000"\nmembers = 3\n')
    more = ["--runs", str(tmp_path / "runs"), "--gpus", "0.5", "--device", "cpu", "--eager"]
    assert main(["sweep", str(sweep), "--dry-run", *more]) == 0
    printed = capsys.readouterr().out
    assert "1 run to carry out, 48,000 emulator frames of all members" in printed and said in printed
    assert "GB of checkpoints at most" in printed and not (tmp_path / "runs").exists()
