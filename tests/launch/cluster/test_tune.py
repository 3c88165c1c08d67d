"""Searches: samples, stopped runs, files left behind; and one on a real local Ray cluster."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from launch.cluster import tune
from plasticity_rl.checks import UsageError
from plasticity_rl.records.events import Score, Tick
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.records.spec import Spec
from plasticity_rl.records.tables import read_rows

CHECKOUT = Path(__file__).resolve().parents[3]
SAID = 'benchmark = "random-labels:images=60,tasks=2,updates=60"\nnetwork = "mlp:width=12,depth=2"\nmembers = 2\n'
SPEC = Spec("k", "s", "B", "none", False, "updates", "f", 2, 0, [{"budget": 100}, {"budget": 100}], {}, {})


def search(folder: Path, table: str, *fields: str) -> tuple[dict[str, Any], tune.Search]:
    file = folder / "search.toml"
    file.write_text(SAID + table)
    return tune.read_search(file, fields)


def score(value: float, updates: int, member: int = 0, visit: int = 0, kind: str = "online", task: str = "t") -> Score:
    return Score(member, visit, task, 0, 0, updates, updates, kind, value)


class TestDraws:
    def test_numbers_lie_in_their_ranges_and_are_spread_as_said(self, tmp_path: Path) -> None:
        said, fields = search(tmp_path, '[search]\nschedule = "constant:rate=1e-5..1e-1 log"\nnetwork = "mlp:width=8..11,depth=2"\n')
        drawn = tune.draw(said, fields, 200, seed=1)
        rates = [float(each["schedule"].partition("rate=")[2]) for each in drawn]
        widths = [int(each["network"].removeprefix("mlp:width=").removesuffix(",depth=2")) for each in drawn]
        assert len(drawn) == 200 and all(1e-5 <= rate <= 1e-1 for rate in rates) and set(widths) == {8, 9, 10, 11}
        # uniform in the logarithm: mean -3, deviation 4 / sqrt(12), each within four standard errors
        logarithms = np.log10(rates)
        assert abs(logarithms.mean() + 3) < 4 * (4 / math.sqrt(12)) / math.sqrt(200)
        assert abs(logarithms.std() - 4 / math.sqrt(12)) < 0.15
        assert all(each["members"] == 2 for each in drawn)

    def test_the_seed_says_all(self, tmp_path: Path) -> None:
        said, fields = search(tmp_path, '[search]\nschedule = "constant:rate=0.001..0.1"\n')
        assert tune.draw(said, fields, 5, 3) == tune.draw(said, fields, 5, 3) != tune.draw(said, fields, 5, 4)
        assert tune.draw(said, fields, 5, 3) == tune.draw(said, fields, 9, 3)[:5]

    def test_choices_of_chains_may_hold_ranges(self, tmp_path: Path) -> None:
        said, fields = search(tmp_path, '[search]\nchain = [[], "nap", ["redo:tau=0.01..0.5 log,every=20", "l2-init"]]\n')
        chains = [each["chain"] for each in tune.draw(said, fields, 12, 0)]
        assert [] in chains and ["nap"] in chains
        long = [chain for chain in chains if len(chain) == 2]
        assert len(long) == 10  # the other two are there once
        assert all(chain[0].startswith("redo:tau=0.") and chain[0].endswith(",every=20") and chain[1] == "l2-init" for chain in long)

    def test_the_command_line_counts_more(self, tmp_path: Path) -> None:
        _, fields = search(tmp_path, "[search]\noptimizer = ['adam', 'sgd']\n", "optimizer=adam | radam:beta1=0.8..0.9", "seed=1|2")
        assert fields == {"optimizer": ["adam", "radam:beta1=0.8..0.9"], "seed": ["1", "2"]}

    @pytest.mark.parametrize(
        ("table", "said"),
        [
            ("", "nothing to search"),
            ("[search]\nchain = []\n", "nothing to search"),
            ("search = 3\n", "search must be a table"),
            ('[search]\nschedule = "constant:rate=1e-1..1e-5"\n', "is not a range"),
            ('[search]\nschedule = "constant:rate=..1"\n', "is not a range"),
            ('[search]\nschedule = "constant:rate=1..inf"\n', "is not a range"),
            ('[search]\nschedule = "constant:rate=0..1 log"\n', "has no logarithm"),
            ('[search]\nschedule = "constant:rat=1..2"\n', "rat"),
            ('[search]\nscedule = "constant:rate=1..2"\n', "schedule"),
        ],
    )
    def test_what_is_no_search_is_said(self, tmp_path: Path, table: str, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            tune.draw(*search(tmp_path, table), trials=3, seed=0)


class TestTally:
    def test_the_mean_of_visits_means(self) -> None:
        tally = tune.Tally(SPEC)
        assert tally.score() is None
        for each in (
            score(0.2, 10),
            score(0.4, 20),
            score(0.9, 30, visit=1),
            score(5.0, 30, kind="cut"),
            score(5.0, 30, kind="evaluation"),
        ):
            tally.add(each)
        assert tally.score() == pytest.approx((0.3 + 0.9) / 2, abs=1e-12)

    def test_games_are_normalised(self) -> None:
        tally = tune.Tally(SPEC._replace(references={"t": {"random": 10.0, "human": 30.0}}))
        tally.add(score(20.0, 1, kind="return"))
        assert tally.score() == pytest.approx(0.5, abs=1e-12)

    def test_what_is_done_again_counts_once(self) -> None:
        tally = tune.Tally(SPEC)
        for each in (score(0.2, 10), score(0.4, 20), score(0.3, 20, member=1)):
            tally.add(each)
        tally.begin_again()
        for each in (score(0.2, 10), score(0.4, 20), score(0.3, 20, member=1)):
            tally.add(each)
        assert tally.score() == pytest.approx(0.3, abs=1e-12)
        tally.add(score(0.7, 30))
        assert tally.score() == pytest.approx(0.4, abs=1e-12)

    def test_each_rule_counts_its_share_of_the_budget(self) -> None:
        """200 updates: 10% are the first 20, 1% the first 2, which end before the first row and so take that row alone."""
        tally = tune.Tally(SPEC)
        for each in (score(0.9, 10), score(0.7, 20), score(0.2, 100), score(0.0, 200, visit=1)):
            tally.add(each)
        assert tally.score("1%") == pytest.approx(0.9, abs=1e-12)
        assert tally.score("10%") == pytest.approx((0.9 + 0.7) / 2, abs=1e-12)
        assert tally.score("lifetime") == pytest.approx(((0.9 + 0.7 + 0.2) / 3 + 0.0) / 2, abs=1e-12)

    def test_a_trial_gets_two_thirds_of_a_lifetime_or_the_share(self) -> None:
        assert [tune.default_grace(rule) for rule in ("lifetime", "10%", "1%")] == pytest.approx([2 / 3, 0.1, 0.01])


class TestJudge:
    def test_asha_by_hand(self) -> None:
        """Rungs at 20, 40, 80 of 100 updates; the better half of those that reached one goes on."""
        judge = tune.Judge(tune.Stopping("asha", 0.2, 2.0), total=100)
        assert not judge.stops("a", 10, 0.0)
        assert not judge.stops("a", 20, 0.5)  # the first there
        assert judge.stops("b", 25, 0.4)  # below the median of 0.5
        assert not judge.stops("c", 20, 0.45)  # the median of 0.5 and 0.4
        assert not judge.stops("c", 30, 0.0)  # between rungs
        assert not judge.stops("a", 40, 0.5)
        assert judge.stops("c", 40, 0.49)
        assert not judge.stops("d", 100, 0.0)  # at its end, and not checked before

    def test_none_stops_nobody(self) -> None:
        judge = tune.Judge(tune.Stopping("none", 0.2, 2.0), total=100)
        assert not any(judge.stops(key, 50, value) for key, value in (("a", 1.0), ("b", 0.0), ("c", -1.0)))

    def test_a_trial_is_ended_by_its_scores(self, tmp_path: Path) -> None:
        judge, console = tune.Judge(tune.Stopping("asha", 0.1, 2.0), total=200), Console(quiet=True)
        good, bad = (tune.Trial(SPEC._replace(key=key), console, judge, RunFolder(tmp_path / key), False) for key in "gb")
        for trial, value in ((good, 0.9), (bad, 0.1)):
            trial.score(score(value, 50))
            trial.tick(Tick(0, "t", 0, 0, 50, 50))
        assert (good.ended, bad.ended) == (False, True)
        assert good.done == pytest.approx(0.25)


@pytest.mark.timeout(280)
@pytest.mark.ray
def test_a_search_on_ray_stops_the_worse_and_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "rates.toml"
    file.write_text(
        SAID.replace("updates=60", "updates=600") + 'diagnose_every = 50\n[search]\nschedule = "constant:rate=1e-9..3e-1 log"\n'
    )
    runs = tmp_path / "runs"
    words = [sys.executable, "-m", "launch", "tune", str(file), "--trials", "4", "--seed", "2", "--reduction", "2", "--grace", "0.1"]
    words += ["--runs", str(runs), "--eager", "--best", "2"]

    def call(*more: str) -> str:
        done = subprocess.run([*words, *more], cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert call("--dry-run").count("constant:rate=") == 4 and not runs.exists()
    said = call()
    stopped = json.loads((runs / "rates" / "trials.json").read_text())["stopped"]
    done = {path.parent.name for path in runs.glob("rates/*/DONE")}
    assert stopped and done and not done & set(stopped) and len(done) + len(stopped) == 4, said
    assert said.count("stopped early") >= len(stopped)
    assert said.count("python -m launch run --name best") == 2

    scores = {path.parent.name: read_rows(path, Score)[0] for path in runs.glob("rates/*/scores.csv")}
    assert len(scores) == 4 and all(rows[-1].updates < 1200 for key, rows in scores.items() if key in stopped)
    means = {key: np.mean([np.mean([row.score for row in scores[key] if row.visit == visit]) for visit in (0, 1)]) for key in done}
    best = max(means, key=means.__getitem__)
    table = said[said.rindex("score") :]
    assert table.index(best) == min(table.index(key) for key in scores if key in table)
    assert f"{means[best]:.4g}" in table

    before = {path: path.read_bytes() for path in runs.glob("rates/*/scores.csv")}
    again = call()
    assert again.count(": skipped") == len(done) and "stopped early" not in again
    assert {path: path.read_bytes() for path in runs.glob("rates/*/scores.csv")} == before
