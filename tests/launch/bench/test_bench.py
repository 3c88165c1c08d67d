"""Alternating windows, on programs of known speed; and the table, on speeds divided by hand."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from rich.console import Console

from launch.__main__ import main
from launch.bench import interventions
from launch.bench.peers import competitors, environments, ours, rllib, sample_factory, stable_baselines3
from launch.bench.peers.competitors import COMPETITORS, WARM, Entry
from launch.bench.peers.train import Row, table
from launch.bench.peers.windows import Contender, Failed, Measured, Start, speed, take_turns
from launch.config import parse
from plasticity_rl import processor
from tests.conftest import Begin

ROOT = Path(__file__).parents[3]
# Counts its seconds awake, and reports after every so many steps, at so many steps a second awake.
STEADY = """
import sys, time
rate, every = map(float, sys.argv[1:])
awake, steps = 0.0, 0.0
while True:
    time.sleep(0.002)
    awake += 0.002
    while awake * rate >= steps + every:
        steps += every
        print(f"noise steps {int(steps)} at {time.monotonic()}", "and more noise", sep="\\n", flush=True)
"""
DYING = (
    "import sys, time; print(f'steps 10 at {time.monotonic()}', flush=True); time.sleep(0.1); sys.exit('no \\x1b[31mluck\\x1b[0m\\n\\n')"
)
SILENT = "import sys, time; print('nothing is known yet', file=sys.stderr, flush=True); time.sleep(100)"
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1], *sys.argv[2:]]); time.sleep(100)"


def program(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def start(name: str, *command: object, warm: int = 1) -> Start:
    return Start(name, program(*command), os.environ, warm)  # type: ignore[arg-type]


def of_session(leader: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(leader)], capture_output=True, text=True).stdout.split("\n")
    return [int(line.split()[0]) for line in listed if line and "Z" not in line.split()[1]]


def silent(text: str, more: str) -> None:
    """No output."""


@pytest.mark.process
def test_a_window_goes_from_report_to_report_and_knows_no_pauses(tmp_path: Path) -> None:
    began = time.monotonic()
    contender = Contender(program(STEADY, 1000, 200), tmp_path, os.environ)
    try:
        before = contender.run_until(steps=200)
        time.sleep(0.5)
        assert contender.last == before
        measured, after = speed(contender, 0.3), contender.last
        assert after.steps % 200 == 0 and after.ran >= before.ran + 0.3
        assert measured == (after.steps - before.steps) / (after.ran - before.ran)
        assert 0 < measured <= 1000 and after.steps <= 1000 * after.ran
        assert after.ran < time.monotonic() - began - 0.5
        assert contender.memory > 1e6
    finally:
        contender.stop()


def test_who_reports_rarely_is_as_fast_as_who_reports_often() -> None:
    often, rarely = take_turns([start("often", STEADY, 2000, 20), start("rarely", STEADY, 2000, 800)], 0.2, 2, silent)
    assert len(often.speeds) == len(rarely.speeds) == 2 and not often.failure + rarely.failure
    assert max(rarely.speeds) == pytest.approx(max(often.speeds), rel=0.5)  # a window of 0.2 s holds half a cycle of the rare one


def test_rounds_go_round() -> None:
    told = []
    take_turns([start("a", STEADY, 5000, 10), start("b", STEADY, 5000, 10)], 0.05, 2, lambda text, more: told.append((text, more)))
    assert told == [
        ("a warms up", ""),
        ("b warms up", ""),
        ("window 1 of 2", "a"),
        ("window 1 of 2", "b"),
        ("window 2 of 2", "a"),
        ("window 2 of 2", "b"),
    ]


@pytest.mark.process
def test_nobody_runs_while_another_does(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    one, other = (Contender(program(STEADY, 1000, 10), folder, os.environ) for folder in folders)
    try:
        other.run_until(steps=10)
        before, began = one.run_until(steps=10), time.monotonic()
        other.run_until(ran=other.last.ran + 0.3)
        after = one.run_until(steps=before.steps + 1)
        assert after.ran - before.ran < time.monotonic() - began - 0.15  # half of the other's time: reports differ in their moments
        assert after.steps - before.steps <= 1000 * (after.ran - before.ran) + 1
    finally:
        one.stop()
        other.stop()


def test_the_dead_are_shown_with_their_last_words_and_the_others_go_on() -> None:
    dying, steady = take_turns([start("dying", DYING), start("steady", STEADY, 5000, 10)], 0.2, 2, silent)
    assert dying.failure == "no luck" and dying.speeds == []
    assert len(steady.speeds) == 2 and not steady.failure
    (never,) = take_turns([start("never", "raise ValueError('at once')")], 0.2, 1, silent)
    assert never.failure == "ValueError: at once"


@pytest.mark.process
def test_the_silent_are_given_up(tmp_path: Path) -> None:
    contender = Contender(program(SILENT), tmp_path, os.environ)
    try:
        with pytest.raises(Failed, match="no report within 1 s; nothing is known yet"):
            contender.run_until(steps=1, patience=1.0)
    finally:
        contender.stop()


@pytest.mark.process
def test_children_of_children_are_paused_and_ended_too(tmp_path: Path) -> None:
    contender = Contender(program(PARENT, STEADY, 1000, 10), tmp_path, os.environ)
    leader = contender._process.pid
    contender.run_until(steps=10)
    family = of_session(leader)
    states = {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in family}
    assert len(family) == 2 and states == {"T"}
    contender.stop()
    assert not of_session(leader)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.process
def test_nothing_is_left_when_the_bench_is_stopped(number: int, code: int, tmp_path: Path, begin: Begin) -> None:
    (tmp_path / "steady.py").write_text(STEADY)
    stopped = f"""
import os, signal, sys
signal.signal({number}, signal.SIG_IGN)  # as a shell's background job may find it
from launch import __main__
from launch.bench.peers.windows import Start, take_turns
def measure():
    start = Start("a", [sys.executable, {str(tmp_path / "steady.py")!r}, "1000", "10"], os.environ | {{"TMPDIR": "/tmp"}}, 1)
    take_turns([start, start], 0.1, 10_000, lambda *said: print(*said, flush=True))
__main__._call = lambda words: measure()
sys.exit(__main__.main(["bench"]))
"""
    bench = begin(program(stopped), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert bench.stdout
    while not bench.stdout.readline().startswith("window 2"):
        assert bench.poll() is None
    begun = ["pgrep", "-f", f"^{sys.executable} {tmp_path / 'steady.py'}"]
    assert len(subprocess.run(begun, capture_output=True, text=True).stdout.split()) == 2
    os.kill(bench.pid, number)
    _, complaint = bench.communicate(timeout=20)
    assert bench.returncode == code and complaint == "error: stopped\n"
    assert not subprocess.run(begun, capture_output=True, text=True).stdout


def test_the_table_divides_by_the_best_peer_and_by_the_ceiling() -> None:
    def row(who: ModuleType, speeds: list[float], num_envs: int = 0, ceiling: bool = False, failure: str = "") -> Row:
        detail = "1 member" if num_envs and not ceiling else ""
        entry = Entry("dqn", who, ("x",), detail, num_envs, ceiling)
        return Row(entry, "1.0", Measured(speeds, 2_000_000, failure))

    rows = [
        row(ours, [300.0, 100.0, 200.0], 8),
        row(stable_baselines3, [100.0, 100.0, 130.0]),
        row(rllib, [40.0, 60.0, 50.0]),
        row(sample_factory, [999.0], failure="no [luck]"),
        row(ours, [1000.0, 800.0, 900.0], 8, ceiling=True),
        row(ours, [4000.0], 40, ceiling=True),
    ]
    console = Console(width=80, highlight=False)
    with console.capture() as captured:
        console.print(table(rows, "dqn"))
    assert [" ".join(line.split()) for line in captured.get().splitlines()[2:]] == [
        "SPS x peer ceiling MB",
        "plasticity-rl 1.0, 1 member 200 [100-300] 2.00 22% 2",
        "Stable-Baselines3 1.0 100 [100-130] 1.00 2",
        "RLlib 1.0 50 [40-60] 0.50 2",
        "Sample Factory 1.0 failed 2",
        "EnvPool 1.0 900 [800-1,000] 2",
        "EnvPool 1.0 4,000 [4,000-4,000] 2",
    ]


def test_what_this_machine_multiplies_slowly_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    try:
        for flags in ("avx2 avx512f", "avx2 avx512f avx512_bf16"):
            monkeypatch.setattr(processor, "cpu_info", lambda flags=flags: {"model name": "A processor", "flags": flags})
            monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
            found[flags] = [
                entry.detail for entry in importlib.reload(competitors).COMPETITORS if entry.agent == "dqn" and entry.who is ours
            ]
    finally:
        monkeypatch.undo()
        importlib.reload(competitors)
    emulator = ["8 environments", "40 environments"]
    assert found["avx2 avx512f"] == ["1 member, float32", "5 members, float32", *emulator]
    assert found["avx2 avx512f avx512_bf16"] == ["1 member, bfloat16", "1 member, float32", "5 members, bfloat16", *emulator]


def test_our_settings_are_valid_and_every_agent_has_a_ceiling() -> None:
    assert {entry.agent for entry in COMPETITORS} == set(WARM)
    for entry in COMPETITORS:
        if entry.who is ours:
            assert any(each.ceiling and (each.agent, each.num_envs) == (entry.agent, entry.num_envs) for each in COMPETITORS)
        if entry.who is ours and not entry.ceiling:
            experiment = parse.experiment(json.loads(entry.arguments[2]))
            assert experiment.agent.num_envs * experiment.members == entry.num_envs
            assert int(entry.arguments[1]) % experiment.agent.num_envs == 0  # reports come after whole steps of the pool


def test_an_environment_is_whole_or_made_again_and_nothing_else_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def call(command: list[str], say: object) -> None:
        made.append(command)
        if command[2] == "venv":
            (tmp_path / "peer").mkdir()
            (tmp_path / "peer" / "pyvenv.cfg").touch()
        elif "broken==1" in command:
            raise Failed("cannot be installed: no such thing")

    monkeypatch.setattr(environments, "_call", call)
    with pytest.raises(Failed):
        environments.python_with(["broken==1"], tmp_path / "peer", lambda line: None)
    assert environments.python_with(["whole==1"], tmp_path / "peer", lambda line: None) == tmp_path / "peer" / "bin" / "python"
    assert [command[2] for command in made] == ["venv", "pip"] * 2
    environments.python_with(["whole==1"], tmp_path / "peer", lambda line: None)
    assert len(made) == 4
    environments.python_with(["whole==2"], tmp_path / "peer", lambda line: None)
    assert len(made) == 6
    (tmp_path / "mine").mkdir()
    assert main(["bench", "train", "--peers", str(tmp_path / "mine" / ".."), "--agents", "dqn", "--cleanrl", str(tmp_path)]) == 2
    with pytest.raises(ValueError, match="is not a virtual environment"):
        environments.python_with(["whole==1"], tmp_path / "mine", lambda line: None)
    assert (tmp_path / "mine").is_dir()


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (["train", "--seconds", "0"], "seconds must lie in (0, 3600), not 0"),
        (["train", "--rounds", "0"], "rounds must lie in [1, 1000], not 0"),
        (["train", "--agents", "dqn", "dqn"], "agents must name at least one, each once"),
        (["train", "--agents", "dqm"], "dqm"),
        (["train", "--cleanrl", "nowhere"], "is not a checkout of CleanRL"),
        (["update", "--rounds", "3"], "unknown option '--rounds'"),
        (["trian"], "did you mean train?"),
    ],
)
def test_mistakes_are_told_in_one_line(said: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *said]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1 and complaint in captured.err and captured.out == ""


def test_the_cost_of_diagnostics_is_told_for_each_network(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from launch.bench import metrics

    seen: list[tuple[str, int]] = []

    def times(network: str, members: int, seconds: float) -> tuple[float, float, int]:
        seen.append((network, members))
        return 0.002, 0.05, 41

    monkeypatch.setattr(metrics, "_times", times)
    assert main(["bench", "metrics", "--seconds", "0.1"]) == 0
    said = capsys.readouterr().out
    assert seen == [("mlp", 1), ("mlp", 5), ("nature", 1), ("nature", 5)]
    assert said.count("1.2%") == said.count("2.00") // 2 == 2 and said.count("2.5%") == 2  # 50 ms over 2,000 x 2 ms, and over 1,000 x 2 ms


def test_minatars_games_are_timed_beside_the_original(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from launch.bench import minatar

    speeds = iter([30.0, 10.0, 80.0, 20.0] * 5)
    played: list[int] = []

    def timed(way: Callable[[], int], seconds: float) -> float:
        played.append(way())
        return next(speeds)

    monkeypatch.setattr(minatar, "ROUNDS", 2)
    monkeypatch.setattr(minatar, "_steps_per_second", timed)
    assert main(["bench", "minatar", "--environments", "4"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "[" in line]
    assert played == [4, 100] * 10
    assert rows == [[game, "4", "55", "15", "3.5", "[3.0-4.0]"] for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")]
    monkeypatch.setitem(sys.modules, "minatar", None)
    assert main(["bench", "minatar"]) == 2


def test_the_time_of_an_update_and_of_its_rows_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from launch.bench import metrics

    monkeypatch.setattr(metrics, "Update", lambda network, members, chain: interventions.Update(network, members, chain, compile=False))
    update, rows, count = metrics._times("mlp", 2, 0.05)
    assert 0 < update < 1 and 0 < rows < 5 and count == 2 * 110


@pytest.mark.parametrize("more", [("--actors", "0"), ("--receivers", "5000"), ("--seconds", "0")])
def test_what_no_path_can_be_measured_with_is_refused(more: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "path", *more]) == 2
    assert more[0].strip("-") in capsys.readouterr().err
