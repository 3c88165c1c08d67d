"""The page of claims: for each a verdict with its predicate, a figure, a table of arms, and its provenance. Markdown."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.claims.figure import figure
from analysis.claims.predicates import Any, Finding, Predicate, outcome
from analysis.claims.results import Result
from analysis.claims.verdicts import VERDICTS, first, last
from analysis.format import count, number
from analysis.report.tables import cell
from analysis.statistics.intervals import estimate, mean

INTRODUCTION = (
    "# Claims of papers, tried here",
    "",
    "Written by `python -m launch claims` from its run folders (`make claims`). Every arm of a claim has the same number of updates. "
    "Learning rate and method strength are those with the best mean score on the first tenth of the tasks, for members whose seeds are "
    "not reported; each claim lists its grid and the chosen values. If two cells differ by a few thousandths, rounding can decide between "
    "them, and so change a verdict. A verdict is a function of the reported members' scores (analysis/claims/verdicts.py): every part of "
    "its predicate is a number with a 95% t interval over members, paired. A part holds if the whole interval is on the claimed "
    "side of 0, is contradicted if it is on the other, and is open otherwise.",
    "",
    "Times are wall-clock times with compilation; the load is the 15-minute load average. Runs shared by several claims were trained once "
    "and count for the first.",
)
MARKS = {True: "holds", False: "contradicted", None: "open"}
MOST = 8
"""maximum number of alternatives that are all listed"""


@dataclass(frozen=True)
class Choice:
    """The hyper-parameters chosen for an arm."""

    values: Mapping[str, str]
    """placeholder -> value"""
    scores: Mapping[str, float]
    """each cell of the grid, in words -> its mean score; -inf if its loss was not finite; empty without a search"""


@dataclass(frozen=True)
class Entry:
    """One claim with its results."""

    number: int
    title: str
    says: str
    paper: str
    notes: str
    shows: tuple[str, ...]
    score: str
    """name of the score"""
    arms: Mapping[str, tuple[str, str]]
    """key -> panel and name"""
    results: Mapping[str, Result] = field(default_factory=dict)
    """empty if the claim has not been run"""
    choices: Mapping[str, Choice] = field(default_factory=dict)
    members: int = 0
    selectors: str = ""
    """description of how hyper-parameters were chosen"""
    seconds: float = 0.0
    """wall-clock seconds"""
    where: str = ""
    """description of the machine"""
    missing: str = ""
    """why there are no results"""


@dataclass(frozen=True)
class Page:
    """The written page."""

    path: Path
    verdicts: dict[int, str]


def write_page(entries: Sequence[Entry], folder: Path, scale: str) -> Page:
    """Write the page, and its figures into a folder of the same name."""
    name = "claims" if scale == "small" else f"claims-{scale}"
    pictures = folder / name
    pictures.mkdir(parents=True, exist_ok=True)
    found = {entry.number: VERDICTS[entry.number](entry.results) if entry.results else None for entry in entries}
    verdicts = {number: "not run" if predicate is None else outcome(predicate) for number, predicate in found.items()}
    lines = [*INTRODUCTION, "", "| claim | verdict | time |", "|---|---|---|"]
    lines += [
        f"| [{each.number}. {each.title}](#claim-{each.number}) | {verdicts[each.number]} | "
        + (f"{each.seconds:,.0f} s |" if each.results else "- |")
        for each in entries
    ]
    lines += ["", f"Total: {sum(each.seconds for each in entries) / 60:.0f} minutes."]
    for each in entries:
        predicate = found[each.number]
        lines += ["", f'<a id="claim-{each.number}"></a>', "", f"## {each.number}. {each.title}", "", f"> {each.says} ({each.paper})", ""]
        lines += [each.notes, "", f"**{verdicts[each.number].capitalize()}.**" + (f" {each.missing}" if each.missing else "")]
        if predicate is None:
            continue
        drawn = figure(each.number, each.arms, each.results, each.shows, each.score)
        (pictures / f"{drawn.name}.png").write_bytes(drawn.png)
        lines += ["", *_said(predicate), "", f"![{drawn.alt}]({name}/{drawn.name}.png)", "", *_table(each), "", *_account(each, scale)]
    path = folder / f"{name}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Page(path, verdicts)


def _said(predicate: Predicate, depth: int = 0) -> Iterator[str]:
    """The predicate as a nested list: each part's text, whether it holds, and its value."""
    indent = "  " * depth
    if isinstance(predicate, Finding):
        found = cell(predicate.found)
        yield f"{indent}- {predicate.words}: {found.text}{f' ({found.note})' if found.note else ''}, **{MARKS[predicate.holds]}**"
        return
    yield f"{indent}- {predicate.words} **{MARKS[predicate.holds]}**"
    shown = predicate.parts
    if isinstance(predicate, Any) and len(shown) > MOST:
        held = tuple(part for part in shown if part.holds)
        contradicted = sum(part.holds is False for part in shown)
        yield f"{indent}  - {len(held)} hold, {contradicted} are contradicted, {len(shown) - len(held) - contradicted} are open"
        shown = held[:MOST]
    for part in shown:
        yield from _said(part, depth + 1)


def _table(entry: Entry) -> Iterator[str]:
    """A row per arm. Scores are means over members, with 95% intervals."""
    visits = next(iter(entry.results.values())).curve.shape[1]
    early, late = ("first visits", "last visits") if visits > 1 else ("first tenth", "last tenth")
    yield f"| arm | {early} | {late} | all | chosen |"
    yield "|---|---|---|---|---|"
    for key, result in entry.results.items():
        scores = result.area if visits > 1 else result.curve[:, 0]
        ends = (first(scores), last(scores)) if visits > 1 else (scores[:, :1], scores[:, -1:])
        shown = [cell(estimate(mean, each)).text for each in (*ends, scores)]
        chosen = ", ".join(value if "=" in value else f"{name} {value}" for name, value in entry.choices[key].values.items())
        yield f"| {key} | {' | '.join(shown)} | {chosen or '-'} |"


def _account(entry: Entry, scale: str) -> Iterator[str]:
    """The claim's provenance: the command, the time, and every cell of the grid."""
    command = ["python", "-m", "launch", "claims", str(entry.number), *([] if scale == "small" else ["--scale", scale])]
    members = count(entry.members, "member")
    yield f"`{shlex.join(command)}`: {entry.seconds:,.0f} s on {entry.where}. Reported: {members} an arm. {entry.selectors}"
    searched = {key: choice for key, choice in entry.choices.items() if choice.scores}
    if searched:
        yield ""
        yield "<details><summary>The grid: mean selection score of every cell</summary>"
        yield ""
        yield "| arm | cells |"
        yield "|---|---|"
        for key, choice in searched.items():
            cells = "; ".join(
                f"{words}: {number(score)}" if score > float("-inf") else f"{words}: diverged" for words, score in choice.scores.items()
            )
            yield f"| {key} ({', '.join(choice.values)}) | {cells} |"
        yield ""
        yield "</details>"
