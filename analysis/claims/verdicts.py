"""The predicates of the nine claims, each a pure function of the results of its arms. They were written before anything was trained.

"First" and "last" visits are three from either end. "Keeps" and "loses" have a margin of a tenth: the last visits' mean score minus 0.9
times the first visits' is above 0, or below. All statistics are paired by member: each seed has the same data in every arm.
"""

from collections.abc import Callable, Mapping
from itertools import combinations, pairwise

import numpy as np

from analysis.claims.predicates import All, Any, Finding, Predicate, above, below
from analysis.claims.results import Result
from analysis.scores.verdict import FIRST_AND_LAST
from analysis.statistics.intervals import difference, mean

KEPT = 0.9
"""share of the first visits' score that a network retains in the last ones if it keeps its trainability"""
DEAD = 0.1
"""share of dead units above an untrained network's that counts as killed"""
MATCHED = 0.01
"""largest difference in accuracy at which curves match"""

Results = Mapping[str, Result]
"""arm's key -> result; the key is `panel: name`, or the name alone"""

METHODS = ("l2", "l2-init", "leaky-relu", "noisy-updates", "redo", "shrink-and-perturb")
"""methods that claim 2 tests with and without NaP"""


def first(scores: np.ndarray) -> np.ndarray:
    """The first visits' columns: (members, visits) -> (members, up to three)."""
    return scores[:, : min(FIRST_AND_LAST, max(1, scores.shape[1] // 2))]


def last(scores: np.ndarray) -> np.ndarray:
    """The last visits' columns: (members, visits) -> (members, up to three)."""
    return scores[:, -min(FIRST_AND_LAST, max(1, scores.shape[1] // 2)) :]


def _left(late: np.ndarray, early: np.ndarray) -> np.ndarray:
    """The retained share of the first visits' score, minus the share required."""
    return mean(late) - KEPT * mean(early)


def keeps(who: str, scores: np.ndarray) -> Finding:
    return above(f"{who}: last visits - {KEPT} x first visits > 0", _left, last(scores), first(scores))


def loses(who: str, scores: np.ndarray) -> Finding:
    return below(f"{who}: last visits - {KEPT} x first visits < 0", _left, last(scores), first(scores))


def trainability(results: Results) -> Predicate:
    """1. The plain network loses and layer norm with weight decay keeps in every setting; each alone loses in some setting."""
    panels = list(dict.fromkeys(key.partition(": ")[0] for key in results))

    def of(panel: str, name: str) -> tuple[str, np.ndarray]:
        return f"{name}, {panel}", results[f"{panel}: {name}"].area

    return All(
        "all of:",
        (
            All("the plain network loses in every setting", tuple(loses(*of(panel, "none")) for panel in panels)),
            All(
                "layer norm with weight decay keeps in every setting",
                tuple(keeps(*of(panel, "layer-norm + weight-decay")) for panel in panels),
            ),
            Any("layer norm alone loses in some setting", tuple(loses(*of(panel, "layer-norm")) for panel in panels)),
            Any("weight decay alone loses in some setting", tuple(loses(*of(panel, "weight-decay")) for panel in panels)),
        ),
    )


def _spread(*scores: np.ndarray) -> np.ndarray:
    means = np.stack([mean(each) for each in scores])
    return means.max(axis=0) - means.min(axis=0)


def normalize_and_project(results: Results) -> Predicate:
    """2. Layer norm's weights grow and its effective learning rate falls, NaP's does not; NaP lifts all methods and closes their gaps."""
    norm, nap = results["without NaP: layer-norm"].measures, results["with NaP: none"].measures
    weights, rate, held = norm["weight_norm"], norm["effective_learning_rate"], nap["effective_learning_rate"]
    without = [results[f"without NaP: {method}"].area for method in METHODS]
    beside = [results[f"with NaP: {method}"].area for method in METHODS]
    count = len(METHODS)

    def narrower(*scores: np.ndarray) -> np.ndarray:
        return _spread(*scores[:count]) - 0.5 * _spread(*scores[count:])

    return All(
        "all of:",
        (
            above("layer norm: norm of hidden weights, last - first visits > 0", difference, last(weights), first(weights)),
            loses("effective learning rate under layer norm", rate),
            keeps("effective learning rate under NaP", held),
            All(
                "NaP lifts every method: score over all visits with NaP - without > 0",
                tuple(above(method, difference, better, other) for method, better, other in zip(METHODS, beside, without, strict=True)),
            ),
            below(
                "gap between the best and the worst method over all visits: with NaP - half of that without < 0",
                narrower,
                *beside,
                *without,
            ),
        ),
    )


def explicit_schedules(results: Results) -> Predicate:
    """3. NaP at a constant rate ends below the unprojected run; a linear schedule recovers, a recorded one comes close, one per layer
    matches."""
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

    near = curves["nap, recorded by layer"], curves["layer-norm"]
    return All(
        "all of (the end is the last tenth of the updates, a curve has ten tenths):",
        (
            below("end of NaP at the constant rate - end of layer norm < 0", difference, constant, free),
            above(
                "the linear schedule regains more than half of that at the end: difference > 0",
                regained,
                linear,
                constant,
                free,
            ),
            below(
                "the curve under the recorded global rate is less than half as far from layer norm's as that at the constant rate",
                halved,
                curves["nap, recorded"],
                curves["nap, constant"],
                curves["layer-norm"],
            ),
            below(f"the curve under recorded rates by layer is less than {MATCHED} from layer norm's", matched, *near),
        ),
    )


def dead_units(results: Results) -> Predicate:
    """4. Adam's defaults kill units, beta2 = 0.9 with epsilon = 1e-3 does not."""

    def killed(now: np.ndarray, untrained: np.ndarray) -> np.ndarray:
        return mean(now) - mean(untrained) - DEAD

    def of(name: str) -> tuple[np.ndarray, np.ndarray]:
        measures = results[name].measures
        return last(measures["dead_fraction"]), last(measures["dead_fraction_fresh"])

    claim = f"share of dead units in the last visits - an untrained network's - {DEAD}"
    return All(
        "all of:",
        (
            above(f"Adam's defaults: {claim} > 0", killed, *of("adam")),
            below(f"beta2 = 0.9, epsilon = 1e-3: {claim} < 0", killed, *of("adam, beta2 = 0.9, epsilon = 1e-3")),
        ),
    )


def large_means(results: Results) -> Predicate:
    """5. The larger the mean fitted first, the worse new targets are learned; not with two-hot targets."""
    squared, two_hot = ([key for key in results if key.startswith(f"{panel}: ")] for panel in ("squared error", "two-hot"))

    def of(key: str) -> np.ndarray:
        return results[key].area[:, -1:]

    return All(
        "all of (scores of the last visit, which all arms have in common):",
        (
            below(f"{squared[-1]} - {KEPT} x {squared[0]} < 0", _left, of(squared[-1]), of(squared[0])),
            All(
                "the score falls from each mean to the next larger one",
                tuple(below(f"{far} - {near} < 0", difference, of(far), of(near)) for near, far in pairwise(squared)),
            ),
            above(f"{two_hot[-1]} - {KEPT} x {two_hot[0]} > 0", _left, of(two_hot[-1]), of(two_hot[0])),
        ),
    )


def reinitialisation(results: Results) -> Predicate:
    """6. Re-initialisation helps alone and under label noise, but adds little to tuned regularisation."""

    def of(panel: str) -> tuple[np.ndarray, np.ndarray]:
        return tuple(results[f"{panel}: {name}"].curve[:, -1, -1:] for name in ("re-initialised", "standard"))  # type: ignore[return-value]

    def little(tuned: np.ndarray, tuned_standard: np.ndarray, alone: np.ndarray, alone_standard: np.ndarray) -> np.ndarray:
        return difference(tuned, tuned_standard) - 0.5 * difference(alone, alone_standard)

    alone, tuned, noisy = of("alone"), of("regularised"), of("regularised, noisy labels")
    return All(
        "all of (test accuracy at the end):",
        (
            above("no other regulariser: re-initialised - standard > 0", difference, *alone),
            below("gain beside weight decay and schedule - half of the gain alone < 0", little, *tuned, *alone),
            above("weight decay and schedule under label noise: re-initialised - standard > 0", difference, *noisy),
        ),
    )


def permuted_inputs(results: Results) -> Predicate:
    """7. Backpropagation falls; continual backprop, L2 Init and shrink and perturb fall less than half as far and end above it."""

    def fall(late: np.ndarray, early: np.ndarray, plain_late: np.ndarray, plain_early: np.ndarray) -> np.ndarray:
        return difference(late, early) - 0.5 * difference(plain_late, plain_early)

    plain = last(results["none"].area), first(results["none"].area)
    parts: list[Predicate] = [below("backprop: last - first visits < 0", difference, *plain)]
    for method in ("continual-backprop", "l2-init", "shrink-and-perturb"):
        area = results[method].area
        parts.append(above(f"{method}: change from first to last - half of backprop's > 0", fall, last(area), first(area), *plain))
        parts.append(above(f"{method}: last visits - backprop's > 0", difference, last(area), plain[0]))
    return All("all of:", tuple(parts))


def rankings(results: Results) -> Predicate:
    """8. Some pair of methods ranks in opposite order under Adam and SGD."""
    names = [key.partition(": ")[2] for key in results if key.startswith("Adam: ")]
    pairs = [pair for one in combinations(names, 2) for pair in (one, one[::-1])]

    def ahead(optimizer: str, better: str, other: str) -> Finding:
        scores = [results[f"{optimizer}: {name}"].area for name in (better, other)]
        return above(f"{optimizer}: {better} above {other}", difference, *scores, comparisons=len(pairs))

    return Any(
        f"one of {len(pairs)} (scores over all visits; intervals widened for {len(pairs)} comparisons):",
        tuple(
            All(f"{one} before {other} under Adam and behind it under SGD", (ahead("Adam", one, other), ahead("SGD", other, one)))
            for one, other in pairs
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


def widths(results: Results) -> Predicate:
    """9. Wider networks forget less from one visit to the next; revisited tasks are learned better than when they were new."""
    return All(
        "all of:",
        (
            All(
                "forgetting between two visits to a task is less for each width than for the next smaller one",
                tuple(
                    below(f"{wide} - {narrow} < 0", difference, forgetting(results[wide]), forgetting(results[narrow]))
                    for narrow, wide in pairwise(results)
                ),
            ),
            All(
                "knowledge accumulates at every width: score of the last visit to a task - that of the first > 0",
                tuple(above(width, difference, *first_and_later(result)) for width, result in results.items()),
            ),
        ),
    )


VERDICTS: dict[int, Callable[[Results], Predicate]] = {
    1: trainability,
    2: normalize_and_project,
    3: explicit_schedules,
    4: dead_units,
    5: large_means,
    6: reinitialisation,
    7: permuted_inputs,
    8: rankings,
    9: widths,
}
