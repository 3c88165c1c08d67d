"""Every claim's predicate on tables with a known answer: reproduced, not reproduced, not decided."""

from collections.abc import Mapping

import numpy as np
import pytest

from analysis.claims.predicates import All, Any, Finding, above, below, outcome
from analysis.claims.results import Result
from analysis.claims.verdicts import METHODS, VERDICTS, first, first_and_later, forgetting, keeps, last, loses
from analysis.statistics.intervals import Estimate, difference

MEMBERS, VISITS, WINDOWS = 10, 8, 10
NOISE = np.linspace(-0.01, 0.01, MEMBERS)
"""member differences; twice a standard error of the mean is 0.004"""


def result(score, tasks: str = "abcdefgh", **measures) -> Result:
    """`score` and measures: a number, a list of visits, or (visits, windows); members scatter around them."""

    def spread(values, dims: int) -> np.ndarray:
        values = np.asarray(values, dtype=float)
        values = values.reshape(values.shape + (1,) * (dims - values.ndim))
        shape = (len(tasks), WINDOWS)[:dims]
        return np.broadcast_to(values, shape) + NOISE.reshape(-1, *(1,) * dims)

    return Result(spread(score, 2), {name: spread(value, 1) for name, value in measures.items()}, {}, tuple(tasks), 800)


FALLS, STAYS, ABOUT = np.linspace(0.5, 0.2, VISITS), 0.5, np.linspace(0.5, 0.44, VISITS)
"""0.246 of 0.457 at the ends, all of it, and about nine tenths: 0.4571 of 0.4914 less 0.0086 is the margin"""


def come_to(number: int, results: Mapping[str, Result]) -> str:
    return outcome(VERDICTS[number](results))


def test_kleene() -> None:
    yes, no, unsure = (Finding("", Estimate(1.0, low, high, 10, 10), True) for low, high in ((0.5, 2.0), (-2.0, -0.5), (-1.0, 1.0)))
    assert (yes.holds, no.holds, unsure.holds) == (True, False, None)
    assert Finding("", Estimate(-1.0, -2.0, -0.5, 10, 10), False).holds is True
    assert Finding("", Estimate(float("nan"), note="no member has all of it"), True).holds is None
    assert Finding("", Estimate(1.0, note="no interval: one member"), True).holds is None
    table = {(True, True): (True, True), (True, None): (None, True), (True, False): (False, True)}
    table |= {(None, None): (None, None), (None, False): (False, None), (False, False): (False, False)}
    of = {True: yes, False: no, None: unsure}
    for (one, other), (both, either) in table.items():
        for parts in ((of[one], of[other]), (of[other], of[one])):
            assert (All("", parts).holds, Any("", parts).holds) == (both, either)


def test_intervals_are_paired_and_widened_for_many_comparisons() -> None:
    """Members that differ far more than two arms do; differences of 0.02 +- 0.01 are sure for one comparison, not for a million."""
    level = np.linspace(0, 1, MEMBERS)[:, None]
    change = np.array([0.05, -0.02, 0.04, 0.03, -0.01, 0.02, 0.04, 0.0, 0.03, 0.02])[:, None]
    assert above("", difference, level + change, level).holds is True and below("", difference, level + change, level).holds is False
    wide = above("", difference, level + change, level, comparisons=1_000_000)
    assert wide.holds is None and wide.found.value == pytest.approx(0.02)


def test_first_and_last_visits_do_not_overlap() -> None:
    scores = np.arange(8.0)[None].repeat(2, 0)
    assert first(scores)[0].tolist() == [0, 1, 2] and last(scores)[0].tolist() == [5, 6, 7]
    assert first(scores[:, :4])[0].tolist() == [0, 1] and last(scores[:, :4])[0].tolist() == [2, 3]


def test_the_margin_is_a_tenth() -> None:
    def ends(early: float, late: float) -> np.ndarray:
        return np.array([early] * 3 + [late] * 3)[None] + NOISE[:, None]

    assert [keeps("", ends(0.5, late)).holds for late in (0.47, 0.45, 0.43)] == [True, None, False]
    assert [loses("", ends(0.5, late)).holds for late in (0.47, 0.45, 0.43)] == [False, None, True]


def test_claim_1() -> None:
    """The settings need not agree on which of the two fails alone."""

    def table(none=FALLS, norm=FALLS, decay=FALLS, both=STAYS, norm_other=STAYS, decay_other=STAYS):
        one = {"none": none, "layer-norm": norm, "weight-decay": decay, "layer-norm + weight-decay": both}
        other = one | {"layer-norm": norm_other, "weight-decay": decay_other}
        return {f"{panel}: {name}": result(score) for panel, arms in (("A", one), ("B", other)) for name, score in arms.items()}

    assert come_to(1, table()) == "reproduced"
    assert come_to(1, table(none=STAYS)) == "not reproduced"
    assert come_to(1, table(both=FALLS)) == "not reproduced"
    assert come_to(1, table(norm=STAYS)) == "not reproduced"
    assert come_to(1, table(norm=STAYS, norm_other=FALLS)) == "reproduced"
    margin = np.array([0.5] * 3 + [0.475] * 2 + [0.45] * 3)
    assert come_to(1, table(both=margin)) == "not decided at this scale"


def test_claim_2() -> None:
    """Without NaP the methods span 0.2 to 0.4, with it 0.45 to 0.5: a quarter of the gap."""
    grows, falls = np.linspace(1, 3, VISITS), np.linspace(1, 0.3, VISITS)

    def table(weights=grows, rate=falls, held=1.0, least=0.45, worse=0.0):
        found = {"without NaP: layer-norm": result(0.4, weight_norm=weights, effective_learning_rate=rate)}
        found |= {"with NaP: none": result(0.45, weight_norm=1.0, effective_learning_rate=held)}
        found |= {f"without NaP: {m}": result(level) for m, level in zip(METHODS, np.linspace(0.2, 0.4, 6), strict=True)}
        found |= {f"with NaP: {m}": result(level) for m, level in zip(METHODS, np.linspace(least, 0.5, 6), strict=True)}
        return found | ({f"with NaP: {METHODS[5]}": result(worse)} if worse else {})

    assert come_to(2, table()) == "reproduced"
    assert come_to(2, table(weights=falls)) == "not reproduced"
    assert come_to(2, table(rate=1.0)) == "not reproduced"
    assert come_to(2, table(held=falls)) == "not reproduced"
    assert come_to(2, table(least=0.35)) == "not reproduced", "0.15 is more than half of 0.2"
    assert come_to(2, table(worse=0.39)) == "not reproduced", "one method loses"
    assert come_to(2, table(held=np.array([1.0] * 3 + [0.95] * 2 + [0.9] * 3))) == "not decided at this scale"


def test_claim_3() -> None:
    """One visit, ten tenths. Layer norm ends at 0.9, NaP at a constant rate at 0.8, with a linear schedule at 0.88: 80% regained."""

    def table(free=0.9, constant=0.8, linear=0.88, common=0.88, layered=0.9):
        curves = {"layer-norm": free, "nap, constant": constant, "nap, linear": linear}
        curves |= {"nap, recorded": common, "nap, recorded by layer": layered}
        return {name: result(np.linspace(0.5, end, WINDOWS)[None], "a") for name, end in curves.items()}

    assert come_to(3, table()) == "reproduced"
    assert come_to(3, table(constant=0.95)) == "not reproduced"
    assert come_to(3, table(linear=0.84)) == "not reproduced", "less than half"
    assert come_to(3, table(common=0.82)) == "not reproduced"
    assert come_to(3, table(layered=0.85)) == "not reproduced", "0.025 apart on average"
    scattered = table()
    curve = scattered["nap, constant"].curve.copy()
    curve[:, 0, -1] = 0.9 + np.tile([0.1, -0.1], 5)
    scattered["nap, constant"] = Result(curve, {}, {}, ("a",), 800)
    assert come_to(3, scattered) == "not decided at this scale"


def test_claim_4() -> None:
    def table(default=0.4, fixed=0.12, untrained=0.1):
        names = {"adam": default, "adam, beta2 = 0.9, epsilon = 1e-3": fixed}
        return {name: result(0.5, dead_fraction=dead, dead_fraction_fresh=untrained) for name, dead in names.items()}

    assert come_to(4, table()) == "reproduced"
    assert come_to(4, table(default=0.15)) == "not reproduced", "no more than a tenth above the untrained network"
    assert come_to(4, table(fixed=0.3)) == "not reproduced"
    noisy = table()
    noisy["adam"].measures["dead_fraction"] += np.tile([0.5, -0.5], 5)[:, None] - 0.2
    assert come_to(4, noisy) == "not decided at this scale"


def test_claim_5() -> None:
    """The last of two visits counts."""

    def table(small=0.8, middle=0.6, large=0.3, two_hot=0.78):
        ends = {"squared error: 0": small, "squared error: 10": middle, "squared error: 100": large}
        ends |= {"two-hot: 0": 0.8, "two-hot: 100": two_hot}
        return {key: result([0.1, end], "ab") for key, end in ends.items()}

    assert come_to(5, table()) == "reproduced"
    assert come_to(5, table(middle=0.9)) == "not reproduced", "not monotone"
    assert come_to(5, table(large=0.79, middle=0.795)) == "not reproduced", "less than a tenth is lost"
    assert come_to(5, table(two_hot=0.5)) == "not reproduced"
    assert come_to(5, table(two_hot=0.72)) == "not decided at this scale"


def test_claim_6() -> None:
    """Ends of the last visit: re-initialisation adds 0.1 alone, 0.02 beside other regularisers, 0.05 under label noise."""

    def table(alone=0.1, tuned=0.02, noisy=0.05):
        gains = {"alone": alone, "regularised": tuned, "regularised, noisy labels": noisy}
        ends = {f"{panel}: standard": 0.5 for panel in gains} | {f"{panel}: re-initialised": 0.5 + gain for panel, gain in gains.items()}
        return {key: result(np.array([[0.1] * WINDOWS, [0.1] * (WINDOWS - 1) + [end]]), "ab") for key, end in ends.items()}

    assert come_to(6, table()) == "reproduced"
    assert come_to(6, table(alone=-0.1)) == "not reproduced"
    assert come_to(6, table(tuned=0.08)) == "not reproduced", "more than half of what it adds alone"
    assert come_to(6, table(noisy=-0.05)) == "not reproduced"
    assert come_to(6, table(tuned=0.05)) == "not decided at this scale"


def test_claim_7() -> None:
    def table(none=FALLS, **others):
        methods = {"continual-backprop": 0.5, "l2-init": 0.5, "shrink-and-perturb": 0.5} | others
        return {name: result(score) for name, score in ({"none": none} | methods).items()}

    assert come_to(7, table()) == "reproduced"
    assert come_to(7, table(none=np.linspace(0.3, 0.4, VISITS))) == "not reproduced", "backprop does not fall"
    assert come_to(7, table(**{"l2-init": np.linspace(0.9, 0.65, VISITS)})) == "not reproduced", "above it, and falls as far"
    assert come_to(7, table(**{"l2-init": 0.1})) == "not reproduced", "keeps, below it"
    level = table(**{"l2-init": float(last(table()["none"].area).mean())})
    level["l2-init"].curve[:] += np.tile([0.3, -0.3], 5)[:, None, None]
    assert come_to(7, level) == "not decided at this scale"


def test_claim_8() -> None:
    """One reversed pair suffices; all pairs alike contradict it; an indistinguishable pair leaves it open."""

    def table(adam, sgd):
        return {
            f"{optimizer}: {name}": result(level)
            for optimizer, row in (("Adam", adam), ("SGD", sgd))
            for name, level in zip("abc", row, strict=True)
        }

    assert come_to(8, table((0.3, 0.4, 0.5), (0.3, 0.5, 0.4))) == "reproduced"
    assert come_to(8, table((0.3, 0.4, 0.5), (0.1, 0.2, 0.9))) == "not reproduced"
    unsure = table((0.3, 0.4, 0.5), (0.1, 0.2, 0.9))
    unsure["SGD: b"].curve[:] += np.tile([0.7, -0.7], 5)[:, None, None] + 0.7
    assert come_to(8, unsure) == "not decided at this scale"


def test_claim_9() -> None:
    """Tasks a and b in turn: the score is 0.8 at the end of a visit, and 0.8 less forgetting at the start of the visit after next."""

    def table(forgotten=(0.6, 0.4, 0.2), gained=0.1):
        found = {}
        for width, lost in zip(("32", "128", "512"), forgotten, strict=True):
            visit = np.full((6, WINDOWS), 0.8)
            visit[2:, 0] = 0.8 - lost
            visit[2:, 1:-1] = 0.8 + gained + lost / (WINDOWS - 2)
            found[width] = result(visit, "ababab")
        return found

    assert forgetting(table()["128"]).mean(axis=0) == pytest.approx([0.4] * 4)
    late, early = first_and_later(table()["128"])
    assert (late.mean(), early.mean()) == pytest.approx((0.88, 0.8)) and late.shape == (MEMBERS, 2)
    assert come_to(9, table()) == "reproduced"
    assert come_to(9, table(forgotten=(0.6, 0.2, 0.4))) == "not reproduced"
    assert come_to(9, table(gained=-0.1)) == "not reproduced"
    wavering = table()
    wavering["512"].curve[:, 2:, 0] += np.tile([0.5, -0.5], 5)[:, None] - 0.2
    assert come_to(9, wavering) == "not decided at this scale"
