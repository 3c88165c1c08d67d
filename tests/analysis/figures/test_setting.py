"""Names of tasks below a figure's visits do not run into each other."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis.figures.setting import _visit_axis
from analysis.figures.style import canvas


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize(
    "tasks",
    [
        [f"bandit-{task}" for task in range(12)],
        ["MsPacman", "Centipede", "Qbert", "Defender", "Krull", "Atlantis", "UpNDown", "BattleZone"],
        ["Pong", "a-task-whose-name-is-as-long-as-others-are-together", "Qbert"],
        ["Pong", "Breakout"],
    ],
    ids=["twelve", "games", "one long name", "two"],
)
def test_labels_of_visits_do_not_overlap(tasks: list[str], columns: int) -> None:
    figure, panels = canvas(3.0, columns=columns)
    setting: Any = SimpleNamespace(tasks=tasks)
    for axes in panels:
        axes.plot(range(len(tasks)), range(len(tasks)))
        _visit_axis(axes, setting)
    FigureCanvasAgg(figure).draw()
    for axes in panels:
        shown = [each.get_window_extent() for each in axes.get_xticklabels() if each.get_text()]
        edges = [(box.x0, box.x1) for box in shown]
        assert all(one[1] <= other[0] for one, other in pairwise(edges)), edges
        assert ("Pong" in axes.get_xticklabels()[0].get_text()) == (len(tasks) == 2)
