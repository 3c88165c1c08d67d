"""Evaluations: each member's scores on tasks at certain points of the run, without exploration or learning.

They are separate from the training curves (curves.py). A member's score is its mean over the episodes of a task at one point; metrics
(sequential.py) use the points at the ends of visits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, product

import numpy as np
import pandas as pd

from analysis.data.comparable import Run
from analysis.data.load import Loaded
from analysis.format import count, numbered
from analysis.scores.setting import Setting

Moment = tuple[int, int]
"""(visit, frames of a member); overshoot of the budget by a batch counts as the end of the visit"""


@dataclass(frozen=True, eq=False)
class Evaluations:
    """All evaluations under one setting. Row i of every matrix is row i of the setting's chains."""

    tasks: tuple[str, ...]
    """in the order of their first visits"""
    moments: tuple[Moment, ...]
    """points of all evaluations, and the ends of all visits; in order"""
    score: dict[str, np.ndarray]
    """chain -> (members, moments, tasks): mean over episodes; NaN without episodes"""
    at_end: dict[str, np.ndarray]
    """chain -> (members, visits, tasks): mean over episodes at the end of each visit"""
    missing: tuple[str, ...]


def evaluations(loaded: Loaded, setting: Setting) -> Evaluations | None:
    """The evaluations of all chains of a setting, with the missing ones listed; None if nothing was evaluated."""
    unit = setting.spec.unit
    scores = loaded.scores.loc[loaded.scores.setting == setting.spec.setting]
    rows = scores.loc[scores.kind == "evaluation"]
    if not len(rows):
        return None
    stops = setting.edges[rows.visit.to_numpy(dtype=int) + 1]
    rows = rows.assign(moment=list(zip(rows.visit.tolist(), np.minimum(rows[unit], stops).tolist(), strict=True)))
    tasks = tuple(dict.fromkeys(setting.tasks))
    ends = list(enumerate(setting.edges[1:].tolist()))
    moments = tuple(sorted({*rows.moment, *ends}))
    cells = {chain.label: _cells(rows.loc[rows.label == chain.label], setting, moments, tasks) for chain in setting.chains}
    columns = [moments.index(end) for end in ends]
    episodes = {label: played[:, columns] for label, (_, played) in cells.items()}
    often = np.bincount(np.concatenate([each[each > 0] for each in episodes.values()]), minlength=1)
    usual = int(np.flatnonzero(often == often.max())[-1])  # the larger of two equally frequent counts: rows can only be lost
    at_end = {label: score[:, columns] for label, (score, _) in cells.items()}
    missing: list[str] = []
    for run in setting.runs:
        reached = scores.loc[scores.run == run.spec.key, unit].max()  # NaN if the run has no rows: no visit has finished
        over = int((setting.edges[1:] <= reached).sum())
        index = [setting.pairs.index(pair) for pair in run.pairs]
        lines = _lacking(run, tasks, at_end[run.spec.label][index, :over], episodes[run.spec.label][index, :over], usual)
        missing += [f"{run.name}: {line}" for line in lines]
    return Evaluations(tasks, moments, {label: score for label, (score, _) in cells.items()}, at_end, tuple(missing))


def _cells(rows: pd.DataFrame, setting: Setting, moments: Sequence[Moment], tasks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean score and number of episodes, each (members, moments, tasks). A cell with a non-finite episode score is NaN."""
    played = np.zeros((len(setting.pairs), len(moments), len(tasks)), dtype=int)
    total = np.zeros(played.shape)
    pairs = [setting.pairs.index(pair) for pair in zip(rows.seed, rows.member, strict=True)]
    where = (pairs, [moments.index(moment) for moment in rows.moment], [tasks.index(task) for task in rows.task])
    np.add.at(played, where, 1)
    np.add.at(total, where, rows.score.to_numpy(dtype=float))
    return np.where(played > 0, total / np.maximum(played, 1), np.nan), played


def _lacking(run: Run, tasks: Sequence[str], score: np.ndarray, played: np.ndarray, usual: int) -> list[str]:
    """One line for each group of cells (members, finished visits, tasks) without a score or with an unusual number of episodes."""
    if played.size and not played.any():
        return ["no evaluation at the end of any visit"]
    met = [visit["task"] for visit in run.spec.visits]
    found: list[tuple[str, str, int, int]] = []
    for member, visit, (number, task) in product(range(len(score)), range(score.shape[1]), enumerate(tasks)):
        episodes, known = int(played[member, visit, number]), bool(np.isfinite(score[member, visit, number]))
        if task not in met[: visit + 1] or (known and episodes == usual):
            continue
        unknown = "a non-finite score in an evaluation" if episodes else "no evaluation"
        found.append((f"{count(episodes, 'episode')} and not {usual} in the evaluation" if known else unknown, task, visit, member))
    return _summary(found)


def _summary(found: Iterable[tuple[str, str, int, int]]) -> list[str]:
    """Summarise cells (what, task, visit, member) in few lines: merged over members first, then visits, then tasks."""
    members: dict[tuple[str, str, int], list[int]] = {}
    for what, task, visit, member in found:
        members.setdefault((what, task, visit), []).append(member)
    visits: dict[tuple[str, str, str], list[int]] = {}
    for (what, task, visit), who in members.items():
        visits.setdefault((what, task, numbered("member", who)), []).append(visit)
    lines = sorted((what, who, numbered("visit", when), task) for (what, task, who), when in visits.items())
    return [
        f"{what} of {', '.join(task for *_, task in group)} at the end of {when} of {who}"
        for (what, who, when), group in groupby(lines, key=lambda line: line[:3])
    ]
