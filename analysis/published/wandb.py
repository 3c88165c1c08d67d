"""The CSV export of a Weights & Biases chart: Step, then per run the columns `RUN - METRIC`, with __MIN and __MAX."""

from collections.abc import Iterator
from pathlib import Path

from analysis.published.scores import Row, latest, mean_of
from plasticity_rl.checks import UsageError, choose
from plasticity_rl.files import read_csv

RANGES = ("__MIN", "__MAX", " - _step")
"""suffixes of columns that repeat others"""


def read(
    path: Path,
    *,
    task: str,
    label: str = "",
    metric: str = "",
    last: int = 10,
    until: int | None = None,
    source: str = "Weights & Biases",
) -> Iterator[Row]:
    """Scores of a file: the mean of each run's last values.

    `metric`: needed if the chart has several; `label`: the agent of all runs, by default each run is its own agent, named as the run;
    `until`: the last step included.
    """
    header, rows = read_csv(path)
    columns = [name for name in header[1:] if not name.endswith(RANGES)]
    if not columns or not all(" - " in name for name in columns):
        raise UsageError(f"{path} is not the export of a chart: its columns should be Step and, for each run, RUN - METRIC")
    if len(set(columns)) < len(columns):
        raise UsageError(f"{path}: two runs have the same name; give each its own before exporting")
    metrics = sorted({name.rpartition(" - ")[2] for name in columns})
    if not metric and len(metrics) > 1:
        raise UsageError(f"{path} has several metrics: metric=NAME chooses one of {', '.join(metrics)}")
    metric = choose("metric", metric or metrics[0], metrics)
    for column in columns:
        run, _, measured = column.rpartition(" - ")
        if measured == metric:
            values = [value for step, value in _curve(path, header, rows, column) if until is None or step <= until]
            measure = f"{metric}, {mean_of(last, 'values', until)}" + (f" of {header[0]}" if until is not None else "")
            yield Row(source, label or run, measure, task, run, latest(values, last, f"{path}: {run}"))


def _curve(path: Path, header: list[str], rows: list[tuple[int, list[str]]], column: str) -> Iterator[tuple[float, float]]:
    """(step, value) pairs of one run, without the steps of other runs."""
    at = header.index(column)
    for number, row in rows:
        try:
            if row[at]:
                yield float(row[0]), float(row[at])
        except ValueError as error:
            raise UsageError(f"{path}, row {number}: {header[0]} and {column} must be numbers") from error
