"""Every claim's parts on tables with a known answer: consistent, inconsistent, open; and how parts are decided together."""

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from analysis.claims.predicates import All, Any, Finding, Gate, Part, Verdict, decisions, verdict
from analysis.claims.results import CENSUS, Result, first, last
from analysis.claims.verdicts import METHODS, VERDICTS, first_and_later, forgetting, keeps, loses
from analysis.statistics.intervals import ALIKE, Estimate

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


def decided(*parts: Part, level: float = 0.95) -> list[str]:
    return list(decisions(parts, level))


def come_to(number: int, results: Mapping[str, Result]) -> str:
    parts = VERDICTS[number](results)
    return Verdict((), parts, decisions(parts, 0.95)).outcome


def estimated(value: float, error: float = 0.1, freedom: float = 9) -> Estimate:
    """With nine degrees of freedom a 95% interval is 2.262 errors wide."""
    return Estimate(value, None, None, 10, 10, "", error, freedom).at(0.95)


def test_a_finding_is_held_as_large_as_its_effect_and_not_held_below_it() -> None:
    """Intervals are +- 0.226: from 0.3 on they exclude 0, up to 0.1 they exclude an effect of 0.35."""
    at = {value: decided(Finding("", estimated(value), True, 0.35)) for value in (0.5, 0.3, 0.2, 0.1, -0.5)}
    assert at == {0.5: ["held"], 0.3: ["open"], 0.2: ["open"], 0.1: ["not held"], -0.5: ["not held"]}
    mirrored = [decided(Finding("", estimated(-value), False, 0.35)) for value in at]
    assert mirrored == list(at.values())
    alike, one = Estimate(1.0, members=10, of=10, note=ALIKE), Estimate(1.0, members=1, of=1, note="no interval: one member")
    assert decided(Finding("", alike, True, 0.5)) == ["held"] and decided(Finding("", alike, True, 1.5)) == ["not held"]
    assert decided(Finding("", one, True)) == ["open"] and decided(Finding("", Estimate(float("nan")), True)) == ["open"]
    narrow = Finding("", estimated(0.002, 0.004), True)
    assert decided(narrow) == ["at the margin"] and decided(Finding("", estimated(0.002, 0.1), True)) == ["open"]


def test_parts_are_corrected_together() -> None:
    """p = 0.024 for 0.27: enough alone, and last of two; not for both of two."""
    likely, sure = Finding("", estimated(0.27), True), Finding("", estimated(5.0), True)
    assert likely.found.chance() == pytest.approx(2 * stats.t.sf(2.7, 9)) == pytest.approx(0.0244, abs=1e-4)
    assert decided(likely) == ["held"] and decided(likely, sure) == ["held", "held"]
    assert decided(likely, likely) == ["held", "held"] and decided(likely, likely, likely) == ["open"] * 3


def test_joined_parts_by_hand() -> None:
    """All holds as surely as its least sure part; any of two as half as sure as the surest."""
    likely, sure = Finding("", estimated(0.27), True), Finding("", estimated(5.0), True)
    p, q = likely.chance_held, sure.chance_held
    assert All("", (likely, sure)).chance_held == p and Any("", (likely, sure)).chance_held == pytest.approx(2 * q)
    wrong, worse = Finding("", estimated(-0.27), True), Finding("", estimated(-5.0), True)
    assert (wrong.chance_not, worse.chance_not, wrong.chance_held) == (pytest.approx(p), pytest.approx(q), 1.0)
    assert All("", (wrong, worse)).chance_not == pytest.approx(2 * q) and Any("", (wrong, worse)).chance_not == pytest.approx(p)
    assert decided(Any("", (All("", (sure, worse)), All("", (sure, sure))))) == ["held"]
    assert decided(Any("", (All("", (sure, worse)), All("", (worse, sure))))) == ["not held"]


def test_what_the_first_look_decides_stands() -> None:
    """Seven members: one part held, one open. Thirteen: the open one holds; the other, now on the other side, is not looked at again."""

    def table(one: float, other: float, members: int) -> dict[str, Result]:
        return {name: Result(np.full((members, 1, 1), mean), {}, {}, ("a",), 1) for name, mean in (("one", one), ("other", other))}

    def parts(results: Mapping[str, Result]) -> tuple[Finding, ...]:
        members = len(results["one"].curve)
        return tuple(Finding(name, estimated(results[name].curve.mean(), freedom=members - 1), True) for name in results)

    failing, passing = Gate("a gate", 0.5, False), Gate("a gate", 0.96, True)
    first, second = table(1.0, 0.1, 7), table(-1.0, 1.0, 13)
    looked = verdict(lambda _: (passing,), parts, {7: first}, (7, 13))
    assert looked.decisions == ("held", "open") and looked.headline == "open at this scale: 1 of 2 parts hold"
    both = verdict(lambda _: (passing,), parts, {7: first, 13: second}, (7, 13))
    assert both.decisions == ("held", "held") and both.headline == "consistent at this scale: 2 of 2 parts hold"
    assert [part.found.value for part in both.parts if isinstance(part, Finding)] == [1.0, 1.0]
    closed = verdict(lambda _: (failing, passing), parts, {7: first}, (7, 13))
    assert closed.outcome == "not applicable" and closed.headline == "not applicable at this scale: not so that a gate"


def test_first_and_last_visits_do_not_overlap() -> None:
    scores = np.arange(8.0)[None].repeat(2, 0)
    assert first(scores)[0].tolist() == [0, 1, 2] and last(scores)[0].tolist() == [5, 6, 7]
    assert first(scores[:, :4])[0].tolist() == [0, 1] and last(scores[:, :4])[0].tolist() == [2, 3]


def test_the_margin_is_a_tenth() -> None:
    def ends(early: float, late: float) -> np.ndarray:
        return np.array([early] * 3 + [late] * 3)[None] + NOISE[:, None]

    decided_by = {0.47: ["held"], 0.45: ["at the margin"], 0.43: ["not held"]}
    assert {late: decided(keeps("", ends(0.5, late))) for late in decided_by} == decided_by
    assert [decided(loses("", ends(0.5, late))) for late in decided_by] == [["not held"], ["at the margin"], ["held"]]


def test_claim_1() -> None:
    """The settings need not agree on which of the two fails alone."""

    def table(none=FALLS, norm=FALLS, decay=FALLS, both=STAYS, norm_other=STAYS, decay_other=STAYS):
        one = {"none": none, "layer-norm": norm, "weight-decay": decay, "layer-norm + weight-decay": both}
        other = one | {"layer-norm": norm_other, "weight-decay": decay_other}
        return {f"{panel}: {name}": result(score) for panel, arms in (("A", one), ("B", other)) for name, score in arms.items()}

    assert come_to(1, table()) == "consistent"
    assert come_to(1, table(none=STAYS)) == "inconsistent"
    assert come_to(1, table(both=FALLS)) == "inconsistent"
    assert come_to(1, table(norm=STAYS)) == "inconsistent"
    assert come_to(1, table(norm=STAYS, norm_other=FALLS)) == "consistent"
    margin = np.array([0.5] * 3 + [0.475] * 2 + [0.45] * 3)
    assert come_to(1, table(both=margin)) == "open"


def test_claim_2() -> None:
    """Without NaP the methods span 0.2 to 0.4, with it 0.45 to 0.5: a quarter of the gap."""
    grows, falls = np.linspace(10, 30, VISITS), np.linspace(10, 3, VISITS)

    def table(weights=grows, rate=falls, turned=falls, held=10.0, least=0.45, worse=0.0):
        measured = dict(weight_norm=weights, rate_over_norm=rate, effective_learning_rate=turned)
        found = {"without NaP: layer-norm": result(0.4, **measured)}
        found |= {"with NaP: none": result(0.45, rate_over_norm=held)}
        found |= {f"without NaP: {m}": result(level) for m, level in zip(METHODS, np.linspace(0.2, 0.4, 6), strict=True)}
        found |= {f"with NaP: {m}": result(level) for m, level in zip(METHODS, np.linspace(least, 0.5, 6), strict=True)}
        return found | ({f"with NaP: {METHODS[5]}": result(worse)} if worse else {})

    assert come_to(2, table()) == "consistent"
    assert come_to(2, table(weights=falls)) == "inconsistent"
    assert come_to(2, table(rate=10.0)) == "inconsistent" and come_to(2, table(turned=10.0)) == "inconsistent"
    assert come_to(2, table(held=falls)) == "inconsistent"
    assert come_to(2, table(held=np.linspace(10, 10.3, VISITS))) == "inconsistent", "2% are more than the 1% that counts as held"
    assert come_to(2, table(held=np.linspace(10, 10.05, VISITS))) == "consistent"
    assert come_to(2, table(least=0.35)) == "inconsistent", "0.15 is more than half of 0.2"
    assert come_to(2, table(worse=0.39)) == "inconsistent", "one method loses"
    assert come_to(2, table(worse=0.41)) == "inconsistent", "a gain of 0.01 does not matter"


def test_claim_3() -> None:
    """One visit, ten tenths. Layer norm ends at 0.9, NaP at a constant rate at 0.8, with a linear schedule at 0.88: 80% regained."""

    def table(free=0.9, constant=0.8, linear=0.88, common=0.88, layered=0.9):
        curves = {"layer-norm": free, "nap, constant": constant, "nap, linear": linear}
        curves |= {"nap, recorded": common, "nap, recorded by layer": layered}
        return {name: result(np.linspace(0.5, end, WINDOWS)[None], "a") for name, end in curves.items()}

    assert come_to(3, table()) == "consistent"
    assert come_to(3, table(constant=0.95)) == "inconsistent"
    assert come_to(3, table(linear=0.84)) == "inconsistent", "less than half"
    assert come_to(3, table(common=0.82)) == "inconsistent"
    assert come_to(3, table(layered=0.85)) == "inconsistent", "0.025 apart on average"
    scattered = table()
    curve = scattered["nap, constant"].curve.copy()
    curve[:, 0, -1] = 0.9 + np.tile([0.1, -0.1], 5)
    scattered["nap, constant"] = Result(curve, {}, {}, ("a",), 800)
    assert come_to(3, scattered) == "open"


def test_claim_4() -> None:
    """Shares of dead units at the end of the run, paired."""

    def table(default=0.4, fixed=0.22, noise=0.0):
        shares = {"adam": default + noise * np.tile([1, -1], 5), "adam, beta2 = 0.9, epsilon = 1e-3": np.full(MEMBERS, fixed)}
        return {
            name: Result(np.zeros((MEMBERS, 1, 1)), {CENSUS: (share + NOISE)[:, None]}, {}, ("a",), 1) for name, share in shares.items()
        }

    assert come_to(4, table()) == "consistent"
    assert come_to(4, table(default=0.26)) == "inconsistent", "0.04 do not matter"
    assert come_to(4, table(fixed=0.5)) == "inconsistent"
    assert come_to(4, table(noise=0.5)) == "open"


def test_claim_5() -> None:
    """The second and the third of four visits count."""

    def table(small=0.8, middle=0.6, large=0.3, two_hot=0.7, last=0.1):
        ends = {"squared error: mean 0": small, "squared error: mean 10": middle, "squared error: mean 100": large}
        ends |= {"two-hot: mean 0": 0.8, "two-hot: mean 100": two_hot}
        return {key: result([0.1, end, end, last], "abcd") for key, end in ends.items()}

    assert come_to(5, table()) == "consistent", "two-hot loses 0.1 of 0.5"
    assert come_to(5, table(middle=0.9)) == "inconsistent", "not monotone"
    assert come_to(5, table(large=0.77, middle=0.79)) == "inconsistent", "less than 0.05 is lost"
    assert come_to(5, table(two_hot=0.5)) == "inconsistent", "0.3 of 0.5 are more than half"
    assert come_to(5, table(two_hot=0.55)) == "open"


def test_claim_6() -> None:
    """Ends of the last visit: re-initialisation adds 0.1 alone, 0.02 beside other regularisers, 0.05 under label noise."""

    def table(alone=0.1, tuned=0.02, noisy=0.05):
        gains = {"alone": alone, "regularised": tuned, "regularised, noisy labels": noisy}
        ends = {f"{panel}: standard": 0.5 for panel in gains} | {f"{panel}: re-initialised": 0.5 + gain for panel, gain in gains.items()}
        return {key: result(np.array([[0.1] * WINDOWS, [0.1] * (WINDOWS - 1) + [end]]), "ab") for key, end in ends.items()}

    assert come_to(6, table()) == "consistent"
    assert come_to(6, table(alone=-0.1)) == "inconsistent"
    assert come_to(6, table(tuned=0.08)) == "inconsistent", "more than half of what it adds alone"
    assert come_to(6, table(noisy=-0.05)) == "inconsistent"
    assert come_to(6, table(tuned=0.05)) == "open", "exactly half"
    assert come_to(6, table(noisy=0.01)) == "inconsistent", "too little to matter"


def test_claim_7() -> None:
    def table(none=FALLS, **others):
        methods = {"continual-backprop": 0.5, "l2-init": 0.5, "shrink-and-perturb": 0.5} | others
        return {name: result(score) for name, score in ({"none": none} | methods).items()}

    assert come_to(7, table()) == "consistent"
    assert come_to(7, table(none=np.linspace(0.3, 0.4, VISITS))) == "inconsistent", "backprop does not fall"
    assert come_to(7, table(**{"l2-init": np.linspace(0.9, 0.65, VISITS)})) == "inconsistent", "above it, and falls as far"
    assert come_to(7, table(**{"l2-init": 0.1})) == "inconsistent", "keeps, below it"
    level = table(**{"l2-init": float(last(table()["none"].area).mean())})
    level["l2-init"].curve[:] += np.tile([0.3, -0.3], 5)[:, None, None]
    assert come_to(7, level) == "open"


def test_claim_8() -> None:
    """One reversed pair suffices; all pairs alike contradict it; an indistinguishable pair leaves it open."""

    def table(adam, sgd):
        return {
            f"{optimizer}: {name}": result(level)
            for optimizer, row in (("Adam", adam), ("SGD", sgd))
            for name, level in zip("abc", row, strict=True)
        }

    assert come_to(8, table((0.3, 0.4, 0.5), (0.3, 0.5, 0.4))) == "consistent"
    assert come_to(8, table((0.3, 0.4, 0.5), (0.1, 0.2, 0.9))) == "inconsistent"
    unsure = table((0.3, 0.4, 0.5), (0.1, 0.2, 0.9))
    unsure["SGD: b"].curve[:] += np.tile([0.7, -0.7], 5)[:, None, None] + 0.7
    assert come_to(8, unsure) == "open"


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
    assert come_to(9, table()) == "consistent"
    assert come_to(9, table(forgotten=(0.6, 0.2, 0.4))) == "inconsistent"
    assert come_to(9, table(gained=-0.1)) == "inconsistent"
    wavering = table()
    wavering["512"].curve[:, 2:, 0] += np.tile([0.5, -0.5], 5)[:, None] - 0.2
    assert come_to(9, wavering) == "open"


def test_claim_10() -> None:
    """Returns after the first task, of 500."""

    def table(none=60.0, clipping=150.0, churn=160.0, init=266.0):
        levels = {"none": none, "fresh control": 300.0, "l2-init": init, "churn": churn, "weight-clipping": clipping}
        return {name: result([350.0] + [level] * 9, "abcdefghij") for name, level in levels.items()}

    assert come_to(10, table()) == "consistent"
    assert come_to(10, table(none=290)) == "inconsistent" and come_to(10, table(clipping=70)) == "inconsistent", "10 do not matter"
    assert come_to(10, table(init=150)) == "inconsistent", "C-CHAIN ahead of L2 Init"


def test_claim_12() -> None:
    def table(l2=FALLS, redo=STAYS):
        methods = {"none": FALLS, "l2": l2, "l2-init": STAYS, "continual-backprop": STAYS, "redo": redo}
        return {name: result(score) for name, score in methods.items()}

    assert come_to(12, table()) == "consistent"
    assert come_to(12, table(l2=STAYS)) == come_to(12, table(redo=FALLS)) == "inconsistent"


def test_claim_13() -> None:
    def table(none=FALLS, l2=0.4):
        return (
            {"none": result(none)}
            | {name: result(level) for name, level in dict.fromkeys(METHODS, 0.4).items()}
            | {
                "continual-backprop": result(0.4),
                "l2": result(l2),
            }
        )

    assert come_to(13, table()) == "consistent"
    assert come_to(13, table(none=STAYS)) == "inconsistent" and come_to(13, table(l2=0.24)) == "inconsistent", "0.006 above 0.234"


def test_claim_14() -> None:
    """The first and the last of ten visits."""

    def table(last=0.3, kept=0.4):
        plain = [0.5] + [0.4] * 8 + [last]
        arms = {"none": plain, "continual-backprop": [0.4] * 9 + [kept]}
        return {name: result(score, "abcdefghij") for name, score in arms.items()}

    assert come_to(14, table()) == "consistent"
    assert come_to(14, table(last=0.5)) == "inconsistent" and come_to(14, table(kept=0.31)) == "inconsistent"
