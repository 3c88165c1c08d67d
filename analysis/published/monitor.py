"""Stable-Baselines3's monitor.csv: a line #{"t_start": ..., "env_id": ...}, then a row per episode: return r, length l, time t.

Files whose name is only a number, `0.monitor.csv`, are environments of one run, as named by make_vec_env; every other file is a run.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from analysis.published.scores import Row, latest, mean_of
from plasticity_rl.checks import UsageError
from plasticity_rl.files import parse_json, read_csv, read_text

GYM = re.compile(r"(?:ALE/)?(\w+?)(?:NoFrameskip|Deterministic)?(?:-ram)?-v\d+")
"""names of environments: `PongNoFrameskip-v4`, `ALE/Pong-v5`"""

NUMBERED = re.compile(r"\d+\.monitor\.csv")


def read(
    path: Path, *, label: str, task: str = "", last: int = 100, until: int | None = None, source: str = "Stable-Baselines3"
) -> Iterator[Row]:
    """Scores of a file, or of all files in a folder that end in monitor.csv: the mean return of each run's last episodes.

    `label`: the agent's; `task`: by default from env_id; `until`: the number of steps after which episodes are ignored.
    """
    files = sorted(path.rglob("*monitor.csv")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"no file that ends in monitor.csv in {path}")
    runs: dict[Path, list[Path]] = {}
    for file in files:
        runs.setdefault(file.parent if path.is_dir() and NUMBERED.fullmatch(file.name) else file, []).append(file)
    for run, some in runs.items():
        names = {task or _task(file) for file in some}
        if len(names) > 1:
            raise UsageError(f"{run}: one run's files are of several environments: {', '.join(sorted(names))}")
        steps, returns = 0, []
        for _, score, length in sorted(episode for file in some for episode in _episodes(file)):
            steps += length
            if until is None or steps <= until:
                returns.append(score)
        measure = mean_of(last, "episodes", until) + (" steps" if until is not None else "")
        yield Row(source, label, measure, names.pop(), str(run), latest(returns, last, str(run)))


def _header(file: Path) -> dict[str, object]:
    first = read_text(file).partition("\n")[0]
    try:
        found = parse_json(first.removeprefix("#")) if first.startswith("#") else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("t_start"), int | float):
        raise UsageError(f'{file} is not a monitor.csv: its first line should be #{{"t_start": ..., "env_id": ...}}')
    return found


def _task(file: Path) -> str:
    name = str(_header(file).get("env_id"))
    if name == "None":
        raise UsageError(f"{file} does not name its environment: add task=TASK")
    found = GYM.fullmatch(name)
    return found[1] if found else name


def _episodes(file: Path) -> Iterator[tuple[float, float, int]]:
    """(end in seconds since 1970, return, length in steps) of each episode."""
    start = float(str(_header(file)["t_start"]))
    header, rows = read_csv(file)
    if absent := {"r", "l", "t"} - set(header):
        raise UsageError(f"{file} is not a monitor.csv: it lacks {', '.join(sorted(absent))}")
    for number, row in rows:
        cells = dict(zip(header, row, strict=True))
        try:
            yield start + float(cells["t"]), float(cells["r"]), int(float(cells["l"]))
        except ValueError as error:
            raise UsageError(f"{file}, row {number}: r, l and t must be numbers") from error
