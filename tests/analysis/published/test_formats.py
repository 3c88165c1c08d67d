"""Other programs' score files: each format is read in full, and missing facts are asked for in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.published import sources
from analysis.published.scores import PublishedScores
from analysis.published.sources import KINDS, read_published
from analysis.report.page import Report, write_report
from launch.__main__ import main
from plasticity_rl.checks import UsageError
from tests.fake_runs import atari, games


def points(agent: str, *runs: list[float], game: str = "") -> list[dict[str, object]]:
    more = {"Game": game} if game else {}
    return [{"Iteration": at, "Value": value, "Agent": agent} | more for run in runs for at, value in enumerate(run)]


def refused(*texts: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_published(texts)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_dopamine_has_a_file_for_each_game_or_one_for_all(tmp_path: Path) -> None:
    (tmp_path / "pong.json").write_text(json.dumps(points("DQN", [0, 2, 4], [1, 3, 5]) + points("Rainbow", [7, 8, 9]), indent=1))
    (tmp_path / "alien.json").write_text(json.dumps(points("DQN", [10, 20, 30])))
    (tmp_path / "pong.vg.json").write_text('{"mark": "line"}')
    found = read_published([f"dopamine:{tmp_path},last=2"])
    measure = "mean of the last 2 iterations"
    dqn = PublishedScores("Dopamine", "DQN", measure, {"alien": (25.0,), "pong": (3.0, 4.0)})
    assert found == (dqn, PublishedScores("Dopamine", "Rainbow", measure, {"pong": (8.5,)}))
    (tmp_path / "all.json").write_text(json.dumps(points("DQN", [0, 2], game="Pong") + points("DQN", [4, 8], game="Alien")))
    (all_games,) = read_published([f"dopamine:{tmp_path}/all.json,last=0,source=Mine, 2026"])
    assert all_games == PublishedScores("Mine, 2026", "DQN", "mean of all iterations", {"Pong": (1.0,), "Alien": (6.0,)})
    (early,) = read_published([f"dopamine:{tmp_path}/alien.json,task=Alien,last=2,until=1"])
    assert early == PublishedScores("Dopamine", "DQN", "mean of the last 2 iterations up to 1", {"Alien": (15.0,)})


def test_dopamine_that_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pong.json"
    file.write_text(json.dumps(points("DQN", [0, 2, 4], [1, 3])))
    assert "DQN on pong: runs end at iterations 1, 2; until=1 takes all up to the same one" in refused(f"dopamine:{file},last=1")
    assert "2 values, fewer than last=5; last=0 takes the mean of all" in refused(f"dopamine:{file},until=1")
    file.write_text(json.dumps([*points("DQN", [0, 2, 4]), {"Iteration": 1, "Value": 2, "Agent": "DQN"}]))
    assert "runs cannot be told apart" in refused(f"dopamine:{file}")
    for text in ("{}", "[1]", "no JSON", '[{"Iteration": 0, "Value": 1}]', '[{"Iteration": 0, "Value": "x", "Agent": "DQN"}]', '{"a": 1}'):
        file.write_text(text)
        assert "holds no score" in (said := refused(f"dopamine:{file}")) or "is not Dopamine's JSON" in said
    file.write_text(json.dumps(points("DQN", [float("nan")])))
    assert "the score of run 0 of DQN on pong is nan" in refused(f"dopamine:{file},last=1")
    (tmp_path / "empty").mkdir()
    assert "no .json file" in refused(f"dopamine:{tmp_path / 'empty'}")


def test_rliable_has_arrays_of_runs_and_tasks(tmp_path: Path) -> None:
    file = tmp_path / "atari.npz"
    np.savez(file, tasks=["Pong", "Alien"], DQN=np.array([[1.0, 2.0], [3.0, 4.0]]), IQN=np.array([[5, 6]]))
    dqn, iqn = read_published([f"rliable:{file},scale=human-normalised,measure=at 200M frames"])
    assert dqn == PublishedScores("rliable", "DQN", "at 200M frames", {"Pong": (1.0, 3.0), "Alien": (2.0, 4.0)}, normalised=True)
    assert iqn.label == "IQN" and iqn.scores == {"Pong": (5.0,), "Alien": (6.0,)}
    np.save(tmp_path / "one.npy", np.array([[1.0, 2.0]]))
    (one,) = read_published([f"rliable:{tmp_path}/one.npy,scale=raw,tasks=Pong+Alien,label=Mine"])
    assert one == PublishedScores("rliable", "Mine", "measure not said", {"Pong": (1.0,), "Alien": (2.0,)})


def test_rliable_asks_for_what_arrays_do_not_say(tmp_path: Path) -> None:
    file, pickled, text = tmp_path / "one.npy", tmp_path / "pickled.npy", tmp_path / "text.npy"
    np.save(file, np.array([[1.0, 2.0]]))
    np.save(pickled, np.array({"DQN": {"Pong": [1.0]}}, dtype=object), allow_pickle=True)
    text.write_text("1,2")
    assert "lacks scale=raw|human-normalised" in refused(f"rliable:{file}")
    assert "does not name its tasks: add tasks=A+B+C" in refused(f"rliable:{file},scale=raw")
    assert "does not name its agent: add label=NAME" in refused(f"rliable:{file},scale=raw,tasks=Pong+Alien")
    assert "has 2 columns, for 1 task" in refused(f"rliable:{file},scale=raw,tasks=Pong,label=Mine")
    assert "holds Python objects" in refused(f"rliable:{pickled},scale=raw,tasks=Pong,label=Mine")
    assert "is neither an .npz nor an .npy file" in refused(f"rliable:{text},scale=raw")
    np.savez(tmp_path / "curves.npz", DQN=np.zeros((5, 2, 10)))
    assert "its shape is (5, 2, 10)" in refused(f"rliable:{tmp_path}/curves.npz,scale=raw,tasks=Pong+Alien")
    np.savez(tmp_path / "pickled.npz", DQN=np.array([None]))
    assert "holds Python objects" in refused(f"rliable:{tmp_path}/pickled.npz,scale=raw,tasks=Pong+Alien")


def monitor(path: Path, start: float, *episodes: tuple[float, int, float], env: str | None = "PongNoFrameskip-v4") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"#{json.dumps({'t_start': start, 'env_id': env})}", "r,l,t", *(f"{r},{l},{t}" for r, l, t in episodes)]
    path.write_text("\n".join(lines) + "\n")


def test_monitors_are_episodes_of_runs(tmp_path: Path) -> None:
    monitor(tmp_path / "a" / "0.monitor.csv", 100.0, (-21.0, 800, 10.0), (-19.0, 900, 30.0))
    monitor(tmp_path / "a" / "1.monitor.csv", 95.0, (-20.0, 700, 20.0))  # ends at 115, between the others
    monitor(tmp_path / "b" / "monitor.csv", 100.0, (1.0, 10, 1.0), (3.0, 10, 2.0))
    (ppo,) = read_published([f"monitor:{tmp_path},label=PPO,last=2"])
    assert ppo == PublishedScores("Stable-Baselines3", "PPO", "mean of the last 2 episodes", {"Pong": (-19.5, 2.0)})
    (early,) = read_published([f"monitor:{tmp_path}/a,label=PPO,last=0,until=1500"])
    assert early.measure == "mean of all episodes up to 1,500 steps" and early.scores == {"Pong": (-20.5,)}  # 800 + 700 steps
    one, two = (f"monitor:{tmp_path}/a/{number}.monitor.csv,label=PPO,last=1" for number in range(2))
    assert read_published([one, two])[0].scores == {"Pong": (-19.0, -20.0)}
    assert "appears twice" in refused(one, one)
    assert "lacks label=NAME" in refused(f"monitor:{tmp_path}")
    assert "2 values, fewer than last=100" in refused(f"monitor:{tmp_path}/b,label=PPO")


@pytest.mark.parametrize(("env", "task"), [("ALE/BankHeist-v5", "BankHeist"), ("CartPole-v1", "CartPole"), ("my game", "my game")])
def test_a_monitor_names_its_environment(tmp_path: Path, env: str, task: str) -> None:
    monitor(tmp_path / "monitor.csv", 0.0, (1.0, 1, 1.0), env=env)
    assert list(read_published([f"monitor:{tmp_path},label=A,last=1"])[0].scores) == [task]


def test_what_is_no_monitor_is_refused(tmp_path: Path) -> None:
    monitor(tmp_path / "monitor.csv", 0.0, (1.0, 1, 1.0), env=None)
    assert "does not name its environment: add task=TASK" in refused(f"monitor:{tmp_path},label=A")
    monitor(tmp_path / "1.monitor.csv", 0.0, (1.0, 1, 1.0))
    monitor(tmp_path / "2.monitor.csv", 0.0, (1.0, 1, 1.0), env="Alien-v4")
    assert "of several environments: Alien, Pong" in refused(f"monitor:{tmp_path},label=A")
    file = tmp_path / "x.csv"
    file.write_text("r,l,t\n1,2,3\n")
    assert "its first line should be #" in refused(f"monitor:{file},label=A,task=Pong")
    file.write_text('#{"t_start": 1}\nr,l,t\n1,much,3\n')
    assert "row 3: r, l and t must be numbers" in refused(f"monitor:{file},label=A,task=Pong")
    file.write_text('#{"t_start": 1}\nr,l\n1,2\n')
    assert "it lacks t" in refused(f"monitor:{file},label=A,task=Pong")


CHART = """"Step","dqn - 1 - eval/return","dqn - 1 - eval/return__MIN","dqn - 1 - eval/return__MAX","ppo - eval/return"
"0","1","1","1",""
"100","","","","7"
"200","3","3","3","9"
"""


def test_a_chart_of_weights_and_biases_has_a_column_for_each_run(tmp_path: Path) -> None:
    file = tmp_path / "chart.csv"
    file.write_text(CHART)
    measure = "eval/return, mean of the last 2 values"
    assert read_published([f"wandb:{file},task=Pong,last=2"]) == (
        PublishedScores("Weights & Biases", "dqn - 1", measure, {"Pong": (2.0,)}),
        PublishedScores("Weights & Biases", "ppo", measure, {"Pong": (8.0,)}),
    )
    (both,) = read_published([f"wandb:{file},task=Pong,last=1,until=100,label=All"])
    assert both == PublishedScores("Weights & Biases", "All", "eval/return, the last value up to 100 of Step", {"Pong": (1.0, 7.0)})
    assert "lacks task=NAME" in refused(f"wandb:{file}")
    assert "unknown metric 'eval/retrun'; did you mean eval/return?" in refused(f"wandb:{file},task=Pong,metric=eval/retrun")
    file.write_text(CHART.replace("ppo - eval/return", "ppo - loss"))
    assert "metric=NAME chooses one of eval/return, loss" in refused(f"wandb:{file},task=Pong")
    file.write_text('"Name","State"\n"a","finished"\n')
    assert "is not the export of a chart" in refused(f"wandb:{file},task=Pong")
    file.write_text(CHART.replace('"9"', '"much"'))
    assert "row 4: Step and ppo - eval/return must be numbers" in refused(f"wandb:{file},task=Pong,last=1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dopamin:a.json", "unknown kind of scores 'dopamin'; did you mean dopamine?"),
        ("dopamine:a.json,tsk=Pong", "dopamine has no setting 'tsk'; did you mean task?"),
        ("dopamine:a.json,last=some", "dopamine: last must be a whole number from 0 on, not 'some'"),
        ("dopamine:a.json,last=1,last=2", "last is set twice"),
        ("monitor:a,label=", "monitor: label is empty"),
        ("rliable:a.npz,scale=row", "did you mean raw?"),
        ("dopamine:", "lacks a path"),
        ("dopamine:nowhere.x", "cannot read nowhere.x"),
        ("rliable:nowhere.x,scale=raw", "cannot read nowhere.x"),
        ("monitor:nowhere.x,label=A,task=Pong", "cannot read nowhere.x"),
        ("wandb:nowhere.x,task=Pong", "cannot read nowhere.x"),
        ("nowhere.x", "cannot read nowhere.x"),
    ],
)
def test_words_of_sources_are_held_to_what_there_is(text: str, said: str) -> None:
    assert said in refused(text)


def test_every_kind_of_source_is_one_file_that_help_and_documentation_name(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(sources.__file__).parent
    assert set(KINDS) == {path.stem for path in folder.glob("*.py")} - {"__init__", "scores", "sources", "table"}
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    page = (folder.parents[1] / "docs" / "report.md").read_text()
    shown = capsys.readouterr().out
    assert all(f"{kind}:PATH" in shown and f"`{kind}:" in page for kind in KINDS)


def test_the_options_earlier_name_is_answered_with_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "runs", "--theirs", "a.csv"]) == 2
    assert "did you mean --published?" in capsys.readouterr().err


def written(tmp_path: Path, *texts: str) -> Report:
    return write_report([tmp_path / "runs"], tmp_path / "out", texts)


def rows(path: Path, *scores: tuple[str, float]) -> str:
    lines = ["source,label,measure,task,run,score", *(f"Zoo,DQN,at the end,{task},0,{score}" for task, score in scores)]
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.usefixtures("undrawn")
def test_tasks_that_are_none_are_named_with_the_nearest(tmp_path: Path) -> None:
    references = {task: {"random": 0.0, "human": 10.0} for task in ("Pong", "BankHeist")}
    games(tmp_path / "runs", "none", [[1, 2], [2, 3]], ["Pong", "BankHeist"], references=references)
    made = written(tmp_path, rows(tmp_path / "a.csv", ("pONG", 5), ("bank_heist", 5), ("Chess", 1), ("Go", 1)))
    assert made.parts[0].missing[:2] == (
        "published (Zoo): bank_heist is no task of the runs; did you mean BankHeist?",
        "published (Zoo): no task of the runs: Chess, Go; one of: BankHeist",
    )
    (scores,) = (table for table in made.parts[0].tables if table.title.startswith("Aggregates: scores over"))
    assert {line.label: line.mark for line in scores.lines} == {"none": "", "DQN": "published"}  # pONG is Pong
    assert scores.lines[1].cells[0].note == "no score of BankHeist"
    assert "bank_heist is no task" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_scores_that_stand_in_no_part_are_named_with_the_reason(tmp_path: Path) -> None:
    games(tmp_path / "runs", "none", [[1, 2], [2, 3]], ["Pong", "BankHeist"])
    made = written(tmp_path, rows(tmp_path / "a.csv", ("Pong", 5), ("BankHeist", 5)))
    reason = "tasks share no scale: no reference scores"
    assert made.parts[0].missing[0] == f"published: DQN's scores of BankHeist, Pong are not shown: {reason}"


@pytest.mark.usefixtures("undrawn")
def test_a_setting_of_one_visit_has_a_table_for_them(tmp_path: Path) -> None:
    games(tmp_path / "runs", "none", [[1], [2]], ["Pong"])
    made = written(tmp_path, rows(tmp_path / "a.csv", ("Pong", 5)))
    (scores,) = (table for table in made.parts[0].tables if table.title == "Aggregates: scores over 1 visit")
    assert [line.mark for line in scores.lines] == ["", "published"] and scores.lines[1].cells[0].value == "5.000"
    assert not any("published" in line for line in made.parts[0].missing)


@pytest.mark.usefixtures("undrawn")
def test_human_normalised_scores_stay_as_they_are(tmp_path: Path) -> None:
    atari(tmp_path / "runs", {"none": np.full((2, 1), 0.1)}, 2)
    np.savez(tmp_path / "a.npz", games=["Game00", "Game01"], DQN=[[0.5, 1.5]])
    made = written(tmp_path, f"rliable:{tmp_path}/a.npz,scale=human-normalised")
    (line,) = (line for line in made.parts[0].tables[0].lines if line.label == "DQN")
    headings = [heading.title for heading in made.parts[0].tables[0].headings[1:]]
    assert line.cells[headings.index("Mean")].value == "1.000"
    games(tmp_path / "raw" / "runs", "none", [[1], [2]], ["Game00"])
    made = written(tmp_path / "raw", f"rliable:{tmp_path}/a.npz,scale=human-normalised")
    assert "published: DQN's scores of Game00 are not shown: they are human-normalised, and ours are not (return)" in made.parts[0].missing
