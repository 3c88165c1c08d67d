"""Areas, ratios and verdicts against hand computation and second implementations."""

from pathlib import Path

import numpy as np
import pytest

from analysis.data.load import load
from analysis.scores.curves import online_curve, return_curve
from analysis.scores.setting import Setting, score, settings
from analysis.scores.verdict import first_and_last, reading, verdicts
from plasticity_rl.records.events import Score
from tests.fake_runs import episode_rows, games, online, online_rows, spec, write_run

REFERENCES = {"pong": {"random": -20.0, "human": 20.0}, "boxing": {"random": 0.0, "human": 10.0}}


def only(root: Path, windows: int = 10) -> Setting:
    """The one setting of a folder."""
    loaded = load([root])
    (key,) = settings(loaded)
    return score(loaded, key, windows)


def chain(setting: Setting, label: str):
    return next(chain for chain in setting.chains if chain.label == label)


def test_an_online_curve_by_hand() -> None:
    ends, values = np.array([25, 50, 100]), np.array([0.2, 0.4, 0.6])
    np.testing.assert_allclose(online_curve(ends, values, 0, 100, 4), [0.2, 0.4, 0.6, 0.6])
    np.testing.assert_allclose(online_curve(ends + 300, values, 300, 400, 2), [0.3, 0.6])
    np.testing.assert_allclose(online_curve(np.array([60, 90]), np.array([1.0, 4.0]), 0, 90, 2), [1.0, 3.0])  # the second: 15 of 1, 30 of 4


def test_the_area_is_the_update_weighted_mean_whatever_the_windows() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        ends = np.sort(random.choice(np.arange(1, 1000), size=7, replace=False))
        ends[-1] = 1000
        values = random.normal(size=7)
        weights = np.diff([0, *ends])
        area = online_curve(ends, values, 0, 1000, int(random.integers(1, 30))).mean()
        assert area == pytest.approx(np.average(values, weights=weights), abs=1e-12)


def test_a_return_curve_by_hand() -> None:
    ends, values = np.array([15, 20, 21, 45, 100]), np.array([1.0, 3.0, 5.0, 7.0, 9.0])
    # (0, 20]: 1 and 3; (20, 40]: 5; (40, 60]: 7; (60, 80]: carried; (80, 100]: 9
    np.testing.assert_array_equal(return_curve(ends, values, 0, 100, 5), [2.0, 5.0, 7.0, 7.0, 9.0])
    np.testing.assert_array_equal(return_curve(ends[3:], values[3:], 0, 100, 5), [np.nan, np.nan, 7.0, 7.0, 9.0])
    np.testing.assert_array_equal(return_curve(np.array([103]), np.array([4.0]), 0, 100, 2), [np.nan, 4.0])  # a batch ran over the budget


def test_a_return_curve_against_a_second_implementation() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        start, budget, windows = int(random.integers(0, 500)), int(random.integers(10, 2000)), int(random.integers(1, 12))
        ends = np.sort(start + random.integers(1, budget + 1, size=int(random.integers(1, 20))))
        values = random.normal(size=len(ends))
        expected: list[float] = []
        for window in range(windows):
            inside = [v for e, v in zip(ends, values, strict=True) if window * budget < (e - start) * windows <= (window + 1) * budget]
            expected.append(sum(inside) / len(inside) if inside else (expected[-1] if expected else np.nan))
        np.testing.assert_allclose(return_curve(ends, values, start, start + budget, windows), expected)


def test_many_short_episodes_do_not_outweigh_few_long_ones(tmp_path: Path) -> None:
    """Half of the frames go to fifty episodes of return 1, half to five of return 9: a mean over time, not over episodes."""
    described = spec("none", 0, ("pong",), budget=1000, unit="frames", members=1)
    times = [*range(10, 501, 10), 600, 700, 800, 900, 1000]
    rows = [Score(0, 0, "pong", 0, frames, frames // 4, 0, "return", 1.0 if frames <= 500 else 9.0) for frames in times]
    write_run(tmp_path, described, rows)
    assert only(tmp_path).chains[0].area[0, 0] == 5.0


def test_areas_of_members_over_seeds_stand_in_one_order(tmp_path: Path) -> None:
    online(tmp_path, "nap", [[0.5, 0.6], [0.7, 0.8]], seed=7)
    online(tmp_path, "nap", [[0.1, 0.2], [0.3, 0.4]], seed=3)
    online(tmp_path, "none", [[0.9, 0.9], [0.8, 0.8]], seed=7)
    setting = only(tmp_path)
    assert setting.pairs == ((3, 0), (3, 1), (7, 0), (7, 1))
    np.testing.assert_allclose(chain(setting, "nap").area, [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]])
    np.testing.assert_allclose(chain(setting, "none").area, [[np.nan] * 2, [np.nan] * 2, [0.9, 0.9], [0.8, 0.8]])


def test_where_there_are_tests_they_are_the_score(tmp_path: Path) -> None:
    described = spec("none", 0, ("a", "b"), budget=100, members=2)
    rows = online_rows(described, np.array([[0.5, 0.6], [0.7, 0.8]]))
    ends = {(row.member, row.visit): place for place, row in enumerate(rows)}
    for (member, visit), place in sorted(ends.items(), key=lambda item: -item[1]):
        rows.insert(place + 1, rows[place]._replace(kind="test", score=(1 + member + 2 * visit) / 10))
    write_run(tmp_path, described, rows)
    setting = only(tmp_path)
    assert setting.kind == "test" and setting.comparable and not setting.missing
    np.testing.assert_allclose(setting.chains[0].area, [[0.1, 0.3], [0.2, 0.4]])


def test_cut_episodes_are_never_scored(tmp_path: Path) -> None:
    described = spec("none", 0, ("pong", "boxing"), budget=1000, unit="frames", members=2)
    levels = np.array([[1.0, 2.0], [3.0, 4.0]])
    rows = [row._replace(score=1e9) if row.kind == "cut" else row for row in episode_rows(described, levels)]
    write_run(tmp_path, described, rows)
    np.testing.assert_array_equal(only(tmp_path).chains[0].area, levels)


def test_a_visit_that_is_not_finished_has_no_score(tmp_path: Path) -> None:
    described = spec("none", 0, ("a", "b", "c"), members=2)
    rows = online_rows(described, np.full((2, 3), 0.5))
    write_run(tmp_path / "online", described, [row for row in rows if (row.updates, row.member) <= (250, 0)], done=False)
    setting = only(tmp_path / "online")
    np.testing.assert_array_equal(np.isfinite(setting.chains[0].area), [[True, True, False]] * 2)
    assert setting.missing == ("none, seed 0: visit 2 of member 0: no score, 50 of 100 updates", *setting.missing[1:])
    assert setting.missing[1] == "none, seed 0: visit 2 of member 1: no score, not begun"

    described = spec("none", 0, ("pong", "boxing"), budget=1000, unit="frames", members=2)
    rows = [row for row in episode_rows(described, np.ones((2, 2))) if row.frames <= 1700]
    write_run(tmp_path / "games", described, rows, done=False)
    setting = only(tmp_path / "games")
    np.testing.assert_array_equal(np.isfinite(setting.chains[0].area), [[True, False]] * 2)
    assert "none, seed 0: visit 1 of members 0-1: no score, 700 of 1,000 frames" in setting.missing


def test_windows_without_an_episode_are_counted(tmp_path: Path) -> None:
    described = spec("none", 0, ("pong",), budget=1000, unit="frames", members=2)
    write_run(
        tmp_path, described, episode_rows(described, np.ones((2, 1)), length=250)
    )  # ends at 250, 500, 750, 1000: 6 of 10 windows empty
    assert "none, seed 0: no episode ended in 12 of 20 windows: missing, or the score before was carried forward" in only(tmp_path).missing


def test_an_unknown_random_score_is_named(tmp_path: Path) -> None:
    games(tmp_path, "none", [[1.0, 2.0]], ["pong", "chess"], references=REFERENCES)
    setting = only(tmp_path)
    assert "no random score is known for chess: ratios are measured from 0 there" in setting.missing
    assert not setting.comparable and not verdicts(setting)[0].overall.defined


def test_tasks_with_the_same_references_share_a_scale(tmp_path: Path) -> None:
    poles = {f"CartPole-{task}": {"random": 20.0} for task in range(2)}
    games(tmp_path, "none", [[60.0, 40.0], [80.0, 30.0], [70.0, 35.0]], list(poles), references=poles)
    (row,) = verdicts(only(tmp_path))
    assert row.first.value == 70.0 and row.last.value == 35.0
    assert row.change.value == pytest.approx((35 - 20) / (70 - 20))


@pytest.mark.parametrize(
    ("tasks", "first", "last"),
    [
        ("a", [0], [0]),
        ("ab", [0], [1]),
        ("abcde", [0, 1], [3, 4]),
        ("abcdefgh", [0, 1, 2], [5, 6, 7]),
        ("abab", [0, 1], [2, 3]),  # whole cycles, to compare the same tasks
        ("ababababab", [0, 1, 2, 3], [6, 7, 8, 9]),
        ("abcdeabcde", [0, 1, 2, 3, 4], [5, 6, 7, 8, 9]),
        ("aaaaaaaa", [0, 1, 2], [5, 6, 7]),
        ("aba", [0], [2]),
    ],
)
def test_the_visits_that_are_compared(tmp_path: Path, tasks: str, first: list[int], last: list[int]) -> None:
    described = spec("none", 0, list(tasks), members=1)
    write_run(tmp_path, described, online_rows(described, np.full((1, len(tasks)), 0.5)))
    assert first_and_last(only(tmp_path)) == (first, last)


def test_the_best_chain_must_beat_every_other_by_a_paired_interval(tmp_path: Path) -> None:
    base = np.random.default_rng(3).uniform(0.2, 0.6, size=(5, 2))
    online(tmp_path, "none", base)
    online(tmp_path, "redo", base + np.linspace(0.01, 0.03, 5)[:, None])  # far less than members differ, but in each of them
    online(tmp_path, "fresh", base + 0.3)  # not a competitor
    assert [row.label for row in verdicts(only(tmp_path)) if row.best] == ["redo"]
    online(tmp_path, "nap", base + np.array([0.05, -0.04, 0.05, -0.04, 0.03])[:, None])
    assert not any(row.best for row in verdicts(only(tmp_path)))


def test_few_members_make_no_chain_best(tmp_path: Path) -> None:
    online(tmp_path, "none", [[0.2, 0.2], [0.3, 0.3], [0.4, 0.4], [0.5, 0.5]])
    online(tmp_path, "redo", [[0.6, 0.6], [0.7, 0.7], [0.8, 0.8], [0.9, 0.9]])
    setting = only(tmp_path)
    assert not any(row.best for row in verdicts(setting))
    assert reading(setting, verdicts(setting)).endswith("; with fewer than five members no chain is called best.")


def test_a_share_that_cannot_be_told_is_not_told(tmp_path: Path) -> None:
    online(tmp_path, "none", [[0.02, 0.9], [0.02, 0.1], [0.06, 0.3], [0.03, 0.9], [0.03, 0.4]])
    setting = only(tmp_path)
    assert reading(setting, verdicts(setting)) == (
        "Without intervention the last visit cannot be told from the first visit: the interval is wider than the first score itself."
    )


def test_the_reading_in_plain_words(tmp_path: Path) -> None:
    spread = np.linspace(-0.01, 0.01, 5)[:, None]
    online(tmp_path, "none", np.array([0.4, 0.4, 0.4, 0.3, 0.2, 0.2, 0.2]) + spread)
    online(tmp_path, "fresh", np.full(7, 0.4) + spread * np.array([1, 1, 1, 1, 1.1, 1.1, 1.1]))
    setting = only(tmp_path)
    text = reading(setting, verdicts(setting))
    assert text == "Without intervention the agent keeps 50% [49, 51] of its plasticity over the last three visits."
    online(tmp_path, "redo", np.full(7, 0.6) + spread)
    setting = only(tmp_path)
    assert "; the best score over the last three visits is that of redo, 150% [" in reading(setting, verdicts(setting))


def test_a_chain_below_the_floor_keeps_nothing(tmp_path: Path) -> None:
    """A mean of 0.02 below the floor of 0, over a control of 0.4: -5%."""
    spread = np.linspace(-0.01, 0.01, 5)[:, None]
    online(tmp_path, "none", np.array([0.4, 0.4, 0.4, 0.3, -0.02, -0.02, -0.02]) + spread)
    online(tmp_path, "fresh", np.full(7, 0.4) + spread)
    setting = only(tmp_path)
    assert reading(setting, verdicts(setting)).startswith("Without intervention the agent keeps none of its plasticity (-5% [")


def test_one_visit_is_no_change(tmp_path: Path) -> None:
    online(tmp_path, "none", [[0.2], [0.3]])
    setting = only(tmp_path)
    assert reading(setting, verdicts(setting)) == "With one visit nothing can be said about a change over visits."
    online(tmp_path, "fresh", [[0.5], [0.5]])
    setting = only(tmp_path)
    # 0.25 +- 12.706 * 0.05, over 0.5
    assert reading(setting, verdicts(setting)) == "Without intervention the agent keeps 50% [-77, 177] of its plasticity in its only visit."


def test_why_the_last_visits_are_no_share_of_the_first(tmp_path: Path) -> None:
    """Two visits, the second without any score; one member; and members without early learning."""

    def note(label: str, areas: list[list[float]], rows: int | None = None) -> str:
        folder = online(tmp_path / label, label, areas)
        if rows is not None:
            lines = (folder / "scores.csv").read_text().splitlines(keepends=True)
            (folder / "scores.csv").write_text("".join(lines[: rows + 1]))
        setting = only(tmp_path / label)
        (row,) = verdicts(setting)
        assert not row.change.defined and (label == "nothing" or row.first.value == pytest.approx(0.32))
        return row.change.note

    assert note("stopped", [[0.31, 0.5], [0.33, 0.5]], rows=4) == "no member has all of it"  # two rows a visit of each member
    assert note("sole", [[0.32, 0.5], [0.9, 0.5]], rows=3) == "no member has all of it"  # only the first ended its visit
    one = "one member: no interval says whether the first visits' score is above the floor"
    assert note("alone", [[0.32, 0.5]]) == one
    assert note("nothing", [[-0.2, 0.5], [0.2, 0.5]]) == "the first visits' score is not above the floor"
