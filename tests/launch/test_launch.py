"""The command line, on real runs: its refusals, its files, and resuming after interruptions."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

import plasticity_rl
from launch.__main__ import main
from launch.config.parse import part_class
from launch.config.show import KINDS, words
from plasticity_rl.records import checkpoint
from plasticity_rl.records.events import Metric, Score
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.records.tables import read_rows
from tests.conftest import Begin
from tests.run_folders import run_paths

ROOT = Path(__file__).parents[2]
SMALL = ["--benchmark", "random-labels:images=60,tasks=3,updates=40", "--network", "mlp:width=12,depth=2", "--members", "2", "--eager"]
SMALL += ["--agent", "supervised:batch_size=8,record_every=15", "--diagnose-every", "20", "--checkpoint-every", "25"]


def run(root: Path, *more: str, name: str = "first") -> int:
    return main(["run", "--name", name, "--runs", str(root), *SMALL, *more])


def scores(root: Path) -> bytes:
    (folder,) = run_paths(root)
    return (folder / "scores.csv").read_bytes()


BAD = [
    (["--name", "../x"], "not a name: '../x'"),
    (["--name", "/x"], "not a name"),
    (["--name", "x", "--benchmark", "atari:games=pong"], "did you mean Pong?"),
    (["--name", "x", "--schedule", "constant:rate=-1e-3"], "rate must lie in (0, inf)"),
    (["--name", "x", "--schedule", "constant:rate=nan"], "rate must be a finite number"),
    (["--name", "x", "--chain", "nap, redo"], "'nap, redo' is no method; several are separated by spaces, without quotes"),
    (["--name", "x", "--chain", "redo:tua=1"], "redo has no field 'tua'; did you mean tau?"),
    (["--name", "x", "--chain", "layer-norm", "nap:norm=rms"], "LayerNorm and NormalizeAndProject cannot be combined"),
    (["--name", "x", "--network", "mlp:norm=rms", "--chain", "layer-norm"], "the MLP itself and LayerNorm cannot be combined"),
    (["--name", "x", "--chain", "nap:norm=given"], "NormalizeAndProject needs a norm"),
    (["--name", "x", "--network", "nature"], "Nature cannot read inputs of shape (64,)"),
    (["--name", "x", "--members", "many"], "members must be a whole number"),
    (["--name", "x", "--members", "-1"], "members must lie in [1, 4096], not -1"),
    (["--name", "x", "--seed", "99999999999"], "seed must lie in [0, 2147483647], not 99999999999"),
    (["--name", "x\0y"], "holds a byte of value 0"),
    (["--name", "x", "--device", "gpu"], "gpu"),
    (["--name", "x", "--lerning-rate", "1"], "unknown option '--lerning-rate'"),
    (["--name", "x", "--file", "no.toml"], "cannot read no.toml"),
    (["--name", "x", "--chain", "nap", "--chain", "redo"], "--chain is given twice"),
    (["--name", "x", "--chain", "reset:clock=update"], "clock=update needs every"),
    ([], "--name"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    assert main(["run", *words, "--runs", str(root)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1 and said in captured.err
    assert captured.out == "" and not root.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "unknown command 'rnu'; did you mean run?"),
        (["show", "rdo"], "did you mean redo?"),
        (["sweep", "no.py"], "no.py is not a sweep"),
        (["sweep", "dmeo"], "unknown sweep 'dmeo'; did you mean demo?"),
        (["sweep"], "Missing"),
        (["sweep", "no.py", "--name", "a/b"], "not a name: 'a/b'"),
        (["tune", "no.toml", "--name", "a/b"], "not a name: 'a/b'"),
        (["report", "no\0where"], "holds a byte of value 0"),
        (["bench", "updat"], "updat"),
        (["board", "nowhere"], "no runs below nowhere"),
        (["report", "nowhere"], "nowhere"),
    ],
)
def test_other_commands_refuse_alike(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1 and said in captured.err


def test_the_version_and_the_completion_of_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0 and capsys.readouterr().out == f"plasticity-rl {plasticity_rl.__version__}\n"
    with pytest.raises(SystemExit) as ended:
        main(["--tyro-print-completion", "bash"])
    assert not ended.value.code
    script = capsys.readouterr().out
    assert script.count("# AUTOMATICALLY GENERATED") == 1 and "--own-control" in script


def test_a_folder_that_leads_elsewhere_or_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "first").symlink_to(tmp_path / "elsewhere")
    assert run(tmp_path) == 2 and "is a link to somewhere else" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file") == 2 and "cannot write in" in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_run_leaves_what_its_folder_promises_and_is_skipped_the_second_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--chain", "nap", "redo:every=10") == 0
    (folder,) = run_paths(tmp_path)
    left = sorted(path.name for path in folder.iterdir() if path.name != ".lock")
    assert left == ["DONE", "checkpoints", "context.json", "metrics.csv", "scores.csv", "spec.json", "tb"]
    spec, context = RunFolder(folder).read_spec(), json.loads((folder / "context.json").read_text())
    assert folder == tmp_path / "first" / spec.key
    assert (spec.label, spec.benchmark, spec.unit, spec.members, spec.fresh_control) == (
        "nap + redo:every=10",
        "random-labels",
        "updates",
        2,
        False,
    )
    assert [visit["budget"] for visit in spec.visits] == [40, 40, 40]
    assert context["packages"]["torch"].startswith("2.") and len(context["code"]) == 16
    rows, problems = read_rows(folder / "scores.csv", Score)
    assert len(rows) == 2 * 3 * 3 and not problems and {row.member for row in rows} == {0, 1}
    assert not read_rows(folder / "metrics.csv", Metric)[1]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}
    capsys.readouterr()
    assert run(tmp_path, "--chain", "nap", "redo:every=10") == 0
    assert capsys.readouterr().out.startswith("skipped: ")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"} == before


def test_the_boards_curves_are_the_rows(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run(tmp_path) == 0
    (folder,) = run_paths(tmp_path)
    events = EventAccumulator(str(folder / "tb")).Reload()
    rows = [row for row in read_rows(folder / "scores.csv", Score)[0] if row.member == 1]
    curve = events.Scalars("Score/online/member1")
    assert [point.step for point in curve] == [row.updates for row in rows]
    assert [point.value for point in curve] == pytest.approx([row.score for row in rows])
    lengths = [row for row in read_rows(folder / "metrics.csv", Metric)[0] if row.name == "weight_norm/hidden0"]
    means = [(one.value + two.value) / 2 for one, two in zip(lengths[::2], lengths[1::2], strict=True)]
    assert [point.value for point in events.Scalars("weight_norm/hidden0")] == pytest.approx(means)
    tags = set(events.Tags()["scalars"])
    shown = {"dormant_fraction/hidden0", "dormant_fraction_fresh/hidden0", "effective_learning_rate/head", "training/learning_rate"}
    assert shown | {"training/updates_per_second"} <= tags
    assert "_hparams_/session_start_info" in events.summary_metadata


class Interrupted:
    """A run in a process of its own, long enough to be stopped midway."""

    words = (
        "--benchmark",
        "random-labels:images=200,tasks=4,updates=300",
        "--network",
        "mlp:width=12,depth=2",
        "--members",
        "2",
        "--eager",
    )
    words += ("--diagnose-every", "100", "--checkpoint-every", "100", "--chain", "nap", "redo:every=50")

    def __init__(self, root: Path, begin: Begin) -> None:
        self.root = root
        command = [sys.executable, "-m", "launch", "run", "--name", "first", "--runs", str(root), *self.words]
        self.process = begin(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait_for_checkpoint(self, number: int) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            if any(int(path.name) >= number for path in self.root.glob("first/*/checkpoints/0*")):
                return
            time.sleep(0.01)
        raise AssertionError(f"no checkpoint: {self.process.communicate()}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, uninterrupted."""
    root = tmp_path_factory.mktemp("whole")
    assert main(["run", "--name", "first", "--runs", str(root), *Interrupted.words]) == 0
    return root


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
@pytest.mark.process
def test_what_was_stopped_goes_on_with_the_same_command_as_if_it_never_had(
    tmp_path: Path, whole: Path, number: int, code: int, begin: Begin
) -> None:
    stopped = Interrupted(tmp_path / "stopped", begin)
    stopped.wait_for_checkpoint(200)
    os.kill(stopped.process.pid, number)
    _, complaint = stopped.process.communicate(timeout=60)
    assert stopped.process.returncode == code
    if code > 0:
        assert complaint.startswith("error: stopped; the same command resumes ") and complaint.endswith(" from here\n")
        assert complaint.count("\n") == 1
    (folder,) = run_paths(tmp_path / "stopped")
    rows, _ = RunFolder(folder).read_rows(Score)
    if code > 0:  # nothing is learned again
        assert checkpoint.checkpoints(folder / "checkpoints")[-1].name == f"{rows[-1].updates:012d}"
    assert not RunFolder(folder).is_done
    assert main(["run", "--name", "first", "--runs", str(tmp_path / "stopped"), *Interrupted.words]) == 0
    assert RunFolder(folder).is_done
    assert scores(tmp_path / "stopped") == scores(whole)
    last = [checkpoint.load_latest(run_paths(root)[0] / "checkpoints")[0] for root in (tmp_path / "stopped", whole)]
    assert last[0] and last[1] and all((last[0].tensors[name] == tensor).all() for name, tensor in last[1].tensors.items())


def unfinish(folder: Path) -> None:
    """Mark a run as unfinished."""
    (folder / "DONE").unlink()


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    before, (folder,) = scores(tmp_path), run_paths(tmp_path)
    unfinish(folder)
    newest = checkpoint.checkpoints(folder / "checkpoints")[-1] / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert run(tmp_path) == 0
    assert "000000000120: tensors.safetensors is not what was written; the one before it is used" in capsys.readouterr().err
    assert scores(tmp_path) == before


def test_without_a_checkpoint_that_can_be_read_nothing_is_thrown_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    before, (folder,) = scores(tmp_path), run_paths(tmp_path)
    unfinish(folder)
    for path in checkpoint.checkpoints(folder / "checkpoints"):
        (path / "manifest.json").unlink()
    assert run(tmp_path) == 2 and "cannot be resumed: checkpoint 000000000120" in capsys.readouterr().err
    assert scores(tmp_path) == before


def test_a_run_is_not_gone_on_with_on_other_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    (folder,) = run_paths(tmp_path)
    unfinish(folder)
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"fingerprint": "0" * 16}))
    assert run(tmp_path) == 2 and "was started with data that these words no longer describe" in capsys.readouterr().err


def test_a_finished_run_is_not_skipped_where_its_file_has_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands check, and a sweep's plan says it; the unchanged file passes."""
    file, sweep = tmp_path / "own.npz", tmp_path / "own.toml"
    x, words = np.arange(60.0).reshape(30, 2), f"permuted-inputs:dataset={file},images=30,tasks=2,updates=20"
    sweep.write_text(f"[[experiments]]\nbenchmark = '{words}'\nmembers = 1\n")
    np.savez(file, x=x, y=np.arange(30) % 2)
    commands = (
        ["run", "--benchmark", words, "--members", "1", "--eager", "--name", "own", "--runs", str(tmp_path)],
        ["sweep", str(sweep), "--eager", "--name", "own", "--runs", str(tmp_path)],
    )
    assert main(commands[0]) == 0
    np.savez(file, x=x, y=np.arange(30) % 3)
    for words in commands:
        assert main(words) == 2 and "was made with data that these words no longer describe" in capsys.readouterr().err
    assert main([*commands[1], "--dry-run"]) == 0 and "refused: " in capsys.readouterr().out
    np.savez(file, x=x, y=np.arange(30) % 2)
    for words in commands:
        assert main(words) == 0 and "skipped" in capsys.readouterr().out


def test_a_game_goes_through_the_same_files(tmp_path: Path) -> None:
    words = ["run", "--name", "poles", "--runs", str(tmp_path), "--benchmark", "cartpole:tasks=2,frames=600", "--members", "2", "--eager"]
    words += ["--agent", "dqn:num_envs=4,batch_size=8,replay=400,min_replay=60,target_every=10", "--checkpoint-every", "200"]
    assert main(words) == 0
    (folder,) = run_paths(tmp_path)
    before = (folder / "scores.csv").read_bytes()
    unfinish(folder)
    newest = checkpoint.checkpoints(folder / "checkpoints")[-1]
    (newest / "manifest.json").unlink()
    assert main(words) == 0 and (folder / "scores.csv").read_bytes() == before
    kinds = {row.kind for row in read_rows(folder / "scores.csv", Score)[0]}
    assert kinds == {"return", "cut"} and RunFolder(folder).read_spec().unit == "frames"


def test_scores_that_a_checkpoint_counts_on_are_not_made_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    (folder,) = run_paths(tmp_path)
    unfinish(folder)
    (folder / "scores.csv").write_bytes((folder / "scores.csv").read_bytes()[:-5])
    assert run(tmp_path) == 2 and "shorter than its checkpoint says" in capsys.readouterr().err


def test_two_processes_do_not_write_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    (folder,) = run_paths(tmp_path)
    unfinish(folder)
    with FileLock(folder / ".lock"):
        assert run(tmp_path) == 3
    assert "is being written by another process" in capsys.readouterr().err and not RunFolder(folder).is_done
    assert run(tmp_path) == 0 and RunFolder(folder).is_done


def test_a_run_that_other_code_began_is_not_gone_on_with_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    (folder,) = run_paths(tmp_path)
    unfinish(folder)
    context = json.loads((folder / "context.json").read_text())
    (folder / "context.json").write_text(json.dumps(context | {"code": "0" * 16}))
    assert run(tmp_path) == 2 and "was started by other code" in capsys.readouterr().err
    assert run(tmp_path, "--other-code") == 0
    assert json.loads((folder / "context.json").read_text())["earlier_code"] == ["0" * 16]


def test_a_loss_that_is_no_number_ends_with_code_6_and_no_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--optimizer", "sgd", "--schedule", "constant:rate=1e30") == 6
    (folder,) = run_paths(tmp_path)
    assert "the loss of member 0 is" in capsys.readouterr().err
    assert read_rows(folder / "scores.csv", Score) == ([], []) and not RunFolder(folder).is_done
    assert RunFolder(folder).failure == "the loss of member 0 is nan after 15 updates"


def test_a_run_that_goes_on_has_not_failed(tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    (folder,) = run_paths(tmp_path)
    (folder / "DONE").unlink()
    (folder / "FAILED").write_text("the loss of member 0 is nan after 15 updates\n")
    assert run(tmp_path) == 0 and RunFolder(folder).is_done and RunFolder(folder).failure is None


def test_a_full_disk_ends_with_code_5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "rename", full)
    assert run(tmp_path) == 5 and "No space left" in capsys.readouterr().err


@pytest.mark.process
def test_a_file_that_the_system_does_not_let_grow_ends_with_code_5(tmp_path: Path) -> None:
    small = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))"
    words = ["run", "--name", "first", "--runs", str(tmp_path), "--benchmark", "random-labels:tasks=1,updates=40", "--eager"]
    code = f"import resource, signal, sys; {small}; from launch.__main__ import main; sys.exit(main({words}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "cannot write a checkpoint" in done.stderr
    (folder,) = run_paths(tmp_path)
    assert checkpoint.load_latest(folder / "checkpoints") == (None, []) and not RunFolder(folder).is_done


def test_every_word_has_a_page_with_all_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show"]) == 0
    listed = capsys.readouterr().out
    for kind in KINDS:
        for word in words(kind):
            assert word in listed
            assert main(["show", word]) == 0
            page = capsys.readouterr().out
            assert all(field.name in page for field in dataclasses.fields(part_class(kind, word)))


def test_the_doctor_finds_what_the_tests_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "EnvPool" in capsys.readouterr().out
