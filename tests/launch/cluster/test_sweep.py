"""Sweeps on a real local Ray cluster: the same scores as here, despite any deaths."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launch.cluster import sweep as on_ray
from launch.config.parse import experiment
from launch.execution import Execution
from launch.run import runner
from launch.run.store import Store
from launch.signals import TWICE, Signals, Stopped
from launch.sweeps.demo import LABELS
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Tick
from tests.conftest import Begin

CHECKOUT = Path(__file__).resolve().parents[3]
CAPTURED: dict[str, Any] = {"cwd": CHECKOUT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
DEMO = """from launch.sweeps.demo import LABELS

EXPERIMENTS = [each | {"benchmark": "random-labels:tasks=2,updates=40", "diagnose_every": 60} for each in LABELS]
"""
TWO = """EXPERIMENTS = tuple(
    {
        "benchmark": "random-labels:tasks=3,updates=600",
        "network": "mlp:width=12,depth=2",
        "chain": chain,
        "members": 2,
        "checkpoint_every": 200,
        "diagnose_every": 300,
    }
    for chain in ([], ["redo:every=100"])
)
"""


def command(folder: Path, sweep: str, *more: str) -> list[str]:
    file = folder / "small.py"
    file.write_text(sweep)
    return [sys.executable, "-m", "launch", "sweep", str(file), "--runs", str(folder / "runs"), "--eager", *more]


def scores(folder: Path) -> dict[str, bytes]:
    found = {path.parent.name: path.read_bytes() for path in (folder / "runs").glob("small/*/scores.csv")}
    assert found and all((folder / "runs" / "small" / key / "DONE").exists() for key in found)
    return found


def wait_for(what: Callable[[], list[int]], seconds: float = 90) -> list[int]:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "nothing came"
        time.sleep(0.05)
    return found


def workers(session: int) -> list[int]:
    """The processes of a session that carry out runs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::_train" in (entry / "cmdline").read_bytes() and session in ancestors(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def ancestors(process: int) -> list[int]:
    found = []
    while process > 1:
        process = int((Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[1])
        found.append(process)
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """The scores of the same sweep in one process."""
    known: dict[str, dict[str, bytes]] = {}

    def run(sweep: str) -> dict[str, bytes]:
        if sweep not in known:
            folder = tmp_path_factory.mktemp("here")
            subprocess.run(command(folder, sweep), cwd=CHECKOUT, check=True, capture_output=True)
            known[sweep] = scores(folder)
        return known[sweep]

    return run


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.timeout(280)
@pytest.mark.ray
class TestSweeps:
    def test_scores_of_the_demo_are_those_of_one_process(self, tmp_path: Path, here: Callable[[str], dict[str, bytes]]) -> None:
        """The demo's supervised runs, shortened; and a second copy."""
        done = subprocess.run(
            command(tmp_path, DEMO, "--on", "ray", "--mirror", str(tmp_path / "bucket")), cwd=CHECKOUT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert scores(tmp_path) == here(DEMO) and len(scores(tmp_path)) == len(LABELS) == 7
        assert done.stdout.count(": done") == 7
        assert {path.parent.name: path.read_bytes() for path in tmp_path.glob("bucket/small/*/scores.csv")} == scores(tmp_path)
        again = subprocess.run(command(tmp_path, DEMO, "--on", "ray"), cwd=CHECKOUT, capture_output=True, text=True)
        assert again.returncode == 0 and again.stdout.count(": skipped") == 7

    def test_a_killed_worker_costs_no_more_than_the_way_from_its_last_checkpoint(self, tmp_path: Path, here, begin: Begin) -> None:
        sweep = begin(command(tmp_path, TWO, "--on", "ray"), **CAPTURED)
        wait_for(lambda: [int(path.name) for path in (tmp_path / "runs").glob("small/*/checkpoints/0*")])
        for process in wait_for(lambda: workers(sweep.pid)):
            os.kill(process, signal.SIGKILL)
        said, _ = sweep.communicate(timeout=200)
        assert sweep.returncode == 0, said
        assert "lost its worker" in said and scores(tmp_path) == here(TWO)

    def test_a_killed_driver_loses_nothing_that_was_written(self, tmp_path: Path, here, begin: Begin) -> None:
        sweep = begin(command(tmp_path, TWO, "--on", "ray"), **CAPTURED)
        wait_for(lambda: [int(path.name) for path in (tmp_path / "runs").glob("small/*/checkpoints/0*")])
        os.kill(sweep.pid, signal.SIGKILL)
        sweep.communicate(timeout=60)
        done = subprocess.run(command(tmp_path, TWO, "--on", "ray"), cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert scores(tmp_path) == here(TWO)

    def test_a_stopped_sweep_goes_on_by_the_same_command(self, tmp_path: Path, here, begin: Begin) -> None:
        sweep = begin(command(tmp_path, TWO, "--on", "ray"), **CAPTURED)
        wait_for(lambda: [int(path.name) for path in (tmp_path / "runs").glob("small/*/checkpoints/0*")])
        os.kill(sweep.pid, signal.SIGINT)
        said, _ = sweep.communicate(timeout=60)
        assert sweep.returncode == 130 and "the same command goes on" in said, said
        assert not workers(sweep.pid)
        subprocess.run(command(tmp_path, TWO), cwd=CHECKOUT, check=True, capture_output=True)  # here, from the cluster's runs
        assert scores(tmp_path) == here(TWO)

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (("--cpus", "4000"), "a run would take 4000 CPUs, and no node of the cluster has more than"),
            (("--cpus", "0"), "cpus must lie in"),
            (("--address", "127.0.0.1:1"), "no Ray cluster answers at 127.0.0.1:1"),
        ],
    )
    def test_what_cannot_be_is_refused_and_nothing_is_written(self, tmp_path: Path, more: tuple[str, ...], said: str) -> None:
        done = subprocess.run(command(tmp_path, TWO, "--on", "ray", *more), cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert not (tmp_path / "runs").exists()


def test_of_nodes_that_are_lost_nothing_is_had(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [(True, {"CPU": 4.0, "GPU": 1.0}), (True, {"CPU": 2.0}), (False, {"CPU": 64.0, "GPU": 8.0})]
    monkeypatch.setattr(on_ray.ray, "nodes", lambda: [{"Alive": alive, "Resources": has} for alive, has in nodes])
    on_ray._refuse_too_much([], 4.0, 1.0)
    with pytest.raises(UsageError, match="a run would take 5 CPUs, and no node of the cluster has more than 4"):
        on_ray._refuse_too_much([], 5.0, 0.0)
    with pytest.raises(UsageError, match="a run would take 2 GPUs, and no node of the cluster has more than 1"):
        on_ray._refuse_too_much([], 1.0, 2.0)


def test_a_second_signal_tells_the_threads_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second raises before the first is handled; threads unaware of both would be awaited until their runs end."""
    told = []

    def busy(*arguments: Any) -> None:
        told.append(arguments[3]._stopping.wait(20))
        raise on_ray.Stopping

    def twice(_: float) -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(on_ray, "connect", lambda _: None)
    monkeypatch.setattr(on_ray, "_refuse_too_much", lambda *_: None)
    monkeypatch.setattr(runner, "run", busy)
    monkeypatch.setattr(on_ray, "time", SimpleNamespace(sleep=twice, monotonic=time.monotonic))
    with pytest.raises(Stopped, match="at once"):
        on_ray.run_sweep([experiment({"seed": seed}) for seed in (0, 1)], Store(tmp_path, "stopped"), Execution("cpu", eager=True))
    assert told == [True, True]


def test_a_signal_that_comes_twice_at_once_is_one() -> None:
    """As timeout(1) sends it, to the process and to its group; another, or the same later, acts at once."""
    with Signals() as signals:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert signals.caught == signal.SIGTERM
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGINT)
    with Signals() as signals, pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)
        signals._when -= TWICE
        signal.raise_signal(signal.SIGTERM)


def test_what_trains_is_closed_where_a_run_is_stopped(tmp_path: Path) -> None:
    """At the interpreter's exit, remote actors would be ended after Ray is gone."""
    made, kept, closed = experiment({"seed": 0}), [], []

    def training() -> Iterator[Any]:
        try:
            signal.raise_signal(signal.SIGTERM)
            yield Tick(0, 0, 0, 0, 1, 1)
        finally:
            closed.append(True)

    def train(*_: Any) -> tuple[dict[str, Any], Iterator[Any]]:
        kept.append(training())
        return {}, kept[0]

    with pytest.raises(Stopped):
        runner.run(made, Store(tmp_path, "stopped"), Execution("cpu"), train=train)
    assert closed == [True]
