"""The page of claims: for each its gates, its parts with their decisions, figures, a table of arms, and its provenance. Markdown."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.claims.figure import figure, sensitivity_figures
from analysis.claims.predicates import Any, Finding, Part, Verdict
from analysis.claims.results import Result, first, last
from analysis.format import count, number
from analysis.report.tables import cell
from analysis.scores.learning_rates import RateCurve
from analysis.statistics.decisions import AT_THE_MARGIN, Decision
from analysis.statistics.intervals import estimate, mean

INTRODUCTION = (
    "# Claims of papers, tried here: second edition",
    "",
    "Written by `python -m launch claims` from its run folders (`make claims`). Predicates, gates and settings were committed before any "
    "of these runs.",
    "",
    "**Gates first.** A claim is *not applicable* at this scale if one of its gates fails by its point estimate: the fresh control "
    "finishes its tasks, plain training at its best rate loses plasticity, no arm's compared score is at its ceiling throughout "
    "(analysis/claims/gates.py). Otherwise it is *consistent* if all its parts hold, *inconsistent* if one does not, *open* if it cannot "
    "be told; always at this scale, which is not the papers'.",
    "",
    "**Parts.** Each is a number with a side and a smallest effect of interest (analysis/claims/verdicts.py), and a t interval over paired "
    "members. It holds if its interval excludes 0 on the claimed side and it is as large as the effect; it does not hold if its interval "
    "excludes the effect. Both with Holm's correction over the claim's parts. Intervals shown are of 95%, without it. Seven members are "
    "looked at first, and thirteen where a part is open, at levels that together err as often as one look at 95%.",
    "",
    "**Settings.** Every arm of a panel is tuned on other seeds over runs of full length; the whole grid is listed, with what the first "
    "tenth and the first hundredth of the life would have chosen.",
)
MARKS: dict[Decision, str] = {"held": "holds", "not held": "does not hold", "open": "open", "at the margin": AT_THE_MARGIN}
MOST = 8
"""maximum number of alternatives that are all listed"""
LIKELIEST = 3
"""number of alternatives listed where there are more"""


@dataclass(frozen=True)
class Choice:
    """The hyper-parameters chosen for an arm."""

    values: Mapping[str, str]
    """placeholder -> value"""
    scores: Mapping[str, Mapping[str, float]]
    """rule of selection -> each cell of the grid, in words -> its mean score; -inf if its loss was not finite; empty without a search"""


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
    verdict: Verdict | None = None
    """None if the claim has not been run"""
    results: Mapping[str, Result] = field(default_factory=dict)
    choices: Mapping[str, Choice] = field(default_factory=dict)
    common: str = ""
    """description of the common values; empty if the claim has none"""
    beside: Verdict | None = None
    """the verdict at the common values"""
    curves: Mapping[str, Sequence[RateCurve]] = field(default_factory=dict)
    """panel -> score of each arm against learning rate"""
    members: int = 0
    selectors: str = ""
    """description of how hyper-parameters were chosen"""
    seconds: float = 0.0
    """wall-clock seconds"""
    where: str = ""
    """description of the machine"""
    missing: str = ""
    """why there are no results"""
    sweep: str = ""
    """file of the sweep that trains the runs, if it is not the command's own"""


@dataclass(frozen=True)
class Page:
    """The written page."""

    path: Path
    headlines: dict[int, str]


def write_page(entries: Sequence[Entry], folder: Path, scale: str, tuned_on: str = "lifetime") -> Page:
    """Write the page, and its figures into a folder of the same name: one of each scale and rule of tuning."""
    name = "claims" if scale == "small" else f"claims-{scale}"
    name += "" if tuned_on == "lifetime" else f"-tuned-{tuned_on.removesuffix('%')}"
    pictures = folder / name
    pictures.mkdir(parents=True, exist_ok=True)
    headlines = {each.number: "not run" if each.verdict is None else each.verdict.headline for each in entries}
    lines = [*INTRODUCTION, "", f"Settings here are chosen by `{tuned_on}`.", "", "| claim | verdict | time |", "|---|---|---|"]
    lines += [
        f"| [{each.number}. {each.title}](#claim-{each.number}) | {headlines[each.number]} | "
        + (f"{each.seconds:,.0f} s |" if each.seconds else "- |")
        for each in entries
    ]
    lines += ["", f"Total: {sum(each.seconds for each in entries) / 60:.0f} minutes of wall-clock time, compilation included."]
    for each in entries:
        lines += ["", f'<a id="claim-{each.number}"></a>', "", f"## {each.number}. {each.title}", "", f"> {each.says} ({each.paper})", ""]
        lines += [each.notes, "", f"**{_opened(headlines[each.number])}.**" + (f" {each.missing}" if each.missing else "")]
        if each.verdict is None:
            continue
        lines += ["", *_gates(each.verdict), "", *_parts(each.verdict), *_beside(each)]
        drawn = figure(each.number, each.arms, each.results, each.shows, each.score)
        (pictures / f"{drawn.name}.png").write_bytes(drawn.png)
        lines += ["", f"![{drawn.alt}]({name}/{drawn.name}.png)", "", *_table(each), "", *_account(each, scale, tuned_on)]
        for made in sensitivity_figures(each.number, each.curves, each.score):
            (pictures / f"{made.name}.png").write_bytes(made.png)
            lines += ["", f"![{made.alt}]({name}/{made.name}.png)"]
    path = folder / f"{name}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Page(path, headlines)


def _opened(headline: str) -> str:
    return headline[0].upper() + headline[1:]


def _gates(verdict: Verdict) -> Iterator[str]:
    yield "Gates:"
    yield ""
    for gate in verdict.gates:
        yield f"- {gate.words}: {number(gate.value)}, **{'passes' if gate.passes else 'fails'}**"


def _parts(verdict: Verdict) -> Iterator[str]:
    yield "Parts:"
    yield ""
    for part, decision in zip(verdict.parts, verdict.decisions, strict=True):
        yield from _said(part, MARKS[decision])


def _said(part: Part, mark: str = "", depth: int = 0) -> Iterator[str]:
    """A part as a nested list: its text, its value with its smallest effect, and the decision on it."""
    indent, decision = "  " * depth, f", **{mark}**" if mark else ""
    if isinstance(part, Finding):
        found = cell(part.found)
        least = f"; matters from {number(part.effect)}" if part.effect else ""
        yield f"{indent}- {part.words}: {found.text}{f' ({found.note})' if found.note else ''}{least}{decision}"
        return
    yield f"{indent}- {part.words}{decision}"
    shown: Sequence[Part] = part.parts
    if isinstance(part, Any) and len(shown) > MOST:
        shown = sorted(shown, key=lambda each: each.chance_held)[:LIKELIEST]
        yield f"{indent}  - the {LIKELIEST} that hold most surely:"
    for each in shown:
        yield from _said(each, "", depth + 1)


def _beside(entry: Entry) -> Iterator[str]:
    """The decisions at the common values."""
    if entry.beside is None:
        return
    yield ""
    yield f"{_opened(entry.common)}: {entry.beside.headline}."
    differ = [
        f"{part.words}: {MARKS[now]}, {MARKS[then]} at the chosen values"
        for part, now, then in zip(
            entry.beside.parts, entry.beside.decisions, entry.verdict.decisions if entry.verdict else (), strict=True
        )
        if now != then
    ]
    if differ:
        yield ""
        yield from (f"- {line}" for line in differ)


def _table(entry: Entry) -> Iterator[str]:
    """A row per arm. Scores are means over members, with 95% t intervals."""
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


def _account(entry: Entry, scale: str, tuned_on: str) -> Iterator[str]:
    """The claim's provenance: the command, the time, and every cell of the grid."""
    command = ["python", "-m", "launch", *(["sweep", entry.sweep] if entry.sweep else ["claims", str(entry.number)])]
    command += ([] if scale == "small" else ["--scale", scale]) + ([] if tuned_on == "lifetime" else ["--tuned-on", tuned_on])
    spent = f": {entry.seconds:,.0f} s on {entry.where}" if entry.seconds else ""
    yield f"`{shlex.join(command)}`{spent}. Reported: {count(entry.members, 'member')} an arm. {entry.selectors}"
    searched = {key: choice for key, choice in entry.choices.items() if choice.scores}
    if searched:
        yield ""
        yield "<details><summary>The grid: mean selection score of every cell over the whole life; and what each rule chooses</summary>"
        yield ""
        rules = list(next(iter(searched.values())).scores)
        yield f"| arm | cells | {' | '.join(rules)} |"
        yield f"|---|---|{'---|' * len(rules)}"
        for key, choice in searched.items():
            cells = "; ".join(
                f"{words}: {number(score)}" if score > float("-inf") else f"{words}: diverged"
                for words, score in choice.scores["lifetime"].items()
            )
            chosen = (max(scores, key=lambda words: scores[words]) for scores in choice.scores.values())
            yield f"| {key} ({', '.join(choice.values)}) | {cells} | {' | '.join(chosen)} |"
        yield ""
        yield "</details>"
