"""Promise: whatever a file holds, its reader understands it or says in one class of error that it does not."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from analysis.data.load import load
from envs.supervised import datasets
from launch.bench.reliability.processes import run
from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.runs import Twins, kinds, the_run
from launch.config import parse
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.records import checkpoint
from plasticity_rl.records.events import Metric, Score
from plasticity_rl.records.folder import COUNTERS, RunFolder

TOML = """
benchmark = "random-labels:images=60,tasks=3,updates=60"
chain = ["nap", "redo:every=50"]
members = 2
seed = 1
"""
ODD: tuple[Any, ...] = (None, True, -1, 0, 10**30, 1e308, -0.5, "", "x" * 300, "\0", "../x", "é", [], {}, [[]], {"a": {}}, [1, "a"], "1")


def changed(value: Any, random: Random) -> Any:
    """A copy of a JSON value with one thing in it replaced, removed, renamed or added."""
    made = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(inner, dict | list):
                walk(inner)

    walk(made)
    node, key = random.choice(places)
    how = random.randrange(5)
    if how == 0:
        del node[key]
    elif how == 1 and isinstance(node, dict):
        node[str(key) + random.choice("x\0 ")] = node.pop(key)
    elif how == 2 and isinstance(node, list):
        node.append(random.choice(ODD))
    elif how == 3 and isinstance(node[key], int | float):
        node[key] = random.choice([-node[key], node[key] * 10**9, node[key] + 0.5, str(node[key])])
    else:
        node[key] = random.choice(ODD)
    return made


def damaged(content: bytes, random: Random) -> bytes:
    """Bytes with some of them flipped, cut out, doubled or put in."""
    made = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 8])):
        at = random.randrange(len(made) + 1)
        end = min(at + random.choice([1, 1, 4, 64]), len(made))
        how = random.randrange(4)
        if how == 0 and at < len(made):
            made[at] ^= 1 << random.randrange(8)
        elif how == 1:
            del made[at:end]
        elif how == 2:
            made[at:at] = made[at:end]
        else:
            made[at:at] = random.choice([b"\0", b"nan", b"-", b"9" * 40, b'"', b"[" * 2000, b"\n", b",", b"\xff"])
    return bytes(made)


Reader = tuple[Path, Callable[[bytes, Random], bytes], Callable[[], Any], tuple[type[Exception], ...]]
"""a file, how it is changed, its reader, and what that may raise"""


def readers(folder: Path, run_folder: RunFolder) -> dict[str, Reader]:
    """Every reader of a file that a person may hand in or that a disk may damage."""
    spec = json.loads(run_folder.spec.read_text())
    newest = checkpoint.checkpoints(run_folder.checkpoints)[-1]
    toml, table, arrays = folder / "x.toml", folder / "x.csv", folder / "x.npz"
    toml.write_text(TOML)
    table.write_text("a,b,label\n" + "".join(f"{n / 7},{n * n},{n % 3}\n" for n in range(30)))
    np.savez(arrays, x=np.arange(60, dtype=np.float32).reshape(30, 2), y=np.arange(30) % 3)
    described = folder / "experiment.json"
    described.write_text(json.dumps(spec["experiment"]))

    def of_json(content: bytes, random: Random) -> bytes:
        whole = random.random() < 0.7
        return json.dumps(changed(json.loads(content), random)).encode() if whole else damaged(content, random)

    def description() -> None:
        run_folder.read_spec()

    def experiment() -> None:
        Experiment.from_json(json.loads(described.read_text()))

    def toml_file() -> None:
        parse.experiment(parse.read_experiment(toml))

    return {
        "a run's description": (run_folder.spec, of_json, description, (UsageError,)),
        "a run's description in a report": (run_folder.spec, of_json, lambda: load([run_folder.path]), (UsageError,)),
        "an experiment": (
            described,
            lambda content, random: json.dumps(changed(json.loads(content), random)).encode(),
            experiment,
            (UsageError,),
        ),
        "what a run ran on": (run_folder.context, of_json, run_folder.read_context, (ValueError,)),
        "the marker of a run's end": (run_folder.done, of_json, run_folder.altered, ()),
        "scores": (run_folder.scores, damaged, lambda: run_folder.read_rows(Score), ()),
        "metrics": (run_folder.metrics, damaged, lambda: run_folder.read_rows(Metric), ()),
        "scores in a report": (run_folder.scores, damaged, lambda: load([run_folder.path]), (UsageError,)),
        "the end of scores": (run_folder.scores, damaged, lambda: run_folder.newest_rows(Score), ()),
        "manifest of a checkpoint": (newest / checkpoint.MANIFEST, of_json, lambda: checkpoint.load_latest(run_folder.checkpoints), ()),
        "tensors of a checkpoint": (newest / checkpoint.FILES[0], damaged, lambda: checkpoint.load_latest(run_folder.checkpoints), ()),
        "counters of a checkpoint": (newest / COUNTERS, of_json, lambda: checkpoint.load_latest(run_folder.checkpoints), ()),
        "a TOML file": (toml, damaged, toml_file, (UsageError,)),
        "a CSV file of data": (table, damaged, lambda: datasets.load(str(table), 30), (UsageError,)),
        "a npz file of data": (arrays, damaged, lambda: datasets.load(str(arrays), 30), (UsageError,)),
    }


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """Each reader in turn on a changed file, without end."""
    twins, root = Twins(folder), folder / "read"
    root.mkdir()
    code, said = run(twins.words(kinds()["redo"], root), folder / "log")
    assert code == 0, said
    for count, (name, (path, change, read, allowed)) in enumerate(cycle(readers(folder, the_run(root)).items())):
        whole = path.read_bytes()
        content = change(whole, random)
        path.write_bytes(content)
        os.utime(path, (count, count))  # files that change within a tick of the clock look the same to a reader that remembers
        try:
            read()
            wrong = ""
        except allowed as error:
            wrong = "" if str(error) and "\n" not in str(error) else f"it said {str(error)!r}"
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"[:300] + (f" on {content!r}" if len(content) < 3000 else "")
        finally:
            path.write_bytes(whole)
        yield Outcome(not wrong, name + (f": {wrong}" if wrong else ""))


PROMISE = Promise("Whatever a file holds, its reader understands it or says in one line that it does not", "all", trials)
