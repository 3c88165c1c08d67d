"""Simulated error rates of the reports' statistics: coverage of intervals, false marks, and studies with two looks. Markdown tables.

Scores of members are drawn from three shapes with mean 1 or less: normal; skewed, an exponential; collapsing, where one member in ten
falls to 0. Chains of a comparison share half of their variance, as the same seeds on the same data do.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from analysis.statistics.aggregates import interval, intervals, paired_difference
from analysis.statistics.comparisons import against, ahead_of_all
from analysis.statistics.decisions import LOOKS, look_levels
from analysis.statistics.intervals import (
    LEVEL,
    Statistic,
    difference,
    estimate,
    iqm,
    left_out,
    mean,
    mean_ratio,
    median,
    optimality_gap,
    quantile,
    standard_error,
)
from analysis.statistics.power import CHANCE, visible

MEMBERS = (3, 5, 7, 10, 13, 20)
SHAPES = ("normal", "skewed", "collapsing")
SPREAD = 0.2
"""standard deviation of a member's score"""
VISITS = 5
"""visits of an interquartile mean and of a slope"""
RESAMPLES = 500
BLOCK = 2**22
"""numbers held at once"""
LARGE = 400_000
"""members whose interquartile mean is the truth"""
Random = np.random.Generator


class Case(NamedTuple):
    """A statistic, with matrices (trials, members, visits) that it is computed from, and its truth."""

    statistic: Statistic
    scores: tuple[np.ndarray, ...]
    truth: float


def members(shape: str, size: Sequence[int], random: Random) -> np.ndarray:
    """Scores of one shape."""
    if shape == "normal":
        return 1 + SPREAD * random.normal(size=size)
    if shape == "skewed":
        return 1 + SPREAD * (random.exponential(size=size) - 1)
    return np.where(random.random(size) < 0.1, 0.0, 1 + SPREAD * random.normal(size=size))


def centre(shape: str) -> float:
    """Mean of a shape."""
    return 0.9 if shape == "collapsing" else 1.0


def _mean(shape: str, size: tuple[int, int], random: Random) -> Case:
    return Case(mean, (members(shape, (*size, 1), random),), centre(shape))


def _difference(shape: str, size: tuple[int, int], random: Random) -> Case:
    luck, other = SPREAD / np.sqrt(2) * random.normal(size=(2, *size, 1))
    return Case(difference, (members(shape, (*size, 1), random) + luck, 1 + other + luck), centre(shape) - 1)


def _ratio(shape: str, size: tuple[int, int], random: Random) -> Case:
    luck = SPREAD / np.sqrt(2) * random.normal(size=(*size, 1))
    above, below = (members(shape, (*size, 1), random) + luck for _ in range(2))
    return Case(mean_ratio(np.zeros(1)), (above, below), 1.0)


def _slope(shape: str, size: tuple[int, int], random: Random) -> Case:
    steps = np.arange(VISITS) - (VISITS - 1) / 2
    above, below = (members(shape, (*size, 1), random) + SPREAD * random.normal(size=(*size, VISITS)) for _ in range(2))

    def slope(mine: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        return (mine.mean(axis=-2) / fresh.mean(axis=-2)) @ steps / (steps @ steps)

    return Case(slope, (above, below), 0.0)


def _over_visits(statistic: Statistic) -> Callable[[str, tuple[int, int], Random], Case]:
    def made(shape: str, size: tuple[int, int], random: Random) -> Case:
        def scores(*size: int) -> np.ndarray:
            return members(shape, (*size, 1), random) + SPREAD * random.normal(size=(*size, VISITS))

        return Case(statistic, (scores(*size),), float(statistic(scores(LARGE))))

    return made


CASES: dict[str, Callable[[str, tuple[int, int], Random], Case]] = {
    "mean": _mean,
    "paired difference": _difference,
    "ratio of means": _ratio,
    "slope of ratios": _slope,
    "IQM over visits": _over_visits(iqm),
    "median over visits": _over_visits(median),
    "optimality gap over visits": _over_visits(optimality_gap),
}


def percentile(case: Case, random: Random) -> Iterator[np.ndarray]:
    """Whether the percentile bootstrap's intervals hold the truth, some trials at a time."""
    trials, count, visits = case.scores[0].shape
    block = max(1, BLOCK // (RESAMPLES * count * visits))
    for start in range(0, trials, block):
        chosen = random.integers(count, size=(RESAMPLES, count))
        low, high = interval(case.statistic(*(matrix[start : start + block, chosen] for matrix in case.scores)).T)
        yield (low <= case.truth) & (case.truth <= high)


def studentised(pseudo: np.ndarray, truth: float, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Whether the studentised bootstrap's intervals of pseudo-values (trials, members) hold the truth; and their widths."""
    trials, count = pseudo.shape
    held, widths = np.empty(trials, dtype=bool), np.empty(trials)
    block = max(1, BLOCK // (RESAMPLES * count))
    for start in range(0, trials, block):
        some = pseudo[start : start + block]
        drawn = some[:, random.integers(count, size=(RESAMPLES, count))]
        middle, error = some.mean(axis=-1), stats.sem(some, axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (drawn.mean(axis=-1) - middle[:, None]) / stats.sem(drawn, axis=-1)
        distance = np.nan_to_num(distance, nan=0.0, posinf=np.inf, neginf=-np.inf)  # one member, drawn again and again
        ends = np.quantile(distance, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1, method="inverted_cdf")
        low, high = middle - ends[1] * error, middle - ends[0] * error
        held[start : start + block], widths[start : start + block] = (low <= truth) & (truth <= high), high - low
    return held, widths


def fieller(above: np.ndarray, below: np.ndarray, truth: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether Fieller's intervals of ratios of means, (trials, members) twice, hold the truth; and whether they are bounded."""
    reach = quantile(above.shape[1] - 1)
    changed, error = (above - truth * below).mean(axis=1), stats.sem(above - truth * below, axis=1)
    return np.abs(changed) <= reach * error, below.mean(axis=1) > reach * stats.sem(below, axis=1)


def covered(name: str, shape: str, count: int, trials: int, random: Random) -> tuple[list[float], float, float]:
    """Share of intervals that hold the truth: percentile bootstrap, studentised bootstrap, t, and Fieller's of a ratio; of those that are
    given. Then the median width of the studentised bootstrap's over that of t, and the share that is given."""
    case = CASES[name](shape, (trials, count), random)
    value, without = case.statistic(*case.scores), left_out(case.statistic, *case.scores)
    error, given = standard_error(without), np.ones(trials, dtype=bool)
    held = np.abs(value - case.truth) <= quantile(count - 1) * error
    shares = []
    if name == "ratio of means":
        above, below = (matrix[..., 0] for matrix in case.scores)
        second, given = fieller(above, below, case.truth)
        shares = [second[given].mean()]
    student, widths = studentised(count * value[:, None] - (count - 1) * without, case.truth, random)
    drawn = np.concatenate(list(percentile(case, random)))
    width = float(np.median(widths[error > 0] / (2 * quantile(count - 1) * error[error > 0])))
    return [each[given].mean() for each in (drawn, student, held)] + shares, width, float(given.mean())


def markdown(headings: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    headings = list(headings)
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def intervals_table(trials: int) -> str:
    """Coverage of intervals over members."""
    random, rows = np.random.default_rng(0), list[list[str]]()
    wider, given = ["studentised over t, median width (normal mean)"], ["ratio, collapsing: share of intervals given"]
    for name in CASES:
        for shape in SHAPES:
            cells = [f"{name}, {shape}"]
            for count in MEMBERS:
                shares, width, share = covered(name, shape, count, trials, random)
                cells.append(" / ".join(f"{100 * each:.0f}" for each in shares))
                if (name, shape) == ("mean", "normal"):
                    wider.append("no end" if np.isinf(width) else f"{width:.1f}")
                if (name, shape) == ("ratio of means", "collapsing"):
                    given.append(f"{100 * share:.0f}%")
            rows.append(cells)
    return markdown(["% of 95% intervals that hold the truth", *(f"n = {count}" for count in MEMBERS)], [*rows, wider, given])


def tasks_table(trials: int) -> str:
    """Coverage over tasks of which each member has one: rliable's bootstrap of an IQM, and t of a difference of two chains' IQMs."""
    random, rows, counts = np.random.default_rng(1), list[list[str]](), (3, 5, 10, 20)
    for tasks in (5, 20):
        for shape in SHAPES:
            level = np.linspace(0.5, 1.5, tasks)
            truth = float(iqm(level * members(shape, (LARGE // tasks, tasks), random)))
            cells = [f"{tasks} tasks, {shape}"]
            for count in counts:
                held = np.zeros(2)
                for _ in range(trials):
                    other, better = level * members(shape, (2, count, tasks), random)
                    found, ahead = intervals(other, ("iqm",), RESAMPLES, int(random.integers(2**32))), paired_difference(better, other)
                    assert ahead.low is not None and ahead.high is not None
                    held += [found.low[0] <= truth <= found.high[0], ahead.low <= 0 <= ahead.high]
                cells.append(" / ".join(f"{100 * each:.0f}" for each in held / trials))
            rows.append(cells)
    return markdown(["% of 95% intervals that hold the truth", *(f"{count} members of each" for count in counts)], rows)


def marks_table(trials: int) -> str:
    """How often a page marks something where no chain differs from another."""
    random, rows = np.random.default_rng(2), list[list[str]]()
    for chains in (2, 7):
        for count in (5, 10):
            wrong = np.zeros(4)
            for _ in range(trials):
                scores = {str(each): matrix[:, None] for each, matrix in enumerate(random.normal(size=(chains, count)))}
                pairs = {(a, b): scores[a] - scores[b] for a in scores for b in scores if a != b}
                ahead = {pair: estimate(mean, change) for pair, change in pairs.items()}
                chosen = random.integers(count, size=(RESAMPLES, count))
                above = {(a, b): interval(change[chosen, 0].mean(axis=1))[0] > 0 for (a, b), change in pairs.items()}
                rivals = {a: [b for b in scores if b != a] for a in scores}
                leads = against(scores, ("0",))
                wrong += [
                    any(all(above[a, b] for b in others) for a, others in rivals.items()),
                    any(ahead_of_all([ahead[a, b] for b in others]) for a, others in rivals.items()),
                    any(above[a, b] or above[b, a] for a, b in pairs if b == "0"),
                    any(lead.differs for lead in leads),
                ]
            rows.append([f"{chains} chains, {count} members", *(f"{100 * each:.1f}%" for each in wrong / trials)])
    headings = [
        "nothing differs",
        "best: percentile bootstrap",
        "best: t, Holm",
        "some chain differs from the first: percentile",
        "the same: t, Holm",
    ]
    return markdown(headings, rows)


def looks_table(trials: int) -> str:
    """How often a paired difference is found, and with how many members: one look, two corrected, two uncorrected."""
    first, last = LOOKS
    random, levels = np.random.default_rng(3), look_levels()
    rows = list[list[str]]()
    for effect in (0.0, 0.5, 0.75, 1.0, 1.5):
        scores = random.normal(effect, 1.0, size=(trials, last))
        p = [stats.ttest_1samp(scores[:, :count], 0.0, axis=1).pvalue for count in LOOKS]  # type: ignore[attr-defined]
        early, late = (chance < 1 - levels[count] for chance, count in zip(p, LOOKS, strict=True))
        spent = first + (last - first) * (1 - early.mean())
        found = [p[0] < 1 - LEVEL, p[1] < 1 - LEVEL, early | late, (p[0] < 1 - LEVEL) | (p[1] < 1 - LEVEL)]
        rows.append([f"{effect:g} SD", *(f"{100 * each.mean():.1f}%" for each in found), f"{spent:.1f}"])
    both = f"{first}, then {last}"
    headings = [
        "true difference",
        f"{first} members",
        f"{last} members",
        f"{both}: {levels[first]:.3f} at both",
        f"{both}: uncorrected",
        "members spent",
    ]
    return markdown(headings, rows)


def power_table() -> str:
    """The difference that so many members see, in standard deviations of a paired difference."""
    counts = (3, 5, 7, 10, 13, 20, 30)
    rows = [[f"seen with {chance:.0%}", *(f"{visible(count, chance):.2f}" for count in counts)] for chance in (CHANCE, 0.9)]
    return markdown(["paired difference, SD", *(f"n = {count}" for count in counts)], rows)


TABLES: dict[str, Callable[[int], str]] = {
    "intervals": intervals_table,
    "tasks": lambda trials: tasks_table(max(1, trials // 4)),
    "marks": marks_table,
    "looks": lambda trials: looks_table(50 * trials),
    "power": lambda trials: power_table(),
}
"""name -> table, from a number of trials"""
