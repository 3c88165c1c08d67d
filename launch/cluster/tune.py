"""Random search over fields of an experiment, in parallel on Ray, with early stopping by ASHA.

Ray Tune supplies the distributions and decides which trials to stop; the trials are runs of a sweep on Ray (`launch.cluster.sweep`),
written by this process alone. A trial is therefore a run like any other, which can be reported, resumed and played.
"""

import re
import shlex
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import sample
from rich.console import Console
from rich.table import Table

from analysis.scores.tuning import TUNED_ON
from launch import process
from launch.cluster import sweep
from launch.execution import Execution
from launch.run import runner
from launch.run.provenance import refuse_to_resume
from launch.run.store import Store
from launch.run.sweep import build
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.files import parse_json, read_toml
from plasticity_rl.records.events import Score, Tick
from plasticity_rl.records.folder import RunFolder, write_json
from plasticity_rl.records.spec import Spec

RANGE = re.compile(r"([^.\s]+(?:\.\d+)?(?:e[+-]?\d+)?)\.\.(\S+?)( log)?")
Said = dict[str, Any]
Search = Mapping[str, Sequence[Any]]
"""field of an experiment -> choices, whose words may hold ranges"""


class Stopping(NamedTuple):
    """Early stopping: scheduler and grace period."""

    scheduler: str
    grace: float
    """minimum share of the budget for every trial"""
    reduction: float


def default_grace(tuned_on: str) -> float:
    """Share of the budget before which no trial is stopped. Under `lifetime` 2/3: loss of plasticity shows late, and a ranking by less than
    about 60% of a life was seen to choose rates that collapse."""
    return 2 / 3 if tuned_on == "lifetime" else TUNED_ON[tuned_on]


def read_search(file: Path, fields: Sequence[str] = ()) -> tuple[Said, Search]:
    """Read the words common to all trials, and the search space. `fields` are as on the command line. Raises UsageError if the file has
    neither."""
    said = read_toml(file)
    table = said.pop("search", {})
    if not isinstance(table, dict):
        raise UsageError(f"search must be a table of {file}: [search]")
    search: dict[str, Sequence[Any]] = {}
    for name, choices in table.items():
        search[name] = choices if isinstance(choices, list) else [choices]
    for text in fields:
        name, equals, words = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is not of the form FIELD=WORDS")
        search[name] = [each.strip() for each in words.split("|")]
    if not search or not all(search.values()):
        raise UsageError(f"nothing to search: {file} has no [search] with words or choices, and no --field says any")
    if "chain" in search:
        search["chain"] = [[each] if isinstance(each, str) else each for each in search["chain"]]
    return said, search


def draw(said: Said, search: Search, trials: int, seed: int) -> list[Said]:
    """Draw `trials` different experiments in words, or all if there are fewer. Raises UsageError if one is invalid."""
    generator = np.random.default_rng(seed)
    found: dict[str, Said] = {}
    for _ in range(20 * trials):
        words = said | {name: _drawn(sample.choice(choices).sample(random_state=generator), generator) for name, choices in search.items()}
        (made,) = build([words])
        found.setdefault(made.key, words)
        if len(found) == trials:
            break
    return list(found.values())


def _drawn(value: Any, generator: np.random.Generator) -> Any:
    """Replace each range in the value's words by a drawn number."""
    if isinstance(value, list):
        return [_drawn(each, generator) for each in value]
    if not isinstance(value, str):
        return value
    word, colon, settings = value.partition(":")
    drawn = []
    for setting in filter(None, settings.split(",")):
        name, equals, text = setting.partition("=")
        drawn.append(name + equals + (_number(value, text, generator) if ".." in text else text))
    return word + colon + ",".join(drawn)


def _number(where: str, text: str, generator: np.random.Generator) -> str:
    match = RANGE.fullmatch(text.strip())
    try:
        low, high = (float(each) for each in match.groups()[:2]) if match else (0.0, 0.0)
    except ValueError:
        low, high = 0.0, 0.0
    if not match or not low < high < float("inf"):
        raise UsageError(f"{text!r} in {where!r} is not a range: LOW..HIGH, or LOW..HIGH log, with LOW < HIGH")
    log = bool(match[3])
    if log and low <= 0:
        raise UsageError(f"{text!r} in {where!r} starts at {low:g}, which has no logarithm")
    if all(re.fullmatch(r"-?\d+", each) for each in match.groups()[:2]):
        whole = (sample.lograndint if log else sample.randint)(int(low), int(high) + 1)
        return str(whole.sample(random_state=generator))
    return f"{(sample.loguniform if log else sample.uniform)(low, high).sample(random_state=generator):.6g}"


class Tally:
    """Scores of a run so far, by rule of selection: mean over visits of the mean score in each within the rule's share of the budget,
    human-normalised if random and human scores are known. Evaluations and cut episodes do not count."""

    def __init__(self, spec: Spec) -> None:
        self._references, self._unit = spec.references, spec.unit
        self._total = sum(visit["budget"] for visit in spec.visits)
        self._first: int | None = None
        self._visits: dict[str, dict[int, list[float]]] = {rule: {} for rule in TUNED_ON}
        self._last: dict[int, tuple[int, int]] = {}
        self._counted: dict[int, tuple[int, int]] = {}

    def begin_again(self) -> None:
        """Ignore the scores that the run repeats after returning to its last checkpoint."""
        self._counted = dict(self._last)

    def add(self, score: Score) -> None:
        now = (score.updates, score.steps)
        if score.kind in ("cut", "evaluation") or now <= self._counted.get(score.member, (-1, -1)):
            return
        self._last[score.member] = now
        known = self._references.get(score.task, {})
        low, high = known.get("random", 0.0), known.get("human")
        value = (score.score - low) / (high - low) if high is not None and high != low else score.score
        time = score.updates if self._unit == "updates" else score.frames
        self._first = time if self._first is None else self._first
        for rule, share in TUNED_ON.items():
            if time <= max(share * self._total, self._first):  # the first row counts, however short the share
                total = self._visits[rule].setdefault(score.visit, [0.0, 0.0])
                total[0] += value
                total[1] += 1.0

    def score(self, tuned_on: str = "lifetime") -> float | None:
        visits = self._visits[tuned_on].values()
        return sum(total / count for total, count in visits) / len(visits) if visits else None


class Judge:
    """Thread-safe wrapper of Ray Tune's scheduler."""

    def __init__(self, stopping: Stopping, total: int) -> None:
        self._lock, self._total = threading.Lock(), total
        self._scheduler: TrialScheduler = FIFOScheduler()
        if stopping.scheduler == "asha":
            self._scheduler = AsyncHyperBandScheduler(
                time_attr="time",
                metric="score",
                mode="max",
                max_t=total,
                grace_period=max(int(stopping.grace * total), 1),
                reduction_factor=stopping.reduction,
                stop_last_trials=False,
            )
        self._met: set[str] = set()

    def stops(self, key: str, time: float, score: float) -> bool:
        """True if the trial with this score at this time should stop; False for trials at their end, which are recorded."""
        controller: Any = None
        trial: Any = SimpleNamespace(trial_id=key)  # the only field that these schedulers read
        with self._lock:
            if key not in self._met:
                self._met.add(key)
                self._scheduler.on_trial_add(controller, trial)
            said = self._scheduler.on_trial_result(controller, trial, {"time": time, "score": score})
        return said == TrialScheduler.STOP and time < self._total


class Trial(sweep.Row):
    """A run of the search: a row of the table that can be stopped."""

    def __init__(self, spec: Spec, console: Console, judge: Judge, folder: RunFolder, stopped: bool, tuned_on: str = "lifetime") -> None:
        super().__init__(spec, console)
        self._judge, self._tuned_on, self._begun, self.tally, self.ended = judge, tuned_on, 0, Tally(spec), stopped
        for row in folder.read_rows(Score)[0]:  # scores of an earlier call, for comparison with other trials
            self.tally.add(row)
            self._tell(row)
        self.tally.begin_again()

    def score(self, score: Score) -> None:
        super().score(score)
        if self._begun < self.failures:
            self._begun = self.failures
            self.tally.begin_again()
        self.tally.add(score)

    def tick(self, tick: Tick) -> None:
        super().tick(tick)
        self.ended = self._tell(tick) or self.ended

    def _tell(self, now: Tick | Score) -> bool:
        time = now.updates if self.spec.unit == "updates" else now.frames
        self.done = time / self.total
        score = self.tally.score(self._tuned_on)
        return score is not None and self._judge.stops(self.spec.key, time, score)


def run(words: Sequence[Said], search: Search, stopping: Stopping, best: int, store: Store, how: Execution, tuned_on: str) -> int:
    """Carry out the trials, ranked by the rule `tuned_on`; returns the exit code of `sweep.run_sweep`. Stopped trials are listed in
    trials.json beside their folders, so that the same command does not resume them."""
    experiments = build(words, how.device_on_ray)
    if any(each.actors for each in experiments):
        raise UsageError("trials cannot have actors of their own")
    specs = [runner.describe(each) for each in experiments]
    totals = {sum(visit["budget"] for visit in spec.visits) for spec in specs}
    if len(totals) > 1 or len({spec.benchmark for spec in specs}) > 1:
        raise UsageError("trials must have one benchmark and one budget, so that scores at the same time can be compared")
    folders = {spec.key: store.run(spec.key) for spec in specs}
    record = store.path / "trials.json"
    stopped = _read_stopped(record)
    left = [each for each in experiments if each.key not in stopped]
    for spec in specs:
        if spec.key not in stopped and not folders[spec.key].is_done:
            refuse_to_resume(folders[spec.key], spec, how.other_code)
    judge, console = Judge(stopping, totals.pop()), Console(highlight=False)
    trials = {spec.key: Trial(spec, console, judge, folders[spec.key], spec.key in stopped, tuned_on) for spec in specs}
    try:
        return sweep.run_sweep(left, store, how, lambda spec, _: trials[spec.key]) if left else 0
    finally:
        if record.parent.exists():
            write_json(record, {"stopped": sorted(key for key, trial in trials.items() if trial.ended)})
            print_best(experiments, words, search, trials, best, tuned_on)


def print_trials(words: Sequence[Said], search: Search) -> None:
    """Print the experiments of a search."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for heading in (*search, "key"):
        table.add_column(heading)
    for each, made in zip(words, build(words), strict=True):
        table.add_row(*(_text(each[name]) for name in search), made.key)
    Console().print(table)


def print_best(
    experiments: Sequence[Experiment], words: Sequence[Said], search: Search, trials: Mapping[str, Trial], best: int, tuned_on: str
) -> None:
    """Print the best trials first, with their score by each rule: finished ones, then stopped ones, because scores at different times are
    not comparable."""
    scored = [
        (trials[made.key].done >= 1.0, trials[made.key].tally.score(tuned_on), made.key, each)
        for made, each in zip(experiments, words, strict=True)
        if trials[made.key].tally.score() is not None
    ]
    scored.sort(key=lambda row: row[:3], reverse=True)
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    rules = [tuned_on, *(rule for rule in TUNED_ON if rule != tuned_on)]
    for heading in (*(f"score, {rule}" for rule in rules), "done", *search, "key"):
        table.add_column(heading)
    for _, _, key, each in scored[:best]:
        scores = (f"{trials[key].tally.score(rule):.4g}" for rule in rules)
        table.add_row(*scores, f"{trials[key].done:.0%}", *(_text(each[name]) for name in search), key)
    console = Console(highlight=False)
    console.print(table)
    for _, _, _, each in scored[:best]:
        console.print(shlex.join([*process.program(), "run", "--name", "best", *_flags(each)]), soft_wrap=True, markup=False)


def _flags(words: Said) -> list[str]:
    """Return the words as command line flags."""
    found = []
    for name, value in words.items():
        found += ["--" + name.replace("_", "-"), *(value if isinstance(value, list) else [str(value)])]
    return found


def _text(value: Any) -> str:
    return " ".join(value) or "none" if isinstance(value, list) else str(value)


def _read_stopped(record: Path) -> set[str]:
    try:
        return set(parse_json(record.read_text("utf-8"))["stopped"])
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{record} cannot be read, so the stopped trials are unknown") from error
