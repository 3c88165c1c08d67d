"""A figure of one's own from run folders: scores over frames or updates, a panel for each agent, benchmark and task, a line for each chain
and precision of the network; and, printed, the mean over each member's rows.

    python -m launch sweep launch/sweeps/precision.py
    python examples/own_figure.py runs/precision precision.png

Evaluations are drawn where there are any, otherwise what was scored while learning. `load` gives every row of every run as a pandas table;
all settings of a run are in its `spec.experiment`.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import plasticity_rl.testbed  # noqa: F401  finds `analysis` where a wheel is installed
from analysis.data.load import load

USAGE = "usage: python examples/own_figure.py RUNS FIGURE - a folder of runs, and the picture to write, such as figure.png"
COLUMNS = 3  # of panels
POINTS = 50  # of a line, at most


def curves(folder: Path) -> pd.DataFrame:
    """The mean over each span of time: `panel`, `line`, `member`, `count` (frames, or updates), `score`."""
    loaded, found = load([folder]), []
    evaluated = "evaluation" in set(loaded.scores.kind)
    precisions = {precision(run.spec.experiment) for run in loaded.runs}
    for run in loaded.runs:
        said, rows = run.spec.experiment, loaded.of(run).dropna(subset="score")
        rows = rows[rows.kind == "evaluation" if evaluated else rows.kind != "cut"]
        span = max(1.0, sum(visit["budget"] for visit in run.spec.visits) / POINTS)
        rows = rows.assign(count=np.ceil(rows[run.spec.unit] / span) * span)
        agent = said.get("agent", [""])[0].split(".")[0].upper()
        rows["panel"] = [", ".join(filter(None, (agent, run.spec.benchmark, task if evaluated else ""))) for task in rows.task]
        named = [run.spec.label] + ([precision(said)] if len(precisions) > 1 else [])
        means = rows.groupby(["panel", "member", "count"], as_index=False).score.mean()
        found.append(means.assign(line=", ".join(named), member=[f"{run.spec.seed}/{member}" for member in means.member]))
    return pd.concat(found, ignore_index=True)


def precision(said: dict) -> str:
    return said.get("network", ["", {}])[1].get("precision", "float32")


def draw(table: pd.DataFrame, path: Path) -> None:
    """Means over members, and from the lowest to the highest member."""
    panels = sorted(table.panel.unique())
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = (3 * columns, 2.4 * rows) if len(panels) > 1 else (6, 3.6)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        for line, curve in table[table.panel == panel].groupby("line"):
            members = curve.groupby("count").score
            (drawn,) = axis.plot(members.mean(), label=line)
            axis.fill_between(members.mean().index, members.min(), members.max(), color=drawn.get_color(), alpha=0.2, linewidth=0)
        axis.set(title=panel, xlabel="frames or updates")
        axis.ticklabel_format(axis="x", style="sci", scilimits=(3, 3))
    axes[0][0].set_ylabel("score")
    axes[0][0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def main(words: list[str]) -> int:
    """Print the table and write the figure. Returns the exit code: 2, after a line, for a mistake."""
    if len(words) != 2:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        found = curves(Path(words[0]))
        over_run = found.groupby(["panel", "line", "member"]).score.mean()
        draw(found, Path(words[1]))
    except (ValueError, OSError) as error:  # no runs there; a kind of picture that there is not
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(over_run.groupby(["panel", "line"]).agg(["mean", "min", "max"]).round(2).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
