"""Mechanisms of plasticity loss: the quantities inside the networks that changed before the score fell.

They follow the decomposition of Lyle et al. 2024 (arXiv 2402.18762), as far as a run's metrics.csv reports them. A quantity of a visit is
the mean of its rows in that visit, after layers are combined into one value per network.

*Moved*: with d(v) = [q(v) - q(0)] - [c(v) - c(0)], q a member's quantity in visit v and c that of the fresh control's member that met the
same data, a quantity moved in the first visit v from which on the 95% interval of the mean of d over members is on one side of 0 in two
consecutive visits. The score *fell* if it moved downwards and also ends lower: its mean over the last visits is below that over the first,
and the mean of d over the last visits is below 0. Without a fresh control c is left out, and differences between tasks remain in d.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.data.load import Loaded
from analysis.format import count, number
from analysis.scores.own_metrics import own_names
from analysis.scores.setting import ChainScores, Setting
from analysis.scores.verdict import first_and_last
from analysis.statistics.intervals import Estimate, estimate, mean
from plasticity_rl.metrics.catalogue import metric_of
from plasticity_rl.records.spec import Spec

IN_A_ROW = 2
"""consecutive visits required, so that one interval in twenty that misses by chance does not count; ours"""


class Mechanism(NamedTuple):
    """A quantity suspected of causing the loss of plasticity."""

    kind: str
    title: str
    name: str
    """name in metrics.csv, of the network or before each layer's name"""
    over: Literal["mean", "norm"] = "mean"
    """how layers are combined into one value of the network"""
    every: str = "diagnose_every"
    """the experiment's field that sets the interval between rows"""

    @property
    def untrained(self) -> str:
        """The metric's name for an untrained network."""
        family, slash, rest = self.name.partition("/")
        return f"{family}_fresh{slash}{rest}"


def _mechanism(kind: str, name: str, title: str = "") -> Mechanism:
    """A metric of the catalogue as a mechanism; `title` if only one of its keys is meant."""
    metric = metric_of(name)
    return Mechanism(kind, title or metric.title, name, metric.join, metric.every)


UNITS, NORMS, LANDSCAPE = "pre-activations and units", "norms", "curvature and tangent kernel"
MECHANISMS = (
    _mechanism(UNITS, "preactivation_shift"),
    _mechanism(UNITS, "preactivation_mean"),
    _mechanism(UNITS, "preactivation_variance"),
    _mechanism(UNITS, "linearised_fraction"),
    _mechanism(UNITS, "dead_fraction"),
    _mechanism(UNITS, "saturated_fraction"),
    _mechanism(UNITS, "feature_rank"),
    _mechanism(NORMS, "weight_norm"),
    _mechanism(NORMS, "effective_learning_rate"),
    _mechanism("target scale", "value_scale"),
    _mechanism("target scale", "overestimation"),
    _mechanism(LANDSCAPE, "hessian_eigenvalue/1", "largest Hessian eigenvalue"),
    _mechanism(LANDSCAPE, "ntk_rank"),
    _mechanism("trainability", "probe_final/random", "final loss of the probe `random`"),
)


@dataclass(frozen=True, eq=False)
class Course:
    """The course of one quantity of one chain over visits, (pairs, visits) each; NaN if a member has no row."""

    mechanism: Mechanism
    values: np.ndarray
    untrained: np.ndarray
    """values of untrained networks of the same chain on the same inputs; NaN if not reported"""
    control: np.ndarray | None
    """values of the fresh control; None without one"""
    moved: int | None
    """the visit in which it moved; None if it did not"""
    rose: bool
    """True if it moved upwards"""


@dataclass(frozen=True, eq=False)
class Findings:
    """Findings on one chain."""

    chain: ChainScores
    fell: int | None
    """the visit in which the score fell; None if it did not"""
    dipped: int | None
    """the visit in which the score moved downwards temporarily; None if it fell, or never did"""
    courses: tuple[Course, ...]
    missing: tuple[Mechanism, ...]
    """mechanisms without a row in the first visit of this chain"""

    @property
    def before(self) -> list[Course]:
        """Quantities that moved before the score fell, earliest first."""
        return [course for course in self._moved if self.fell is not None and course.moved < self.fell]  # type: ignore[operator]

    @property
    def together(self) -> list[Course]:
        """Quantities that moved in the same visit in which the score fell."""
        return [course for course in self._moved if course.moved == self.fell]

    @property
    def after(self) -> list[Course]:
        """Quantities that moved later, or at all if the score did not fall."""
        return [course for course in self._moved if self.fell is None or course.moved > self.fell]  # type: ignore[operator]

    @property
    def still(self) -> list[Course]:
        """Quantities that did not move."""
        return [course for course in self.courses if course.moved is None]

    @property
    def _moved(self) -> list[Course]:
        return sorted((course for course in self.courses if course.moved is not None), key=lambda course: course.moved or 0)


def mechanisms(metrics: pd.DataFrame) -> tuple[Mechanism, ...]:
    """The mechanisms looked for in rows of metrics: those of the catalogue, and the metrics of people's own modules that there are."""
    families = metrics.name.str.partition("/")[0].unique().tolist() if len(metrics) else []
    return (*MECHANISMS, *(Mechanism("own metrics", name, name) for name in own_names(families)))


def findings(loaded: Loaded, setting: Setting) -> list[Findings]:
    """Findings on each chain but the fresh control, in the setting's order."""
    metrics = loaded.metrics.loc[(loaded.metrics.setting == setting.spec.setting).to_numpy()]
    control = setting.control
    found: list[Findings] = []
    for chain in setting.chains:
        if chain.fresh_control:
            continue
        down = first_moved(chain.area, control.area if control else None, ways=(-1,))
        fell, dipped = (down and down[0], None) if ends_lower(setting, chain) else (None, down and down[0])
        courses, missing = list[Course](), list[Mechanism]()
        for mechanism in mechanisms(metrics):
            values = levels(metrics, setting, chain.label, mechanism.name, mechanism.over)
            if not np.isfinite(values[:, 0]).any():
                missing.append(mechanism)
                continue
            fresh = levels(metrics, setting, control.label, mechanism.name, mechanism.over) if control else None
            fresh = None if fresh is None or not np.isfinite(fresh).any() else fresh
            moved = first_moved(values, fresh)
            untrained = levels(metrics, setting, chain.label, mechanism.untrained, mechanism.over)
            courses.append(Course(mechanism, values, untrained, fresh, moved and moved[0], bool(moved and moved[1] > 0)))
        found.append(Findings(chain, fell, dipped, tuple(courses), tuple(missing)))
    return found


def advice(spec: Spec, updates: int, mechanisms: Sequence[Mechanism]) -> str:
    """Settings with which a run would have reported `mechanisms` in its first visit, of `updates` updates; "" if it already has them, so
    that the agent or its network has nothing to report."""
    wanted = list[str]()
    for field in dict.fromkeys(mechanism.every for mechanism in mechanisms):
        now, word = spec.experiment.get(field), field.replace("_", "-")
        if field == "evaluate":
            wanted += ["--evaluate 4"] if now == 0 and spec.unit == "frames" else []
        elif isinstance(now, int) and not 0 < now <= updates:
            wanted.append(f"--{word} {updates}")
    return f"; add {', '.join(wanted)}" if wanted else ""


def first_visit(scores: pd.DataFrame) -> int:
    """The number of updates in the runs' first visit, from rows of scores; 0 if unknown."""
    first = scores.updates[(scores.visit == 0).to_numpy()]
    return int(first.max()) if len(first) else 0


def levels(metrics: pd.DataFrame, setting: Setting, label: str, name: str, over: Literal["mean", "norm"]) -> np.ndarray:
    """A quantity of each member in each visit, (pairs, visits): the mean over the visit's rows; NaN without rows."""
    grid = np.full((len(setting.pairs), len(setting.spec.visits)), np.nan)
    names = metrics.name.astype(str)
    rows = metrics.loc[((metrics.label == label) & ((names == name) | names.str.startswith(name + "/"))).to_numpy()]
    if not len(rows):
        return grid
    layers = rows.assign(value=rows.value**2).groupby(["seed", "member", "visit", "updates"]).value.sum() ** 0.5
    if over == "mean":
        layers = rows.groupby(["seed", "member", "visit", "updates"]).value.mean()
    places = {pair: place for place, pair in enumerate(setting.pairs)}
    for (seed, member, visit), value in layers.groupby(["seed", "member", "visit"]).mean().items():  # type: ignore[misc]
        grid[places[int(seed), int(member)], int(visit)] = value
    return grid


def changes(values: np.ndarray, control: np.ndarray | None) -> np.ndarray:
    """d(v) of each member, (pairs, visits); 0 in visit 0."""
    changed = values - values[:, :1]
    return changed if control is None else changed - (control - control[:, :1])


def first_moved(values: np.ndarray, control: np.ndarray | None, ways: Sequence[int] = (-1, 1)) -> tuple[int, int] | None:
    """(visit, direction) in which a quantity (pairs, visits) moved: 1 upwards, -1 downwards; None if it moved in none of the directions
    `ways`."""
    changed = changes(values, control)
    sides = np.array([side(changed[:, visit]) for visit in range(changed.shape[1])])
    for visit in range(1, len(sides) - IN_A_ROW + 1):
        for way in ways:
            if (sides[visit : visit + IN_A_ROW] == way).all():
                return visit, way
    return None


def first_and_last_means(setting: Setting, chain: ChainScores) -> tuple[float, float]:
    """The score over the first and over the last visits, as the report has it: means over members."""
    level = over_members(setting.shown(chain.area))
    first, last = first_and_last(setting)
    return float(level[first].mean()), float(level[last].mean())


def ends_lower(setting: Setting, chain: ChainScores) -> bool:
    """True if the score of the last visits is below that of the first, alone and relative to the fresh control; also True if the run has
    not ended."""
    first, last = first_and_last_means(setting, chain)
    changed = changes(chain.area, setting.control.area if setting.control else None)[:, first_and_last(setting)[1]]
    return not (last >= first or over_members(changed).mean() >= 0)


def side(changed: np.ndarray) -> int:
    """Sign of the mean over members of `changed` (pairs,): 1 if its 95% interval is above 0, -1 if below, 0 otherwise."""
    return _mean(changed).side()


def _mean(column: np.ndarray) -> Estimate:
    return estimate(mean, column[:, None])


def reading(found: Findings, setting: Setting) -> str:
    """The findings on one chain in plain words."""
    label = found.chain.label
    if len(setting.pairs) < 2:
        return f"{label}: one member, so no interval shows what moved."
    if len(setting.spec.visits) <= IN_A_ROW:
        return f"{label}: {count(len(setting.spec.visits), 'visit')}, too few to show movement."
    beside = "beside the fresh control" if setting.control else "since the first visit, without a fresh control"
    last = len(setting.spec.visits) - 1
    if found.fell is None:
        moved = f" These moved nevertheless: {_listed(found.after, last)}." if found.after else ""
        return f"{label}: the score did not fall{_end(found, setting, beside)}.{moved}"
    parts = [f"{label}: the score fell in visit {found.fell} {beside}."]
    early = _listed(found.before, found.fell - 1)
    parts.append(f"Moved before: {early}." if early else "No reported quantity moved before.")
    for word, courses, until in (("Moved in the same visit", found.together, found.fell), ("Moved later", found.after, last)):
        parts += [f"{word}: {_listed(courses, until)}."] if courses else []
    parts += [f"Not moved: {', '.join(course.mechanism.title for course in found.still)}."] if found.still else []
    return " ".join(parts)


def _end(found: Findings, setting: Setting, beside: str) -> str:
    """The end of a score that did not fall, possibly after a dip."""
    if found.dipped is None:
        return f" {beside}"
    first, last = first_and_last_means(setting, found.chain)
    lower = f": lower in visit {found.dipped}{' beside the fresh control' if setting.control else ''}"
    if last >= first:
        return f"{lower}, it ends no lower than it began ({number(first)} -> {number(last)})"
    return f" for good{lower}, it ends no further down than the control"


def _listed(courses: Sequence[Course], until: int) -> str:
    """Each quantity with the visit in which it moved, and its mean over members in visit 0 and in visit `until`."""
    told = list[str]()
    for course in courses:
        means = over_members(course.values)
        told.append(f"{course.mechanism.title} (visit {course.moved}, {number(means[0])} -> {number(means[until])})")
    return ", ".join(told)


def over_members(values: np.ndarray) -> np.ndarray:
    """The mean per visit over the members that have it, (visits,); NaN if none has."""
    there = np.isfinite(values)
    return np.where(there.any(axis=0), np.where(there, values, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1), np.nan)
