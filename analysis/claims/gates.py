"""The gates of the claims: conditions without which a claim says nothing at this scale. Each is decided by a point estimate.

- The fresh control finishes its tasks, as in the papers: a network that never finishes one is judged by how fast it starts.
- Plain training at its best rate over the whole life loses plasticity: otherwise there is nothing for a method to keep.
- No arm's compared score is at its ceiling throughout: otherwise there is nothing to compare. A finished task's last window may be at 1;
  what counts is the score that the claim compares, which for most claims is the mean over a visit.
"""

from collections.abc import Callable, Iterable

import numpy as np

from analysis.claims.predicates import Gate, Results
from analysis.claims.results import Result, last

FINISHED = 0.95
"""score in the last tenth of a visit from which a task counts as finished"""
LOST = 0.2
"""least share of the first visit's score that plain training must lose"""
CEILING = 0.995
"""score above which an arm cannot be told from a better one"""
OVERFITS = 0.02
"""least fall of test accuracy from the first stage to the last, from which warm starts are known to cost something"""

Gates = Callable[[Results], tuple[Gate, ...]]


def finishes(who: str, result: Result, visits: slice = slice(None)) -> Gate:
    value = float(result.curve[:, visits, -1].mean())
    return Gate(f"{who} finishes its tasks: score in the last tenth of a visit >= {FINISHED}", value, value >= FINISHED)


def loses(who: str, result: Result, least: float = LOST) -> Gate:
    value = 1 - float(last(result.area).mean() / result.area[:, 0].mean())
    return Gate(f"{who} loses at least {least:.0%} of the first visit's score", value, value >= least)


def no_ceiling(scores: Iterable[np.ndarray], what: str = "score") -> Gate:
    """`scores`: (members, visits) of each arm; at the ceiling is an arm whose mean is above it in every visit."""
    value = max(float(each.mean(axis=0).min()) for each in scores)
    return Gate(f"no arm's {what} is above {CEILING} throughout", value, value <= CEILING)


def _areas(results: Results) -> list[np.ndarray]:
    return [result.area for result in results.values()]


def trainability(results: Results) -> tuple[Gate, ...]:
    panels = dict.fromkeys(key.partition(": ")[0] for key in results)
    fresh = tuple(finishes(f"fresh control, {panel}", results[f"{panel}: fresh control"]) for panel in panels)
    return (*fresh, *(loses(f"none, {panel}", results[f"{panel}: none"]) for panel in panels), no_ceiling(_areas(results)))


def normalize_and_project(results: Results) -> tuple[Gate, ...]:
    fresh, plain = results["without NaP: fresh control"], results["without NaP: none"]
    return finishes("fresh control", fresh), loses("none", plain), no_ceiling(_areas(results))


def explicit_schedules(results: Results) -> tuple[Gate, ...]:
    return (no_ceiling([result.curve[:, 0, -1:] for result in results.values()], "end"),)


def dead_units(results: Results) -> tuple[Gate, ...]:
    return finishes("fresh control", results["fresh control"]), loses("adam", results["adam"])


def large_means(results: Results) -> tuple[Gate, ...]:
    later = [result.area[:, 1:] for result in results.values()]
    learns = [finishes(key, results[key], slice(1, None)) for key in results if key.endswith("mean 0")]
    return (*learns, no_ceiling(later))


def reinitialisation(results: Results) -> tuple[Gate, ...]:
    ends = results["alone: standard"].curve[..., -1]
    value = float(ends[:, 0].mean() - ends[:, -1].mean())
    return (
        Gate(f"standard training loses at least {OVERFITS} of test accuracy from the first stage to the last", value, value >= OVERFITS),
    )


def permuted_inputs(results: Results) -> tuple[Gate, ...]:
    return finishes("fresh control", results["fresh control"]), loses("none", results["none"]), no_ceiling(_areas(results))


def rankings(results: Results) -> tuple[Gate, ...]:
    return (
        finishes("fresh control, Adam", results["Adam: fresh control"]),
        loses("none, Adam", results["Adam: none"]),
        no_ceiling(_areas(results)),
    )


def widths(results: Results) -> tuple[Gate, ...]:
    tasks = {key: len(set(result.tasks)) for key, result in results.items()}
    return tuple(finishes(key, result, slice(tasks[key])) for key, result in results.items())


def continual_control(results: Results) -> tuple[Gate, ...]:
    fresh, plain = results["fresh control"], results["none"]
    value = 1 - float(plain.area[:, 1:].mean() / fresh.area[:, 1:].mean())
    return (Gate(f"none loses at least {LOST:.0%} of the fresh control's return after the first task", value, value >= LOST),)


def as_published(results: Results) -> tuple[Gate, ...]:
    return finishes("fresh control", results["fresh control"]), no_ceiling(_areas(results))


def slow_bits(results: Results) -> tuple[Gate, ...]:
    return (no_ceiling(_areas(results)),)


GATES: dict[int, Gates] = {
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
    12: as_published,
    13: as_published,
    14: slow_bits,
}
