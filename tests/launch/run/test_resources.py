"""Estimates of memory and disk beside real runs, and refusals of runs too large for the machine."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from agents.loops.replay import ReplayLoop
from agents.loops.rollout import RolloutLoop
from launch.__main__ import main
from launch.cluster import sweep
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run import estimate, resources, runner
from launch.run.resources import Need, Room, check, need
from launch.run.store import Store
from plasticity_rl.checks import UsageError
from plasticity_rl.records.checkpoint import checkpoints
from tests.training import CARTPOLE, LABELS

RAINBOW = CARTPOLE | {"agent": "rainbow:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10,num_atoms=5"}
PPO = CARTPOLE | {"agent": "ppo:num_envs=4,rollout_length=8,minibatches=2"}
WORDS = [
    "run",
    "--name",
    "x",
    "--eager",
    "--benchmark",
    "cartpole:tasks=2,frames=200",
    "--network",
    "mlp:width=12,depth=2",
    "--members",
    "2",
]
DQN = ["--agent", "dqn:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10", "--checkpoint-every", "90"]


def held(thing: Any) -> int:
    """Bytes of all tensors in an object and the objects in it, each storage once."""
    storages, todo, seen = {}, [thing], set()
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, torch.Tensor):
            storages[each.untyped_storage().data_ptr()] = each.untyped_storage().nbytes()
        else:
            todo += each.values() if isinstance(each, dict) else vars(each).values() if hasattr(each, "__dict__") else []
    return sum(storages.values())


@pytest.mark.parametrize("said", [CARTPOLE, RAINBOW, PPO], ids=["dqn", "rainbow", "ppo"])
def test_a_store_takes_what_is_said(said: dict[str, Any]) -> None:
    made = experiment(said)
    loop = (RolloutLoop if said is PPO else ReplayLoop)(made.agent, made, "cpu", False)  # type: ignore[abstract]
    store = loop._frames if isinstance(loop, RolloutLoop) else loop.replay
    assert 0 <= held(store) - need(made).store <= 20 * made.members  # two indices of members, and the highest priority of each
    tensors = [*loop.learner.tensors().values(), *(loop.target.values() if isinstance(loop, ReplayLoop) else ())]
    assert need(made).networks == sum(tensor.nbytes for tensor in tensors)


def test_dqn_on_atari_by_hand() -> None:
    # A step: 84 x 84 pixels; age, action, task of 8 bytes each; reward and priority of 4; its end of 1. A thousand blocks have sums of 4.
    made = experiment({"benchmark": "atari:games=Pong", "agent": "dqn", "members": 5})
    assert need(made).store == 5 * (1_000_000 * (84 * 84 + 3 * 8 + 2 * 4 + 1) + 1000 * 4)


def test_a_short_run_takes_what_it_can_fill() -> None:
    # 40,000 steps in 8 environments: 5,000 rows, as many for last frames at checkpoints, and a stack. Priorities are for the whole.
    made = experiment({"benchmark": "atari:games=Pong,frames=160000", "agent": "dqn:num_envs=8", "members": 5})
    assert need(made).store == 5 * ((2 * 5000 + 4) * 8 * (84 * 84 + 3 * 8 + 4 + 1) + 1_000_000 * 4 + 1000 * 4)


def test_a_checkpoint_takes_what_is_said(tmp_path: Path) -> None:
    made = experiment(LABELS)
    run, _ = runner.run(made, Store(tmp_path, "sized"), Execution("cpu", eager=True))
    largest = max(path.joinpath("tensors.safetensors").stat().st_size for path in checkpoints(run.checkpoints))
    assert need(made).checkpoint == estimate.checkpoint_size(made) and abs(largest - need(made).checkpoint) < 20_000


def start(more: list[str], root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main([*WORDS, *more, "--runs", str(root / "runs")])
    return code, capsys.readouterr().err


def test_what_a_machine_cannot_hold_is_refused_with_what_would_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = need(experiment(CARTPOLE | {"checkpoint_every": 90, "chain": []}))
    monkeypatch.setattr(resources, "memory", lambda: Room(int(0.9 * size.memory), 0))
    code, said = start(DQN, tmp_path, capsys)
    assert code == 2 and said.count("\n") == 1 and not (tmp_path / "runs").exists()
    assert "of replay" in said and "for 2 members, and this machine has" in said and "--members 1 would fit" in said


def test_what_is_larger_than_what_is_free_is_begun_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "memory", lambda: Room(10**12, 1000))
    code, said = start(DQN, tmp_path, capsys)
    assert code == 0 and said.startswith("warning: none on CartPole needs ") and "are free on this machine" in said
    assert start(DQN, tmp_path, capsys) == (0, "")  # a finished run takes none


def test_a_smaller_replay_is_named_and_fits() -> None:
    made = experiment(CARTPOLE | {"agent": "dqn:replay=1000000"} | {"benchmark": "cartpole:tasks=2,frames=4000000"})
    size, room = need(made), 20_000_000
    with pytest.raises(UsageError, match=r"replay=\d+ or --members \d+ would fit|replay=\d+ would fit") as told:
        resources.refuse_memory([made], [size], room, "this machine has")
    fits = int(str(told.value).split("replay=")[1].split()[0])
    assert 100_000 < fits < 1_000_000
    smaller = need(experiment(CARTPOLE | {"agent": f"dqn:replay={fits}"} | {"benchmark": "cartpole:tasks=2,frames=4000000"}))
    assert 0.7 * room < smaller.memory <= 0.8 * room


def test_runs_that_are_trained_as_one_are_in_memory_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(f'[[experiments]]\nbenchmark = "random-labels:images=40,tasks=1,updates=10"\nseed = {seed}\n' for seed in range(3))
    (tmp_path / "three.toml").write_text(lines)
    one = need(experiment({"benchmark": "random-labels:images=40,tasks=1,updates=10"}))
    monkeypatch.setattr(resources, "memory", lambda: Room(2 * one.memory, 10**12))
    words = ["sweep", str(tmp_path / "three.toml"), "--runs", str(tmp_path / "runs"), "--eager"]
    assert main(words) == 2 and "--at-once says how many" in capsys.readouterr().err and not (tmp_path / "runs").exists()
    assert main([*words, "--at-once", "1"]) == 0
    monkeypatch.setattr(estimate, "calibrate", lambda *_: None)
    assert main([*words, "--dry-run", "--name", "other"]) == 0
    assert f"{3 * one.memory / 1e9:,.3f} GB of memory for what the largest holds" in capsys.readouterr().out


def test_disks_are_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made, store = experiment(LABELS), Store(tmp_path / "runs", "x")
    size = need(made).checkpoint
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: SimpleNamespace(free=size - 1))
    with pytest.raises(UsageError, match="a checkpoint takes up to"):
        resources.check_disk([made], store)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * size - 1))
    resources.check_disk([made], store)
    assert capsys.readouterr().err.startswith("warning: checkpoints take up to")
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * size))
    resources.check_disk([made], store)
    assert capsys.readouterr().err == ""
    kept = store.run(made.key).checkpoints / "000000000040"  # a resumed run replaces its own files
    kept.mkdir(parents=True)
    (kept / "tensors.safetensors").write_bytes(bytes(size))
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * size))
    resources.check_disk([made], store)
    assert capsys.readouterr().err == ""


def test_a_gpu_has_a_memory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "gpu", lambda: Room(1000, 1000))
    made, store = experiment(CARTPOLE), Store(tmp_path, "x")
    check([[made]], store, "cpu")
    with pytest.raises(UsageError, match=r"and the GPU has 0\.0 MB"):
        check([[made]], store, "cuda")


def test_nodes_of_a_cluster_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    made = experiment(CARTPOLE)
    node = {"Alive": True, "Resources": {"CPU": 4.0, "memory": 0.7 * need(made).memory, "object_store_memory": 0.4 * need(made).memory}}
    monkeypatch.setattr(sweep.ray, "nodes", lambda: [node])
    sweep._refuse_too_much([made], 1.0, 0.0)
    node["Resources"] |= {"object_store_memory": 0.2 * need(made).memory}
    with pytest.raises(UsageError, match="no node of the cluster has more than"):
        sweep._refuse_too_much([made], 1.0, 0.0)


@pytest.mark.parametrize(
    ("own", "file"),
    [("0::/a/b\n", "a/memory.max"), ("9:cpu,memory:/docker\n0::/\n", "memory/memory.limit_in_bytes"), ("0::/../x\n", "memory.max")],
)
def test_limits_of_control_groups_count(own: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").write_text(own)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("max\n")
    monkeypatch.setattr(resources, "CGROUPS", tmp_path)
    monkeypatch.setattr(resources, "OWN_CGROUP", tmp_path / "own")
    assert resources.memory().total > 10**8
    (tmp_path / file).write_text("123456\n")
    assert resources.memory() == Room(123456, 123456)


def test_memory_is_the_machines() -> None:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert resources.memory().total <= 1024 * sum(int(lines[name].split()[0]) for name in ("MemTotal", "SwapTotal"))
    assert Need(3, 4, 5).memory == 7
