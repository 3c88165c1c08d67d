"""Performance after the first visit as a function of one varied benchmark parameter, such as the mean of earlier targets."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from analysis.data.comparable import OWN, part_fields
from analysis.data.load import Loaded
from analysis.figures.style import Look, band, canvas, legend
from analysis.scores.setting import Setting
from analysis.statistics.aggregates import stacked
from analysis.statistics.intervals import estimate, mean
from plasticity_rl.records.spec import Spec

LEAST = 3  # settings needed for a line


def dose(specs: Sequence[Spec]) -> str | None:
    """The only field, a number of the benchmark, in which at least LEAST settings differ; None if there is none."""
    fields = [part_fields(spec.experiment.get("benchmark")) for spec in specs]
    rest = {repr([(name, value) for name, value in spec.experiment.items() if name not in (*OWN, "benchmark")]) for spec in specs}
    varied = [name for name in fields[0] if len({repr(each.get(name)) for each in fields}) > 1]
    if len(specs) < LEAST or len(rest) > 1 or len(varied) != 1 or len({tuple(each) for each in fields}) > 1:
        return None
    return varied[0] if all(type(each[varied[0]]) in (int, float) for each in fields) else None


def amount(spec: Spec, field: str) -> float:
    """The value of that field in a setting."""
    return float(part_fields(spec.experiment["benchmark"])[field])


def final_losses(metrics: pd.DataFrame, setting: Setting, label: str) -> np.ndarray:
    """Final loss, (pairs,): the mean over visits after the first of the loss in the visit's last row of diagnostics; NaN without rows."""
    chosen = (metrics.setting == setting.spec.setting) & (metrics.label == label) & (metrics.name == "loss") & (metrics.visit > 0)
    last = metrics.loc[chosen.to_numpy()].sort_values("updates").groupby(["seed", "member", "visit"]).value.last()
    found = last.groupby(["seed", "member"]).mean()
    return np.array([found.get(pair, np.nan) for pair in setting.pairs])


def drawn_by_dose(loaded: Loaded, settings: Sequence[Setting], field: str, looks: Mapping[str, Look]) -> Figure:
    """Final loss and score of the visits after the first against the varied parameter, for each chain; means over members with 95%
    intervals."""
    ordered = sorted(settings, key=lambda setting: amount(setting.spec, field))
    figure, (losses, scores) = canvas(3.0, rows=1, columns=2)
    labels = list(dict.fromkeys(chain.label for setting in settings for chain in setting.compared))
    for label in labels:
        found = list[tuple[int, np.ndarray, np.ndarray]]()
        for place, setting in enumerate(ordered):
            for chain in (each for each in setting.compared if each.label == label):
                scored = setting.shown(chain.area)[:, 1:].mean(axis=1)
                found.append((place, final_losses(loaded.metrics, setting, label), scored))
        at, *columns = zip(*found, strict=True)
        for axes, column in zip((losses, scores), columns, strict=True):
            row = [estimate(mean, numbers[:, None]) for numbers in column]
            band(axes, np.array(at), stacked(row), looks[label], looks[label].marker)
    for axes, title in ((losses, "final loss"), (scores, settings[0].scale)):
        axes.set_title(f"{title}, visits after the first", fontsize=8)
        axes.set_xticks(range(len(ordered)), [f"{amount(setting.spec, field):g}" for setting in ordered])
        axes.set_xlabel(field, fontsize=8)
        axes.tick_params(labelsize=7)
    losses.set_yscale("log")
    losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    losses.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
    losses.yaxis.set_minor_locator(NullLocator())
    legend(figure, {label: looks[label] for label in labels})
    return figure
