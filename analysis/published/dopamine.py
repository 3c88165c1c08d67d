"""Dopamine's JSON: a list of {Iteration, Value, Agent} with one file per game, or with Game in one file for all.

As in github.com/google/dopamine, baselines/atari/data. Value is the mean return of an iteration's training episodes; an iteration is
250,000 steps, a million frames. Runs are unnamed: a new one begins where iterations restart.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.published.scores import Row, latest, mean_of
from plasticity_rl.checks import UsageError
from plasticity_rl.files import parse_json, read_text

Points = list[tuple[int, float]]
"""(iteration, value), as in the file"""


def read(path: Path, *, source: str = "Dopamine", task: str = "", last: int = 5, until: int | None = None) -> Iterator[Row]:
    """Scores of a file, or of every .json in a folder (except Vega's .vg.json): the mean of each run's last iterations.

    `task`: used if there is no Game, by default the file's name; `until`: the last iteration included.
    """
    if path.is_dir():
        files = [each for each in sorted(path.glob("*.json")) if not each.name.endswith(".vg.json")]
        if not files:
            raise UsageError(f"no .json file in {path}")
    else:
        files = [path]
    for file in files:
        for (agent, game), points in _points(file, task).items():
            where = f"{file}: {agent} on {game}"
            runs = [[point for point in run if until is None or point[0] <= until] for run in _runs(where, points)]
            ends = sorted({run[-1][0] if run else -1 for run in runs})
            if len(ends) > 1 or until not in (None, ends[0]):
                raise UsageError(
                    f"{where}: runs end at iterations {', '.join(map(str, ends))}; until={ends[0]} takes all up to the same one"
                )
            for number, run in enumerate(runs):
                yield Row(source, agent, mean_of(last, "iterations", until), game, str(number), latest([y for _, y in run], last, where))


def _points(file: Path, task: str) -> dict[tuple[str, str], Points]:
    """Points of each (agent, game)."""
    text = read_text(file)
    found: dict[tuple[str, str], Points] = {}
    try:
        for record in parse_json(text):
            game = str(record.get("Game") or task or file.stem)
            found.setdefault((str(record["Agent"]), game), []).append((int(record["Iteration"]), float(record["Value"])))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{file} is not Dopamine's JSON: a list of objects with numbers Iteration and Value and a name Agent") from error
    if not found:
        raise UsageError(f"{file} holds no score")
    return found


def _runs(where: str, points: Sequence[tuple[int, float]]) -> list[Points]:
    """Each run's points. Raises UsageError if runs cannot be separated."""
    runs: list[Points] = []
    for point in points:
        if not runs or point[0] <= runs[-1][-1][0]:
            runs.append([])
        runs[-1].append(point)
    if len({run[0][0] for run in runs}) > 1:
        raise UsageError(f"{where}: runs cannot be told apart, since iterations do not begin again at the first where a run ends")
    return runs
