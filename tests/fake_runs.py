"""Run folders with a known answer, written as real runs write them.

`python -m tests.fake_runs FOLDER` writes a comparison of six chains on 57 games with ten runs of each, for reports of that size.
"""

import sys
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from plasticity_rl.records.events import Metric, Score
from plasticity_rl.records.folder import write_json
from plasticity_rl.records.spec import Spec
from plasticity_rl.records.tables import write_table

SETTING = "5e771296a0b1c2d3"
LAYERS = ("hidden0", "hidden1")


def spec(label: str = "none", seed: int = 0, tasks: Sequence[str] = ("a", "b", "c"), budget: int = 100, **changed: Any) -> Spec:
    """A plausible spec.json; `changed` replaces fields. A task that comes again is in its next cycle."""
    visits = [
        {"index": index, "task": task, "cycle": list(tasks[:index]).count(task), "budget": budget} for index, task in enumerate(tasks)
    ]
    chain = [] if label == "none" else [[word, {}] for word in label.split(" + ")]
    fields: dict[str, Any] = {
        "key": f"{label}-{seed}",
        "setting": SETTING,
        "benchmark": "random-labels",
        "label": label,
        "fresh_control": label == "fresh" or label.endswith(" + reset"),
        "unit": "updates",
        "fingerprint": f"data of seed {seed}",
        "members": 3,
        "seed": seed,
        "visits": visits,
        "references": {},
        "experiment": {"benchmark": ["random-labels", {"visits": len(tasks)}], "chain": chain, "seed": seed, "members": 3},
    }
    return Spec(**(fields | changed))


def write_run(
    root: Path, described: Spec, scores: Iterable[Score], metrics: Iterable[Metric] = (), done: bool = True, context: Any = None
) -> Path:
    """The folder of one run below `root`."""
    folder = root / described.key.replace("/", "_")
    folder.mkdir(parents=True)
    write_json(folder / "spec.json", described._asdict())
    write_json(folder / "context.json", context or {"code": "c0ffee", "dirty": False, "packages": {"torch": "2.13.0"}})
    write_table(folder / "scores.csv", Score, scores)
    write_table(folder / "metrics.csv", Metric, metrics)
    if done:
        (folder / "DONE").touch()
    return folder


def online_rows(described: Spec, areas: np.ndarray, every: int = 50, shape: Sequence[float] | None = None) -> list[Score]:
    """Rows every `every` updates. `areas` (members, visits) is the mean over each visit; `shape` has mean 1 and one factor for each row."""
    rows: list[Score] = []
    updates = 0
    for visit in described.visits:
        count = visit["budget"] // every
        factors = [1.0] * count if shape is None else shape
        for factor in factors:
            updates += every
            rows += [
                Score(member, visit["index"], visit["task"], visit["cycle"], 0, updates, updates, "online", float(level * factor))
                for member, level in enumerate(areas[:, visit["index"]])
            ]
    return rows


def episode_rows(described: Spec, levels: np.ndarray, length: int = 100, rng: np.random.Generator | None = None) -> list[Score]:
    """An episode of each member every `length` frames, of return `levels` (members, visits), noisy where a generator is given.

    Levels (members, visits, windows) change within a visit. The end of each visit cuts another episode.
    """
    rows: list[Score] = []
    end = 0
    curves = levels if levels.ndim == 3 else levels[:, :, None]
    for visit in described.visits:
        start, end = end, end + visit["budget"]
        for frames in range(start + length, end + 1, length):
            window = (frames - start - 1) * curves.shape[2] // visit["budget"]
            for member, level in enumerate(curves[:, visit["index"], window]):
                noise = 0.0 if rng is None else float(rng.normal())
                where = (member, visit["index"], visit["task"], visit["cycle"], frames, frames // 4, frames // 16)
                rows.append(Score(*where, "return", float(level) + noise))
        where = (visit["index"], visit["task"], visit["cycle"], end, end // 4, end // 16)
        rows += [Score(member, *where, "cut", 0.5) for member in range(len(levels))]
    return rows


def evaluation_rows(described: Spec, scores: np.ndarray, episodes: int = 2) -> list[Score]:
    """Episodes of each member at the end of each visit, on each task met so far, in order of first visits: `scores`
    (members, visits, tasks) is their mean; they lie 1 above it and 1 below in turn."""
    rows: list[Score] = []
    met: dict[str, int] = {}
    end = 0
    for visit in described.visits:
        met.setdefault(visit["task"], len(met))
        end += visit["budget"]
        for (task, number), member, episode in product(met.items(), range(len(scores)), range(episodes)):
            where = (member, visit["index"], task, visit["cycle"], end, end // 4, end // 16)
            rows.append(Score(*where, "evaluation", float(scores[member, visit["index"], number]) + (episodes > 1) * (-1) ** episode))
    return rows


def diagnostic_rows(described: Spec, every: int = 500) -> list[Metric]:
    """Rising dormancy and norms, falling effective learning rate, on two layers."""
    rows: list[Metric] = []
    total = sum(visit["budget"] for visit in described.visits)
    edges = np.cumsum([visit["budget"] for visit in described.visits])
    for updates in range(every, total + 1, every):
        visit = described.visits[int(np.searchsorted(edges, updates))]
        for member in range(described.members):
            for number, layer in enumerate(LAYERS):
                where = (member, visit["index"], visit["task"], visit["cycle"], 0, updates, updates)
                done = updates / total if described.label == "none" else 0.1
                rows += [
                    Metric(*where, f"dormant_fraction/{layer}", 0.1 + 0.6 * done + 0.02 * number),
                    Metric(*where, f"dormant_fraction_fresh/{layer}", 0.1),
                    Metric(*where, f"weight_norm/{layer}", 3.0 + 4.0 * done),
                    Metric(*where, f"effective_learning_rate/{layer}", 1e-3 / (1 + 9 * done)),
                ]
    return rows


def supervised(root: Path, label: str, first: float, last: float, seed: int = 0, noise: float = 0.01, visits: int = 20) -> Path:
    """A run of five members whose area moves evenly from `first` to `last`; within a visit it doubles, as in learning."""
    described = spec(label, seed, [f"labels{visit}" for visit in range(visits)], budget=1000, members=5)
    random = np.random.default_rng([seed, *label.encode()])
    areas = np.linspace(first, last, visits) + noise * random.normal(size=(5, visits)) + noise * random.normal(size=(5, 1))
    shape = np.linspace(2 / 3, 4 / 3, 20)
    return write_run(root, described, online_rows(described, areas, shape=list(shape)), diagnostic_rows(described))


def online(root: Path, label: str, areas: ArrayLike, seed: int = 0, **changed: Any) -> Path:
    """A supervised run with member i's score areas[i][v] throughout visit v."""
    matrix = np.array(areas, dtype=float)
    described = spec(label, seed, "abcdefghijklmnopqrstuvwxyz"[: matrix.shape[1]], **({"members": len(matrix)} | changed))
    return write_run(root, described, online_rows(described, matrix))


def games(root: Path, label: str, levels: ArrayLike, tasks: Sequence[str], seed: int = 0, **changed: Any) -> Path:
    """A run of games; every episode of member i in visit v returns levels[i][v]."""
    matrix = np.array(levels, dtype=float)
    fields = {"unit": "frames", "benchmark": "atari", "members": len(matrix), "budget": 1000} | changed
    described = spec(label, seed, tasks, **fields)
    return write_run(root, described, episode_rows(described, matrix))


def sequence(
    root: Path, label: str, curves: ArrayLike, tasks: Sequence[str], evaluations: ArrayLike | None = None, seed: int = 0, **changed: Any
) -> Path:
    """A run of games with the curves `curves` (members, visits, windows), evaluated as `evaluations` (members, visits, tasks)
    at the end of each visit."""
    matrix = np.array(curves, dtype=float)
    fields = {"unit": "frames", "benchmark": "atari", "members": len(matrix), "budget": 1000} | changed
    described = spec(label, seed, tasks, **fields)
    rows = episode_rows(described, matrix, length=described.visits[0]["budget"] // 10)
    if evaluations is not None:
        rows += evaluation_rows(described, np.array(evaluations, dtype=float))
    return write_run(root, described, sorted(rows, key=lambda row: row.frames))


def forgetful(root: Path, label: str, lost: float, kept: float, seed: int = 0, cycles: int = 2, **changed: Any) -> Path:
    """Five members play four games in cycles. Each visit they learn less by the factor 1 - `lost`, and retain `kept` of a game left behind.

    Random scores are 10, 20, ... and human ones ten times as high.
    """
    games = ("Alien", "Boxing", "Centipede", "MsPacman")
    tasks = games * cycles
    random = np.random.default_rng([seed, *label.encode()])
    floor = 10.0 * np.array([games.index(task) + 1 for task in tasks])
    top = floor * 6 * (1 - lost) ** np.arange(len(tasks)) * (1 + 0.1 * random.normal(size=(5, 1)))
    rise = 1 - np.exp(-np.arange(1, 11) / (3 + 10 * lost * np.arange(len(tasks))[:, None]))
    curves = floor[:, None] + top[:, :, None] * rise + floor[:, None] * 0.2 * random.normal(size=(5, len(tasks), 10))
    evaluated = np.zeros((5, len(tasks), len(games)))
    for visit, game in product(range(len(tasks)), range(len(games))):
        own = max((earlier for earlier in range(visit + 1) if tasks[earlier] == games[game]), default=visit)
        left = top[:, own] * kept ** (visit - own) + floor[game] * 0.3 * random.normal(size=5)
        evaluated[:, visit, game] = floor[game] + left
    references = {game: {"random": 10.0 * number, "human": 100.0 * number} for number, game in enumerate(games, start=1)}
    return sequence(root, label, curves, tasks, evaluated, seed, references=references, **({"budget": 1_000_000} | changed))


def atari(
    root: Path,
    levels: dict[str, np.ndarray],
    runs: int,
    noise: float = 0.1,
    budget: int = 1_000_000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Chains on games, a run folder for each chain, game and seed, as in a comparison on the Arcade Learning Environment.

    The truth: human-normalised scores of visits are drawn from normal distributions with means `levels` (games, visits) of each chain and
    standard deviation `noise`. Random and human scores are those of a game that is far from every other's scale. Within a
    visit, scores rise from 0 to twice the level. Returns the draws: chain -> (members, games, visits).
    """
    drawn: dict[str, np.ndarray] = {}
    shape = (np.arange(10) + 0.5) / 5
    for label, level in levels.items():
        random = np.random.default_rng([seed, *label.encode()])
        drawn[label] = level + noise * random.normal(size=(runs, *level.shape))
        for run, (game, scores) in product(range(runs), enumerate(drawn[label].swapaxes(0, 1))):
            name, low = f"Game{game:02d}", 10.0 * game - 50
            references = {name: {"random": low, "human": low + 1.5 ** (game % 12) * 20}}
            described = spec(
                label,
                run,
                [name] * level.shape[1],
                budget,
                key=f"{label}-{name}-{run}",
                setting=f"{game:016x}",
                benchmark="atari",
                unit="frames",
                members=1,
                references=references,
            )
            benchmark = ["atari", {"games": [name], "frames": budget, "cycles": level.shape[1], "sticky": 0.25}]
            described = described._replace(experiment=described.experiment | {"benchmark": benchmark, "members": 1})
            curve = low + (references[name]["human"] - low) * scores[run][:, None] * shape
            speeds = [
                Metric(0, visit, name, visit, (visit + 1) * budget, 0, (visit + 1) * budget // 16, "updates_per_second", 100.0 + len(label))
                for visit in range(level.shape[1])
            ]
            write_run(root / label.replace(" ", ""), described, episode_rows(described, curve[None], budget // 10), speeds)
    return drawn


def write_comparison(root: Path) -> None:
    """Six chains, 57 games, ten runs of two visits each."""
    base = np.exp(np.random.default_rng(0).normal(-0.2, 0.7, size=(57, 1)))
    factors = {
        "none": (1.0, 0.5),
        "layer-norm": (1.1, 0.7),
        "redo": (1.0, 0.8),
        "nap": (1.1, 1.0),
        "nap + redo": (1.2, 1.2),
        "fresh": (1.0, 1.0),
    }
    atari(root, {label: base * factor for label, factor in factors.items()}, runs=10)


if __name__ == "__main__":
    write_comparison(Path(sys.argv[1]))
