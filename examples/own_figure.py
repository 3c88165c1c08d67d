"""A figure of one's own from run folders: scores over frames, a panel for each agent and task, a line for each precision of the network;
and, printed, the mean over each member's evaluations.

    python -m launch sweep launch/sweeps/precision.py
    python examples/own_figure.py runs/precision precision.png

`load` gives every row of every run as a pandas table; all settings of a run are in its `spec.experiment`.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from analysis.load import load

COLUMNS = 3  # of panels


def curves(folder: Path) -> pd.DataFrame:
    """The mean over each evaluation's episodes: `panel`, `precision`, `member`, `frames`, `score`."""
    loaded, found = load([folder]), []
    for run in loaded.runs:
        said, rows = run.spec.experiment, loaded.of(run)
        rows = rows[rows.kind == "evaluation"]
        agent = said["agent"][0].split(".")[0].upper()
        means = rows.groupby(["member", "frames"], as_index=False).score.mean()
        found.append(means.assign(panel=f"{agent}, {run.spec.benchmark}", precision=said["network"][1]["precision"]))
    return pd.concat(found, ignore_index=True)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Means over members, and from the lowest to the highest member."""
    panels = sorted(table.panel.unique())
    rows = -(-len(panels) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(3 * COLUMNS, 2.4 * rows), squeeze=False, layout="constrained")
    for axis, panel in zip(axes.flat, panels, strict=False):
        for precision, curve in table[table.panel == panel].groupby("precision"):
            members = curve.groupby("frames").score
            (line,) = axis.plot(members.mean(), label=precision)
            axis.fill_between(members.mean().index, members.min(), members.max(), color=line.get_color(), alpha=0.2, linewidth=0)
        axis.set(title=panel, xlabel="frames")
        axis.ticklabel_format(axis="x", style="sci", scilimits=(3, 3))
    axes[0][0].set_ylabel("score")
    axes[0][0].legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    found = curves(Path(sys.argv[1]))
    over_run = found.groupby(["panel", "precision", "member"]).score.mean()
    print(over_run.groupby(["panel", "precision"]).agg(["mean", "min", "max"]).round(2).to_string())
    draw(found, Path(sys.argv[2]))
