"""What a sweep is said to take, beside what a run takes."""

from pathlib import Path

import pytest

from launch import estimate, runner
from launch.__main__ import main
from launch.destination import Destination
from launch.words import experiment
from plasticity_rl.checkpoint import checkpoints
from tests.training import CARTPOLE, LABELS

RAINBOW = CARTPOLE | {"agent": "rainbow:environments=4,batch=8,replay=160,min_replay=40,target_every=10,atoms=5"}
KEPT = CARTPOLE | {"agent": CARTPOLE["agent"] + ",replay_at_switch=keep,train_every=20"}


@pytest.mark.parametrize("said", [LABELS, CARTPOLE, RAINBOW, KEPT, CARTPOLE | {"agent": "ppo:environments=4,unroll=8,minibatches=2"}])
def test_checkpoints_take_what_was_said(said: dict, tmp_path: Path) -> None:
    made = experiment(said)
    folder, _ = runner.run(made, Destination(tmp_path, "sized"), compile=False)
    largest = max(path.joinpath("tensors.safetensors").stat().st_size for path in checkpoints(folder / "checkpoints"))
    header = 20_000  # names and shapes; and rows at the ends of legs, and blocks of priorities that are not whole
    assert largest - header < estimate.checkpoint_size(made) <= largest + header
    assert estimate.costs([made], "cpu")[0].disk == estimate.KEPT * estimate.checkpoint_size(made)


def test_hours_are_speed_times_amount_and_a_kind_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def calibrate(made: object, device: str) -> tuple[float, float]:
        asked.append(made)
        return 0.5, 0.75

    monkeypatch.setattr(estimate, "calibrate", calibrate)
    runs = [
        experiment(CARTPOLE | more)
        for more in (
            {},
            {"seed": 1},
            {"chain": ["nap"]},
            {"benchmark": "cartpole:tasks=3,frames=400", "agent": CARTPOLE["agent"] + ",unroll=3"},
        )
    ]
    found = estimate.costs(runs, "cpu")
    assert len(asked) == 2
    assert [each.amount for each in found] == [400, 400, 400, 1200] and found[3].frames == 2 * 1200
    assert found[0].hours == pytest.approx(400 * 0.5 / 3600) and found[3].processors == pytest.approx(1200 * 0.75 / 3600)


@pytest.mark.parametrize(
    "said", [LABELS | {"benchmark": "random-labels:images=60,tasks=3,updates=100000"}, CARTPOLE | {"benchmark": "cartpole"}]
)
def test_calibration_plays_until_it_knows(said: dict) -> None:
    seconds, processors = estimate.calibrate(experiment(said), "cpu", seconds=0.05)
    assert 1e-7 < seconds < 10 and 0 < processors < 40  # a sign of life came, and time went by


def test_a_dry_run_says_it_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "calibrate", lambda *_: (0.9, 1.8))
    sweep = tmp_path / "two.toml"
    sweep.write_text('[[experiments]]\nbenchmark = "cartpole:tasks=2,frames=8000"\nmembers = 3\n')
    assert main(["sweep", str(sweep), "--dry-run", "--runs", str(tmp_path / "runs"), "--gpus", "0.5", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "1 runs to carry out, 48,000 emulator frames of all members" in said
    assert "4.0 h one after the other; 8.0 h of processors, 2.0 h of GPUs" in said
    assert "GB of checkpoints at most" in said and not (tmp_path / "runs").exists()
