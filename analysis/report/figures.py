"""Which figures a part of the report has, what they are called, and what they show to those who do not see them."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from analysis.data.load import Loaded
from analysis.figures import aggregates
from analysis.figures import setting as figures
from analysis.figures.style import Look, Picture, picture, style
from analysis.report.sections import Section, SuiteSection
from analysis.scores.matrix import Panel

Looks = dict[str, Look]


def draw(section: Section, loaded: Loaded, looks: Looks, number: int) -> list[Picture]:
    """The figures of one setting; those without data are left out."""
    setting = section.setting
    with style():
        made = {
            ("scores", "Score at each visit, for each chain"): figures.scores_by_visit(setting, looks),
            ("plasticity", "Plasticity ratio at each visit, for each chain"): figures.plasticity_by_visit(setting, looks),
            ("verdict", "First and last visits, interquartile mean and plasticity ratio of each chain"): figures.verdict(
                setting, list(section.rows), looks
            ),
            ("curves", "Learning curves of each chain beside the fresh control"): figures.learning_curves(setting, looks),
            **(_panel(section.panel, looks) if len(setting.tasks) > 1 else {}),
            ("retention", "Retention of each task after it was left, for each chain"): figures.retention_maps(setting, section.sequence),
            ("evaluations", "Evaluation of each task over the run, for each chain"): figures.evaluation_curves(
                setting, section.evaluations, looks
            ),
            (
                "diagnostics",
                "Dormant and dead units, feature rank, weight norm, distance from birth and effective learning rate over updates; "
                "which moved before the score fell: python -m launch mechanisms",
            ): (figures.diagnostics(setting, loaded.metrics, looks)),
        }
        return _pictures(made, number, setting.spec.benchmark)


def draw_suite(section: SuiteSection, looks: Looks, number: int) -> list[Picture]:
    """The figures of a suite."""
    with style():
        return _pictures(_panel(section.panel, looks), number, section.suite.settings[0].spec.benchmark)


def _panel(panel: Panel, looks: Looks) -> Mapping[tuple[str, str], Figure | None]:
    return {
        ("aggregates", "Interquartile mean, median, mean and optimality gap of each chain"): aggregates.aggregates(panel, looks),
        ("profiles", "Performance profiles: the share of runs above each score, for each chain"): aggregates.profiles(panel, looks),
        ("efficiency", "Sample efficiency: interquartile mean over the budget, for each chain"): aggregates.efficiency(panel, looks),
        ("improvement", "Probability that a chain scores more than no intervention, and than the fresh control"): aggregates.improvement(
            panel, looks
        ),
    }


def _pictures(made: Mapping[tuple[str, str], Figure | None], number: int, benchmark: str) -> list[Picture]:
    slug = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in benchmark)[:40]
    return [picture(f"{number}-{slug}-{name}", alt, figure) for (name, alt), figure in made.items() if figure is not None]
