"""Playing a trained run: the same numbers as a plain loop, and films that other programs can read."""

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from envs.reinforcement.atari import Atari
from launch.__main__ import main
from launch.checkpoints.play import Played, find_checkpoint, play, read_params, seeds_for
from launch.checkpoints.video import KEPT, RATE, SCALE, Film
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run import runner
from launch.run.store import Store
from launch.tracking.tensorboard import TensorBoard
from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.records import checkpoint
from plasticity_rl.records.folder import RunFolder
from tests.training import ATARI, CARTPOLE, LABELS

GAMES = ATARI | {"benchmark": "atari:games=Breakout+RoadRunner,frames=400,episode_frames=120"}  # whole episodes of 30 steps
SHORTER = GAMES | {"benchmark": "atari:games=Breakout+RoadRunner,frames=400,episode_frames=80"}
POLES = CARTPOLE | {"benchmark": "cartpole:tasks=2,frames=200,heads=per-task", "checkpoint_every": 100}
POLES |= {"agent": CARTPOLE["agent"] + ",evaluation_epsilon=0"}


def trained(root: Path, said: dict[str, object]) -> Path:
    return runner.run(experiment(said), Store(root, "first"), Execution("cpu", eager=True))[0].path


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("games"), GAMES)


@pytest.fixture(scope="module")
def poles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("poles"), POLES)


def numbers(run: Path) -> list[int]:
    return [int(path.name) for path in checkpoint.checkpoints(run / "checkpoints")]


def left(run: Path) -> dict[str, int]:
    """Every file of a run, and its time of last write."""
    return {str(path.relative_to(run)): path.stat().st_mtime_ns for path in run.rglob("*")}


def plain(run: Path, member: int, task: int, seed: int) -> Played:
    """One greedy episode of CartPole, in a loop that shares only environments and network with the tested code."""
    made = Experiment.from_json(RunFolder(run).read_spec().experiment)
    network, _ = assemble(made.network, made.optimizer, made.chain, made.benchmark.inputs, made.agent.heads(made.benchmark))
    snapshot, _ = checkpoint.load_latest(run / "checkpoints")
    assert snapshot
    params = {name.removeprefix("params/"): t[member] for name, t in snapshot.tensors.items() if name.startswith("params/")}
    pool = made.benchmark.pool(made.benchmark.visits()[task], seeds_for(seed, member, 1), 1, made.seed)
    seen, score, length, over = pool.reset().observations, 0.0, 0, False
    while not over:
        values = network.apply(params, torch.from_numpy(seen[member : member + 1]), task=torch.tensor(task))[0]
        actions = np.zeros(member + 1, np.int32)
        actions[member] = int(values.argmax())
        pool.send(actions)
        step = pool.recv()
        seen, score, length = step.observations, score + float(step.rewards[member]), length + 1
        over = bool(step.terminated[member] | step.truncated[member])
    return Played(0, score, length, True)


@pytest.mark.parametrize("member", [0, 1])
@pytest.mark.parametrize("task", [0, 1])
def test_an_episode_is_that_of_a_plain_greedy_loop(poles: Path, member: int, task: int) -> None:
    for seed in range(3):
        assert play(RunFolder(poles), member, f"CartPole-{task}", 1, None, False, 1000, seed) == [plain(poles, member, task, seed)]


def test_the_same_seed_gives_the_same_episodes_and_another_gives_others(poles: Path) -> None:
    def lengths(seed: int, episodes: int = 6) -> list[Played]:
        return sorted(play(RunFolder(poles), 1, None, episodes, None, False, 1000, seed))

    assert lengths(0) == lengths(0) != lengths(1)
    assert lengths(0, 2) == lengths(0)[:2]
    assert (seeds_for(0, 3, 2)[-1] == seeds_for(0, 0, 2)[0]).all() and len(np.unique(seeds_for(0, 3, 2))) == 8


def test_members_play_with_their_own_parameters(games: Path) -> None:
    place = find_checkpoint(RunFolder(games), None)
    one, other = read_params(place, 0), read_params(place, 1)
    assert one.keys() == other.keys() and all(param.shape[0] == 1 for param in one.values())
    assert any((one[name] != other[name]).any() for name in one)


def test_without_a_task_it_is_the_one_that_the_checkpoint_was_learning(games: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *_, last = numbers(games)
    for number, task in ((first, "Breakout"), (last, "RoadRunner")):
        assert main(["play", str(games), "--checkpoint", str(number), "--steps", "2"]) == 0
        assert capsys.readouterr().out.splitlines()[0] == f"member 0 of checkpoint {number} plays {task}"


def test_episodes_are_printed_with_return_and_length(games: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["play", str(games), "--task", "Breakout", "--member", "1"]
    assert main(words) == 0
    once = capsys.readouterr().out
    assert "episode 0: return " in once and once.endswith(" in 30 steps\n")
    assert main(words) == 0 and capsys.readouterr().out == once
    assert main([*words, "--steps", "7", "--episodes", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"episode {episode}: cut after 7 steps, at 0" for episode in (0, 1)]
    assert not (games / "videos").exists()


def frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p" and stream.average_rate == RATE
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


def test_a_video_is_the_episode_in_colour_and_stays_on_the_board(games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(games, run)
    *_, earlier, newest = numbers(run)
    for number in (newest, earlier):
        words = ["--member", "1", "--task", "Breakout", "--video", "--episodes", "2", "--checkpoint", str(number)]
        assert main(["play", str(run), *words]) == 0
    names = [f"Breakout-{number:012d}-member1-episode{episode}" for number in (earlier, newest) for episode in (0, 1)]
    assert sorted(path.name for path in (run / "videos").iterdir()) == sorted(
        name + end for name in names for end in (".mp4", ".gif", ".png")
    )
    assert capsys.readouterr().out.splitlines()[-2:] == [str(run / "videos" / f"{name}.mp4") for name in names[:2]]

    film = frames(run / "videos" / f"{names[0]}.mp4")
    assert film.shape == (31, 210 * SCALE, 160 * SCALE, 3) and (film != film[0]).any()
    made = Experiment.from_json(RunFolder(run).read_spec().experiment)
    pool = made.benchmark.render_pool(made.benchmark.visits()[0], seeds_for(0, 1, 2), 1, made.seed)
    opening = pool.reset().observations[2].astype(float)
    assert np.abs(film[0, ::SCALE, ::SCALE] - opening).mean() < 4 and np.ptp(film[0], axis=(0, 1)).min() > 50  # levels of 256
    with Image.open(run / "videos" / f"{names[0]}.png") as sheet:
        assert sheet.size == (6 * 160, 2 * 210)

    with TensorBoard(RunFolder(run), RunFolder(run).read_spec()):  # as in resuming the run
        pass
    events = EventAccumulator(str(run / "tb" / "videos")).Reload()
    assert events.Tags()["images"] == ["video/Breakout/member1", "video/Breakout/member1/episode1"]
    shown = events.Images("video/Breakout/member1")
    assert [each.step for each in shown] == [4 * earlier, 4 * newest]
    assert shown[0].encoded_image_string == (run / "videos" / f"{names[0]}.gif").read_bytes()
    with Image.open(run / "videos" / f"{names[0]}.gif") as animation:
        assert 1 < animation.n_frames <= 31


def test_pictures_of_another_game_are_noticed_and_thrown_away(games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    shutil.copytree(games, run)
    honest = Atari.render_pool
    monkeypatch.setattr(Atari, "render_pool", lambda self, *given: honest(experiment(SHORTER).benchmark, *given))
    with pytest.raises(RuntimeError, match="another game"):
        play(RunFolder(run), 0, None, 1, None, True, 100, 0)
    assert list((run / "videos").iterdir()) == [] and not (run / "tb" / "videos").exists()


@pytest.mark.parametrize("agent", ["rainbow", "ppo"])
def test_other_agents_play_too(agent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {"rainbow": CARTPOLE["agent"].replace("dqn:", "rainbow:"), "ppo": "ppo:num_envs=4,rollout_length=8,minibatches=2"}
    run = trained(tmp_path, CARTPOLE | {"agent": parts[agent]})
    assert main(["play", str(run), "--episodes", "2"]) == 0
    assert capsys.readouterr().out.count(": return ") == 2


def test_a_benchmark_without_pictures_is_not_filmed(poles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = left(poles)
    assert main(["play", str(poles), "--video"]) == 2
    assert capsys.readouterr().err == "error: CartPole has no images to film; omit --video\n"
    assert left(poles) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--member", "2"], "did you mean 1?"),
        (["--member", "-1"], "did you mean 0?"),
        (["--task", "CartPole1"], "unknown task 'CartPole1'; did you mean CartPole-1?"),
        (["--checkpoint", "201"], "did you mean 200?"),
        (["--episodes", "0"], "episodes must lie in [1, 100], not 0"),
        (["--steps", "0"], "steps must lie in [1, 1000000], not 0"),
        (["--seed", "-1"], "seed must lie in"),
        (["--vidoe"], "did you mean --video?"),
    ],
)
def test_what_a_run_does_not_have_is_one_line(poles: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = left(poles)
    assert main(["play", str(poles), *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1 and said in captured.err and captured.out == ""
    assert left(poles) == before


def test_what_cannot_be_played_is_one_line(poles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def complaint(folder: Path, *words: str) -> str:
        assert main(["play", str(folder), *words]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    assert f"did you mean {poles}?" in complaint(poles.parent)
    assert "there is no such folder" in complaint(tmp_path / "nowhere")
    run = tmp_path / "run"
    shutil.copytree(poles, run)
    spec = json.loads((run / "spec.json").read_text())
    spec["experiment"]["network"][1]["width"] = 13
    (run / "spec.json").write_text(json.dumps(spec))
    assert "written by other code" in complaint(run)
    for path in checkpoint.checkpoints(run / "checkpoints"):
        (path / "manifest.json").unlink()
    assert "can be read: checkpoint 400: it cannot be read" in complaint(run)
    assert "can be read: checkpoint 200" in complaint(run, "--checkpoint", "200")
    shutil.rmtree(run / "checkpoints")
    assert "has no checkpoint" in complaint(run)
    assert "which has no episodes to play" in complaint(trained(tmp_path, LABELS))


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_played(poles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(poles, run)
    *_, before, newest = numbers(run)
    (run / "checkpoints" / f"{newest:012d}" / "counters.json").write_text("{}")
    assert main(["play", str(run)]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"checkpoint {newest}: counters.json is not what was written; the one before it is used\n"
    assert captured.out.startswith(f"member 0 of checkpoint {before} plays ")


def moving(count: int) -> list[np.ndarray]:
    """Distinct pictures of 10 x 20: a bright point that walks."""
    pictures = np.zeros((count, 200, 3), np.uint8)
    pictures[np.arange(count), np.arange(count) % 200] = np.arange(count)[:, None] % 3 * 60 + 100
    return list(pictures.reshape(count, 10, 20, 3))


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (KEPT, KEPT), (KEPT + 1, KEPT // 2 + 1), (450, 113)])
def test_a_film_has_every_picture_and_the_animation_at_most_so_many(tmp_path: Path, count: int, kept: int) -> None:
    with Film(tmp_path, "walk") as film:
        for picture in moving(count):
            film.add(picture)
    assert len(frames(tmp_path / "walk.mp4")) == count
    with Image.open(tmp_path / "walk.gif") as animation:
        assert animation.n_frames == kept <= KEPT
        animation.seek(kept - 1)
        assert np.array_equal(np.asarray(animation.convert("RGB")), moving(count)[-(-count // kept) * (kept - 1)])


def test_a_film_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Film(tmp_path, "walk") as film:
        film.add(moving(1)[0])
        raise KeyboardInterrupt
    with Film(tmp_path / "none", "walk"):
        pass
    assert list(tmp_path.iterdir()) == []
