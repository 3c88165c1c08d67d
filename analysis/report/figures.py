"""The figures of each part of the report: their names, and what they show in words."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from analysis.data.load import Loaded
from analysis.figures.aggregates import aggregates, efficiency, improvement, profiles
from analysis.figures.rewards import reward_curves
from analysis.figures.setting import (
    DIAGNOSTICS,
    diagnostics,
    evaluation_curves,
    learning_curves,
    performance_by_visit,
    retention_maps,
    scores_by_visit,
    verdict,
)
from analysis.figures.style import FigureFiles, Look, render, render_narrow, style
from analysis.report.sections import Section, SuiteSection
from analysis.scores.matrix import ScoreMatrix

Looks = dict[str, Look]
Drawn = Mapping[str, tuple[str, Figure | None]]
"""name -> what the figure shows, and the figure; None where there are no data"""


def draw(section: Section, loaded: Loaded, looks: Looks, number: int) -> list[FigureFiles]:
    """The figures of one setting, the one that stands under the verdict first; those without data are left out."""
    setting = section.setting
    with style():
        drawn_scores = scores_by_visit(setting, looks)
        both = " and plasticity kept" * (drawn_scores is not None and len(drawn_scores.axes) > 1)
        scores = (f"Score{both} at each visit, for each chain; bands are 95% intervals over members", drawn_scores)
        rows = [row for row in section.rows if row.chain in setting.compared]
        ends = ("First and last visits, plasticity kept and performance of each chain", verdict(setting, rows, looks))
        one = len(setting.tasks) == 1
        drawn = {
            **({"verdict": ends, "scores": scores} if one else {"scores": scores, "verdict": ends}),
            "performance": ("Performance at each visit, for each chain", performance_by_visit(setting, looks)),
            "curves": ("Learning curves of each chain beside the fresh control", learning_curves(setting, looks)),
            "rewards": (
                "Reward per step of each chain over the run, as an exponentially weighted mean",
                reward_curves(setting, section.rewards, looks),
            ),
            **(_matrix_figures(section.matrix, looks) if len(setting.tasks) > 1 else {}),
            "retention": ("Retention of each task after it was left, for each chain", retention_maps(setting, section.sequence)),
            "evaluations": ("Evaluation of each task over the run, for each chain", evaluation_curves(setting, section.evaluations, looks)),
            "diagnostics": (
                f"{_diagnostics(section)} over updates; which moved before the score fell: the command `mechanisms`",
                diagnostics(setting, loaded.metrics, looks),
            ),
        }
        made = _rendered(drawn, number, setting.spec.benchmark)
        phone = None if one else scores_by_visit(setting, looks, narrow=True)
        return [made[0]._replace(narrow=render_narrow(phone)), *made[1:]] if phone else made


def _diagnostics(section: Section) -> str:
    own = list(section.own_metrics[0].values) if section.own_metrics else []
    return ", ".join([", ".join(metric.title for metric in DIAGNOSTICS).capitalize(), *own])


def draw_suite(section: SuiteSection, looks: Looks, number: int) -> list[FigureFiles]:
    """The figures of a suite."""
    with style():
        return _rendered(_matrix_figures(section.matrix, looks), number, section.suite.settings[0].spec.benchmark)


def _matrix_figures(matrix: ScoreMatrix, looks: Looks) -> Drawn:
    return {
        "aggregates": ("Interquartile mean, median, mean and optimality gap of each chain", aggregates(matrix, looks)),
        "profiles": ("Performance profiles: the share of runs above each score, for each chain", profiles(matrix, looks)),
        "efficiency": ("Sample efficiency: interquartile mean over the budget, for each chain", efficiency(matrix, looks)),
        "improvement": (
            "Probability that a chain scores more than no intervention, and than the fresh control",
            improvement(matrix, looks),
        ),
    }


def _rendered(drawn: Drawn, number: int, benchmark: str) -> list[FigureFiles]:
    slug = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in benchmark)[:40]
    return [render(f"{number}-{slug}-{name}", alt, figure) for name, (alt, figure) in drawn.items() if figure is not None]
