"""The parts of the claims, each a number with a side and a smallest effect: pure functions of the results of a claim's arms.

They were written before anything was trained at this edition's settings. "First" and "last" visits are three from either end. "Keeps" and
"loses" have a margin of a tenth: the last visits' mean score minus 0.9 times the first visits' is above 0, or below. All statistics are
paired by member: each seed has the same data in every arm. Scores are means over a visit unless a part says otherwise.
"""

from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np

from analysis.claims.predicates import EFFECT, All, Any, Finding, Part, Results, above, below
from analysis.claims.results import CENSUS, Result, first, last
from analysis.statistics.intervals import difference, mean

KEPT = 0.9
"""share of the first visits' score that a network retains in the last ones if it keeps its trainability"""
MATCHED = 0.01
"""largest difference in accuracy at which curves match"""
HELD = 0.01
"""largest relative change of a quantity that counts as held"""
TURNED = 0.1
"""smallest relative change of a norm or an effective learning rate that matters"""
KILLED = 0.05
"""smallest difference between shares of dead units that matters"""
FALL = 0.05
"""smallest loss of explained variance by a large mean that matters"""

METHODS = ("l2", "l2-init", "leaky-relu", "noisy-updates", "redo", "shrink-and-perturb")
"""methods that claim 2 tests with and without NaP"""


def _left(late: np.ndarray, early: np.ndarray) -> np.ndarray:
    """The retained share of the first visits' score, minus the share required."""
    return mean(late) - KEPT * mean(early)


def _growth(late: np.ndarray, early: np.ndarray) -> np.ndarray:
    """Relative change."""
    return mean(late) / mean(early) - 1


def keeps(who: str, scores: np.ndarray) -> Finding:
    return above(f"{who}: last visits - {KEPT} x first visits > 0", _left, last(scores), first(scores))


def loses(who: str, scores: np.ndarray) -> Finding:
    return below(f"{who}: last visits - {KEPT} x first visits < 0", _left, last(scores), first(scores))


def trainability(results: Results) -> tuple[Part, ...]:
    """1. The plain network loses and layer norm with weight decay keeps in every setting; each alone loses in some setting."""
    panels = list(dict.fromkeys(key.partition(": ")[0] for key in results))

    def of(panel: str, name: str) -> tuple[str, np.ndarray]:
        return f"{name}, {panel}", results[f"{panel}: {name}"].area

    return (
        *(loses(*of(panel, "none")) for panel in panels),
        *(keeps(*of(panel, "layer-norm + weight-decay")) for panel in panels),
        Any("layer norm alone loses in some setting", tuple(loses(*of(panel, "layer-norm")) for panel in panels)),
        Any("weight decay alone loses in some setting", tuple(loses(*of(panel, "weight-decay")) for panel in panels)),
    )


def _spread(*scores: np.ndarray) -> np.ndarray:
    means = np.stack([mean(each) for each in scores])
    return means.max(axis=0) - means.min(axis=0)


def normalize_and_project(results: Results) -> tuple[Part, ...]:
    """2. Layer norm's weights grow and its effective learning rate falls, NaP's does not; NaP lifts all methods and closes their gaps."""
    norm, nap = results["without NaP: layer-norm"].measures, results["with NaP: none"].measures
    without = [results[f"without NaP: {method}"].area for method in METHODS]
    beside = [results[f"with NaP: {method}"].area for method in METHODS]
    count = len(METHODS)

    def ends(measure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return last(measure), first(measure)

    def moved(late: np.ndarray, early: np.ndarray) -> np.ndarray:
        return np.abs(_growth(late, early)) - HELD

    def narrower(*scores: np.ndarray) -> np.ndarray:
        return _spread(*scores[:count]) - 0.5 * _spread(*scores[count:])

    grown = "relative change from the first visits to the last"
    return (
        above(f"layer norm: norm of hidden weights, {grown} > 0", _growth, *ends(norm["weight_norm"]), effect=TURNED),
        below(f"layer norm: rate over norm, {grown} < 0", _growth, *ends(norm["rate_over_norm"]), effect=TURNED),
        below(f"layer norm: ||dW|| / ||W||, {grown} < 0", _growth, *ends(norm["effective_learning_rate"]), effect=TURNED),
        below(f"NaP: rate over norm, size of the {grown} - {HELD} < 0", moved, *ends(nap["rate_over_norm"])),
        *(
            above(f"NaP lifts {method}: score over all visits with NaP - without > 0", difference, better, other, effect=EFFECT)
            for method, better, other in zip(METHODS, beside, without, strict=True)
        ),
        below(
            "gap between the best and the worst method over all visits: with NaP - half of that without < 0", narrower, *beside, *without
        ),
    )


def explicit_schedules(results: Results) -> tuple[Part, ...]:
    """3. NaP at a constant rate ends below the unprojected run; a linear schedule recovers, a recorded one comes close, one per layer
    matches. The end is the last tenth of the updates; a curve has ten tenths."""
    curves = {name: result.curve.reshape(len(result.curve), -1) for name, result in results.items()}
    end = {name: curve[:, -1:] for name, curve in curves.items()}
    free, constant, linear = (end[name] for name in ("layer-norm", "nap, constant", "nap, linear"))

    def regained(linear: np.ndarray, constant: np.ndarray, free: np.ndarray) -> np.ndarray:
        return (mean(linear) - mean(constant)) - 0.5 * (mean(free) - mean(constant))

    def distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.abs(one.mean(axis=-2) - other.mean(axis=-2)).mean(axis=-1)

    def halved(near: np.ndarray, far: np.ndarray, free: np.ndarray) -> np.ndarray:
        return distance(near, free) - 0.5 * distance(far, free)

    def matched(near: np.ndarray, free: np.ndarray) -> np.ndarray:
        return distance(near, free) - MATCHED

    recorded = curves["nap, recorded"], curves["nap, constant"], curves["layer-norm"]
    return (
        below("end of NaP at the constant rate - end of layer norm < 0", difference, constant, free, effect=EFFECT),
        above("the linear schedule regains more than half of that at the end: difference > 0", regained, linear, constant, free),
        below("the recorded global rate's curve is less than half as far from layer norm's as the constant rate's", halved, *recorded),
        below(
            f"the curve under recorded rates by layer is less than {MATCHED} from layer norm's",
            matched,
            curves["nap, recorded by layer"],
            curves["layer-norm"],
        ),
    )


def dead_units(results: Results) -> tuple[Part, ...]:
    """4. Adam's defaults kill more units than beta2 = 0.9 with epsilon = 1e-3, as a paired difference on all images."""
    default, safe = results["adam"].measures[CENSUS], results["adam, beta2 = 0.9, epsilon = 1e-3"].measures[CENSUS]
    words = "share of dead units on all images at the end of the run, defaults - beta2 = 0.9 with epsilon = 1e-3 > 0"
    return (above(words, difference, default, safe, effect=KILLED),)


def large_means(results: Results) -> tuple[Part, ...]:
    """5. The larger the mean fitted first, the worse later targets are learned; two-hot targets prevent more than half of that."""
    squared, two_hot = ([key for key in results if key.startswith(f"{panel}: ")] for panel in ("squared error", "two-hot"))

    def of(key: str, visit: slice | int = slice(1, 3)) -> np.ndarray:
        visit = slice(visit, visit + 1) if isinstance(visit, int) else visit
        return results[key].area[:, visit]

    def prevented(small: np.ndarray, large: np.ndarray, two_hot_small: np.ndarray, two_hot_large: np.ndarray) -> np.ndarray:
        return 0.5 * difference(small, large) - difference(two_hot_small, two_hot_large)

    def falls(far: str, near: str, effect: float) -> Finding:
        return below(f"visits 1 and 2: {far} - {near} < 0", difference, of(far), of(near), effect=effect)

    ends = squared[0], squared[-1], two_hot[0], two_hot[-1]
    return (
        falls(squared[-1], squared[0], FALL),
        *(falls(far, near, EFFECT) for near, far in pairwise(squared)),
        *(
            above(
                f"visit {visit}: half of squared error's loss by the mean - two-hot's loss > 0",
                prevented,
                *(of(key, visit) for key in ends),
            )
            for visit in (1, 2)
        ),
    )


def reinitialisation(results: Results) -> tuple[Part, ...]:
    """6. Re-initialisation helps alone and under label noise, but adds little to tuned regularisation. Test accuracy at the end."""

    def of(panel: str) -> tuple[np.ndarray, np.ndarray]:
        return tuple(results[f"{panel}: {name}"].curve[:, -1, -1:] for name in ("re-initialised", "standard"))  # type: ignore[return-value]

    def little(tuned: np.ndarray, tuned_standard: np.ndarray, alone: np.ndarray, alone_standard: np.ndarray) -> np.ndarray:
        return difference(tuned, tuned_standard) - 0.5 * difference(alone, alone_standard)

    alone, tuned, noisy = of("alone"), of("regularised"), of("regularised, noisy labels")
    return (
        above("no other regulariser: re-initialised - standard > 0", difference, *alone, effect=EFFECT),
        below("gain beside weight decay and schedule - half of the gain alone < 0", little, *tuned, *alone),
        above("weight decay and schedule under label noise: re-initialised - standard > 0", difference, *noisy, effect=EFFECT),
    )


def permuted_inputs(results: Results) -> tuple[Part, ...]:
    """7. Backpropagation falls; continual backprop, L2 Init and shrink and perturb fall less than half as far and end above it."""

    def fall(late: np.ndarray, early: np.ndarray, plain_late: np.ndarray, plain_early: np.ndarray) -> np.ndarray:
        return difference(late, early) - 0.5 * difference(plain_late, plain_early)

    plain = last(results["none"].area), first(results["none"].area)
    parts = [below("backprop: last - first visits < 0", difference, *plain, effect=EFFECT)]
    for method in ("continual-backprop", "l2-init", "shrink-and-perturb"):
        area = results[method].area
        parts.append(above(f"{method}: change from first to last - half of backprop's > 0", fall, last(area), first(area), *plain))
        parts.append(above(f"{method}: last visits - backprop's > 0", difference, last(area), plain[0], effect=EFFECT))
    return tuple(parts)


def rankings(results: Results) -> tuple[Part, ...]:
    """8. Some pair of methods ranks in opposite order under Adam and SGD, over all visits."""
    names = [name for name in (key.partition(": ")[2] for key in results if key.startswith("Adam: ")) if name != "fresh control"]
    pairs = [pair for one in combinations(names, 2) for pair in (one, one[::-1])]

    def ahead(optimizer: str, better: str, other: str) -> Finding:
        scores = [results[f"{optimizer}: {name}"].area for name in (better, other)]
        return above(f"{optimizer}: {better} above {other}", difference, *scores, effect=EFFECT)

    return (
        Any(
            f"one of {len(pairs)} ordered pairs of methods is ahead under Adam and behind under SGD",
            tuple(
                All(f"{one} before {other} under Adam and behind it under SGD", (ahead("Adam", one, other), ahead("SGD", other, one)))
                for one, other in pairs
            ),
        ),
    )


def forgetting(result: Result) -> np.ndarray:
    """Score in the last tenth of a visit minus that in the first tenth of the next visit to the same task, (members, returns)."""
    before: dict[str, int] = {}
    drops = []
    for visit, task in enumerate(result.tasks):
        if task in before:
            drops.append(result.curve[:, before[task], -1] - result.curve[:, visit, 0])
        before[task] = visit
    return np.stack(drops, axis=1)


def first_and_later(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Areas of the last visit to each revisited task, and of the first, (members, tasks) each."""
    visits = {task: [visit for visit, each in enumerate(result.tasks) if each == task] for task in dict.fromkeys(result.tasks)}
    again = [each for each in visits.values() if len(each) > 1]
    return result.area[:, [each[-1] for each in again]], result.area[:, [each[0] for each in again]]


def widths(results: Results) -> tuple[Part, ...]:
    """9. Wider networks forget less from one visit to the next; revisited tasks are learned better than when they were new."""
    return (
        *(
            below(f"forgetting: {wide} - {narrow} < 0", difference, forgetting(results[wide]), forgetting(results[narrow]), effect=EFFECT)
            for narrow, wide in pairwise(results)
        ),
        *(
            above(
                f"{width}: score of the last visit to a task - that of the first > 0", difference, *first_and_later(result), effect=EFFECT
            )
            for width, result in results.items()
        ),
    )


def continual_control(results: Results) -> tuple[Part, ...]:
    """10. On CartPole under untold offsets, plain PPO falls below new networks, and L2 Init, C-CHAIN and weight clipping lie between."""
    area = {key: result.area[:, 1:] for key, result in results.items()}
    few = 20.0  # of 500: the smallest difference in return that matters
    between = ("l2-init", "churn", "weight-clipping")
    return (
        below("none - fresh control < 0, tasks after the first", difference, area["none"], area["fresh control"], effect=few),
        *(above(f"{name} - none > 0, tasks after the first", difference, area[name], area["none"], effect=few) for name in between),
        above("l2-init - churn > 0, tasks after the first", difference, area["l2-init"], area["churn"], effect=few),
    )


def kumar_labels(results: Results) -> tuple[Part, ...]:
    """12. Plain Adam and L2 lose; L2 Init, continual backprop and ReDo keep."""
    return (
        *(loses(name, results[name].area) for name in ("none", "l2")),
        *(keeps(name, results[name].area) for name in ("l2-init", "continual-backprop", "redo")),
    )


def kumar_permuted(results: Results) -> tuple[Part, ...]:
    """13. Plain Adam falls; four methods end above it."""
    plain = last(results["none"].area), first(results["none"].area)
    return (
        below("none: last - first visits < 0", difference, *plain, effect=EFFECT),
        *(
            above(f"{name}: last visits - none's > 0", difference, last(results[name].area), plain[0], effect=EFFECT)
            for name in ("l2", "l2-init", "continual-backprop", "redo")
        ),
    )


def slow_bits(results: Results) -> tuple[Part, ...]:
    """14. Plain training's explained variance falls; continual backprop's ends above it. First and last are tenths of the flips."""
    tenth = results["none"].area.shape[1] // 10
    late = {name: result.area[:, -tenth:] for name, result in results.items() if name != "fresh control"}
    return (
        below("none: last - first tenth < 0", difference, late["none"], results["none"].area[:, :tenth], effect=EFFECT),
        above("continual-backprop - none, last tenth > 0", difference, late["continual-backprop"], late["none"], effect=EFFECT),
    )


VERDICTS: dict[int, Callable[[Results], tuple[Part, ...]]] = {
    1: trainability,
    2: normalize_and_project,
    3: explicit_schedules,
    4: dead_units,
    5: large_means,
    6: reinitialisation,
    7: permuted_inputs,
    8: rankings,
    9: widths,
    10: continual_control,
    12: kumar_labels,
    13: kumar_permuted,
    14: slow_bits,
}
