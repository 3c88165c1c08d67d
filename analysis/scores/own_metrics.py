"""Metrics of people's own modules, named by the path of their class, `my_metrics.Above`: their values at the end of each chain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.data.load import Loaded
from analysis.scores.policies import late
from analysis.scores.setting import Setting
from analysis.scores.verdict import first_and_last
from analysis.statistics.intervals import Estimate, estimate, mean
from plasticity_rl.metrics.catalogue import Metric

FRESH = "_fresh"


@dataclass(frozen=True)
class OwnMetrics:
    """Values of one chain, by metric: means over keys, such as layers, and over the second halves of the last visits."""

    label: str
    fresh_control: bool
    values: dict[str, Estimate]
    untrained: dict[str, Estimate]
    """of untrained networks on the same inputs"""


def own_names(families: Sequence[str]) -> list[str]:
    """Metrics of people's own among the names in metrics.csv before the slash: those with a dot, which no other has."""
    return sorted({name.removesuffix(FRESH) for name in families if "." in name})


def as_metric(name: str) -> Metric:
    """A metric of people's own as a row of the catalogue."""
    return Metric(name, name, "own", untrained=True, drawn=True)


def own_metrics(loaded: Loaded, setting: Setting) -> tuple[OwnMetrics, ...]:
    """A row for each chain, in the setting's order; none without such metrics."""
    rows = loaded.metrics.loc[(loaded.metrics.setting == setting.spec.setting).to_numpy()]
    rows = rows.assign(family=rows.name.str.partition("/")[0]) if len(rows) else rows.assign(family="")
    names = own_names(rows.family.unique().tolist())
    if not names:
        return ()
    rows, made = late(rows), []
    for chain in setting.chains:
        own = rows.loc[(rows.label == chain.label).to_numpy()]
        values, untrained = ({name: _at_the_end(own, setting, name + suffix) for name in names} for suffix in ("", FRESH))
        made.append(OwnMetrics(chain.label, chain.fresh_control, values, untrained))
    return tuple(made)


def _at_the_end(rows: pd.DataFrame, setting: Setting, family: str) -> Estimate:
    """Mean over the last visits of a metric's mean over keys and rows."""
    grid = np.full((len(setting.pairs), len(setting.spec.visits)), np.nan)
    places = {pair: place for place, pair in enumerate(setting.pairs)}
    found = rows.loc[(rows.family == family).to_numpy()].groupby(["seed", "member", "visit"]).value.mean()
    for (seed, member, visit), value in found.items():  # type: ignore[misc]
        grid[places[int(seed), int(member)], int(visit)] = value
    return estimate(mean, grid[:, first_and_last(setting)[1]])
