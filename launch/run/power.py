"""Power of a sweep before anything is trained: the difference that its members can see."""

import math
from collections.abc import Sequence

from analysis.format import count, number, share
from analysis.statistics.power import CHANCE, members_for, visible
from launch.run.store import Store
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.folder import read_specs
from plasticity_rl.records.spec import Spec

SPREADS = {"random-labels": (0.035, "online accuracy"), "continual-cartpole": (24.9, "return")}
"""benchmark -> standard deviation of a paired difference over the last visits, and of what: the demo's runs, all pairs of chains"""


def seen(experiments: Sequence[Experiment], specs: Sequence[Spec], store: Store) -> str:
    """One line: the paired difference that the members of a chain see, in standard deviations and in units of the score.

    Each benchmark counts with the fewest members of any chain and setting. The unit is known from earlier runs of the same setting in the
    folder, or from the demo's (SPREADS).
    """
    members: dict[tuple[str, str, str], int] = {}
    for each, spec in zip(experiments, specs, strict=True):
        key = spec.benchmark, spec.setting, spec.label
        members[key] = members.get(key, 0) + each.members
    told: list[str] = []
    for benchmark in dict.fromkeys(spec.benchmark for spec in specs):
        least = min(many for (name, *_), many in members.items() if name == benchmark)
        unit = _unit(benchmark, [spec.setting for spec in specs if spec.benchmark == benchmark], store) if least > 1 else None
        told.append(f"{benchmark}, {count(least, 'member')}: {_effect(least, unit)}")
    return f"Paired differences that are seen with {share(CHANCE)} chance: {'; '.join(told)}"


def _effect(members: int, unit: tuple[float, str, str] | None) -> str:
    if members == 1:
        return "none, as an interval needs two and a mark five"
    effect, half = f"{visible(members):.2f} standard deviations", f"half of that takes {members_for(visible(members) / 2)} members"
    if unit is None:
        return f"{effect} (a pilot in this folder tells how much that is), {half}"
    spread, scale, source = unit
    return f"{effect}, {number(visible(members) * spread)} of {scale} ({source}), {half}"


def _unit(benchmark: str, settings: Sequence[str], store: Store) -> tuple[float, str, str] | None:
    """(spread, what it is of, where it is from), of the first setting that tells it; None where it is not known."""
    for setting in dict.fromkeys(settings):
        spread, scale = _measured(setting, store)
        if math.isfinite(spread):
            return spread, scale, "by earlier runs in this folder"
    return (*SPREADS[benchmark], "at the demo's spread") if benchmark in SPREADS else None


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
