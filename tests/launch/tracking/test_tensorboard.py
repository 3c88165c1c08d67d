"""Live views of a run: TensorBoard's curves and the terminal's line."""

import os
import shutil
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from launch.__main__ import main
from launch.run.progress import Display
from launch.tracking.curves import EVALUATION, LAYERS, SCORE
from launch.tracking.tensorboard import QUIETLY, TAGS, TensorBoard, rebuild, serve
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Media, Metric, Score, Tick
from plasticity_rl.records.folder import FolderTaken, RunFolder
from plasticity_rl.records.spec import Spec
from tests.fake_runs import spec, write_run

GAMES = {"benchmark": "atari", "unit": "frames", "members": 12}
PARTS = {kind: [kind, {"field": 1}] for kind in ("agent", "network", "optimizer", "schedule")}


def described() -> Spec:
    made = spec(tasks=("Pong", "Boxing"), **GAMES)
    return made._replace(experiment=made.experiment | PARTS)


def score(member: int, frames: int, kind: str, value: float, task: str = "Boxing") -> Score:
    return Score(member, 1, task, 0, frames, frames // 4, frames // 16, kind, value)


def metric(member: int, frames: int, name: str, value: float) -> Metric:
    return Metric(member, 1, "Boxing", 0, frames, frames // 4, frames // 16, name, value)


ROWS = [
    score(0, 80, "return", 5.0),
    score(0, 80, "cut", 90.0),
    score(0, 80, "evaluation", 1.0, "Pong"),
    score(1, 80, "evaluation", 7.0, "Pong"),
    score(0, 80, "evaluation", 2.0, "Boxing"),
    score(0, 80, "evaluation", 4.0, "Pong"),
    score(11, 80, "evaluation", 4.0, "Pong"),
    score(0, 160, "return", 6.0),
    score(0, 160, "evaluation", 3.0, "Pong"),
]


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run / "tb")).Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


SCORES = {
    "Score/return/member0": [(80, 5.0), (160, 6.0)],
    "Evaluation/Pong/member0": [(80, 2.5), (160, 3.0)],  # the mean over its episodes
    "Evaluation/Pong/member1": [(80, 7.0)],
    "Evaluation/Boxing/member0": [(80, 2.0)],
}


@pytest.mark.parametrize("there", [0, 4, len(ROWS)])
def test_evaluations_have_a_curve_of_each_task_also_where_a_run_goes_on(tmp_path: Path, there: int) -> None:
    run = write_run(tmp_path, described(), ROWS[:there])
    with TensorBoard(RunFolder(run), described()) as board:
        for row in ROWS[there:]:
            board.add(row)
    assert curves(run) == SCORES


def test_diagnostics_have_one_curve_their_mean_over_members(tmp_path: Path) -> None:
    run = write_run(tmp_path, described(), [])
    rows = [metric(m, frames, name, m + frames) for frames in (80, 160) for name in ("loss", "norm/head") for m in (0, 1)]
    with TensorBoard(RunFolder(run), described()) as board:
        for row in rows:
            board.add(row)
    assert curves(run) == {"training/loss": [(80, 80.5), (160, 160.5)], "norm/head": [(80, 80.5), (160, 160.5)]}


def test_the_board_is_made_anew_without_what_others_put_beside_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, described(), ROWS)
    (run / "tb" / "videos").mkdir(parents=True)
    (run / "tb" / "videos" / "events.of.videos").touch()
    for _ in range(2):
        with TensorBoard(RunFolder(run), described()):
            pass
    assert len(list((run / "tb").glob("events.*"))) == 1 and (run / "tb" / "videos" / "events.of.videos").exists()


def test_layers_beyond_the_limit_share_their_mean(tmp_path: Path) -> None:
    run = write_run(tmp_path, described(), [])
    with TensorBoard(RunFolder(run), described()) as board:
        for layer in range(LAYERS + 1):
            for member in (0, 1):
                board.add(metric(member, 80, f"norm/hidden{layer}", layer + 0.5 * member))
        for layer in range(LAYERS):
            board.add(metric(0, 80, f"dead_fraction/hidden{layer}", layer))
        for number in range(LAYERS + 1):
            board.add(metric(0, 80, f"quantity{number}", number))  # no layers, though as many
    found = curves(run)
    assert found["norm/mean over layers"] == [(80, LAYERS / 2 + 0.25)] and "norm/hidden0" not in found
    assert [found[f"dead_fraction/hidden{layer}"] for layer in range(LAYERS)] == [[(80, layer)] for layer in range(LAYERS)]
    assert [found[f"training/quantity{number}"] for number in range(LAYERS + 1)] == [[(80, number)] for number in range(LAYERS + 1)]


def test_what_comes_after_so_many_tags_is_left_out_and_named(tmp_path: Path) -> None:
    run = write_run(tmp_path, described(), [])
    with TensorBoard(RunFolder(run), described()) as board:
        for frames in (80, 160):
            for number in range(TAGS + 2):
                board.add(metric(0, frames, f"quantity{number:03}", number))
        board.show(histogram(160))
    events = EventAccumulator(str(run / "tb")).Reload()
    tags = events.Tags()
    assert sum(len(tags[kind]) for kind in ("scalars", "images", "histograms", "tensors")) <= 200 and tags["histograms"] == []
    assert [len(events.Scalars(tag)) for tag in tags["scalars"]] == [2] * TAGS
    (said,) = events.Tensors("left out/text_summary")
    text = said.tensor_proto.string_val[0].decode()
    assert all(name in text for name in (f"quantity{TAGS:03}", f"quantity{TAGS + 1:03}", "preactivations/hidden0"))
    assert f"quantity{TAGS - 1:03}" not in text


def histogram(frames: int) -> Media:
    return Media(1, "Boxing", 0, frames, frames // 4, frames // 16, "preactivations/hidden0", "histogram", np.arange(100.0))


def test_rebuilding_has_the_curves_of_the_tables_and_keeps_pictures_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, described(), ROWS, [metric(0, 80, "loss", 2.0)])
    rebuild(RunFolder(run))
    assert curves(run) == SCORES | {"training/loss": [(80, 2.0)]}
    assert "histograms and images are absent: only a run itself makes them" in capsys.readouterr().out
    with TensorBoard(RunFolder(run), described()) as board:
        board.show(histogram(160))
        board.show(histogram(160)._replace(name="observations", kind="image", values=np.zeros((8, 4))))
    for _ in range(2):
        rebuild(RunFolder(run))
        assert "2 histograms and images were kept" in capsys.readouterr().out
    events = EventAccumulator(str(run / "tb")).Reload()
    (kept,) = events.Histograms("preactivations/hidden0")
    assert (kept.step, kept.histogram_value.num, kept.histogram_value.sum) == (160, 100, 4950.0)
    assert [image.step for image in events.Images("observations")] == [160] and curves(run)["training/loss"] == [(80, 2.0)]


def test_a_run_that_is_being_written_is_not_rebuilt(tmp_path: Path) -> None:
    run = write_run(tmp_path, described(), ROWS)
    with FileLock(run / ".lock"), pytest.raises(FolderTaken):
        rebuild(RunFolder(run))
    assert not (run / "tb").exists()


def test_tensorboard_ends_with_the_signal_that_ends_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, described(), [])
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "spec.json").write_text("{")
    served: list[Path] = []

    def signalled(command: list[str], check: bool) -> None:
        served.append(Path(command[command.index("--logdir") + 1]))
        assert served[0].exists() and command[command.index("--host") + 1] == "127.0.0.1"
        os.kill(os.getpid(), signal.SIGTERM)  # raises here; subprocess.run kills its process

    monkeypatch.setattr("launch.tracking.tensorboard.subprocess.run", signalled)
    assert main(["board", str(tmp_path), "--port", "0"]) == 0
    assert not served[0].exists()
    assert capsys.readouterr().err == f"a run is left out: {tmp_path / 'half' / 'spec.json'} is not a run's description\n"
    shutil.rmtree(tmp_path / described().key)
    with pytest.raises(UsageError, match="is not a run's description"):
        serve(tmp_path, 0)


@pytest.mark.parametrize("name", ["../escaped", "/some/where", "..", ".", "a/../../b", "a\0b", "x" * 1_000])
def test_what_a_description_says_makes_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    run = write_run(tmp_path, described()._replace(benchmark=name, label=name), [])
    seen: list[Path] = []

    def list_links(command: list[str], check: bool) -> Any:
        names = Path(command[command.index("--logdir") + 1])
        seen.extend(path for path in names.glob("*/*"))
        assert [path.parent.parent for path in seen] == [names] and seen[0].readlink() == (run / "tb").resolve()
        return subprocess.CompletedProcess(command, 0)

    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("launch.tracking.tensorboard.subprocess.run", list_links)
    assert serve(tmp_path, 0) == 0 and len(seen) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["tb", "checkpoints", "scores.csv", "videos"])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "runs", described(), ROWS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "events.of.others").touch()
    if (run / name).exists():
        (run / name).unlink()
    (run / name).symlink_to(elsewhere)
    with pytest.raises(UsageError, match=f"{name} is a link to somewhere else"):
        rebuild(RunFolder(run))
    assert [path.name for path in elsewhere.iterdir()] == ["events.of.others"]


@pytest.mark.process
def test_tensorboard_shows_scores_first_and_begins_without_notices() -> None:
    tags = ["cka_to_start/hidden0", "Score/online/member0", "Evaluation/Pong", "training/loss"]
    assert sorted(tags)[:2] == ["Evaluation/Pong", "Score/online/member0"] and {SCORE, EVALUATION} == {"Score", "Evaluation"}
    begun = subprocess.run([sys.executable, "-c", QUIETLY, "--version"], capture_output=True, text=True, check=True)
    assert begun.stderr == "" and begun.stdout.strip()


def test_the_score_shown_is_that_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.run.progress.EVERY", -1.0)
    printed = StringIO()
    with Display(described(), Console(file=printed, width=200)) as display:
        for row in ROWS:
            display.score(row)
        display.tick(Tick(1, "Boxing", 0, 160, 40, 10))
    assert printed.getvalue().splitlines()[-1].endswith("last score 6.000")
