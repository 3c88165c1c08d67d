"""Estimates of a sweep's cost beside the cost of real runs."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launch.__main__ import main
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run import estimate, runner
from launch.run.estimate import Span
from launch.run.store import Store
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.checkpoint import checkpoints
from tests.training import ATARI, CARTPOLE, LABELS

RAINBOW = CARTPOLE | {"agent": "rainbow:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10,num_atoms=5"}
KEPT = CARTPOLE | {"agent": CARTPOLE["agent"] + ",replay_at_switch=keep,train_every=20"}


@pytest.mark.parametrize("said", [LABELS, CARTPOLE, RAINBOW, KEPT, CARTPOLE | {"agent": "ppo:num_envs=4,rollout_length=8,minibatches=2"}])
def test_checkpoints_take_what_was_said(said: dict, tmp_path: Path) -> None:
    made = experiment(said)
    run, _ = runner.run(made, Store(tmp_path, "sized"), Execution("cpu", eager=True))
    largest = max(path.joinpath("tensors.safetensors").stat().st_size for path in checkpoints(run.checkpoints))
    header = 20_000  # names and shapes; and rows at the ends of legs, and blocks of priorities that are not whole
    assert largest - header < estimate.checkpoint_size(made) <= largest + header
    assert estimate.costs([made])[0].disk == estimate.KEPT * estimate.checkpoint_size(made)


def test_hours_are_speed_times_amount_and_a_kind_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def calibrate(group: object, device: str, limit: float) -> tuple[Span, Span]:
        asked.append(limit)
        return Span(0.5, 0.5), Span(0.75, 0.75)

    monkeypatch.setattr(estimate, "calibrate", calibrate)
    runs = [
        experiment(CARTPOLE | more)
        for more in (
            {},
            {"seed": 1},
            {"chain": ["nap"]},
            {"benchmark": "cartpole:tasks=3,frames=400", "agent": CARTPOLE["agent"] + ",rollout_length=3"},
        )
    ]
    together, processors = estimate.hours([[each] for each in runs], "cpu", compile=False, limit=20.0)
    assert asked == pytest.approx([10.0, 20.0], abs=0.1)  # the first took nothing of its half
    assert [each.amount for each in estimate.costs(runs)] == [400, 400, 400, 1200] and estimate.costs(runs)[3].frames == 2 * 1200
    assert together == pytest.approx((2400 * 0.5 / 3600,) * 2) and processors == pytest.approx((2400 * 0.75 / 3600,) * 2)


def test_compiled_updates_take_as_much_less_as_was_measured_and_their_making(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "can_compile", lambda: True)
    monkeypatch.setattr(estimate, "calibrate", lambda *_: (Span(1.4, 1.4), Span(2.8, 2.8)))
    labels, poles, atari = ([experiment(said)] for said in (LABELS, CARTPOLE, ATARI))
    for group, amount, slowest in ((labels, 120, 120 * 1.4 / 4), (poles, 400, 400 * 1.4), (atari, 800, 800 * 1.4)):
        together, processors = estimate.hours([group], "cpu", compile=True)
        fastest = amount * 1.4 / (2 if group is atari else 14)
        assert together == pytest.approx(((fastest + 5) / 3600, (slowest + 20) / 3600))
        assert processors == pytest.approx(((2 * fastest + 5) / 3600, (2 * slowest + 20) / 3600))


def test_runs_that_are_trained_as_one_are_measured_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []

    def calibrate(group: list[Experiment], *_: object) -> tuple[Span, Span]:
        asked.append([each.members for each in group])
        return Span(0.5, 0.5), Span(0.5, 0.5)

    monkeypatch.setattr(estimate, "calibrate", calibrate)
    group = [experiment(LABELS | {"seed": seed}) for seed in range(3)]
    together, _ = estimate.hours([group], "cpu", compile=False)
    assert asked == [[2, 2, 2]] and together == pytest.approx((120 * 0.5 / 3600,) * 2)


TWO_SEEDS = [LABELS | {"benchmark": "random-labels:images=60,tasks=3,updates=100000", "seed": seed} for seed in (0, 1)]


@pytest.mark.parametrize("said", [TWO_SEEDS, TWO_SEEDS[:1], [CARTPOLE | {"benchmark": "cartpole"}]])
def test_calibration_plays_until_it_knows(said: list[dict]) -> None:
    seconds, processors = estimate.calibrate([experiment(each) for each in said], "cpu", limit=200.0, seconds=0.05)
    assert 1e-7 < seconds.low == seconds.high <= processors.low == processors.high < 10


def ticks(*waits: float) -> Callable[..., Iterator[int]]:
    """Counts 10, 20, ... with so many seconds of waiting before each."""

    def play(*_: object) -> Iterator[int]:
        for number, wait in enumerate(waits, start=1):
            time.sleep(wait)
            yield 10 * number

    return play


def test_too_little_time_widens_the_span_and_programs_beside_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    monkeypatch.setattr(estimate, "_play", ticks(60.0))
    assert estimate.calibrate([], "cpu", limit=0.1) == (estimate.UNKNOWN, estimate.UNKNOWN)
    monkeypatch.setattr(estimate, "_play", ticks(0.0, 60.0))
    seconds, _ = estimate.calibrate([], "cpu", limit=0.1)
    assert seconds.low == 0 < seconds.high < 0.01
    monkeypatch.setattr(estimate, "_play", ticks(0.0, 1.0, 60.0))  # as where the processors are somebody else's for a second
    seconds, processors = estimate.calibrate([], "cpu", limit=1.5)
    assert 0 < seconds.low == seconds.high == processors.low < 0.05
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("speed", "said"),
    [
        (Span(0.9, 0.9), "4.0 h one after the other; 8.0 h of processors, 2.0 h of GPUs"),
        (Span(0.09, 0.9), "0.4 to 4.0 h one after the other; 0.8 to 8.0 h of processors, 0.2 to 2.0 h of GPUs"),
        (Span(0.009, 0.018), "2.4 to 4.8 min one after the other; 4.8 to 9.6 min of processors, 1.2 to 2.4 min of GPUs"),
        (Span(0.0, float("inf")), "at least 0.0 min one after the other; at least 0.0 min of processors, at least 0.0 min of GPUs"),
    ],
)
def test_a_dry_run_says_it_and_writes_nothing(
    speed: Span, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "calibrate", lambda *_: (speed, speed * 2))
    sweep = tmp_path / "two.toml"
    sweep.write_text('[[experiments]]\nbenchmark = "cartpole:tasks=2,frames=8000"\nmembers = 3\n')
    more = ["--runs", str(tmp_path / "runs"), "--gpus", "0.5", "--device", "cpu", "--eager"]
    assert main(["sweep", str(sweep), "--dry-run", *more]) == 0
    printed = capsys.readouterr().out
    assert "1 run to carry out, 48,000 emulator frames of all members" in printed and said in printed
    assert "GB of checkpoints at most" in printed and not (tmp_path / "runs").exists()
