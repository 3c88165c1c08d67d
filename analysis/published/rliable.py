"""rliable's arrays (runs, tasks): an .npz file with one array per agent, or an .npy file of one agent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np

from analysis.format import count
from analysis.published.scores import Row
from plasticity_rl.checks import UsageError

NAMES = ("tasks", "games")
"""names of the text array in an .npz file that lists the tasks"""
PICKLE = "holds Python objects, which run code when they are opened: save arrays, numpy.savez(PATH, tasks=[...], **{label: scores})"


def read(
    path: Path,
    *,
    scale: Literal["raw", "human-normalised"],
    tasks: str = "",
    label: str = "",
    measure: str = "measure not said",
    source: str = "rliable",
) -> Iterator[Row]:
    """The scores of a file.

    `scale`: the scores' scale, which the file does not contain; `tasks`: names of the columns, A+B+C, if the file has no text array of
    them; `label`: the agent of an .npy file.
    """
    arrays = _arrays(path)
    named = next((arrays.pop(name) for name in NAMES if name in arrays and arrays[name].dtype.kind == "U"), None)
    names = tasks.split("+") if tasks else [] if named is None else [str(name) for name in named.ravel()]
    if not names:
        raise UsageError(f"{path} does not name its tasks: add tasks=A+B+C, or an array of text `tasks` in the .npz file")
    if len(set(names)) < len(names):
        raise UsageError(f"{path}: a task is named twice in {'+'.join(names)}")
    if not all(agent or label for agent in arrays):
        raise UsageError(f"{path} does not name its agent: add label=NAME")
    for agent, scores in arrays.items():
        if scores.ndim != 2 or scores.dtype.kind not in "iuf":
            raise UsageError(f"{path}: {agent or 'the array'} is not an array (runs, tasks) of numbers: its shape is {scores.shape}")
        if scores.shape[1] != len(names):
            raise UsageError(f"{path}: {agent or 'the array'} has {scores.shape[1]} columns, for {count(len(names), 'task')}")
        for run, row in enumerate(scores.tolist()):
            yield from (
                Row(source, label or agent, measure, task, str(run), float(score), scale != "raw")
                for task, score in zip(names, row, strict=True)
            )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, empty for an .npy file. Never unpickles."""
    try:
        with open(path, "rb") as file:
            if not file.read(6).startswith((b"\x93NUMPY", b"PK")):
                raise UsageError(f"{path} is neither an .npz nor an .npy file")
        held = np.load(path, allow_pickle=False)
        if isinstance(held, np.ndarray):
            return {"": held}
        with held:
            return dict(held)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(str(error) if isinstance(error, UsageError) else f"{path} {PICKLE}") from error
    except (BadZipFile, EOFError) as error:
        raise UsageError(f"{path} is damaged: {error}") from error
