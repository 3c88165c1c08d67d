"""What difference the members of a sweep can see, before anything is trained."""

import math
from collections.abc import Sequence

from analysis.format import count, number, share
from analysis.statistics.power import CHANCE, visible
from launch.run.store import Store
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.folder import read_specs
from plasticity_rl.records.spec import Spec

SPREADS = {"random-labels": (0.035, "online accuracy"), "continual-cartpole": (24.9, "return")}
"""benchmark -> standard deviation of a paired difference over the last visits, and of what: the demo's runs, all pairs of chains"""


def seen(experiments: Sequence[Experiment], specs: Sequence[Spec], store: Store) -> str:
    """One line: the paired difference that so many members of a chain see, in standard deviations and in units of the score.

    The unit is known from earlier runs of the same setting in the folder, or from the demo's (SPREADS).
    """
    members: dict[tuple[str, str], int] = {}
    for each, spec in zip(experiments, specs, strict=True):
        members[spec.setting, spec.label] = members.get((spec.setting, spec.label), 0) + each.members
    least, most = min(members.values()), max(members.values())
    if least == 1:
        return "1 member of a chain sees no difference: an interval needs two, a mark five"
    who = count(least, "member") if least == most else f"{least} to {most} members"
    effects = dict.fromkeys(f"{visible(each):.2f}" for each in (least, most))
    line = f"{who} of a chain see a paired difference of {' to '.join(effects)} standard deviations with {share(CHANCE)} chance"
    units = _units(specs, store).items()
    told = [f"{number(visible(least) * spread)} of {scale} ({name}, {source})" for name, (spread, scale, source) in units]
    return line + (f": {', '.join(told)}" if told else "; a pilot in this folder tells how much that is")


def _units(specs: Sequence[Spec], store: Store) -> dict[str, tuple[float, str, str]]:
    """Benchmark -> (spread, what it is of, where it is from), of the benchmarks for which it is known."""
    found: dict[str, tuple[float, str, str]] = {}
    for setting, spec in {each.setting: each for each in specs}.items():
        spread, scale = _measured(setting, store)
        if math.isfinite(spread):
            found.setdefault(spec.benchmark, (spread, scale, "by earlier runs in this folder"))
        elif spec.benchmark in SPREADS:
            found.setdefault(spec.benchmark, (*SPREADS[spec.benchmark], "at the demo's spread"))
    return found


def _measured(setting: str, store: Store) -> tuple[float, str]:
    """The spread by finished runs of the setting in the folder, and the name of the score; NaN if they do not tell it."""
    runs = [run.path for run, spec in read_specs(store.path)[0].items() if spec.setting == setting and run.is_done]
    if len(runs) < 2:
        return math.nan, ""
    from analysis.data.load import load
    from analysis.scores.setting import score
    from analysis.scores.spread import paired_spread

    try:
        found = score(load(runs), setting)
    except UsageError:  # what cannot be compared tells no spread; the report says why
        return math.nan, ""
    return paired_spread(found), found.scale
